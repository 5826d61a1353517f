"""Several processes, one budget: exact while they run, when one is killed, and when the database keeps them waiting."""

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from policies.stores.base import Denied, Granted, Line, Settlement, StoreError, Unavailable
from policies.stores.entries import FILE_NAME, Ledger, row_of
from policies.stores.journal import Disk, Journal
from policies.stores.sqlite_shared import SharedSqliteStore
from tests.policies.stores import sharing
from tests.policies.stores.crashes import entry
from tests.policies.stores.kinds import NOON, Clock, budget
from tests.policies.stores.test_machine import MemoryMachine

PATIENCE_S = 20.0


def run(scenario):
    return asyncio.run(scenario)


def test_four_processes_share_a_budget_and_one_is_killed(tmp_path):
    command = [sys.executable, "-m", "tests.policies.stores.sharing", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, f"w{number}"], **pipes) for number in range(4)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 4
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    victim = workers[0]
    lines = [victim.stdout.readline() for _ in range(8)]
    victim.kill()
    for worker in workers:
        said, _ = worker.communicate(timeout=60)
        lines += said.splitlines()
    assert [worker.returncode for worker in workers[1:]] == [0, 0, 0]
    settled = dict(line.split() for line in lines if len(line.split()) == 2)

    async def after_the_leases():
        store = SharedSqliteStore(tmp_path, lambda: time.time() + sharing.LEASE_S + 1, max_wait_s=PATIENCE_S)
        balances = await store.balances([sharing.TEAM, sharing.COMPANY])
        holds = await store.open_holds()
        await store.close()
        return balances, holds

    (team, company), holds = run(after_the_leases())
    rows = {row["id"]: row for row in Ledger(tmp_path).stream(0, 1e12)}
    assert holds == []
    assert team.spent == company.spent == sum(row["cost_nusd"] for row in rows.values())
    assert 0.95 * sharing.LIMIT <= team.spent <= sharing.LIMIT
    assert {name: rows[name]["cost_nusd"] for name in settled} == {name: int(cost) for name, cost in settled.items()}
    assert {name.split("-")[0] for name in settled} == {"w0", "w1", "w2", "w3"}, "every one of them spent"
    assert list(tmp_path.glob("journal-*")) == list(tmp_path.glob("worker-*")) == []


class Two:
    """Two stores on one folder, asked in turn, behind the face of one that answers at once."""

    def __init__(self, folder, clock, runner):
        self.runner = runner
        self.stores = [SharedSqliteStore(folder, clock, max_wait_s=PATIENCE_S) for _ in range(2)]

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.stores.reverse()
            return self.runner.run(self._ask(getattr(self.stores[0], name), args, kwargs))

        return call

    async def _ask(self, method, args, kwargs):
        answer = method(*args, **kwargs)
        if answer is None:
            return await self.stores[0].flush()
        return await answer

    def close(self):
        for store in self.stores:
            self.runner.run(store.close())


class SharedMachine(MemoryMachine):
    """Any order of operations, from two processes in turn, gives what the plain model says."""

    def opened(self):
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        return Two(Path(self.folder.name), self.clock, self.runner)

    def teardown(self):
        self.store.close()
        self.runner.close()
        self.folder.cleanup()


TestShared = SharedMachine.TestCase
TestShared.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


async def _pair_around_midnight(folder, clock):
    """Two workers; 90 of 100 spent and 10 held by the first before midnight, all of the next day held by the second."""
    day = budget(100)
    first, second = (SharedSqliteStore(folder, clock, max_wait_s=PATIENCE_S) for _ in range(2))
    await second.hold("spent", [Line(day, 90)], 60.0, is_dispatched=True)
    second.settle(Settlement("spent", [90]))
    await second.flush()
    await first.hold("a", [Line(day, 6)], 60.0, is_dispatched=True)
    await second.hold("b", [Line(day, 2)], 60.0, is_dispatched=True)
    clock.now_s += 20
    await second.hold("next", [Line(day, 70)], 60.0, is_dispatched=True)
    return first, second, day


def test_more_for_a_hold_of_a_window_that_ended_counts_there(tmp_path):
    async def scenario():
        first, second, day = await _pair_around_midnight(tmp_path, Clock(NOON + 43_190))
        answers = [await first.extend("a", [50]), await first.extend("a", [2]), await second.extend("b", [1])]
        (balance,) = await first.balances([day])
        second.settle(Settlement("b", [0]))
        await second.flush()
        answers += [
            await first.extend("a", [3]),
            await first.extend("a", [2]),
            await second.hold("c", [Line(day, 31)], 1),
        ]
        await first.close()
        await second.close()
        return answers, balance

    (much, little, more, over, last, today), balance = run(scenario())
    assert (much.spent, much.held, much.limit) == (90, 8, 100)
    assert [type(one) for one in (little, more, over, last)] == [Granted, Denied, Denied, Granted]
    assert (balance.spent, balance.held) == (0, 70), "none of it is of the new day"
    assert isinstance(today, Denied)


def test_what_is_known_of_a_window_that_ended_goes_with_its_last_hold(tmp_path):
    async def scenario():
        first, second, _ = await _pair_around_midnight(tmp_path, Clock(NOON + 43_190))
        kept = _ended(tmp_path)
        first.settle(Settlement("a", [6]))
        await first.flush()
        second.settle(Settlement("b", [2]))
        await second.flush()
        await asyncio.to_thread(first._keep_small, 60)
        await first.close()
        await second.close()
        return kept

    assert run(scenario()) == [(90, 8)]
    assert _ended(tmp_path) == []


