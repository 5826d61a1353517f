"""Records that cannot be applied, and amounts that no store can count: nothing else is lost by them."""

import asyncio
import sqlite3
import threading
from zlib import crc32

import orjson
import pytest

from policies.stores.accounts import MOST
from policies.stores.base import Granted, Line, Settlement
from policies.stores.entries import Ledger, row_of
from policies.stores.journal import Disk, Journal, segments
from policies.stores.recovery import ALONE
from policies.stores.sqlite import SqliteStore
from policies.stores.sqlite_shared import SharedSqliteStore
from tests.policies.stores.crashes import abandon, entry
from tests.policies.stores.kinds import Clock, budget, per_minute

TOO_MUCH = 10**19  # fits the journal, and not SQLite


@pytest.fixture
def clock():
    return Clock()


def opened(folder, clock, **options):
    return SqliteStore(folder, clock, **{"has_thread": False, **options})


def spend(store, hold_id, meter, amount):
    assert isinstance(store.hold(hold_id, [Line(meter, amount)], 60.0, is_dispatched=True), Granted)
    store.settle(Settlement(hold_id, [amount], [entry(hold_id, amount)]))


def poison(store):
    """A record of another making: the store itself writes none that cannot be applied."""
    store._journal.append({"k": "of a newer version", "amount": 1})


@pytest.mark.parametrize("amount", [MOST + 1, -TOO_MUCH, 10**300])
@pytest.mark.parametrize("meter", [budget(1000), per_minute(1000)], ids=["calendar", "rolling"])
def test_a_raise_that_cannot_be_counted_changes_nothing(store, meter, amount):
    with pytest.raises(ValueError, match="a raise is at most 9007199254740991 either way"):
        store.raise_limit(meter, amount)
    assert (store.balance(meter).limit, store.balance(meter).raised) == (1000, 0)


def test_raises_together_cannot_be_more_than_can_be_counted(store):
    day = budget(1000)
    store.raise_limit(day, MOST - 5)
    with pytest.raises(ValueError, match="together"):
        store.raise_limit(day, 6)
    assert store.raise_limit(day, 5).raised == MOST
    assert store.raise_limit(day, -MOST).raised == 0


def test_raises_together_stay_whole_numbers_that_can_be_counted(tmp_path, clock):
    day = budget(1000)
    store = opened(tmp_path, clock)
    assert store.raise_limit(day, MOST).raised == MOST
    with pytest.raises(ValueError, match="together"):
        store.raise_limit(day, 1)
    store.raise_limit(day, -5)
    asyncio.run(store.close())
    store = opened(tmp_path, clock)
    assert store.balances([day])[0].raised == MOST - 5
    assert type(store.balances([day])[0].raised) is int
    asyncio.run(store.close())


def test_a_raise_is_in_the_journal_before_it_counts(tmp_path, clock):
    day = budget(1000)
    store = opened(tmp_path, clock)
    known = []
    append = store._journal.append
    store._journal.append = lambda record: known.append((record["k"], store._accounts[day.id].raised)) or append(record)
    store._account(day, clock())
    store.raise_limit(day, 7)
    assert known[-1] == ("raise", 0)
    asyncio.run(store.close())


@pytest.mark.parametrize("ends", ["in peace", "by a kill"])
def test_a_record_that_cannot_be_applied_is_set_aside_and_the_others_count(tmp_path, clock, ends):
    day = budget(1000)
    store = opened(tmp_path, clock)
    spend(store, "a", day, 100)
    poison(store)
    spend(store, "b", day, 20)
    if ends == "in peace":
        asyncio.run(store.close())
    else:
        abandon(store)
    store = opened(tmp_path, clock)
    assert store.balances([day])[0].spent == 120
    assert [row["id"] for row in Ledger(tmp_path).stream(0, 1e12)] == ["a", "b"]
    (aside,) = tmp_path.glob("unapplied-*.jsonl")
    assert str(aside) in store.problem
    (line,) = aside.read_bytes().splitlines()
    told = orjson.loads(line)
    assert (told["record"]["k"], "KeyError" in told["error"]) == ("of a newer version", True)
    assert aside.stat().st_mode & 0o777 == 0o600
    assert isinstance(store.hold("c", [Line(day, 880)], 60.0), Granted)
    asyncio.run(store.close())
    assert segments(tmp_path, ALONE) == []


def test_what_sqlite_cannot_hold_is_set_aside_too(tmp_path, clock):
    day = budget(1000)
    store = opened(tmp_path, clock)
    spend(store, "a", day, 100)
    abandon(store)
    journal = Journal(tmp_path, ALONE, 100)
    journal._put(_line(101, {"k": "raise", "meter": day.id, "amount": TOO_MUCH}))
    journal._put(_line(102, {"k": "raise", "meter": day.id, "amount": 5}))
    journal.close()
    store = opened(tmp_path, clock)
    assert (store.balances([day])[0].spent, store.balances([day])[0].raised) == (100, 5)
    assert "unapplied" in store.problem
    asyncio.run(store.close())


def _line(number, record):
    body = b"%d %s" % (number, orjson.dumps(record))
    return b"%08x %s\n" % (crc32(body), body)


