"""Whose answers are whose, also when the configuration changes, and what a purge takes."""

import asyncio
import json
from dataclasses import replace
from functools import partial

import pytest

from config.schema import Config
from gateway.auth import ANONYMOUS
from gateway.caching.keeper import UntoldPurgeError, cache_rules
from gateway.runtime import Caller
from gateway.wire import answers
from gateway.wire.refusals import RefusedError
from policies.cache.keying import names_twice
from policies.cache.purge import Purge
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from providers.base import Request
from routing.choice import Group
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered
from tests.gateway.scripted import deployment
from tests.gateway.test_cache_edges import _embed, _told, _vectors
from tests.gateway.test_cache_front import REPLY, Reader, play

_TEAM = CacheRules(groups={"a": "team", "b": "team"})


def _body(text):
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


async def _ask(scene, caller, text="hello", raw=None, **headers):
    body = _body(text)
    raw = json.dumps(body).encode() if raw is None else raw
    request = Request("chat", body, raw, "m", stream=False, include_usage=False, request_id="req_1")
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await scene.pipeline.answer(request, caller, Reader(), scene.clock(), None, told)


def test_a_key_that_is_called_anonymous_is_a_key_like_others():
    async def work(scene):
        await _ask(scene, ANONYMOUS)
        assert (await _ask(scene, Caller("anonymous"))).cache is CacheUse.MISS
        assert (await _ask(scene, ANONYMOUS)).cache is CacheUse.HIT
        scene.use(CacheRules(groups={"anonymous": "team", "a": "team"}))
        await _ask(scene, Caller("a"))
        assert (await _ask(scene, ANONYMOUS)).cache is CacheUse.HIT, "its own, of before"
        assert scene.keeper.purge(Purge(caller="anonymous")) == 1

    play(work, REPLY, REPLY, REPLY)


def test_a_purge_of_a_key_takes_its_own_of_a_group():
    async def work(scene):
        await scene.ask("one", caller="a")
        await scene.ask("two", caller="b")
        assert scene.keeper.purge(Purge(caller="a")) == 1
        assert (await scene.ask("two", caller="a")).cache is CacheUse.HIT
        assert (await scene.ask("one", caller="b")).cache is CacheUse.MISS
        scene.keeper.forget_strangers({"1": Caller("a"), "2": Caller("b")}, {"1": Caller("a"), "3": Caller("b")})
        assert [entry.caller for entry in scene.keeper.shelf] == []

    play(work, *[REPLY] * 3, rules=_TEAM)


def test_answers_are_forgotten_here_even_when_the_others_cannot_be_told(tmp_path):
    async def work(scene):
        await scene.ask()
        scene.keeper.share(tmp_path / "gone")
        with pytest.raises(UntoldPurgeError, match="No such file") as caught:
            scene.keeper.purge(Purge())
        assert (caught.value.purged, len(scene.keeper.shelf)) == (1, 0)

    play(work, REPLY)


def _config(share):
    keys = [{"name": name, "sha256": f"{number:064x}"} for number, name in enumerate("abcd")]
    return Config.model_validate(
        {
            "providers": {"p": {"kind": "mock"}},
            "models": {"m": {"deployments": [{"provider": "p", "model": "m"}]}},
            "keys": keys,
            "policies": {"cache": {"exact": {"enabled": True}, "share": share}},
        }
    )


def test_a_group_with_others_in_it_is_another_group():
    async def work(scene):
        def use(share):
            before = scene.runtime
            scene.use(cache_rules(_config(share)))
            scene.keeper.forget_changed(before, scene.runtime)

        use({})
        await scene.ask("alone", caller="a")
        use({"team": ["a", "b"]})
        assert len(scene.keeper.shelf) == 0, "what a had alone"
        await scene.ask("together", caller="a")
        assert (await scene.ask("together", caller="b")).cache is CacheUse.HIT
        use({"team": ["b", "a"]})
        assert (await scene.ask("together", caller="b")).cache is CacheUse.HIT
        for share in ({"team": ["c", "d"]}, {"team": ["a", "b", "c"]}):
            under_way = asyncio.create_task(scene.ask("slow", caller="a"))
            await asyncio.sleep(0.1)
            use(share)
            assert (await scene.ask("together", caller="c")).cache is CacheUse.MISS, share
            await under_way
        use({})
        assert {entry.partition for entry in scene.keeper.shelf} <= {"key:c"}
        assert (await scene.ask("alone", caller="a")).cache is CacheUse.MISS

    play(work, *[REPLY] * 12)


