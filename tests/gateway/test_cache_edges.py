"""What must not be given again, or not to everybody, and what nobody may wait for in vain."""

import asyncio
import json
from dataclasses import replace

import orjson
import pytest

from gateway.caching.purges import SharedPurges
from gateway.runtime import Caller
from policies.cache.purge import Purge
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from providers.base import Request
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer
from tests.gateway.test_cache_front import BROKEN, REPLY, STREAM, WHOLE, Reader, _chunk, _long, play


async def _embed(scene, given, **headers):
    body = {"model": "m", "input": given}
    raw = json.dumps(body).encode()
    request = Request("embeddings", body, raw, "m", stream=False, include_usage=False, request_id="req_1")
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await scene.pipeline.answer(request, Caller("tester"), Reader(), scene.clock(), None, told)


def _vectors(*numbers, order=None):
    rows = [{"object": "embedding", "index": place, "embedding": [number]} for place, number in enumerate(numbers)]
    rows = rows if order is None else [rows[place] for place in order]
    body = {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    return Answer([0.5, b"3,0," + json.dumps(body).encode(), None])


def _told(outcome):
    return [row["embedding"][0] for row in json.loads(outcome.reply.body)["data"]]


def test_one_kept_vector_is_no_answer_when_everybody_fails():
    async def work(scene):
        assert _told(await _embed(scene, "north")) == [1.0]
        await asyncio.sleep(7200)
        assert (await _embed(scene, "north")).refusal is not None

    play(work, _vectors(1.0), BROKEN, rules=CacheRules(stale_s=86400), max_attempts=1)


def test_vectors_belong_to_their_inputs_in_whatever_order_they_come():
    async def work(scene):
        await _embed(scene, ["a", "b", "c"])
        assert _told(await _embed(scene, ["c", "a"])) == [3.0, 1.0]

    play(work, _vectors(1.0, 2.0, 3.0, order=[2, 0, 1]))


def test_a_part_of_a_batch_that_is_too_old_is_asked_for_again():
    async def work(scene):
        await _embed(scene, ["a"])
        await asyncio.sleep(100)
        assert _told(await _embed(scene, ["a", "b"], cache_control="max-age=60")) == [7.0, 2.0]

    play(work, _vectors(1.0), _vectors(7.0, 2.0))


@pytest.mark.parametrize("said", ["no-cache", "max-age=60"])
def test_who_wants_it_new_gets_no_stale_one(said):
    async def work(scene):
        await scene.ask()
        await asyncio.sleep(7200)
        assert (await scene.ask(cache_control=said)).refusal is not None
        assert (await scene.ask()).cache is CacheUse.STALE

    play(work, REPLY, *[BROKEN] * 2, rules=CacheRules(stale_s=86400), max_attempts=1)


def test_what_was_asked_for_before_a_purge_is_not_kept_after_it():
    async def work(scene):
        first = asyncio.create_task(scene.ask())
        await asyncio.sleep(0.1)
        scene.keeper.purge(Purge())
        second = await scene.ask()
        assert (await first).ending == "ok"
        assert second.cache is CacheUse.MISS, "nor is it joined"
        assert (await scene.ask()).cache is CacheUse.HIT

    play(work, REPLY, REPLY)


def test_the_next_key_of_a_name_does_not_get_what_is_under_way_for_the_one_before():
    async def work(scene):
        first = asyncio.create_task(scene.ask(caller="a"))
        await asyncio.sleep(0.1)
        scene.keeper.forget_strangers({"1": Caller("a")}, {"2": Caller("a")})
        await first
        assert (await scene.ask(caller="a")).cache is CacheUse.MISS

    play(work, REPLY, REPLY)


def test_a_key_that_may_use_less_gets_no_answers_of_what_it_could_use():
    async def work(scene):
        caller = Caller("a")

        async def ask(caller):
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
            raw = json.dumps(body).encode()
            request = Request("chat", body, raw, "m", stream=False, include_usage=False, request_id="req_1")
            return await scene.pipeline.answer(request, caller, Reader(), scene.clock())

        await ask(caller)
        assert (await ask(caller)).cache is CacheUse.HIT
        assert (await ask(replace(caller, candidates=frozenset({"m", "n"})))).cache is CacheUse.MISS
        assert (await ask(replace(caller, tags=frozenset({"eu"})))).cache is CacheUse.MISS

    play(work, REPLY, REPLY, REPLY)


@pytest.mark.parametrize(
    "odd",
    [
        {**WHOLE, "choices": [{name: value for name, value in WHOLE["choices"][0].items() if name != "index"}]},
        {**WHOLE, "object": "something"},
        {**WHOLE, "choices": [{"index": 0, "message": {"content": 5}, "finish_reason": "stop"}]},
        {**WHOLE, "choices": [{"index": 0, "message": {"content": "x", "tool_calls": 7}, "finish_reason": "stop"}]},
    ],
    ids=["no index", "another object", "a number", "no calls"],
)
def test_an_odd_whole_answer_is_no_fault_of_ours_when_a_stream_is_wanted(odd):
    async def work(scene):
        await scene.ask()
        reader = Reader()
        assert (await scene.ask(stream=True, sink=reader)).ending == "ok"
        assert reader.data

    play(work, Answer([0.5, b"7,3," + json.dumps(odd).encode(), None]), STREAM)


def test_nobody_waits_for_ever_when_keeping_fails():
    async def work(scene):
        def fail(*_):
            raise KeyError("a fault of ours")

        scene.loop.set_exception_handler(lambda *_: None)
        scene.keeper.shelf.put = fail
        ends = await asyncio.wait_for(asyncio.gather(*(scene.ask() for _ in range(3))), 60)
        assert {end.ending for end in ends} == {"ok"}

    play(work, REPLY, REPLY, REPLY)


def test_a_follower_whose_sink_fails_holds_up_nobody():
    class Failing(Reader):
        def write(self, data):
            raise ConnectionError

    async def work(scene):
        first = asyncio.create_task(scene.ask(stream=True))
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionError):
            await scene.ask(stream=True, sink=Failing())
        (flight,) = scene.keeper._flights.by_key.values()
        assert not flight._followers
        assert (await first).ending == "ok"

    play(work, STREAM)


