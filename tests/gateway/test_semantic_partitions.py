"""Whatever is asked by whom: no answer by meaning ever crosses a partition, or a difference in what else was said."""

import asyncio
import functools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.asking import NO_HEADERS
from gateway.caching.question import question_of
from gateway.caching.semantic.labels import Labels
from gateway.caching.semantic.spaces import Spaces
from gateway.caching.semantic.tier import SemanticTier
from gateway.mirror import Nowhere
from gateway.runtime import Caller
from policies.cache.rules import CacheRules
from policies.cache.semantic.lessons import State
from policies.cache.semantic.namespace import Namespace
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.settings import SemanticChoice, SemanticSettings
from policies.cache.semantic.text import analyse
from policies.cache.shelf import Entry, Shelf
from providers.base import Request
from tests.gateway.semantic_scene import CAPITALS, WORDINGS

RULES = SemanticRules(max_wrong_hits=0.1, shadow_share=0.0001)
GROUPS = CacheRules(groups={"cat": "team", "dan": "team"})
COUNTRIES = list(CAPITALS)[-3:]
SYSTEMS = (None, "Answer in verse.", "Answer in prose.")


@functools.cache
def _learnt() -> State:
    """What a namespace knows after it has seen enough."""
    namespace = Namespace(RULES, False, lambda: 0.5)
    for number, country in enumerate(list(CAPITALS)[:-3]):
        for place, wording in enumerate(WORDINGS):
            text, key = analyse(wording.format(country)), f"{number}.{place}".encode()
            look = namespace.look(text)
            if look.best is not None:
                namespace.learn(look, look.best.key.startswith(f"{number}.".encode()))
            namespace.add(key, text)
    assert namespace.threshold < float("inf")
    return namespace.state()


class _Uncounted:
    def label(self, source, verdict):
        pass

    def check(self, end, cost_nusd):
        pass


class Scene:
    """The tier with everything that is real about it, but no calls: what is missed is answered here."""

    def __init__(self, loop):
        self.shelf, self.spaces = Shelf(lambda: 0.0, 1_000_000), Spaces(lambda: 0.5)
        self.shelf.on_gone = self.spaces.drop
        labels = Labels(self.spaces, loop, lambda work, _: work.close(), _Uncounted())
        choice = SemanticChoice(SemanticSettings(RULES), {"off": None})
        self.tier = SemanticTier(
            choice, self.spaces, self.shelf, labels, None, None, ("a", "b"), lambda _: False, lambda: 0.0, _fail
        )
        self.hits = 0

    async def ask(self, caller, route, system, text):
        messages = [] if system is None else [{"role": "system", "content": system}]
        body = {"model": route, "messages": [*messages, {"role": "user", "content": text}]}
        request = Request("chat", body, b"{}", route, False, False, "req")
        question = question_of(GROUPS, request, Caller(caller), Nowhere(), 0.0, None, NO_HEADERS)
        if self.shelf.get(question.key) is not None:
            return
        look = await self.tier.look(question)
        owner = [GROUPS.partition(caller), route, system]
        if look is None:
            assert route == "off"
            return
        if look.found is not None:
            self.hits += 1
            assert json.loads(look.found.entry.body)["owner"] == owner
            return
        entry = Entry(
            question.key, question.partition, route, _answer(owner, text), None, "stop", 0.0, 1000.0, caller=caller
        )
        self.shelf.put(entry)
        look.keep(entry)
        for space in self.spaces:
            if space.namespace.threshold == float("inf"):
                space.namespace.restore([_learnt()])


def _answer(owner, text):
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"owner": owner, "choices": [choice]}).encode()


def _fail(error):
    raise error


_STEPS = st.tuples(
    st.sampled_from(("ann", "bob", "cat", "dan")),
    st.sampled_from(("a", "b", "off")),
    st.sampled_from(SYSTEMS),
    st.builds(lambda wording, country: wording.format(country), st.sampled_from(WORDINGS), st.sampled_from(COUNTRIES)),
)


async def _play(steps):
    scene = Scene(asyncio.get_running_loop())
    for step in steps:
        await scene.ask(*step)
    return scene.hits


@settings(max_examples=25)
@given(st.lists(_STEPS, max_size=25))
def test_no_answer_crosses_a_partition(steps):
    asyncio.run(_play(steps))


def test_those_that_may_share_do():
    """Else the property above would hold because nothing is ever given."""
    first, *others = (("a", None, wording.format(COUNTRIES[0])) for wording in WORDINGS)
    assert any(asyncio.run(_play([("cat", *first), ("dan", *other)])) for other in others)
