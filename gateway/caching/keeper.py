"""The kept answers of a process: they outlive every Runtime, and change their limits with it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from config.schema import Config
from gateway.caching.flight import Flights
from gateway.caching.front import CacheFront
from gateway.caching.purges import SharedPurges
from gateway.caching.savings import Savings
from gateway.caching.semantic.keeper import SemanticKeeper, semantic_choice
from gateway.caching.tiers import Tier, VectorStore
from gateway.memory import Pressure
from gateway.pipeline import Pipeline
from gateway.runtime import Caller, Runtime
from gateway.telemetry.recorder import Recorder
from policies.cache.purge import Purge
from policies.cache.rules import CacheRules
from policies.cache.shelf import Shelf
from policies.cache.stale import StaleAnswers
from policies.last_resort import LastResort, NoLastResort

if TYPE_CHECKING:
    from gateway.caching.shared import RedisAnswers
    from gateway.caching.shared_tier import RedisTier


class UntoldPurgeError(Exception):
    """`purged` answers are forgotten here, but the other workers do not know; the message says so."""

    def __init__(self, purged: int, error: OSError) -> None:
        why = error.strerror or type(error).__name__
        super().__init__(f"This worker forgot {purged} answers; the others could not be told ({why}). Purge again.")
        self.purged = purged


class CacheKeeper:
    """`clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._flights = Flights()
        self.shelf = Shelf(clock, 0)
        self.semantic = SemanticKeeper(self.shelf)
        self._shared = SharedPurges(None)
        self.savings: Savings | None = None  # who writes down what was not spent
        self.redis: RedisAnswers | None = None  # what is shared beyond this machine, where there is a Redis

    def share(self, folder: Path | None) -> None:
        """Purges reach all workers that name the same folder; None where there is one worker only."""
        self._shared = SharedPurges(folder)

    def share_redis(self, url: str, namespace: str, recorder: Recorder) -> "RedisAnswers":
        """From the next Runtime on answers are shared through this Redis, where it says so. The caller runs what is
        returned. Raises ValueError for a URL that is none.
        """
        from gateway.caching.shared import RedisAnswers  # noqa: PLC0415 - imports redis

        self.redis = RedisAnswers(
            url, lambda purge: purge.carry_out(self.shelf), namespace=namespace, wall_clock=self._clock
        )
        recorder.metrics.shared_cache.follow(self.redis)
        return self.redis

    def purge(self, purge: Purge) -> int:
        """Forget answers, here first, then in the other workers, and where Redis is shared. Returns how many there were
        here. Raises UntoldPurgeError.
        """
        purged = purge.carry_out(self.shelf)
        if self.redis is not None and self.redis.is_on:
            self.redis.purges.tell(purge)
        try:
            self._shared.tell(purge)
        except OSError as error:
            raise UntoldPurgeError(purged, error) from error
        return purged

    async def tell_wrong(self, caller: str, request_id: str) -> str | None:
        """The answer by meaning that this request got was wrong: learn from it, and forget that answer everywhere.
        Returns the id of its entry; None where no such hit is remembered.
        """
        served = await self.semantic.tell_wrong(caller, request_id)
        if served is None:
            return None
        with suppress(UntoldPurgeError):  # then the others learn by themselves
            self.purge(Purge(entry=served.entry_id, partition=served.partition))
        return served.entry_id

    def forget_strangers(self, before: Mapping[str, Caller], after: Mapping[str, Caller]) -> None:
        """A key that is gone leaves nothing to the next one of its name. Both map digests of secrets to callers."""
        secrets: dict[str, set[str]] = {}
        for digest, caller in after.items():
            secrets.setdefault(caller.name, set()).add(digest)
        known: dict[str, set[str]] = {}
        for digest, caller in before.items():
            known.setdefault(caller.name, set()).add(digest)
        for name, digests in known.items():
            if digests.isdisjoint(secrets.get(name, ())):
                Purge(caller=name).carry_out(self.shelf)
                self.semantic.forget(CacheRules().partition(name))

    def forget_changed(self, before: Runtime, after: Runtime) -> None:
        """Answers of models and routes that are gone, or that others stand behind now, and of groups that are others
        now.
        """
        rules = after.cache
        if rules is not None and before.cache is not None and rules.groups != before.cache.groups:
            for partition in {one.partition for one in self.shelf if one.partition != rules.partition(one.caller)}:
                Purge(partition=partition).carry_out(self.shelf)
        if before.router is after.router:
            return
        was, now = _behind(before), _behind(after)
        changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
        if changed:
            self.shelf.epoch += 1  # nor is kept, or joined, what is under way now
            for entry in self.shelf:
                if not changed.isdisjoint((entry.asked, entry.name)):
                    self.shelf.drop(entry.key)

    async def follow(self) -> None:
        """Forget what other workers are told to. Until cancelled."""
        await self._shared.follow(lambda purge: purge.carry_out(self.shelf))

    def last_resort(self, rules: CacheRules | None) -> LastResort:
        """Who answers when everybody failed."""
        return NoLastResort() if rules is None or not rules.stale_s else StaleAnswers(self.shelf)

    def stand_before(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        pressure: Pressure,
        tiers: Sequence[Tier] = (),
        vectors: VectorStore | None = None,
    ) -> None:
        """From now on the pipeline is asked through the cache, if its Runtime has one. `clock` is monotonic. Of `tiers`
        and `vectors`: see CacheFront.
        """
        rules = pipeline.runtime.cache
        if self.redis is not None:
            self.redis.use(rules)
        if rules is None:
            self.shelf.limit(0, 0.0)
            self.semantic.turn_off()
            return
        self.shelf.limit(rules.max_bytes, rules.stale_s)
        recorder.metrics.cache.follow(self.shelf)
        runtime, flights = pipeline.runtime, self._flights
        redis = self.redis if rules.is_shared else None
        by_meaning = self.semantic.stand_behind(runtime, flights, recorder, loop, clock, self._clock, redis)
        if self.redis is not None and rules.is_shared:
            shared = self._share(self.redis, runtime, rules, pressure)
            tiers, vectors = (shared, *tiers), vectors or shared
        tiers = (*tiers, *by_meaning)
        front = CacheFront(
            pipeline,
            rules,
            self.shelf,
            self._flights,
            recorder,
            loop,
            clock,
            self._clock,
            pressure,
            tiers,
            vectors,
            self.savings,
        )
        pipeline.answer = front.run

    def _share(self, redis: "RedisAnswers", runtime: Runtime, rules: CacheRules, pressure: Pressure) -> "RedisTier":
        """The tier of a Runtime in Redis, and what it brings to the tier of answers by meaning."""
        from gateway.caching.shared_tier import MeaningReader, RedisTier  # noqa: PLC0415 - imports redis

        shared = RedisTier(redis, runtime, rules, self.shelf, self._clock, pressure)
        tier = self.semantic.tier
        redis.notes.use(None if tier is None else MeaningReader(shared, redis, tier))
        return shared


def _behind(runtime: Runtime) -> dict[str, tuple[object, ...]]:
    """Who may answer for each name, and over which connection: that is another one for another address or secret."""
    upstreams = runtime.upstreams
    found: dict[str, tuple[object, ...]] = {
        name: tuple((one.id, id(upstreams.get(one.provider))) for one in plan.deployments())
        for name, plan in runtime.router.plans.items()
    }
    return found | {f"{name}/*": (id(upstream),) for name, upstream in upstreams.items()}


def cache_rules(config: Config) -> CacheRules | None:
    """What the file says; None where no answer is kept."""
    cache = config.policies.cache
    if not cache.exact.enabled and not cache.serve_stale_on_error:
        return None
    return CacheRules(
        is_exact=cache.exact.enabled,
        is_loose=cache.exact.enabled and cache.exact.normalise,
        ttl_s=cache.exact.ttl_s if cache.exact.enabled else 0.0,
        stale_s=cache.stale_s if cache.serve_stale_on_error else 0.0,
        max_bytes=cache.exact.max_mb * 1024 * 1024,
        max_entry_bytes=cache.exact.max_entry_kb * 1024,
        groups=_groups(cache.share),
        is_shared=cache.redis.enabled,
        shared_wait_s=cache.redis.wait_s,
        max_shared_bytes=cache.redis.max_entry_kb * 1024,
        semantic=semantic_choice(config),
    )


def _groups(share: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The group of each key. Who belongs to it is part of its name: with others in it, it is another group."""
    named = {group: f"{group}:{sha256(orjson.dumps(sorted(keys))).hexdigest()[:16]}" for group, keys in share.items()}
    return {key: named[group] for group, keys in share.items() for key in keys}
