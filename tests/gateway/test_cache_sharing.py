"""What those who wait for a call of somebody else get, and what is written down about it."""

import asyncio
import json

import pytest

from gateway.runtime import Caller
from gateway.wire import answers
from gateway.wire.refusals import RefusedError
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from policies.timeouts import Timeouts
from providers.base import Request
from tests.gateway.scripted import DONE, Answer, ScriptedExchange
from tests.gateway.test_cache_front import BROKEN, REPLY, STREAM, WHOLE, Reader, _chunk, play

_CUT = {**WHOLE, "choices": [WHOLE["choices"][0] | {"finish_reason": "length"}]}
_REFUSED = {**WHOLE, "choices": [WHOLE["choices"][0] | {"finish_reason": "content_filter"}]}


def _whole(body, wait_s=0.5):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer([wait_s, b"7,3," + data, None])


_CUT_STREAM = Answer(
    [0.5, b"text:" + _chunk({"content": "fi"}) + b"\n", b"text:" + _chunk({}, "length") + b"\nusage:7,3\ndone\n", None]
)
_UNKEPT = {
    "cut": _whole(_CUT),
    "filtered": _whole(_REFUSED),
    "too large": _whole(WHOLE | {"padding": "x" * 5000}),
    "no JSON": _whole(b"no JSON"),
    "a list": _whole(b"[]"),
}


@pytest.mark.parametrize("name", _UNKEPT)
def test_who_waited_shares_what_is_not_kept(name):
    async def work(scene):
        ends = await asyncio.gather(*(scene.ask() for _ in range(1000)))
        assert scene.transport.opened == 1
        assert [end.ending for end in ends] == ["ok"] * 1000
        assert [end.cache for end in ends].count(CacheUse.SHARED) == 999
        assert {end.cost_nusd for end in ends[1:]} == {None}
        assert ends[500].finish_reason == ends[0].finish_reason
        assert len(ends[500].reply.body) >= len(ends[0].reply.body)
        assert len(scene.keeper.shelf) == 0
        head = answers.answer_head(ends[500], scene.clock(), 5)
        assert b"x-signalbox-model: a/m\r\n" in head
        assert b"x-signalbox-cache: shared\r\n" in head
        assert b"cache-entry" not in head, "there is nothing that could be purged"
        assert (await scene.ask()).cache is CacheUse.MISS

    play(work, _UNKEPT[name], REPLY, rules=CacheRules(max_entry_bytes=4000))


def test_a_cut_stream_is_shared_in_both_forms_and_not_kept():
    async def work(scene):
        readers = [Reader() for _ in range(20)]
        streams = [scene.ask(stream=True, sink=reader) for reader in readers]
        ends = await asyncio.gather(*streams, *(scene.ask() for _ in range(20)))
        assert scene.transport.opened == 1
        assert {end.ending for end in ends} == {"ok"}
        assert {reader.data.endswith(DONE) for reader in readers} == {True}
        assert {json.loads(end.reply.body)["choices"][0]["finish_reason"] for end in ends[20:]} == {"length"}
        assert len(scene.keeper.shelf) == 0

    play(work, _CUT_STREAM)


def test_when_the_first_one_fails_a_thousand_make_two_calls():
    async def work(scene):
        ends = await asyncio.gather(*(scene.ask() for _ in range(1000)))
        assert [end.ending for end in ends].count("ok") == 999
        assert scene.transport.opened == 2

    play(work, BROKEN, _whole(_CUT), max_attempts=1)


def test_those_who_waited_share_the_stale_answer_too():
    async def work(scene):
        await scene.ask()
        await asyncio.sleep(7200)
        ends = await asyncio.gather(*(scene.ask() for _ in range(100)))
        assert {(end.cache, end.ending, end.is_stale) for end in ends} == {(CacheUse.STALE, "ok", True)}
        assert scene.transport.opened == 2
        assert b"age: 72" in ends[99].head_lines
        assert scene.used("stale") == 100
        assert scene.value("signalbox_cache_saved_usd_total") == 0, "a call was tried, in vain"

    play(work, REPLY, BROKEN, rules=CacheRules(stale_s=86400), max_attempts=1)


def test_who_waited_in_vain_has_all_the_time_for_a_call_of_its_own():
    async def work(scene):
        tasks = [asyncio.create_task(scene.ask()) for _ in range(3)]
        ends = await asyncio.gather(*tasks)
        assert [end.ending for end in ends] == ["upstream_error", "upstream_error", "ok"]
        assert ends[2].duration_s == pytest.approx(6 + 6 + 6, abs=0.1)
        assert ends[2].overhead_s < 0.01
        assert ends[2].paused_s == pytest.approx(12, abs=0.1)

    slow = Answer([6.0, b"broken", None], status=500)
    play(work, slow, slow, _whole(WHOLE, 6.0), max_attempts=1, timeouts=Timeouts(1, 10, 10, 10))