def test_the_writer_outlives_whatever_it_meets(tmp_path, clock):
    class Surprising(Disk):
        is_broken = False

        def __init__(self):
            self.was_met = threading.Event()

        def commit(self, connection):
            if self.is_broken:
                self.was_met.set()
                raise RuntimeError("nobody thought of this")
            super().commit(connection)

    disk, day = Surprising(), budget(1000)
    store = opened(tmp_path, clock, disk=disk, has_thread=True)
    disk.is_broken = True
    spend(store, "a", day, 100)
    assert disk.was_met.wait(20)
    asyncio.run(_close_while_broken(store))
    assert "nobody thought of this" in store.problem
    assert segments(tmp_path, ALONE) != [], "what is not in the tables stays in the journal"
    store = opened(tmp_path, clock)
    assert store.balances([day])[0].spent == 100
    asyncio.run(store.close())


async def _close_while_broken(store):
    assert store._thread.is_alive()
    await store.close()


def test_charges_beyond_what_can_be_counted_are_charged_as_the_most_that_can(tmp_path, clock):
    day = budget(1000)
    store = opened(tmp_path, clock)
    store.hold("a", [Line(day, 1000)], 60.0, is_dispatched=True)
    store.settle(Settlement("a", [10**30], [entry("a", 10**30)]))
    asyncio.run(store.close())
    store = opened(tmp_path, clock)
    assert store.problem is None
    assert store.balances([day])[0].spent == MOST
    assert [row["cost_nusd"] for row in Ledger(tmp_path).stream(0, 1e12)] == [MOST]
    asyncio.run(store.close())


def test_sums_stay_whole_however_often_the_most_is_charged(tmp_path, clock):
    day = budget(10**40)
    store = opened(tmp_path, clock)
    for number in range(1100):
        spend(store, f"h{number}", day, MOST)
    store.write_down()
    (spent,) = store._connection.execute("SELECT spent FROM accounts").fetchone()
    assert type(spent) is int
    assert spent > 2**60
    asyncio.run(store.close())


def test_workers_that_share_a_folder_set_aside_what_cannot_be_applied(tmp_path, clock):
    day = budget(1000)

    async def scenario():
        store = SharedSqliteStore(tmp_path, clock, max_wait_s=20.0)
        await store.hold("a", [Line(day, 900)], 60.0, is_dispatched=True)
        store.settle(Settlement("a", [10**30], [entry("a", 10**30)]))
        await store.flush()
        journal = Journal(tmp_path, "worker-dead", 0)
        journal.append({"k": "settle", "id": "senseless"})
        journal.append({"k": "settle", "id": "b", "used": [5], "entries": [row_of(entry("b", 5))]})
        journal.close()
        (tmp_path / "worker-dead.lock").touch()
        await asyncio.to_thread(store._keep_small, 5)
        (balance,) = await store.balances([day])
        problem = store.problem
        left = list(tmp_path.glob("*dead.lock"))
        await store.close()
        return balance, problem, left

    balance, problem, left = asyncio.run(scenario())
    assert balance.spent == MOST
    assert "unapplied-worker-dead" in problem
    assert left == []
    assert [row["id"] for row in Ledger(tmp_path).stream(0, 1e12)] == ["a", "b"]


def test_a_settlement_that_makes_no_sense_is_set_aside_by_a_worker(tmp_path, clock):
    async def scenario():
        store = SharedSqliteStore(tmp_path, clock, max_wait_s=20.0)
        await store.hold("a", [Line(budget(1000), 900)], 60.0)
        store.settle(Settlement("a", []))
        await store.flush()
        problem = store.problem
        await store.close()
        return problem

    assert "unapplied-worker-" in asyncio.run(scenario())


def test_the_keeper_outlives_whatever_it_meets(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("policies.stores.sqlite_shared._SYNC_EVERY_S", 0.01)

    async def scenario():
        store = SharedSqliteStore(tmp_path, clock, max_wait_s=20.0)
        was_met = threading.Event()

        def surprise(rounds):
            was_met.set()
            raise RuntimeError("nobody thought of this")

        store._keep_small = surprise
        assert await asyncio.to_thread(was_met.wait, 20)
        await asyncio.to_thread(was_met.clear)
        assert await asyncio.to_thread(was_met.wait, 20), "it comes round again"
        await store.close()

    asyncio.run(scenario())


def test_a_step_that_failed_is_done_again_from_the_tables(tmp_path, clock):
    """The reader had moved on: the next step must not take its records for applied."""

    class Refusing(Disk):
        refusals = 0

        def commit(self, connection):
            if self.refusals:
                self.refusals -= 1
                raise sqlite3.OperationalError("database is locked")
            super().commit(connection)

    disk, day = Refusing(), budget(1000)
    store = opened(tmp_path, clock, disk=disk)
    spend(store, "a", day, 100)
    disk.refusals = 1
    store.write_down()
    assert "database is locked" in store.problem
    assert store._applier.last < store._journal.last
    asyncio.run(store.close())
    assert store.problem is None
    store = opened(tmp_path, clock)
    assert store.balances([day])[0].spent == 100
    asyncio.run(store.close())