@pytest.mark.parametrize("stream", [False, True])
def test_to_wait_for_somebody_elses_call_is_no_work_of_ours(stream):
    async def work(scene):
        ends = await asyncio.gather(*(scene.ask(stream=stream) for _ in range(2)))
        assert ends[1].cache is CacheUse.SHARED
        assert ends[1].duration_s >= 0.5
        assert ends[1].overhead_s < 0.01

    play(work, STREAM if stream else REPLY)


def test_purges_of_others_are_heard_whatever_happens_to_the_file(tmp_path):
    async def work():
        heard, ours, others = [], SharedPurges(tmp_path), SharedPurges(tmp_path)
        task = asyncio.create_task(ours.follow(heard.append))
        file = tmp_path / "cache-purges.jsonl"
        file.write_bytes(b'no JSON\n{"unknown": 1}\n')
        others.tell(Purge(tag="first"))
        await asyncio.sleep(1)
        file.unlink()
        await asyncio.sleep(1)
        others.tell(Purge(tag="second"))
        await asyncio.sleep(1)
        task.cancel()
        assert [purge.tag for purge in heard] == ["first", "second"]

    run_virtual(work())


def test_a_complete_answer_that_meets_the_end_of_the_process_is_handed_over():
    class Leaving(Reader):
        """Its request is cancelled as soon as all of the answer is there."""

        def write(self, data):
            super().write(data)
            if data.endswith(b"[DONE]\n\n"):
                asyncio.get_running_loop().call_soon(task.cancel, "shutdown")

    async def work(scene):
        nonlocal task
        task = asyncio.create_task(scene.ask(stream=True, sink=Leaving()))
        assert (await task).ending == "ok"
        assert scene.value("signalbox_requests_total", outcome="ok") == 1

    task = None
    play(work, STREAM)


def test_streams_under_way_share_what_they_may_remember():
    async def work(scene):
        room = scene.keeper._flights.room
        room.free = 1_000_000
        ends = await asyncio.gather(*(scene.ask(f"story {number}", stream=True) for number in range(4)))
        assert {end.ending for end in ends} == {"ok"}
        assert room.free == 1_000_000
        assert 1 <= len(scene.keeper.shelf) <= 3, "those that there was room for"
        follower = Reader()
        both = [scene.ask("again", stream=True), scene.ask("again", stream=True, sink=follower)]
        assert {end.ending for end in await asyncio.gather(*both)} == {"ok"}
        assert follower.data.endswith(b"data: [DONE]\n\n")
        assert room.free == 1_000_000

    play(work, *[_long(5, 80_000)] * 5)


@pytest.mark.parametrize("slow", [0, 1])
def test_who_reads_slowly_misses_nothing_of_a_stream_that_is_not_remembered(slow):
    class Slow(Reader):
        def write(self, data):
            super().write(data)
            return asyncio.sleep(0.3)

    async def work(scene):
        scene.keeper._flights.room.free = 60_000
        readers = [Slow() if number == slow else Reader() for number in range(3)]
        ends = await asyncio.gather(*(scene.ask(stream=True, sink=reader) for reader in readers))
        assert {end.ending for end in ends} == {"ok"}
        assert {reader.data for reader in readers} == {readers[0].data}
        assert len(readers[0].data) > 150_000
        assert len(scene.keeper.shelf) == 0, "what is still there is only its end"
        assert scene.keeper._flights.room.free == 60_000
        assert scene.transport.opened == 1

    piece, last = (
        b"text:" + _chunk(*told) + b"\n" for told in (({"content": "x" * 5_000},), ({"content": "end"}, "stop"))
    )
    play(work, Answer([0.5, *[piece, 0.01] * 30, last + b"done\n", None]))


def test_numbers_that_are_read_as_one_are_two_questions():
    """Beyond 64 bits a number is read as its nearest float, as its neighbours are; the provider gets the digits."""

    async def work(scene):
        for digits in ("18446744073709551617", "18446744073709551618"):
            raw = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}], "x": [%b]}' % digits.encode()
            request = Request("chat", orjson.loads(raw), raw, "m", False, False, "req_1")
            outcome = await scene.pipeline.answer(request, Caller("tester"), Reader(), scene.clock())
            assert outcome.cache is CacheUse.BYPASS
        assert (scene.transport.opened, len(scene.keeper.shelf)) == (2, 0)

    play(work, REPLY, REPLY)
