"""Redis is frozen, gone, slow, full or back while answers are kept there: nobody fails, and nobody waits for it."""

import asyncio
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gateway.caching.shared import Place
from gateway.caching.shared_scripts import READ
from policies.cache.purge import Purge
from policies.outcome import CacheUse
from tests.fakes.redis import RedisLine, RedisServer
from tests.gateway.replicas import PATIENT, QUICK, play, replicas, until

# The bound is what is tested: a machine that is busy may be late for it, but not by a second.
HURRIED = replace(PATIENT, shared_wait_s=0.03)
_LATE_S = 1.0


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@contextmanager
def frozen(redis, line):
    redis.freeze()
    yield
    redis.thaw()


@contextmanager
def gone(redis, line):
    redis.kill()
    yield
    redis.revive()


@contextmanager
def slow(redis, line):
    line.latency_s = 0.4
    yield
    line.latency_s = 0.0


async def _asked(one, text):
    """How a question was answered, and in what time."""
    began = time.monotonic()
    outcome = await one.ask(text)
    assert outcome.ending == "ok"
    return outcome.cache, time.monotonic() - began


@pytest.mark.parametrize("fault", [frozen, gone, slow])
def test_nobody_waits_for_a_redis_in_trouble(redis, fault):
    async def story(line):
        async with replicas(line.url, *[QUICK] * 40) as (one, two):
            assert (await _asked(one, "kept"))[0] is CacheUse.MISS
            await one.written()
            with fault(redis, line):
                two.use(HURRIED)
                took_s = [(await _asked(two, f"{number}"))[1] for number in range(20)]
                took_s += [took for _, took in await asyncio.gather(*(_asked(two, f"also {n}") for n in range(10)))]
                assert max(took_s) < HURRIED.shared_wait_s + _LATE_S
                counts = two.redis.lookups
                assert counts["failed"] >= 1
                assert counts["skipped"] > 10, "once that is known nobody asks"
                assert counts["failed"] + counts["skipped"] == 30
                assert not two.redis.is_up
                assert two.redis.dropped > 0, "what is new meanwhile is not written later"
            two.use(PATIENT)

            async def is_back():
                outcome = await two.ask("kept", cache_control="only-if-cached")
                return outcome.cache is CacheUse.HIT

            deadline = time.monotonic() + 20
            while True:
                try:
                    assert await is_back()
                    break
                except Exception:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
            assert two.redis.is_up

    with RedisLine(redis.port) as line:
        play(story(line))


def test_a_purge_while_redis_is_away_is_told_when_it_is_back(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 4) as (one, two):
            await one.ask("purged")
            await one.written()
            assert (await two.ask("purged")).cache is CacheUse.HIT
            redis.kill()
            one.keeper.purge(Purge(name="m"))
            assert not await one.redis.purges.told(0.1)
            assert (await two.ask("purged")).cache is CacheUse.HIT, "nobody could tell"
            redis.revive()
            assert (await one.ask("purged")).cache is CacheUse.MISS, "whether or not it is told by now"
            assert await one.redis.purges.told(20)
            await until(lambda: not len(two.keeper.shelf))

    play(story())


def test_what_was_read_before_a_purge_and_arrives_after_it_is_given_to_nobody(redis):
    async def story():
        async with replicas(redis.url, QUICK, QUICK) as (one, _):
            await one.ask("purged")
            await one.written()
            (entry,) = one.keeper.shelf
            one.keeper.shelf.drop(entry.key)
            ask, is_read, may_arrive = one.redis.link.run, asyncio.Event(), asyncio.Event()

            async def late(script, key, body, timeout_s=None):
                answer = await ask(script, key, body, timeout_s)
                if script is READ and b'"wanted":[]' not in body:
                    is_read.set()
                    await may_arrive.wait()
                return answer

            one.redis.link.run = late
            asked = asyncio.create_task(one.ask("purged"))
            await is_read.wait()
            one.keeper.purge(Purge(name="m"))
            assert await one.redis.purges.told(20)
            may_arrive.set()
            assert (await asked).cache is CacheUse.MISS

    play(story())


def test_a_full_redis_keeps_nothing_new_and_fails_nobody(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 4) as (one, two):
            await one.ask("before")
            await one.written()
            redis.ask("CONFIG", "SET", "maxmemory", "1")
            try:
                assert (await one.ask("more")).cache is CacheUse.MISS
                await until(lambda: one.redis.dropped == 1)
                assert (await two.ask("before")).cache is CacheUse.HIT
            finally:
                redis.ask("CONFIG", "SET", "maxmemory", "0")
            await one.ask("after")
            await until(lambda: one.redis.written == 2)

    play(story())


def test_the_last_of_the_memory_is_for_what_needs_it_more(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 4) as (one, two):
            await one.ask("before")
            await one.written()
            used = int(redis.ask("INFO", "memory")["used_memory"])
            redis.ask("CONFIG", "SET", "maxmemory", f"{used * 11 // 10}")
            try:
                two.keeper.purge(Purge(name="nothing"))  # so that nobody sleeps
                await until(lambda: not one.redis.has_room)
                assert (await one.ask("more")).cache is CacheUse.MISS
                assert (one.redis.dropped, one.redis.link.failures) == (1, 0)
                redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
                two.keeper.purge(Purge(name="nothing"))
                await until(lambda: one.redis.has_room)
            finally:
                redis.ask("CONFIG", "SET", "maxmemory", "0")
                redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")

    play(story())


def test_a_place_holds_what_answers_the_same_question_of_the_same_caller(redis):
    async def story():
        async with replicas(redis.url, QUICK) as (one, _):
            await one.ask("Who wrote Faust?")
            (entry,) = one.keeper.shelf
            assert entry.loose_key is not None
            for key, loose_key, holds in (
                (entry.key, None, True),
                (b"k" * 32, entry.loose_key, True),
                (b"k" * 32, entry.key, False),
                (entry.loose_key, None, False),
                (b"k" * 32, None, False),
            ):
                assert Place(key, loose_key, entry.partition, b"").holds(entry) is holds
                assert not Place(key, loose_key, "key:another", b"").holds(entry)

    play(story())


def test_more_than_may_wait_is_dropped(redis):
    async def story():
        async with replicas(redis.url, QUICK) as (one, _):
            await one.ask()
            await one.written()
            (entry,) = one.keeper.shelf
            big = replace(entry, body=bytes(200 * 1024))
            log, place = one.redis.log, None
            one.redis.put(entry, "", 0, place, 100)
            assert one.redis.dropped == 1, "Redis was not heard of when it was asked for"
            for _ in range(100):
                one.redis.put(big, log.era, log.seq, place, 100)
            assert 10 < one.redis.dropped < 90
            one.redis.put(replace(entry, body=bytes(300 * 1024)), log.era, log.seq, place, 100)
            assert one.redis._waiting_bytes <= 16 * 1024 * 1024
            one.redis._waiting.clear()

    play(story())
