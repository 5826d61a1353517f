"""The store of one process: what a restart finds, whatever ended the process before."""

import asyncio
import errno
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from policies.stores.base import Denied, Granted, Line, OpenHold, Settlement, StoreError, Unavailable
from policies.stores.entries import Ledger
from policies.stores.journal import Disk, segments
from policies.stores.recovery import ALONE
from policies.stores.sqlite import SqliteStore
from policies.stores.sqlite_shared import SharedSqliteStore
from tests.policies.stores.crashes import (
    MODES,
    KilledError,
    MortalDisk,
    abandon,
    do,
    entry,
    expect,
    expected,
    script,
    state,
)
from tests.policies.stores.kinds import Clock, at_once, budget, per_minute
from tests.policies.stores.model import Model


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the store again and again; the last one is closed."""
    stores = []

    def open_again(**options):
        stores.append(SqliteStore(tmp_path, clock, **{"has_thread": False, **options}))
        return stores[-1]

    yield open_again
    if stores and stores[-1]._lock._descriptor is not None:
        asyncio.run(stores[-1].close())


def hold(store, hold_id, *lines, is_dispatched=True, lease_s=60.0):
    return store.hold(hold_id, [Line(*line) for line in lines], lease_s, is_dispatched=is_dispatched)


@pytest.fixture
def fast_folder(tmp_path):
    """In memory where the system has such a folder: what a sync does cannot be seen here, and hundreds take long."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_kill_at_every_write_loses_and_doubles_nothing(fast_folder):
    done = subprocess.run(
        [sys.executable, "-m", "tests.policies.stores.killed", str(fast_folder), "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["kills"] > 80


@pytest.mark.parametrize("seed", range(10))
def test_crash_after_crash_while_it_recovers_too(fast_folder, seed):
    random = Random(seed)
    model, clock, number = Model(), Clock(), 0
    for _ in range(8):
        disk = MortalDisk(random.randint(0, 25), random.choice(MODES), _end)
        store, under_way = None, None
        try:
            store = SqliteStore(fast_folder, clock, disk=disk, segment_bytes=1500, has_thread=False)
            for step in script(random, 10, number):
                number += step[0] == "hold"
                under_way = step
                answer = do(store, clock, step)
                under_way = None
                assert answer == expect(model, step)
            asyncio.run(store.close())
        except KilledError:
            if store is not None:
                abandon(store)
        model = _after_restart(fast_folder, clock, model, under_way)


def _end():
    raise KilledError


def _after_restart(folder, clock, model, under_way):
    """The model that agrees with what is found: a step without an answer came about or not, but never in part."""
    models = [model]
    if under_way is not None:
        models.append(deepcopy(model))
        expect(models[1], under_way)
    store = SqliteStore(folder, clock, has_thread=False)
    found = state(store)
    store.write_down()
    rows = {row["id"] for row in Ledger(folder).stream(0, 1e12) if not row["is_flagged"]}
    abandon(store)
    for one in models:
        one.now_s = clock.now_s
        one.restart()
    agreeing = [one for one in models if (expected(one), one.entries) == (found, rows)]
    assert agreeing, f"{under_way}: found {found} and {rows}; wanted {[(expected(one), one.entries) for one in models]}"
    return agreeing[0]


def test_what_was_spent_and_held_is_there_after_a_restart(opened, clock):
    day, minute, slots = budget(1000, carry_max=300), per_minute(100), at_once(3)
    store = opened()
    hold(store, "a", (day, 600), (minute, 60), (slots, 1))
    store.settle(Settlement("a", [250, 25, 1]))
    hold(store, "b", (day, 100), (minute, 10), (slots, 1))
    hold(store, "unsent", (day, 100), (minute, 10), (slots, 1), is_dispatched=False)
    abandon(store)
    store = opened()
    spent = [(balance.spent, balance.held) for balance in store.balances([day, minute, slots])]
    assert spent == [(250, 100), (25, 10), (0, 1)], "what was not sent leaves nothing"
    assert store.open_holds() == [OpenHold("b", {day.id: 100, minute.id: 10, slots.id: 1}, clock.now_s + 60, True)]
    clock.now_s += 86_400
    assert store.balances([day])[0].carried == 300
    asyncio.run(store.close())
    assert opened().balances([day])[0].carried == 300


def test_what_was_under_way_is_charged_when_its_lease_ends_and_flagged(opened, clock, tmp_path):
    day = budget(1000)
    store = opened()
    hold(store, "a", (day, 600))
    abandon(store)
    store = opened()
    clock.now_s += 61
    assert (store.balances([day])[0].spent, store.open_holds()) == (600, [])
    assert [expired.id for expired in store.reports.expired] == ["a"]
    store.write_down()
    (row,) = Ledger(tmp_path).stream(0, 1e12)
    assert (row["request_id"], row["cost_nusd"], row["is_flagged"], row["ending"]) == ("a", 600, True, "lease_ended")


def test_a_late_settlement_takes_the_flagged_entry_back(opened, clock, tmp_path):
    day = budget(1000)
    store = opened()
    hold(store, "a", (day, 600))
    clock.now_s += 61
    assert store.balances([day])[0].spent == 600
    store.write_down()
    store.settle(Settlement("a", [120], [entry("a", 120)]))
    store.write_down()
    assert [(row["id"], row["cost_nusd"]) for row in Ledger(tmp_path).stream(0, 1e12)] == [("a", 120)]
    abandon(store)
    assert opened().balances([day])[0].spent == 120


def test_entries_of_requests_that_held_nothing_are_written(opened, tmp_path):
    store = opened()
    store.settle(Settlement("never held", (), [entry("free")]))
    store.settle(Settlement("never held", (), [entry("free")]))
    store.write_down()
    assert [row["id"] for row in Ledger(tmp_path).stream(0, 1e12)] == ["free"]


def test_the_thread_writes_what_the_loop_does_not_wait_for(opened, tmp_path):
    class Telling(Disk):
        def __init__(self):
            self.commits = asyncio.Event()

        def commit(self, connection):
            super().commit(connection)
            loop.call_soon_threadsafe(self.commits.set)

    async def settle_and_wait():
        disk = Telling()
        store = opened(has_thread=True, disk=disk)
        disk.commits.clear()
        store.settle(Settlement("a", (), [entry("a")]))
        while not list(Ledger(tmp_path).stream(0, 1e12)):
            await asyncio.wait_for(disk.commits.wait(), 20)
            disk.commits.clear()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(settle_and_wait())


def test_the_journal_is_synced_every_second_however_long_the_tables_take(opened):
    now, synced = [100.0], []

    class Slow(Disk):
        def commit(self, connection):
            super().commit(connection)
            now[0] += 0.5

        def sync(self, descriptor):
            super().sync(descriptor)
            synced.append(now[0])

    store = opened(disk=Slow(), clock=lambda: now[0])
    for number in range(20):
        store.settle(Settlement(f"never held {number}", (), [entry(f"free {number}")]))
        store._round()
        now[0] += 0.2
    assert len(synced) > 5
    assert max(after - before for before, after in pairwise([100.0, *synced])) < 1.5


def test_a_second_process_is_told_what_to_do(opened, tmp_path):
    opened()
    with pytest.raises(StoreError, match=r"another process uses the state folder .*SIGNALBOX_STATE_DIR"):
        SqliteStore(tmp_path)


def test_a_database_of_a_newer_version_is_left_alone(opened, tmp_path):
    store = opened()
    store._connection.execute("PRAGMA user_version = 99")
    asyncio.run(store.close())
    with pytest.raises(StoreError, match="newer version"):
        SqliteStore(tmp_path)


class FaultyDisk(Disk):
    """Full from the moment `is_full` is set; takes `part` bytes of each write before it says so."""

    def __init__(self):
        self.is_full = False
        self.part = 0
        self.is_broken = False

    def write(self, descriptor, data):
        if self.is_full and self.part:
            return os.write(descriptor, data[: self.part])
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)

    def commit(self, connection):
        if self.is_broken:
            raise sqlite3.OperationalError("disk I/O error")
        super().commit(connection)


@pytest.mark.parametrize("part", [0, 30])
def test_a_full_disk_refuses_holds_and_loses_no_settlement(opened, part):
    disk, day = FaultyDisk(), budget(1000)
    store = opened(disk=disk)
    hold(store, "a", (day, 100))
    disk.is_full, disk.part = True, part
    assert isinstance(hold(store, "b", (day, 100)), Unavailable)
    assert store.balances([day])[0].held == 100, "what could not be written is not held"
    store.settle(Settlement("a", [70], [entry("a", 70)]))
    refused = hold(store, "c", (day, 1), is_dispatched=False)
    assert isinstance(refused, Unavailable)
    assert "cannot be written" in refused.reason
    assert store.problem == refused.reason
    disk.is_full = False
    store._journal.sync()
    assert store.problem is None
    assert isinstance(hold(store, "d", (day, 10)), Granted)
    abandon(store)
    store = opened()
    assert (store.balances([day])[0].spent, store.balances([day])[0].held) == (70, 10)


def test_a_database_that_cannot_be_written_is_told_and_tried_again(opened):
    disk, day = FaultyDisk(), budget(1000)
    store = opened(disk=disk)
    disk.is_broken = True
    hold(store, "a", (day, 100))
    store.settle(Settlement("a", [70]))
    store.write_down()
    assert "disk I/O error" in store.problem
    assert isinstance(hold(store, "b", (day, 931)), Denied), "memory decides meanwhile, and the journal remembers"
    disk.is_broken = False
    store.write_down()
    assert store.problem is None
    abandon(store)
    assert opened().balances([day])[0].spent == 70


def test_finished_journals_are_deleted_once_the_database_has_them(opened, tmp_path):
    day = budget(10_000)
    store = opened(segment_bytes=500)
    for number in range(20):
        hold(store, f"h{number}", (day, 10))
        store.settle(Settlement(f"h{number}", [7]))
    before = len(segments(tmp_path, ALONE))
    store.write_down()
    store.remove_applied()
    assert before > 5
    assert len(segments(tmp_path, ALONE)) == 1
    asyncio.run(store.close())
    assert segments(tmp_path, ALONE) == []
    assert opened().balances([day])[0].spent == 140


def test_from_one_worker_to_several_and_back(opened, clock, tmp_path):
    day, minute = budget(1000), per_minute(100)

    async def share():
        shared = SharedSqliteStore(tmp_path, clock, max_wait_s=20.0)
        assert [(b.spent, b.held) for b in await shared.balances([day, minute])] == [(30, 200), (3, 20)]
        await shared.hold("c", [Line(day, 100), Line(minute, 10)], 60.0, is_dispatched=True)
        shared.settle(Settlement("c", [40, 4], [entry("c", 40)]))
        await shared.hold("d", [Line(day, 100), Line(minute, 10)], 60.0, is_dispatched=True)
        await shared.hold("unsent", [Line(day, 100), Line(minute, 10)], 60.0)
        with pytest.raises(StoreError, match="another process uses"):
            opened()
        await shared.close()

    store = opened()
    hold(store, "a", (day, 100), (minute, 10))
    store.settle(Settlement("a", [30, 3]))
    hold(store, "b", (day, 200), (minute, 20))
    abandon(store)
    asyncio.run(share())
    store = opened()
    assert [(b.spent, b.held) for b in store.balances([day, minute])] == [(70, 300), (7, 30)]
    clock.now_s += 61
    assert store.balances([day])[0].spent == 370
