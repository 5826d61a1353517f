"""Equal requests at the same time make one call, whatever happens to whoever came first."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.caching.keeper import CacheKeeper
from gateway.memory import MemoryStep, Pressure
from gateway.runtime import Caller
from gateway.wire import answers
from gateway.wire.refusals import RefusedError
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from providers.base import Request
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import DONE, Answer, ScriptedTransport, Stage

WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}],
}
REPLY = Answer([0.5, b"7,3," + json.dumps(WHOLE).encode(), None])
BROKEN = Answer([0.5, b"broken", None], status=500)


def _chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(data).encode()


def _stream(*ends):
    pieces = [b"text:" + _chunk({"content": word}) + b"\n" for word in ("fi", "ne")]
    return Answer([0.5, pieces[0], 0.5, pieces[1], 0.5, b"text:" + _chunk({}, "stop") + b"\n", *ends])


STREAM = _stream(b"usage:7,3\ndone\n", None)


class Reader:
    """A Sink that keeps what it gets, and its outcome. With `stalls` it reads nothing after the first piece."""

    def __init__(self, *, stalls=False):
        self.pieces, self.outcome, self._stalls = [], None, stalls

    def start(self, outcome):
        self.outcome = outcome

    def write(self, data):
        self.pieces.append(data)
        return asyncio.Event().wait() if self._stalls else None

    def end(self):
        pass

    @property
    def data(self):
        return b"".join(self.pieces)


class Scene(Stage):
    """A pipeline with a cache before it."""

    def __init__(self, *answers_, rules=None, **more):
        self.transport = ScriptedTransport(*answers_)
        super().__init__({"a": self.transport}, **more)
        self.keeper, self.pressure = CacheKeeper(self.loop.time), Pressure()
        self.use(CacheRules() if rules is None else rules)

    def use(self, rules):
        self.runtime = replace(self.runtime, cache=rules, last_resort=self.keeper.last_resort(rules))
        self.pipeline = type(self.pipeline)(self.runtime, self.recorder, self.loop, self.clock, lambda: 0.0)
        self.keeper.stand_before(self.pipeline, self.recorder, self.loop, self.clock, self.pressure)

    async def ask(self, text="hello", *, stream=False, sink=None, caller="tester", timeout_s=None, **headers):
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}
        raw = json.dumps(body).encode()
        request = Request("chat", body, raw, "m", stream=stream, include_usage=False, request_id="req_1")
        given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return await self.pipeline.answer(request, Caller(caller), sink or Reader(), self.clock(), timeout_s, given)

    def used(self, use):
        return self.value("signalbox_cache_requests_total", result=use)


def play(work, *answers_, **more):
    async def scene():
        return await work(Scene(*answers_, **more))

    return run_virtual(scene())


@pytest.mark.parametrize("stream", [False, True])
def test_a_thousand_at_once_make_one_call(stream):
    async def work(scene):
        readers = [Reader() for _ in range(1000)]
        ends = await asyncio.gather(*(scene.ask(stream=stream, sink=reader) for reader in readers))
        assert scene.transport.opened == 1
        assert [end.ending for end in ends] == ["ok"] * 1000
        assert [end.cache for end in ends].count(CacheUse.SHARED) == scene.used("shared") == 999
        assert sum(end.cost_nusd or 0 for end in ends) == ends[0].cost_nusd > 0
        saved = scene.value("signalbox_cache_saved_usd_total")
        assert saved == pytest.approx(999 * ends[0].cost_nusd / 1e9)
        if stream:
            assert {reader.data for reader in readers} == {readers[0].data}
            assert readers[0].data.endswith(DONE)
        else:
            assert {end.reply.body for end in ends[1:]} == {ends[1].reply.body}

    play(work, STREAM if stream else REPLY)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after_s", [0.1, 0.7])
def test_whoever_came_first_may_leave(stream, after_s):
    async def work(scene):
        first = asyncio.create_task(scene.ask(stream=stream))
        readers = [Reader() for _ in range(999)]
        await asyncio.sleep(0)
        others = [asyncio.create_task(scene.ask(stream=stream, sink=reader)) for reader in readers]
        await asyncio.sleep(after_s if stream else 0.1)
        first.cancel()
        ends = await asyncio.gather(*others)
        assert first.cancelled()
        assert scene.transport.opened == 1
        assert [end.ending for end in ends] == ["ok"] * 999
        if stream:
            assert all(reader.data.endswith(DONE) for reader in readers)

    play(work, STREAM if stream else REPLY)


def test_the_call_ends_with_the_last_who_waits():
    async def work(scene):
        tasks = [asyncio.create_task(scene.ask(stream=True)) for _ in range(3)]
        await asyncio.sleep(0.7)
        for task in tasks:
            assert scene.transport.running == 1
            task.cancel()
            await asyncio.wait([task])
        assert scene.transport.running == 0
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 3

    play(work, STREAM)


def test_when_the_call_fails_another_is_made_for_those_who_waited():
    async def work(scene):
        ends = await asyncio.gather(*(scene.ask() for _ in range(50)))
        assert [end.ending for end in ends].count("ok") == 49
        assert ends[0].refusal is not None
        assert scene.transport.opened == 2

    play(work, BROKEN, REPLY, max_attempts=1)


def test_a_failure_is_nobody_elses_but_the_callers_own_mistake_is():
    async def work(scene):
        ends = await asyncio.gather(*(scene.ask() for _ in range(5)), return_exceptions=True)
        assert scene.transport.opened == 1
        assert {end.ending for end in ends} == {"caller_error"}
        assert {end.refusal.status for end in ends} == {400}
        assert (await scene.ask()).ending == "ok", "and no mistake is kept"

    play(work, Answer([0.5, b"caller", None], status=400), REPLY, max_attempts=1)


def test_who_reads_slowly_holds_up_nobody_else():
    async def work(scene):
        slow, quick = Reader(stalls=True), Reader()
        first = asyncio.create_task(scene.ask(stream=True, sink=slow))
        await asyncio.sleep(0.6)  # the first piece is on its way to somebody who does not read
        second = await asyncio.wait_for(scene.ask(stream=True, sink=quick), 5)
        assert (second.ending, second.cache) == ("ok", CacheUse.SHARED)
        assert quick.data.endswith(DONE)
        first.cancel()
        await asyncio.wait([first])

    play(work, STREAM)


def test_one_entry_serves_both_forms():
    async def work(scene):
        first, reader = Reader(), Reader()
        await scene.ask(stream=True, sink=first)
        whole = await scene.ask()
        again = await scene.ask(stream=True, sink=reader)
        assert (whole.cache, again.cache, scene.transport.opened) == (CacheUse.HIT, CacheUse.HIT, 1)
        assert json.loads(whole.reply.body)["choices"][0]["message"]["content"] == "fine"
        assert reader.data.endswith(DONE)
        head = answers.answer_head(whole, scene.clock(), 5)
        assert b"x-signalbox-cache: hit\r\n" in head
        assert b"age: 0\r\n" in head
        assert b"x-signalbox-model: a/m\r\n" in head
        assert b"bypass" not in head

    play(work, STREAM)


def test_somebody_who_wants_the_other_form_waits_for_the_end():
    async def work(scene):
        reader = Reader()
        ends = await asyncio.gather(scene.ask(), scene.ask(stream=True, sink=reader))
        assert [end.cache for end in ends] == [CacheUse.MISS, CacheUse.SHARED]
        assert reader.data.endswith(DONE)
        assert scene.transport.opened == 1

    play(work, REPLY)


@pytest.mark.parametrize(
    "bad",
    [
        Answer(
            [
                b"7,3," + json.dumps(WHOLE | {"choices": [WHOLE["choices"][0] | {"finish_reason": "length"}]}).encode(),
                None,
            ]
        ),
        Answer([b"7,3,no JSON", None]),
        Answer([b"7,3,[]", None]),
        Answer([b"7,3," + json.dumps(WHOLE | {"padding": "x" * 5000}).encode(), None]),
    ],
    ids=["cut", "no JSON", "no object", "too large"],
)
def test_such_an_answer_is_not_kept(bad):
    async def work(scene):
        assert (await scene.ask()).ending == "ok"
        assert len(scene.keeper.shelf) == 0
        assert (await scene.ask()).cache is CacheUse.MISS

    play(work, bad, REPLY, rules=CacheRules(max_entry_bytes=4000))


def test_a_stream_that_broke_is_not_kept():
    async def work(scene):
        assert (await scene.ask(stream=True)).ending == "interrupted"
        assert len(scene.keeper.shelf) == 0

    play(work, _stream(None))


def test_no_fills_when_memory_is_short():
    async def work(scene):
        scene.pressure.step = MemoryStep.NO_CACHE_FILLS
        await scene.ask()
        assert len(scene.keeper.shelf) == 0

    play(work, REPLY)


def test_every_key_has_its_own_answers_but_for_groups():
    async def work(scene):
        await scene.ask(caller="a")
        assert (await scene.ask(caller="a")).cache is CacheUse.HIT
        assert (await scene.ask(caller="b")).cache is CacheUse.MISS
        scene.use(CacheRules(groups={"a": "team", "b": "team"}))
        assert (await scene.ask(caller="b")).cache is CacheUse.MISS
        assert (await scene.ask(caller="a")).cache is CacheUse.HIT
        assert (await scene.ask(caller="team")).cache is CacheUse.MISS

    play(work, REPLY, REPLY, REPLY, REPLY)


def test_somebody_elses_call_is_not_joined():
    async def work(scene):
        ends = await asyncio.gather(scene.ask(caller="a"), scene.ask(caller="b"))
        assert [end.cache for end in ends] == [CacheUse.MISS, CacheUse.MISS]
        assert scene.transport.opened == 2

    play(work, REPLY, REPLY)


def test_what_the_caller_may_say():
    async def work(scene):
        await scene.ask()
        assert (await scene.ask(x_signalbox_cache="no-store")).cache is CacheUse.BYPASS
        assert (await scene.ask(cache_control="no-cache")).cache is CacheUse.MISS
        await asyncio.sleep(10)
        assert (await scene.ask(cache_control="max-age=5")).cache is CacheUse.MISS
        assert (await scene.ask(cache_control="max-age=5, private")).cache is CacheUse.HIT
        assert (await scene.ask(x_signalbox_cache="only-if-cached")).cache is CacheUse.HIT
        with pytest.raises(RefusedError) as refused:
            await scene.ask("something else", cache_control="only-if-cached")
        assert refused.value.refusal.status == 504
        with pytest.raises(RefusedError) as refused:
            await scene.ask(x_signalbox_cache="bypass")
        assert refused.value.refusal.status == 400
        assert scene.transport.opened == 4

    play(work, REPLY, REPLY, REPLY, REPLY)


def test_no_store_leaves_nothing_behind():
    async def work(scene):
        await scene.ask(cache_control="no-store")
        assert len(scene.keeper.shelf) == 0

    play(work, REPLY)


def test_a_stale_answer_stands_in_when_everybody_fails():
    async def work(scene):
        await scene.ask()
        await asyncio.sleep(7200)
        outcome = await scene.ask()
        assert (outcome.cache, outcome.ending, outcome.is_stale) == (CacheUse.STALE, "ok", True)
        head = answers.answer_head(outcome, scene.clock(), 5)
        assert b"x-signalbox-cache: stale\r\n" in head
        assert b"age: 72" in head
        assert (await scene.ask("never asked before")).refusal is not None
        assert (await scene.ask(caller="b")).refusal is not None

    play(work, REPLY, *[BROKEN] * 3, rules=CacheRules(stale_s=86400), max_attempts=1)


def test_answers_outlive_a_reload_and_go_with_the_section():
    async def work(scene):
        await scene.ask()
        scene.use(CacheRules(ttl_s=10))
        assert (await scene.ask()).cache is CacheUse.HIT
        scene.use(None)
        assert (await scene.ask()).cache is CacheUse.BYPASS
        assert len(scene.keeper.shelf) == 0

    play(work, REPLY, REPLY)


def test_other_letters_of_the_same_words_where_that_is_wanted():
    async def work(scene):
        await scene.ask("What's the capital of Kenya?")
        assert (await scene.ask("what is the capital of kenya please")).cache is CacheUse.MISS
        scene.use(CacheRules(is_loose=True))
        await scene.ask("Who wrote Faust?")
        again = await scene.ask("hi! who wrote faust")
        assert (again.cache, again.cost_nusd) == (CacheUse.NORMALISED, None)
        assert b"x-signalbox-cache: normalised\r\n" in answers.answer_head(again, scene.clock(), 5)
        assert (await scene.ask("hi! who wrote faust", caller="b")).cache is CacheUse.MISS
        assert (await scene.ask("who wrote Emma?")).cache is CacheUse.MISS

    play(work, *[REPLY] * 5)


def _long(pieces, size):
    piece = b"text:" + _chunk({"content": "x" * size}) + b"\n"
    return Answer([0.5, *[piece, 0.01] * pieces, b"text:" + _chunk({}, "stop") + b"\ndone\n", None])


@pytest.mark.parametrize("follows", [False, True])
def test_a_stream_without_end_is_neither_kept_nor_remembered(follows):
    async def work(scene):
        readers = [Reader() for _ in range(1 + follows)]
        tasks = [asyncio.create_task(scene.ask(stream=True, sink=reader)) for reader in readers]
        await asyncio.sleep(1.3)
        (flight,) = scene.keeper._flights.by_key.values()
        assert not flight.is_joinable
        assert sum(map(len, flight.frames)) < 500_000, "what everybody has read"
        await asyncio.gather(*tasks)
        assert {len(reader.data) for reader in readers} == {len(readers[0].data)}
        assert len(readers[0].data) > 20_000_000
        assert len(scene.keeper.shelf) == 0

    play(work, _long(100, 200_000))


def test_beyond_what_is_remembered_the_slowest_reader_sets_the_pace():
    async def work(scene):
        quick, slow = Reader(), Reader(stalls=True)
        first = asyncio.create_task(scene.ask(stream=True, sink=quick))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(scene.ask(stream=True, sink=slow))
        await asyncio.sleep(5)
        assert 8_000_000 < len(quick.data) < 9_000_000
        second.cancel()
        await asyncio.wait([second])
        assert (await first).ending == "ok"
        assert quick.data.endswith(DONE)

    play(work, _long(100, 200_000))


def test_a_key_that_is_gone_leaves_nothing_to_the_next_of_its_name():
    async def work(scene):
        a, b = Caller("a"), Caller("b")
        for name in "ab":
            await scene.ask(caller=name)
        scene.keeper.forget_strangers({"1": a, "2": b}, {"1": a, "2": b, "3": a})  # rotated, with overlap
        scene.keeper.forget_strangers({"1": a, "2": b, "3": a}, {"2": b, "3": a})
        assert len(scene.keeper.shelf) == 2
        scene.keeper.forget_strangers({"2": b, "3": a}, {"2": b, "4": a})  # deleted, and made anew
        assert (await scene.ask(caller="a")).cache is CacheUse.MISS
        assert (await scene.ask(caller="b")).cache is CacheUse.HIT

    play(work, REPLY, REPLY, REPLY)
