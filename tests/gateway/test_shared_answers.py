"""Kept answers in a real Redis: one gateway's answer is another's hit, and what was purged or forged is nobody's."""

import asyncio
import json

import pytest

from gateway.caching.bindings import Bindings
from gateway.caching.shared import Place
from gateway.runtime import Caller
from policies.cache.purge import Purge
from policies.cache.sealed import name_of
from policies.outcome import CacheUse
from tests.fakes.redis import RedisServer
from tests.gateway.replicas import PATIENT, QUICK, Replica, namespace, play, replicas, until
from tests.gateway.scripted import DONE
from tests.gateway.test_cache_edges import _embed, _told, _vectors
from tests.gateway.test_cache_front import Reader


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


def test_the_answer_of_one_is_a_hit_of_the_other(redis):
    async def story():
        async with replicas(redis.url, QUICK, QUICK) as (one, two):
            assert (await one.ask("Who wrote Faust?")).cache is CacheUse.MISS
            await one.written()
            hit = await two.ask("Who wrote Faust?")
            assert (hit.cache, two.transport.opened) == (CacheUse.HIT, 0)
            assert json.loads(hit.reply.body)["usage"] | {"is_cached": True} == json.loads(hit.reply.body)["usage"]
            reader = Reader()
            assert (await two.ask("Who wrote Faust?", stream=True, sink=reader)).cache is CacheUse.HIT
            assert reader.data.endswith(DONE)
            assert two.value("signalbox_cache_saved_usd_total") > 0
            assert (two.used_redis("hit"), two.used_redis("miss")) == (1, 0), "then memory has it"
            two.keeper.shelf.drop(next(iter(two.keeper.shelf)).key)
            assert (await two.ask("hi! who wrote faust please")).cache is CacheUse.NORMALISED
            assert (await two.ask("Who wrote Faust?", caller="somebody else")).cache is CacheUse.MISS
            assert two.transport.opened == 1

    play(story())


def test_a_renewed_answer_replaces_the_old_one_for_all(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 3) as (one, two):
            await one.ask("Who wrote Faust?")
            await one.written()
            (old,) = one.keeper.shelf
            assert (await two.ask("Who wrote Faust?", cache_control="no-cache")).cache is CacheUse.MISS
            await two.written()
            one.keeper.shelf.drop(old.key)
            assert (await one.ask("Who wrote Faust?")).cache is CacheUse.HIT
            (new,) = one.keeper.shelf
            assert new.stored_s > old.stored_s
            one.keeper.shelf.drop(new.key)
            assert (await one.ask("who wrote faust")).cache is CacheUse.MISS
            assert one.redis.lookups["refused"] == 0

    play(story())


def test_a_crowd_is_one_look_up(redis):
    async def story():
        async with replicas(redis.url, QUICK) as (one, two):
            await one.ask()
            await one.written()
            ends = await asyncio.gather(*(two.ask() for _ in range(100)))
            assert {end.ending for end in ends} == {"ok"}
            assert (two.transport.opened, two.used_redis("hit"), two.used_redis("miss")) == (0, 1, 0)

    play(story())


@pytest.mark.parametrize("purge", [Purge(), Purge(name="m", tag="blue"), Purge(partition="key:tester")])
def test_a_purge_reaches_the_other_and_what_is_in_redis(redis, purge):
    async def story():
        async with replicas(redis.url, QUICK, QUICK, QUICK) as (one, two):
            texts = {"x-signalbox-tags": "blue"}
            for _ in range(1):
                await one.ask(**texts)
            await one.written()
            await two.ask(**texts)
            assert two.transport.opened == 0
            assert one.keeper.purge(purge) == 1
            assert await one.redis.purges.told(20)
            await until(lambda: not len(two.keeper.shelf))
            assert (await two.ask(**texts)).cache is CacheUse.MISS
            await two.written()
            assert (await one.ask(**texts)).cache is CacheUse.HIT, "the new one is after the purge"
            third = Replica(redis.url, two.redis.key.partition(":")[2].partition("}")[0], QUICK)
            assert (await third.ask(**texts)).cache is CacheUse.HIT
            await third.close()

    play(story())


