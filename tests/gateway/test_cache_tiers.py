"""Further tiers of the cache: asked after memory and after calls under way, told of what is new."""

import asyncio
import json

from gateway.caching.tiers import Found
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from tests.gateway.scripted import Answer
from tests.gateway.test_cache_edges import _embed, _told, _vectors
from tests.gateway.test_cache_front import REPLY, WHOLE, play


class Elsewhere:
    """A Tier and a VectorStore that have what they are given, after `wait_s`."""

    def __init__(self, wait_s=0.0):
        self.wait_s, self.entries, self.kept, self.looks = wait_s, {}, [], 0

    async def look(self, question):
        self.looks += 1
        await asyncio.sleep(self.wait_s)
        entry = self.entries.get(question.key)
        return _Look(self, None if entry is None else Found(entry, CacheUse.HIT, b"x-where: elsewhere\r\n"))

    def renewal(self, question):
        return _Look(self, None)

    async def find(self, question, keys):
        return [self.entries.get(key) for key in keys]

    def keep(self, entries):
        self.kept += entries


class _Look:
    def __init__(self, tier, found):
        self.tier, self.found = tier, found

    def keep(self, entry):
        self.tier.kept.append(entry)


def attach(scene, *tiers, vectors=None):
    scene.keeper.stand_before(scene.pipeline, scene.recorder, scene.loop, scene.clock, scene.pressure, tiers, vectors)


def test_what_is_new_is_told_to_the_tiers_and_found_there():
    async def work(scene):
        first, second = Elsewhere(), Elsewhere()
        attach(scene, first, second)
        assert (await scene.ask()).cache is CacheUse.MISS
        assert [len(tier.kept) for tier in (first, second)] == [1, 1]
        (entry,) = second.kept
        assert (await scene.ask()).cache is CacheUse.HIT
        assert (first.looks, second.looks) == (1, 1), "memory comes first"
        scene.keeper.shelf.drop(entry.key)
        second.entries[entry.key] = entry
        again = await scene.ask()
        assert (again.cache, again.head_lines.endswith(b"x-where: elsewhere\r\n")) == (CacheUse.HIT, True)
        assert len(first.kept) == 1, "what is found is not new"

    play(work, REPLY)


def test_who_wants_it_new_gives_it_to_the_others():
    async def work(scene):
        tier = Elsewhere()
        attach(scene, tier)
        await scene.ask(cache_control="no-cache")
        assert (tier.looks, len(tier.kept)) == (0, 1)

    play(work, REPLY)


def test_what_may_not_be_kept_is_not_told_to_them():
    async def work(scene):
        tier = Elsewhere()
        attach(scene, tier)
        assert (await scene.ask()).ending == "ok"
        await scene.ask(cache_control="no-store")
        assert tier.kept == []

    cut = {**WHOLE, "choices": [WHOLE["choices"][0] | {"finish_reason": "length"}]}
    answer = Answer([b"7,3," + json.dumps(cut).encode(), None])
    play(work, answer, REPLY)


def test_a_call_that_began_while_a_tier_was_asked_is_joined():
    async def work(scene):
        tier = Elsewhere(0.2)
        attach(scene, tier)
        first = asyncio.create_task(scene.ask())
        await asyncio.sleep(0.1)
        assert (await scene.ask()).cache is CacheUse.SHARED
        assert (await first).cache is CacheUse.MISS
        assert scene.transport.opened == 1

    play(work, REPLY)


def test_vectors_from_elsewhere():
    async def work(scene):
        store = Elsewhere()
        attach(scene, vectors=store)
        await _embed(scene, ["a", "b"])
        assert len(store.kept) == 2
        for entry in store.kept:
            store.entries[entry.key] = entry
            scene.keeper.shelf.drop(entry.key)
        outcome = await _embed(scene, ["b", "c", "a"])
        assert _told(outcome) == [2.0, 3.0, 1.0]
        assert len(store.kept) == 3

    play(work, _vectors(1.0, 2.0), _vectors(3.0))


def test_vectors_from_elsewhere_are_young_enough_or_asked_for_again():
    async def work(scene):
        store = Elsewhere()
        attach(scene, vectors=store)
        await _embed(scene, ["a"])
        (entry,) = store.kept
        store.entries[entry.key] = entry
        scene.keeper.shelf.drop(entry.key)
        await asyncio.sleep(100)
        assert _told(await _embed(scene, ["a", "b"], cache_control="max-age=60")) == [7.0, 2.0]

    play(work, _vectors(1.0), _vectors(7.0, 2.0))


def test_a_vector_that_is_too_long_is_kept_nowhere():
    async def work(scene):
        store = Elsewhere()
        attach(scene, vectors=store)
        await _embed(scene, ["a"])
        assert (len(scene.keeper.shelf), store.kept) == (0, [])

    play(work, _vectors(1.0), rules=CacheRules(max_entry_bytes=10))


def test_what_is_shared_with_those_who_wait_and_not_kept_is_not_told_either():
    async def work(scene):
        tier = Elsewhere()
        attach(scene, tier)
        ends = await asyncio.gather(scene.ask(), scene.ask())
        assert [end.cache for end in ends] == [CacheUse.MISS, CacheUse.SHARED]
        assert tier.kept == []

    cut = {**WHOLE, "choices": [WHOLE["choices"][0] | {"finish_reason": "length"}]}
    play(work, Answer([0.5, b"7,3," + json.dumps(cut).encode(), None]))


def test_where_answers_are_kept_for_bad_times_alone_nobody_waits_for_another():
    async def work(scene):
        ends = await asyncio.gather(scene.ask(), scene.ask())
        assert [end.cache for end in ends] == [CacheUse.MISS] * 2
        assert (await scene.ask()).cache is CacheUse.MISS

    play(work, *[REPLY] * 3, rules=CacheRules(is_exact=False, ttl_s=0.0, stale_s=86400))
