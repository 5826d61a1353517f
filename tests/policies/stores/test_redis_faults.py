"""Redis that freezes, crawls, dies, returns, flaps or loses connections: nobody waits, and every unit is counted."""

import asyncio
import time
import uuid
from contextlib import asynccontextmanager

import pytest

from policies.stores.base import Granted, Line, Settlement, Unavailable
from policies.stores.redis import RedisStore
from policies.stores.redis_link import LinkState
from tests.fakes.redis import RedisLine, RedisServer
from tests.policies.stores.kinds import at_once, budget

_WAIT_S = 0.2 + 0.8  # what a call may take, and what a busy machine may add
_DAY, _SLOTS = budget(10**9), at_once(10_000)


@pytest.fixture
def server():
    with RedisServer() as running:
        yield running


@pytest.fixture
def line(server):
    with RedisLine(server.port, seed=7) as running:
        yield running


def _store(url, **options):
    return RedisStore(url, namespace=uuid.uuid4().hex, chance=lambda: 0.0, **options)


class Load:
    """Tasks that hold and settle, request after request: what they were told, and how long that took."""

    def __init__(self, store):
        self.store = store
        self.spent = self.granted = self.refused = 0
        self.longest_s = 0.0
        self._is_over = False

    @asynccontextmanager
    async def running(self, tasks=20):
        running = [asyncio.create_task(self._requests(number)) for number in range(tasks)]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*running)

    async def _requests(self, task):
        number = 0
        while not self._is_over:
            number += 1
            hold_id = f"{task}.{number}"
            began = time.monotonic()
            verdict = await self.store.hold(hold_id, [Line(_DAY, 9000), Line(_SLOTS, 1)], 60)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            if isinstance(verdict, Granted):
                self.granted += 1
                self.spent += number
                self.store.settle(Settlement(hold_id, (number, 1)))
            else:
                assert isinstance(verdict, Unavailable), verdict
                self.refused += 1
            await asyncio.sleep(0.005)


async def _until(is_so, patience_s=20.0):
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def _frozen(server, line, load):
    server.freeze()
    await _until(lambda: load.store.status.state is LinkState.DOWN)
    server.thaw()


async def _slow(server, line, load):
    line.latency_s = 2.0
    await _until(lambda: load.store.status.state is LinkState.DOWN)
    line.latency_s = 0.0


async def _killed(server, line, load):
    server.kill()
    await _until(lambda: load.store.status.state is LinkState.DOWN)
    server.revive()


async def _flapping(server, line, load):
    for _ in range(3):
        server.freeze()
        refused = load.refused
        await _until(lambda: load.refused > refused)  # noqa: B023 - awaited here
        server.thaw()
        granted = load.granted
        await _until(lambda: load.granted > granted)  # noqa: B023


async def _half_of_the_connections_reset(server, line, load):
    line.resets = 0.5
    await load.store.link.close()
    granted = load.granted
    await _until(lambda: load.granted > granted + 200)
    line.resets = 0.0


@pytest.mark.parametrize("fault", [_frozen, _slow, _killed, _flapping, _half_of_the_connections_reset])
def test_no_call_waits_long_and_the_spending_is_exact_afterwards(server, line, fault):
    async def story():
        store = _store(line.url)
        load = Load(store)
        async with load.running():
            await _until(lambda: load.granted > 50)
            await fault(server, line, load)
            granted = load.granted
            await _until(lambda: load.granted > granted + 50)
        store.link.timeout_s = 20.0  # what follows only looks, on a machine that may be busy
        await _until(lambda: store.status.state is LinkState.OK)
        await store.told()
        assert load.longest_s < _WAIT_S
        for _ in range(500):
            balances = await store.balances([_DAY, _SLOTS])
            if not balances[0].held:
                break
            await asyncio.sleep(0.02)  # a lost request may still be on its way
        assert [(balance.spent, balance.held) for balance in balances] == [(load.spent, 0), (0, 0)]
        assert await store.open_holds() == []
        assert (store.status.waiting, store.status.dropped) == (0, 0)
        await store.close()

    asyncio.run(story())


def test_a_hold_whose_answer_was_lost_is_freed_and_its_id_takes_nothing_more(server):
    async def story():
        store = _store(server.url, timeout_s=20.0)
        await store.hold("before", [Line(_DAY, 1)], 60)
        store.link.timeout_s = 0.1
        server.freeze()
        assert isinstance(await store.hold("lost", [Line(_DAY, 500)], 60), Unavailable)
        server.thaw()
        store.link.timeout_s = 20.0
        assert isinstance(await store.hold("lost", [Line(_DAY, 500)], 60), Unavailable), "it is being given up"
        await store.told()
        assert isinstance(await store.hold("lost", [Line(_DAY, 500)], 60), Unavailable)
        store.settle(Settlement("lost", (300,)))
        await store.told()
        await _until(lambda: store.status.state is LinkState.OK)
        balance = (await store.balances([_DAY]))[0]
        assert (balance.spent, balance.held) == (0, 1)
        await store.close()

    asyncio.run(story())


def test_a_busy_process_does_not_blame_redis(server, line):
    async def story():
        store = _store(line.url)
        await store.hold("before", [Line(_DAY, 1)], 60)
        line.latency_s = 0.08
        for number in range(3):
            asyncio.get_running_loop().call_later(0.02, time.sleep, 0.4)
            await store.hold(f"{number}", [Line(_DAY, 1)], 60)
        assert (store.status.state, store.link.failures) == (LinkState.OK, 0)
        await store.close()

    asyncio.run(story())


def test_after_three_failures_redis_is_left_alone_until_one_request_finds_out(server):
    now_s = [0.0]

    async def story():
        store = _store(server.url, clock=lambda: now_s[0], timeout_s=20.0)
        assert isinstance(await store.hold("before", [Line(_DAY, 1)], 60), Granted)
        store.link.timeout_s = 0.05
        server.freeze()
        try:
            for number in range(3):
                assert isinstance(await store.hold(f"{number}", [Line(_DAY, 1)], 60), Unavailable)
            assert store.status.state is LinkState.DOWN
            asked = store.link.round_trips
            for number in range(100):
                assert isinstance(await store.hold(f"not asked {number}", [Line(_DAY, 1)], 60), Unavailable)
            assert store.link.round_trips == asked
            now_s[0] = 0.5
            probes = await asyncio.gather(*(store.hold(f"probe {number}", [Line(_DAY, 1)], 60) for number in range(50)))
            assert all(isinstance(verdict, Unavailable) for verdict in probes)
            assert store.link.round_trips <= asked + 1
            assert store.link.wait_s() == 0.5
        finally:
            server.thaw()
        now_s[0] = 1.0
        store.link.timeout_s = 20.0
        assert isinstance(await store.hold("after", [Line(_DAY, 1)], 60), Granted)
        assert (store.status.state, store.status.reason) == (LinkState.OK, "")
        await store.told()
        assert {hold.id for hold in await store.open_holds()} <= {"before", "after"}
        await store.close()

    asyncio.run(story())
