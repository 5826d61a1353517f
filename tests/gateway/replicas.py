"""Gateways that share kept answers in a real Redis, within one event loop."""

import asyncio
import itertools
import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace

from policies.cache.rules import CacheRules
from tests.gateway.scripted import Answer
from tests.gateway.test_cache_front import REPLY, Scene

QUICK = Answer(REPLY.pieces[1:])
PATIENT = CacheRules(is_shared=True, shared_wait_s=10.0, is_loose=True)
_numbers = itertools.count()


class Replica(Scene):
    """One gateway: a pipeline, the memory in front of it, and what it shares in Redis."""

    def __init__(self, url, namespace, *answers, rules=PATIENT, **more):
        super().__init__(*answers, **more)
        self.clock = self.loop.time
        self.work = []  # what runs beside the requests
        self.keeper.semantic.use(None, lambda work, _: self.work.append(self.loop.create_task(work)))
        self.redis = self.keeper.share_redis(url, namespace, self.recorder)
        for one in (self.redis.link, self.redis._follower, self.redis.notes):
            one._chance = lambda: 0.0  # pauses are half a second
        self.use(rules)
        self.task = self.loop.create_task(self.redis.run())

    def used_redis(self, result):
        return self.value("signalbox_cache_redis_lookups_total", result=result)

    async def written(self, count=1):
        try:
            await until(lambda: self.redis.written >= count or self.redis.dropped)
        finally:
            assert self.redis.written >= count, (
                self.redis.written,
                self.redis.dropped,
                self.redis.link.reason,
                self.redis.lookups,
                self.redis._waiting,
                self.redis.log.era,
                self.redis.log.seq,
                len(self.keeper.shelf),
                self.keeper.shelf.epoch,
                self.task,
            )

    async def close(self):
        assert not self.task.done(), self.task
        for task in (self.task, *self.work):
            task.cancel()
        await asyncio.wait((self.task, *self.work))
        await self.redis.close()


def namespace():
    """One that no other test has."""
    return f"t{os.getpid()}.{next(_numbers)}"


async def until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@asynccontextmanager
async def replicas(url, *answers, rules=PATIENT, **more):
    """Two of them; each plays `answers` of its own."""
    space = namespace()
    both = [Replica(url, space, *map(replace, answers), rules=rules, **more) for _ in range(2)]
    try:
        # Whoever has not heard Redis yet writes nothing there; on a busy machine it takes a while to connect.
        await until(lambda: all(one.redis.log.era for one in both))
        yield both
    finally:
        for one in both:
            await one.close()


def play(story):
    """Run a story in an event loop of its own."""
    asyncio.run(story)
