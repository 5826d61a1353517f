"""Whatever is asked, left, purged and reloaded: nobody gets what was made for others, or before a purge, and every
request is counted once.
"""

import asyncio
import json
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.runtime import Caller
from policies.cache.purge import Purge
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from providers.base import Call, Request
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedExchange, ScriptedProvider
from tests.gateway.test_cache_front import WHOLE, Reader, Scene, _chunk

_GROUPS = ({}, {"a": "g1", "b": "g1"}, {"b": "g2", "c": "g2"})
_CALLERS = {name: Caller(name) for name in "abc"}
_ENDS = ("stop", "stop", "stop", "length")
_ASK = st.tuples(
    st.just("ask"),
    st.sampled_from("abc"),
    st.sampled_from(["one", "one", "ONE?", "two"]),
    st.booleans(),
    st.sampled_from(["", "", "", "no-cache", "no-store", "only-if-cached"]),
    st.sampled_from([None, None, None, 0.3]),
)
_STEP = st.one_of(
    *[_ASK] * 5,
    *[st.tuples(st.just("wait"), st.sampled_from([0.1, 0.4, 1.0, 1.0, 20.0]))] * 3,
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("purge"), st.sampled_from([None, "a", "b"])),
    st.tuples(st.just("reload"), st.sampled_from(_GROUPS)),
)


class Telling(ScriptedProvider):
    """Its calls say for whom they are."""

    def call(self, request: Request, target):
        return Call("http://upstream/", [("for", request.request_id), ("stream", str(request.stream))], request.raw)


class Upstream:
    """Answers with whom the call was for, and the number of the call. Every seventh fails."""

    def __init__(self):
        self.calls, self.opened, self.running = 0, 0, 0

    def open(self, call, *, fresh=False):
        told = dict(call.headers)
        self.calls += 1
        maker = f"{told['for']}/{self.calls}"
        end = _ENDS[self.calls % len(_ENDS)]
        if self.calls % 7 == 0:
            return ScriptedExchange(self, Answer([0.2, b"broken", None], status=500))
        if told["stream"] == "True":
            pieces = [0.2, b"text:" + _chunk({"content": maker}) + b"\n", 0.5, b"text:" + _chunk({}, end) + b"\n"]
            return ScriptedExchange(self, Answer([*pieces, b"usage:7,3\ndone\n", None]))
        choice = WHOLE["choices"][0] | {"message": {"role": "assistant", "content": maker}, "finish_reason": end}
        return ScriptedExchange(
            self, Answer([0.5, b"7,3," + json.dumps({**WHOLE, "choices": [choice]}).encode(), None])
        )

    async def close(self):
        pass


class Play:
    """Carries out steps, and looks at every answer."""

    def __init__(self, scene, upstream):
        self.scene, self.upstream = scene, upstream
        self.groups, self.purged = {}, dict.fromkeys("abc", 0)
        self.tasks, self.asked = [], 0

    async def step(self, name, *more):
        if name == "ask":
            self.tasks.append(asyncio.create_task(self.ask(*more)))
            await asyncio.sleep(0)
        elif name == "wait":
            await asyncio.sleep(more[0])
        elif name == "leave":
            for task in self.tasks[more[0] : more[0] + 1]:
                task.cancel()
        elif name == "purge":
            self.scene.keeper.purge(Purge(caller=more[0]))
            for key in "abc" if more[0] is None else more[0]:
                self.purged[key] = self.upstream.calls
        else:
            before, self.groups = self.scene.runtime, more[0]
            self.use(before)

    def use(self, before):
        self.scene.use(CacheRules(ttl_s=10, is_loose=True, groups=self.groups))
        self.scene.runtime = replace(self.scene.runtime)
        self.scene.keeper.forget_changed(before, self.scene.runtime)

    async def ask(self, key, text, stream, said, timeout_s):
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}
        request = Request("chat", body, json.dumps(body).encode(), "m", stream, False, key)
        group = self.groups.get(key)
        mates = {name for name in "abc" if name == key or (group is not None and self.groups.get(name) == group)}
        purged, before = dict(self.purged), self.upstream.calls
        reader, headers = Reader(), {b"cache-control": said.encode()} if said else {}
        self.asked += 1
        try:
            end = await self.scene.pipeline.answer(
                request, _CALLERS[key], reader, self.scene.clock(), timeout_s, headers
            )
        except Exception as error:
            assert (said, str(error)) == ("only-if-cached", "not_cached")
            return
        if end.ending not in ("ok", "interrupted"):
            assert end.refusal is not None
            return
        told = reader.data if stream else end.reply.body
        maker, number = re.search(rb'"([abc])/(\d+)"', told)[0].decode().strip('"').split("/")
        assert maker in mates, (key, self.groups)
        if end.cache in (CacheUse.HIT, CacheUse.NORMALISED):
            assert int(number) > purged[maker], "it was purged"
        if said in ("no-cache", "no-store"):
            assert int(number) > before, "it was there before"


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEP, min_size=15, max_size=50))
def test_nobody_gets_what_is_not_for_it(steps):
    async def work():
        scene, upstream = Scene(), Upstream()
        known = scene.runtime.upstreams["a"]
        scene.runtime = replace(
            scene.runtime, upstreams={"a": replace(known, provider=Telling("a"), transport=upstream)}
        )
        play = Play(scene, upstream)
        play.use(scene.runtime)
        for step in steps:
            await play.step(*step)
        ends = await asyncio.gather(*play.tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        flights = scene.keeper._flights
        assert not flights.by_key
        assert not flights.by_form
        assert upstream.running == 0
        assert flights.room.free == 64 * 1024 * 1024
        counted = sum(scene.used(use) for use in CacheUse)
        assert counted == play.asked
        assert scene.value("signalbox_attempts_total") == upstream.calls

    run_virtual(work())