@pytest.mark.parametrize(
    ("raw", "is_twice"),
    [
        (b'{"a": 1, "b": {"a": 2}, "c": [{"a": 3}, {"a": 4}], "t": "a: b \\": \\\\"}', False),
        (b'{"a": 1, "a": 1}', True),
        (b'{"a": {"b": 1, "b": 2}}', True),
        (b'{"a": [{"b": "x:y", "b": "z"}]}', True),
        (b'{"a": "\\u003a", "a": "b"}', True),
        (b'{"a": "\\u003A\\u003a", "b\\u003a": "c"}', False),
        (b'{"a:": "::", "b": ":", "a:": "::"}', True),
        (b'{"a": 18446744073709551616, "t": "\\ud800"}', False),
    ],
)
def test_whether_a_member_is_named_twice(raw, is_twice):
    assert names_twice(raw, json.loads(raw)) is is_twice


def _direct(scene, upstream="a"):
    """From now on names like "a/anything" can be asked for."""

    def plan(label, model):
        return Plan(label, "ordered", Ordered(), (Group("a", (deployment("a", model),)),))

    known = scene.runtime.upstreams["a"]
    router = Router({"m": plan("m", "m")}, {"a": partial(plan, "a/*")}, scene.world)
    upstreams = {"a": replace(known) if upstream == "new" else known}
    before, scene.runtime = scene.runtime, replace(scene.runtime, router=router, upstreams=upstreams)
    scene.use(CacheRules())
    scene.keeper.forget_changed(before, scene.runtime)


async def _named(scene, name):
    body = _body("hello") | {"model": name}
    request = Request("chat", body, json.dumps(body).encode(), name, False, False, "req_1")
    return await scene.pipeline.answer(request, Caller("a"), Reader(), scene.clock())


def test_names_that_callers_make_up_are_forgotten_as_they_were_asked_for():
    async def work(scene):
        _direct(scene)
        for name in ("a/one", "a/two"):
            await _named(scene, name)
        hit = await _named(scene, "a/one")
        assert (hit.cache, hit.decision.asked) == (CacheUse.HIT, "a/*"), "which is a label"
        assert [scene.keeper.purge(Purge(name=name)) for name in ("a/three", "a/one", "a/*")] == [0, 1, 1]
        await _named(scene, "a/one")
        _direct(scene, "new")
        assert (await _named(scene, "a/one")).cache is CacheUse.MISS, "somebody else answers now"

    play(work, *[REPLY] * 4)


def test_what_is_under_way_at_a_reload_is_the_answer_of_before():
    async def work(scene):
        _direct(scene)
        first = asyncio.create_task(scene.ask())
        await asyncio.sleep(0.1)
        _direct(scene, "new")
        second = await scene.ask()
        assert ((await first).ending, second.cache) == ("ok", CacheUse.MISS), "nor is it joined"
        assert (await scene.ask()).cache is CacheUse.HIT
        slow = asyncio.create_task(scene.ask("more"))
        await asyncio.sleep(0.1)
        _direct(scene)
        await slow
        assert (await scene.ask("more")).cache is CacheUse.HIT, "nothing was changed for it"

    play(work, *[REPLY] * 3)


def test_a_body_that_says_two_things_is_neither_kept_nor_joined():
    async def work(scene):
        raw = json.dumps(_body("evil")).encode()[:-1] + b", " + json.dumps(_body("hello")).encode()[1:]
        both = [_ask(scene, Caller("a"), raw=raw), _ask(scene, Caller("b")), _ask(scene, Caller("b"))]
        assert [end.cache for end in await asyncio.gather(*both)] == [CacheUse.BYPASS, CacheUse.MISS, CacheUse.SHARED]
        assert (await _ask(scene, Caller("a"), "other", raw=raw)).cache is CacheUse.BYPASS
        assert len(scene.keeper.shelf) == 1

    play(work, *[REPLY] * 3, rules=_TEAM)


def test_who_wants_to_know_how_it_is_decided_gets_a_decision():
    async def work(scene):
        await _ask(scene, Caller("a"))
        end = await _ask(scene, Caller("a"), x_signalbox_explain="1")
        head = answers.answer_head(end, scene.clock(), 5)
        assert b"x-signalbox-cache: bypass\r\n" in head
        assert b"x-signalbox-explanation: " in head
        assert (await _ask(scene, Caller("a"), x_signalbox_explain="0")).cache is CacheUse.HIT
        assert scene.used("bypass") == 1

    play(work, REPLY, REPLY)


