"""Several processes on one Redis, and what a process that is killed leaves to the next one."""

import asyncio
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from policies.stores import redis_journal
from policies.stores.base import Granted, Line, Settlement
from policies.stores.journal import Disk
from policies.stores.redis import RedisStore
from policies.stores.redis_journal import RedisJournal
from tests.fakes.redis import RedisServer
from tests.policies.stores.crashes import entry
from tests.policies.stores.kinds import Clock, budget, per_minute
from tests.policies.stores.redis_worker import METERS, MOST_NUSD

_ROOT = Path(__file__).parents[3]


def test_four_processes_never_spend_more_than_a_budget_and_nearly_all_of_it(redis_server):
    namespace = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.policies.stores.redis_worker", redis_server.url, namespace]
    workers = [subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, cwd=_ROOT) for seed in range(4)]
    spent = sum(int(worker.communicate(timeout=60)[0]) for worker in workers)
    limit = METERS[1].limit
    assert limit - MOST_NUSD < spent <= limit, "nothing more fits"
    assert spent >= 0.95 * limit

    async def balances():
        store = RedisStore(redis_server.url, namespace=namespace, timeout_s=20.0)
        found = await store.balances(METERS)
        await store.close()
        return [(balance.spent, balance.held) for balance in found]

    assert asyncio.run(balances()) == [(spent, 0)] * 3


def test_four_workers_admit_a_limit_within_one_percent_over_ten_windows(redis_server):
    clock, namespace = Clock(), uuid.uuid4().hex
    minute = per_minute(100)

    async def story():
        stores = [RedisStore(redis_server.url, now=clock, namespace=namespace, timeout_s=20.0) for _ in range(4)]
        admitted = 0
        for step in range(11 * 100):
            verdicts = await asyncio.gather(*(store.hold(f"{step}.{at}", [Line(minute, 1)], 30)
                                              for at, store in enumerate(stores)))  # fmt: skip
            for at, verdict in enumerate(verdicts):
                if isinstance(verdict, Granted):
                    stores[at].settle(Settlement(f"{step}.{at}", (1,)))
                    admitted += step >= 100  # the first window begins empty
            clock.now_s += 0.6
        for store in stores:
            await store.close()
        return admitted

    assert abs(asyncio.run(story()) - 1000) <= 10


class DyingDisk(Disk):
    """After so many writes (of the last one, only a part gets there) nothing reaches the disk any more."""

    def __init__(self, writes, part=1.0):
        self.left = writes
        self.part = part

    def write(self, descriptor, data):
        self.left -= 1
        if self.left < 0:
            return len(data)
        return super().write(descriptor, data if self.left else data[: int(len(data) * self.part)])


async def _restarted(server, namespace, clock, folder):
    """What Redis has after a new process found the journal, and whether it left anything there."""
    store = RedisStore(server.url, RedisJournal(folder), clock, namespace=namespace, timeout_s=20.0)
    await store.start()
    await store.told()
    spent = (await store.balances([_DAY]))[0].spent
    await store.close()
    return spent, list(folder.glob("journal-redis-*"))


_DAY = budget(10**9)


@pytest.mark.parametrize("part", [1.0, 0.4])
@pytest.mark.parametrize("writes", range(1, 9))
def test_a_kill_at_any_write_loses_nothing_and_counts_nothing_twice(redis_server, tmp_path, monkeypatch, writes, part):
    monkeypatch.setattr(redis_journal, "_MARKED_EVERY", 2)
    clock, namespace = Clock(), uuid.uuid4().hex

    async def story():
        disk = DyingDisk(writes, part)
        journal = RedisJournal(tmp_path, disk=disk)
        store = RedisStore(redis_server.url, journal, clock, namespace=namespace, timeout_s=20.0)
        await store.start()
        completed, number = 0, 0
        while disk.left > 0:
            await store.hold(str(number), [Line(_DAY, 1000)], 60)
            last = disk.left == 1
            store.settle(Settlement(str(number), (10**number,)))
            if not last or part == 1.0:
                completed += 10**number
            if number % 2 and not last:
                await store.told()  # Redis has it, and the journal says so
            number += 1
        store._queue._sender.cancel()  # this is the kill: nothing of it runs any more
        store._queue._syncer.cancel()
        await store.link.close()
        journal._lock.release()
        assert await _restarted(redis_server, namespace, clock, tmp_path) == (completed, [])
        assert await _restarted(redis_server, namespace, clock, tmp_path) == (completed, [])

    asyncio.run(story())