def test_nobody_depends_on_somebody_with_less_time():
    async def work(scene):
        short = asyncio.create_task(scene.ask(timeout_s=0.2))
        await asyncio.sleep(0.1)
        usual = asyncio.create_task(scene.ask())
        assert (await short).ending == "upstream_error"
        end = await usual
        assert (end.ending, end.cache) == ("ok", CacheUse.MISS)
        assert end.paused_s == 0.0

    play(work, REPLY, REPLY, max_attempts=1)


def test_an_older_call_does_not_replace_a_newer_answer():
    async def work(scene):
        slow = asyncio.create_task(scene.ask())
        await asyncio.sleep(0.1)
        await scene.ask(cache_control="no-cache")
        assert (await slow).ending == "ok"
        assert json.loads((await scene.ask()).reply.body)["id"] == "newer"
        await asyncio.sleep(1)
        await scene.ask(cache_control="no-cache")
        assert json.loads((await scene.ask()).reply.body)["id"] == "newest"

    play(work, _whole(WHOLE, 5.0), _whole(WHOLE | {"id": "newer"}), _whole(WHOLE | {"id": "newest"}))


def test_nobody_waits_for_more_than_two_calls_of_others():
    async def work(scene):
        began_s = scene.loop.time()
        ends = await asyncio.gather(*(scene.ask() for _ in range(10)))
        assert {end.ending for end in ends} == {"upstream_error"}
        assert scene.loop.time() - began_s == pytest.approx(3 * 0.5, abs=0.1)

    play(work, *[BROKEN] * 10, max_attempts=1)


def test_who_wants_to_be_told_the_usage_goes_along_with_nobody_who_does_not():
    async def work(scene):
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        raw = json.dumps(body | {"stream_options": {"include_usage": True}}).encode()
        request = Request("chat", json.loads(raw), raw, "m", True, True, "req_1")
        without, told = Reader(), Reader()
        asked = scene.pipeline.answer(request, Caller("tester"), told, scene.clock())
        ends = await asyncio.gather(scene.ask(stream=True, sink=without), asked)
        assert [end.cache for end in ends] == [CacheUse.MISS, CacheUse.SHARED]
        assert b'"usage":{' not in without.data
        assert b'"choices":[],"usage":{"prompt_tokens":7,' in told.data
        assert b'"is_cached":true' in told.data

    play(work, STREAM)


def test_a_stream_that_breaks_is_written_down_as_broken_for_all_who_went_along():
    async def work(scene):
        readers = [Reader() for _ in range(3)]
        ends = await asyncio.gather(*(scene.ask(stream=True, sink=reader) for reader in readers))
        assert [end.ending for end in ends] == ["interrupted"] * 3
        assert {reader.data for reader in readers} == {readers[0].data}
        assert scene.value("signalbox_requests_total", outcome="interrupted") == 3
        assert scene.value("signalbox_cache_saved_usd_total") == 0

    play(work, Answer([0.5, b"text:" + _chunk({"content": "fi"}) + b"\n", 0.5, None]))


def test_a_call_that_we_cut_is_no_answer_for_those_who_went_along():
    async def work(scene):
        readers = [Reader() for _ in range(3)]
        tasks = [asyncio.create_task(scene.ask(stream=True, sink=reader)) for reader in readers]
        await asyncio.sleep(0.7)
        (flight,) = scene.keeper._flights.by_key.values()
        flight.task.cancel("shutdown")
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [end.ending for end in ends[1:]] == ["shutdown"] * 2
        assert all(b"stream_interrupted" in reader.data for reader in readers[1:]), "a silent end"
        assert scene.value("signalbox_requests_total", outcome="shutdown") == 3
        assert scene.value("signalbox_cache_saved_usd_total") == 0

    play(work, STREAM)


@pytest.mark.parametrize("followers", [0, 2])
def test_whoever_leaves_last_sees_the_call_settled(followers):
    class Lingering(ScriptedExchange):
        async def __aexit__(self, *told):
            await asyncio.sleep(0.3)
            await super().__aexit__(*told)

    async def work(scene):
        scene.transport.open = lambda _call, fresh: Lingering(scene.transport, STREAM)
        tasks = [asyncio.create_task(scene.ask(stream=True)) for _ in range(1 + followers)]
        await asyncio.sleep(0.7)
        for task in tasks:
            task.cancel()
            await asyncio.wait([task])
        assert scene.transport.running == 0
        assert scene.value("signalbox_attempts_total") == 1
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 1 + followers

    play(work)


def test_who_has_all_of_a_stream_is_answered_while_its_call_lingers():
    class Lingering(ScriptedExchange):
        async def __aexit__(self, *told):
            await asyncio.sleep(5)
            await super().__aexit__(*told)

    async def work(scene):
        scene.transport.open = lambda _call, fresh: Lingering(scene.transport, STREAM)
        readers = [Reader() for _ in range(3)]
        first, along, _ = tasks = [asyncio.create_task(scene.ask(stream=True, sink=reader)) for reader in readers]
        await asyncio.sleep(3)
        assert all(reader.data.endswith(DONE) for reader in readers)
        first.cancel("shutdown")
        along.cancel("shutdown")
        await asyncio.wait(tasks)
        assert [(await task).ending for task in tasks[1:]] == ["ok", "ok"]
        assert scene.value("signalbox_requests_total", outcome="ok") == 3

    play(work)