def test_a_window_that_ended_is_known_after_a_restart(tmp_path):
    clock = Clock(NOON + 43_190)

    async def scenario():
        for store in (await _pair_around_midnight(tmp_path, clock))[:2]:
            await store.close()
        store = SharedSqliteStore(tmp_path, clock, max_wait_s=PATIENCE_S)
        answers = [await store.extend("a", [3]), await store.extend("b", [2]), await store.extend("a", [1])]
        await store.close()
        return answers

    assert [type(one) for one in run(scenario())] == [Denied, Granted, Denied]
    assert _ended(tmp_path) == [(90, 10)]


def test_nothing_more_is_held_in_a_window_that_nobody_knows(tmp_path):
    async def scenario():
        first, second, _ = await _pair_around_midnight(tmp_path, Clock(NOON + 43_190))
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
            other.execute("DELETE FROM ended")
            other.commit()
        answers = [await first.extend("a", [1]), await first.extend("a", [-1])]
        await first.close()
        await second.close()
        return answers

    assert [type(one) for one in run(scenario())] == [Denied, Granted]


def _ended(folder):
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return connection.execute("SELECT spent, held FROM ended").fetchall()


def test_a_database_that_is_locked_keeps_nobody_waiting_for_long(tmp_path):
    async def scenario():
        day = budget(1000)
        store = SharedSqliteStore(tmp_path)
        assert isinstance(await _patiently(store, "a", day, 100), Granted)
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began_s = time.monotonic()
            assert isinstance(await store.hold("b", [Line(day, 100)], 60.0), Unavailable)
            waited_s = time.monotonic() - began_s
            store.settle(Settlement("a", [70], [entry("a", 70)]))
            with pytest.raises(StoreError):
                await store.balances([day])
            other.execute("ROLLBACK")
        await store.close()
        return day, waited_s

    day, waited_s = run(scenario())
    assert waited_s < 2, "0.2 s, and what a busy machine adds"

    async def later():
        store = SharedSqliteStore(tmp_path, max_wait_s=PATIENCE_S)
        (balance,) = await store.balances([day])
        await store.close()
        return balance

    balance = run(later())
    assert (balance.spent, balance.held) == (70, 0)


async def _patiently(store, hold_id, meter, amount):
    """A hold that a busy machine may refuse a few times."""
    for _ in range(100):
        verdict = await store.hold(hold_id, [Line(meter, amount)], 60.0, is_dispatched=True)
        if not isinstance(verdict, Unavailable):
            return verdict
    return verdict


class SlowDisk(Disk):
    """Commits wait until they may go on."""

    def __init__(self):
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def commit(self, connection):
        assert self.may_go_on.wait(PATIENCE_S)
        super().commit(connection)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_hold_that_comes_too_late_is_given_back(tmp_path, is_cancelled):
    async def scenario():
        disk, day = SlowDisk(), budget(1000)
        store = SharedSqliteStore(tmp_path, Clock(), disk=disk)
        disk.may_go_on.clear()
        asking = asyncio.create_task(store.hold("a", [Line(day, 900)], 60.0, is_dispatched=True))
        if is_cancelled:
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        else:
            assert isinstance(await asking, Unavailable)
        disk.may_go_on.set()
        store._max_wait_s = PATIENCE_S
        await store.flush()
        await store.flush()  # the first brings the late answer, the second what was made of it
        verdict = await store.hold("b", [Line(day, 1000)], 60.0)
        holds = await store.open_holds()
        await store.close()
        return verdict, [hold.id for hold in holds]

    verdict, holds = run(scenario())
    assert isinstance(verdict, Granted)
    assert holds == ["b"]


def test_what_a_dead_worker_left_is_settled_by_the_others(tmp_path):
    async def scenario():
        day = budget(1000)
        store = SharedSqliteStore(tmp_path, Clock(), max_wait_s=PATIENCE_S)
        await store.hold("a", [Line(day, 900)], 60.0, is_dispatched=True)
        journal = Journal(tmp_path, "worker-dead", 0)
        for _ in range(2):
            journal.append({"k": "settle", "id": "a", "used": [300], "entries": [row_of(entry("a", 300))]})
        journal.close()
        (tmp_path / "worker-dead.lock").touch()
        await asyncio.to_thread(store._keep_small, 5)
        (balance,) = await store.balances([day])
        left = list(tmp_path.glob("*dead*"))
        await store.close()
        return balance, left

    balance, left = run(scenario())
    assert (balance.spent, balance.held) == (300, 0)
    assert left == []


def test_an_operation_that_makes_no_sense_harms_no_other(tmp_path):
    async def scenario():
        day = budget(1000)
        store = SharedSqliteStore(tmp_path, Clock(), max_wait_s=PATIENCE_S)
        await store.hold("a", [Line(day, 100)], 60.0)
        answers = await asyncio.gather(
            store.hold("b", [Line(day, 100)], 60.0),
            store.extend("a", [1, 2]),
            store.hold("c", [Line(day, 900)], 60.0),
            return_exceptions=True,
        )
        (balance,) = await store.balances([day])
        await store.close()
        return answers, balance

    (first, senseless, last), balance = run(scenario())
    assert isinstance(first, Granted)
    assert isinstance(senseless, ValueError)
    assert isinstance(last, Denied)
    assert balance.held == 200
