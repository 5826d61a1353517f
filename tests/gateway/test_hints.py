"""Breakers of two replicas over a real Redis: what one learns shortens what the other needs, and no more than that."""

import asyncio
import time

import pytest

from gateway.availability import Guard
from gateway.hints import Hints
from policies.breaker import BreakerSettings, BreakerVerdict
from tests.fakes.redis import RedisServer
from tests.gateway.scripted import deployment

ONE = deployment("one")


@pytest.fixture
def server():
    with RedisServer() as running:
        yield running


class HeardGuard(Guard):
    """A guard that counts the hints it gets."""

    def __init__(self):
        super().__init__(BreakerSettings(failures=3))
        self.heard = []

    def hint(self, id, for_s):
        self.heard.append((id, for_s))
        super().hint(id, for_s)

    def call(self, verdict):
        ticket = self.admit(ONE)
        if ticket:
            self.record(ONE, verdict, ticket=ticket, duration_s=0.1)
        return bool(ticket)

    def trip(self):
        while not self.trips:
            self.call(BreakerVerdict.FAIL)


async def _until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def _story(url, story, guards):
    async def run():
        hints = [Hints(url, guard, chance=lambda: 0.0) for guard in guards]
        tasks = [asyncio.create_task(each.run()) for each in hints]
        await story(*hints)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(guard.on_trip == [] for guard in guards)

    asyncio.run(run())


def test_where_one_saw_a_trip_one_failure_is_enough_for_the_other(server):
    first, second = HeardGuard(), HeardGuard()

    async def story(*hints):
        for each in hints:
            await each.is_listening.wait()
        assert second.call(BreakerVerdict.OK)
        first.trip()
        await _until(lambda: second.heard)
        assert second.is_calm, "a hint alone opens nothing"
        assert first.heard == [], "nobody hears himself"
        second.call(BreakerVerdict.FAIL)
        assert not second.call(BreakerVerdict.OK)

    _story(server.url, story, [first, second])


def test_without_redis_nothing_happens_and_later_it_works_again(server):
    first, second = HeardGuard(), HeardGuard()

    async def story(*hints):
        for each in hints:
            await each.is_listening.wait()
        server.kill()
        await _until(lambda: not any(each.is_listening.is_set() for each in hints))
        first.call(BreakerVerdict.OK)
        second.call(BreakerVerdict.OK)
        server.revive()
        for each in hints:
            await each.is_listening.wait()
        first.trip()
        await _until(lambda: second.heard)

    _story(server.url, story, [first, second])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"from": "x", "id": 1, "for_s": 5}',
        b'{"from": "x", "id": "one/m", "for_s": "a"}',
        b'{"from": "x", "id": "one/m", "for_s": -1}',
    ],
)
def test_what_somebody_else_writes_is_passed_over(server, message):
    guard = HeardGuard()

    async def story(hints):
        await hints.is_listening.wait()
        server.ask("PUBLISH", "{signalbox:default}:trips", message)
        server.ask("PUBLISH", "{signalbox:default}:trips", b'{"from": "x", "id": "one/m", "for_s": 1e9}')
        await _until(lambda: guard.heard)
        assert guard.heard == [("one/m", 120.0)]

    _story(server.url, story, [guard])