def test_nobody_joins_a_call_that_is_about_to_be_ended():
    async def work(scene):
        first = asyncio.create_task(scene.ask(stream=True))
        await asyncio.sleep(0.7)
        first.cancel()
        await asyncio.sleep(0)
        second = await scene.ask(stream=True)  # in the moment between
        await asyncio.wait([first])
        assert (second.ending, second.cache, scene.transport.opened) == ("ok", CacheUse.MISS, 2)

    play(work, STREAM, STREAM)


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_of_an_older_call_leaves_the_newer_one_to_be_joined(stream):
    async def work(scene):
        older = asyncio.create_task(scene.ask(stream=stream))
        await asyncio.sleep(0)
        newer = asyncio.create_task(scene.ask(stream=stream, cache_control="no-cache"))
        assert (await older).ending == "upstream_error"
        reader = Reader()
        third = asyncio.create_task(scene.ask(stream=stream, sink=reader))
        other = asyncio.create_task(scene.ask(stream=not stream))
        await asyncio.sleep(0.3)
        assert not newer.done()
        assert bool(reader.pieces) is stream, "a stream is gone along with"
        assert [(await one).cache for one in (third, other)] == [CacheUse.SHARED] * 2
        assert (await newer).ending == "ok"
        assert scene.transport.opened == 2

    play(work, BROKEN, STREAM if stream else _whole(WHOLE, 5.0), max_attempts=1)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_others_behind_is_gone_and_the_call_is_booked_once(stream):
    async def work(scene):
        first = asyncio.create_task(scene.ask(stream=stream))
        await asyncio.sleep(0)
        others = [asyncio.create_task(scene.ask(stream=stream)) for _ in range(3)]
        await asyncio.sleep(0.7 if stream else 0.1)
        first.cancel()
        others[0].cancel()
        await asyncio.wait([first, *others])
        assert [task.cancelled() for task in (first, *others)] == [True, True, False, False]
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 2
        assert scene.value("signalbox_requests_total", outcome="ok") == 2
        assert scene.value("signalbox_attempts_total", outcome="ok") == 1
        assert scene.value("signalbox_cost_usd_total") == pytest.approx(3.7e-5)
        assert scene.transport.opened == 1
        assert (await scene.ask(stream=stream)).cache is CacheUse.HIT
        uses = {use: scene.used(use) for use in ("miss", "shared", "hit")}
        assert uses == {"miss": 1, "shared": 3, "hit": 1}

    play(work, STREAM if stream else REPLY)


def test_every_request_is_counted_and_every_use_of_an_entry():
    async def work(scene):
        with pytest.raises(RefusedError, match="not_cached"):
            await scene.ask(x_signalbox_cache="only-if-cached")
        with pytest.raises(RefusedError, match="model"):
            await scene.ask(x_signalbox_route="nobody")
        assert scene.used("miss") == 2
        readers = [Reader() for _ in range(5)]
        await asyncio.gather(*(scene.ask(stream=True, sink=reader) for reader in readers))
        await scene.ask()
        (entry,) = scene.keeper.shelf
        assert entry.uses == 5
        assert sum(map(scene.used, ("miss", "shared", "hit"))) == 2 + 6

    play(work, STREAM)


@pytest.mark.parametrize("told", ["shutdown", "client_gone"])
@pytest.mark.parametrize("use", [CacheUse.HIT, CacheUse.SHARED])
def test_who_has_all_of_it_before_it_is_cut_has_been_answered(use, told):
    """It is on its way to a client that has not read it yet: a word behind its end would be none of the answer."""

    async def work(scene):
        reader = Reader(stalls=True)
        if use is CacheUse.HIT:
            await scene.ask()
            asked = asyncio.create_task(scene.ask(stream=True, sink=reader))
        else:
            first = asyncio.create_task(scene.ask())
            await asyncio.sleep(0.2)
            asked = asyncio.create_task(scene.ask(stream=True, sink=reader))
            await first
        await asyncio.sleep(5)
        assert reader.data.endswith(DONE)
        asked.cancel("shutdown" if told == "shutdown" else None)
        outcome = await asked
        assert (outcome.ending, outcome.cache, reader.outcome) == ("ok", use, outcome)

    play(work, REPLY)


def test_who_went_along_to_the_end_before_it_is_cut_has_been_answered():
    class Late(Reader):
        def write(self, data):
            super().write(data)
            return asyncio.Event().wait() if data.endswith(DONE) else None

    async def work(scene):
        reader = Late()
        first = asyncio.create_task(scene.ask(stream=True))
        await asyncio.sleep(0.2)
        asked = asyncio.create_task(scene.ask(stream=True, sink=reader))
        await first
        await asyncio.sleep(5)
        asked.cancel("shutdown")
        assert ((await asked).ending, reader.data.count(DONE)) == ("ok", 1)
        assert scene.value("signalbox_requests_total", outcome="ok") == 2

    play(work, STREAM)