def test_a_purge_takes_nothing_else_from_the_other(redis):
    async def story():
        async with replicas(redis.url, QUICK, QUICK) as (one, two):
            await one.ask()
            await one.written()
            await two.ask()
            for purge in (Purge(name="other"), Purge(tag="t"), Purge(caller="another")):
                one.keeper.purge(purge)
            assert await one.redis.purges.told(20)
            await until(lambda: two.redis.log.seq == one.redis.log.seq == 3)
            assert (len(one.keeper.shelf), len(two.keeper.shelf)) == (1, 1)
            two.keeper.shelf.drop(next(iter(two.keeper.shelf)).key)
            assert (await two.ask()).cache is CacheUse.HIT, "nor from Redis"

    play(story())


def test_who_has_little_time_does_not_wait_for_redis(redis):
    async def story():
        async with replicas(redis.url, QUICK) as (one, two):
            await one.ask()
            await one.written()
            waits = PATIENT.shared_wait_s
            assert (await two.ask(timeout_s=3.9 * waits)).cache is CacheUse.MISS
            assert not two.redis.lookups
            two.keeper.shelf.drop(next(iter(two.keeper.shelf)).key)
            assert (await two.ask(timeout_s=4.1 * waits)).cache is CacheUse.HIT

    play(story())


def test_a_call_that_began_before_a_purge_elsewhere_leaves_nothing(redis):
    async def story():
        async with replicas(redis.url, QUICK, QUICK) as (one, two):
            question = Place(b"k" * 32, None, "key:tester", b"s" * 32)
            await one.redis.find(question)
            era, seq = one.redis.log.era, one.redis.log.seq
            two.keeper.purge(Purge(name="other"))
            two.keeper.purge(Purge(name="m"))
            assert await two.redis.purges.told(20)
            await one.ask()
            (entry,) = one.keeper.shelf
            await one.written()
            secret = Bindings(one.runtime).of("m", entry.partition)
            place = Place(entry.key, None, entry.partition, secret)
            assert await two.redis.find(place) is not None
            one.redis.put(entry, era, seq, place, 100)
            await one.written(2)
            assert await two.redis.find(place) is None

    play(story())


def test_what_was_not_written_for_this_place_is_refused(redis):
    async def story():
        async with replicas(redis.url, QUICK, QUICK, QUICK, QUICK) as (one, two):
            for text in ("first", "second"):
                await one.ask(text)
            await one.ask("first", caller="another")
            await one.written(3)
            names = redis.ask("KEYS", f"{one.redis.key}:a:*")
            values = dict(zip(names, redis.ask("MGET", *names), strict=True))
            assert len(names) == 3
            for name in names:
                for other in set(names) - {name}:
                    redis.ask("SET", name, values[other])
                    await _nobody_takes(two)
                for forged in (b"x", b"SB1-" + bytes(30), values[name][:-1], values[name] + b"x"):
                    redis.ask("SET", name, forged)
                    await _nobody_takes(two)
                redis.ask("DEL", name)
                redis.ask("LPUSH", name, "x")
                await _nobody_takes(two)
                redis.ask("DEL", name)
                redis.ask("SET", name, values[name])
            assert (await two.ask("first")).cache is CacheUse.HIT

    async def _nobody_takes(two):
        before = two.redis.lookups["hit"]
        for entry, place in _places(two):
            kept = await two.redis.find(place)
            assert kept is None or kept.entry.key == entry
        assert two.redis.lookups["hit"] - before <= 2

    def _places(two):
        for key, partition in keys:
            yield key, Place(key, None, partition, Bindings(two.runtime).of("m", partition))

    keys = []

    async def learn_keys():
        async with replicas(redis.url, QUICK, QUICK, QUICK) as (one, _):
            await asyncio.gather(one.ask("first"), one.ask("second"), one.ask("first", caller="another"))
            keys.extend((entry.key, entry.partition) for entry in one.keeper.shelf)

    play(learn_keys())
    play(story())


def test_answers_are_bound_to_who_answers_and_to_whom():
    async def story():
        space = namespace()
        one = Replica("redis://127.0.0.1:1/0", space)
        usual = Bindings(one.runtime).of("m", "key:tester")
        others = {
            Bindings(one.runtime).of("a/m", "key:tester"),
            Bindings(one.runtime).of("m", "key:another"),
            Bindings(one.runtime).of("m", "group:tester"),
            Bindings(one.runtime).of("\ud800", "key:tester"),
        }
        runtime = one.runtime
        for keys in ({"aa": Caller("tester")}, {"bb": Caller("tester")}):
            others.add(Bindings(type(runtime)(**{**_members(runtime), "keys": keys})).of("m", "key:tester"))
        upstreams = {name: type(up)(up.provider, up.transport, up.timeouts, "new") for name, up in _ups(runtime)}
        others.add(Bindings(type(runtime)(**{**_members(runtime), "upstreams": upstreams})).of("m", "key:tester"))
        assert len(others | {usual}) == 8
        assert name_of(b"k", usual) not in {name_of(b"k", other) for other in others}
        await one.close()

    def _members(runtime):
        return {name: getattr(runtime, name) for name in type(runtime).__dataclass_fields__}

    def _ups(runtime):
        return runtime.upstreams.items()

    play(story())