class KilledError(Exception):
    """Stands for the end of the process: nothing that was running comes back."""


def test_a_kill_between_the_settlement_and_the_ledger_leaves_both_to_the_next_process(redis_server, tmp_path):
    """What was paid for and what the ledger says are in one record: else a hold whose cost is known stays held."""
    clock, namespace = Clock(), uuid.uuid4().hex
    written = [entry("held/0", 30), entry("held/1", 40)]

    def killed(entries):
        raise KilledError

    async def story():
        journal = RedisJournal(tmp_path)
        store = RedisStore(redis_server.url, journal, clock, namespace=namespace, timeout_s=20.0, ledger=killed)
        await store.start()
        await store.hold("held", [Line(_DAY, 1000)], 60, is_dispatched=True)
        with pytest.raises(KilledError):
            store.settle(Settlement("held", (70,), written))
        with pytest.raises(KilledError):
            store.charge("other", [Line(_DAY, 5)], clock.now_s, [entry("other/0", 5)])
        store._queue._sender.cancel()
        store._queue._syncer.cancel()
        await store.link.close()
        journal._lock.release()

        ledger = []
        journal = RedisJournal(tmp_path)
        store = RedisStore(redis_server.url, journal, clock, namespace=namespace, timeout_s=20.0, ledger=ledger.extend)
        await store.start()
        await store.told()
        balance = (await store.balances([_DAY]))[0]
        await store.close()
        assert (balance.spent, balance.held) == (75, 0)
        assert ledger == [*written, entry("other/0", 5)]

    asyncio.run(story())


_LEAVES = """
import asyncio, sys, os, signal
from pathlib import Path
from policies.stores.base import Line, Settlement, Unavailable
from policies.stores.redis import RedisStore
from policies.stores.redis_journal import RedisJournal
from tests.policies.stores.kinds import budget

async def main(url, folder, redis_pid):
    store = RedisStore(url, RedisJournal(Path(folder)), namespace="left", timeout_s=0.2)
    for number in range(20):
        await store.hold(str(number), [Line(budget(10**9), 1000)], 600)
    os.kill(int(redis_pid), signal.SIGSTOP)
    refused = await store.hold("refused", [Line(budget(10**9), 700)], 600, is_dispatched=True)  # Redis takes it later
    assert isinstance(refused, Unavailable)
    for number in range(20):
        store.settle(Settlement(str(number), (number,)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


def test_what_redis_did_not_hear_before_a_kill_it_hears_from_the_next_process(tmp_path):
    with RedisServer() as server:
        command = [sys.executable, "-c", _LEAVES, server.url, str(tmp_path), str(server.pid)]
        assert subprocess.run(command, timeout=60, cwd=_ROOT, check=False).returncode == -signal.SIGKILL
        server.thaw()

        async def story():
            other = RedisJournal(tmp_path)  # of a process that lives: not taken over
            other.append({"op": ["renew", [], 0]})
            store = RedisStore(server.url, RedisJournal(tmp_path), namespace="left", timeout_s=20.0)
            await store.start()
            balance = (await store.balances([budget(10**9)]))[0]
            assert (balance.spent, balance.held) == (sum(range(20)), 0)
            await store.close()
            assert {path.name.split("-")[2][:12] for path in tmp_path.iterdir()} == {other.name.removeprefix("redis-")}
            other.close()

        asyncio.run(story())