def test_a_batch_whose_answer_is_of_no_use_is_paid_once():
    async def work(scene):
        await _embed(scene, ["a"])
        before = scene.value("signalbox_cost_usd_total")
        end = await _embed(scene, ["a", "b"])
        assert (end.ending, end.refusal.status) == ("upstream_error", 502)
        assert scene.value("signalbox_cost_usd_total") == pytest.approx(before + 3e-6)
        assert scene.value("signalbox_requests_total", outcome="upstream_error") == 1
        assert scene.transport.opened == 2
        assert _told(await _embed(scene, ["a", "b"])) == [7.0, 8.0], "all of it, in one call"
        assert scene.transport.opened == 3

    play(work, _vectors(1.0), _vectors(2.0, 3.0), _vectors(7.0, 8.0))


def test_an_odd_batch_is_shared_with_those_who_wait():
    async def work(scene):
        ends = await asyncio.gather(*(_embed(scene, ["a", "b"]) for _ in range(100)))
        assert scene.transport.opened == 1
        assert {end.ending for end in ends} == {"ok"}
        assert len(scene.keeper.shelf) == 0

    play(work, _vectors(1.0))


def test_uses_of_vectors_are_counted_once_each():
    async def work(scene):
        await asyncio.gather(*(_embed(scene, ["a", "b"]) for _ in range(3)))
        assert [entry.uses for entry in scene.keeper.shelf] == [2, 2]
        await _embed(scene, ["a", "c"])
        await _embed(scene, "a")
        assert [entry.uses for entry in scene.keeper.shelf] == [2, 0, 4]

    play(work, _vectors(1.0, 2.0), _vectors(3.0))


def test_nothing_is_left_when_no_task_can_be_made(recwarn):
    async def work(scene):
        make, scene.loop.create_task = scene.loop.create_task, None

        def fail(_):
            raise RuntimeError("no task can be made")

        scene.loop.create_task = fail
        with pytest.raises(RuntimeError, match="no task"):
            await scene.ask()
        scene.loop.create_task = make
        assert (await scene.ask()).ending == "ok"
        assert not scene.keeper._flights.by_key

    play(work, REPLY)
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_a_body_that_came_before_is_somebody_elses_all_the_same():
    async def work(scene):
        a, b = Caller("a"), Caller("b")
        uses = [CacheUse.MISS, CacheUse.HIT, CacheUse.HIT]
        for caller in (a, b):
            assert [(await _ask(scene, caller)).cache for _ in range(3)] == uses, caller
        for caller in (replace(a, tags=frozenset({"eu"})), replace(a, candidates=frozenset({"m"}))):
            assert [(await _ask(scene, caller)).cache for _ in range(3)] == uses, caller
        assert (await _ask(scene, a)).cache is CacheUse.HIT
        for headers in ({"x_signalbox_route": " m"}, {"x_signalbox_tags": "red"}, {"x_signalbox_max_cost_usd": "9"}):
            await _ask(scene, a, **headers)
        assert [scene.used(use) for use in ("miss", "hit")] == [6, 10]
        assert (await _ask(scene, a, cache_control="no-store")).cache is CacheUse.BYPASS
        with pytest.raises(RefusedError, match="not_allowed"):
            await _ask(scene, replace(a, models=frozenset()))
        scene.keeper.purge(Purge())
        assert (await _ask(scene, a)).cache is CacheUse.MISS

    play(work, *[REPLY] * 9)


def test_bodies_that_came_before_take_a_bounded_room():
    async def work(scene):
        (repeats,) = [scene.pipeline.answer.__self__._repeats]
        await _ask(scene, Caller("a"), "x" * 70_000)
        for text in ("x" * 70_000, "y" * 60_000):
            for _ in range(2):
                await _ask(scene, Caller("a"), text)
        assert [len(raw) > 60_000 for _, raw in repeats._known] == [True]
        for caller in "ababab":  # the one before is who it is remembered for
            await _ask(scene, Caller(caller), "y" * 60_000)
        assert repeats._bytes == sum(len(raw) for _, raw in repeats._known)
        repeats._bytes = 4 * 1024 * 1024 - 10
        for _ in range(2):
            await _ask(scene, Caller("a"), "last")
        assert len(repeats._known) == 1
        assert (await _ask(scene, Caller("a"), "y" * 60_000)).cache is CacheUse.HIT

    play(work, *[REPLY] * 5)


def test_the_rules_stand_when_the_same_file_is_read_again():
    share = {"team": ["a", "b"]}
    rules = cache_rules(_config(share))
    assert rules == cache_rules(_config(share))
    assert rules.partition("a") == rules.partition("b") != rules.partition("c")
    assert replace(rules, groups={}).partition("a") == "key:a"