def test_a_stale_answer_of_the_other_stands_in(redis):
    rules = type(PATIENT)(is_shared=True, shared_wait_s=10.0, ttl_s=0.05, stale_s=3600)
    broken = type(QUICK)([b"broken", None], status=500)

    async def story():
        async with replicas(redis.url, QUICK, rules=rules, max_attempts=1) as (one, two):
            await one.ask()
            await one.written()
            await asyncio.sleep(0.06)
            two.transport._answers[:] = [broken]
            outcome = await two.ask()
            assert (outcome.cache, outcome.ending, two.transport.opened) == (CacheUse.STALE, "ok", 1)
            (name,) = redis.ask("KEYS", f"{one.redis.key}:a:*")
            assert 3_500_000 < redis.ask("PTTL", name) <= 3_600_050

    play(story())


def test_embeddings_input_by_input(redis):
    vectors = [type(QUICK)(_vectors(*numbers).pieces[1:]) for numbers in ((1.0, 2.0), (3.0,))]

    async def story():
        async with replicas(redis.url, *vectors) as (one, two):
            assert _told(await _embed(one, ["a", "b"])) == [1.0, 2.0]
            await one.written(2)
            two.transport._answers.pop(0)
            assert _told(await _embed(two, ["b", "c", "a"])) == [2.0, 3.0, 1.0]
            await two.written()
            assert _told(await _embed(one, ["c"])) == [3.0]
            assert (one.transport.opened, two.transport.opened) == (1, 1)

    play(story())


def test_redis_that_begins_anew_is_a_cold_cache(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 4) as (one, two):
            await one.ask()
            await one.written()
            era = one.redis.log.era
            redis.ask("DEL", *redis.ask("KEYS", f"{one.redis.key}:*"))
            await two.ask("something new")
            assert two.redis.log.era != era
            await one.ask("another one")
            assert (len(one.keeper.shelf), one.redis.log.era) == (1, two.redis.log.era), "who knows what was purged"
            await two.written()
            assert (await one.ask("something new")).cache is CacheUse.HIT

    play(story())


@pytest.mark.parametrize("is_read_first", [True, False])
def test_redis_that_lost_its_last_purges_begins_anew(redis, is_read_first):
    """As after a crash that came before they were on its disk: answers of before are there, and their purge is not."""

    async def story():
        async with replicas(redis.url, *[QUICK] * 4) as (one, two):
            await one.ask("purged")
            await one.written()
            era = one.redis.log.era
            one.keeper.purge(Purge(name="m"))
            assert await one.redis.purges.told(20)
            redis.ask("DEL", f"{one.redis.key}:purges")
            redis.ask("SET", f"{one.redis.key}:epoch", f"{era}/0")
            if is_read_first:
                await one.ask("something else")
            else:
                one.keeper.purge(Purge(name="nothing"))
                assert await one.redis.purges.told(20)
            assert era != one.redis.log.era
            third = Replica(redis.url, one.redis.key.partition(":")[2].partition("}")[0], QUICK)
            assert (await third.ask("purged")).cache is CacheUse.MISS
            await third.close()
            await until(lambda: two.redis.log.era == one.redis.log.era)
            await two.ask("after")
            one.keeper.purge(Purge(name="m"))
            assert await one.redis.purges.told(20)
            await until(lambda: not len(two.keeper.shelf))

    play(story())


def test_nothing_in_redis_tells_who_asks_for_what(redis):
    async def story():
        async with replicas(redis.url, QUICK) as (one, _):
            await one.ask("a secret question", caller="lovelace")
            await one.written()
            names = redis.ask("KEYS", f"{{signalbox:{one.redis.key.partition(':')[2].partition('}')[0]}}}*")
            assert len(names) == 3, names  # the epoch, the answer, and the pointer of its normalised text
            assert not [name for name in names if b"secret" in name or b"lovelace" in name]

    play(story())
