"""The ledger as others read it: sums by group, every entry, while a gateway writes."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields

import pytest

from policies.ledger import Entry, Purpose
from policies.stores import tables
from policies.stores.base import Settlement, StoreError
from policies.stores.entries import (
    _COLUMNS,
    FILE_NAME,
    Ledger,
    MemoryLedger,
    Spend,
    create,
    delete_before,
    insert,
    row_of,
)
from policies.stores.sqlite import SqliteStore
from providers.base import Usage
from tests.policies.stores.crashes import entry
from tests.policies.stores.kinds import NOON

ENTRIES = [
    entry("a", 100, NOON, tags=("x", "y"), usage=Usage(input=10, output=5, reasoning=3)),
    entry("b", 250, NOON + 10, key="bob", team=None, model="claude", tags=("x",), reported_nusd=240),
    entry("c", 7, NOON + 86_400, purpose=Purpose.RETRY, tags=(), usage=None, is_estimated=True),
    entry("d", None, NOON + 86_401, tags=(), is_flagged=True),
    entry("e", 0, NOON + 86_402, purpose=Purpose.KEPT, usage=None, saved_nusd=500, saved_calls=12, tags=("y",)),
]


@pytest.fixture(params=["file", "memory"])
def ledger(request, tmp_path):
    if request.param == "memory":
        kept = MemoryLedger()
        kept.add(ENTRIES)
        yield kept
        return
    store = SqliteStore(tmp_path, has_thread=False)
    for one in [*ENTRIES, ENTRIES[0]]:
        store.settle(Settlement(one.id, (), [one]))
    store.write_down()
    yield Ledger(tmp_path)  # while the store is open
    asyncio.run(store.close())


def test_sums(ledger):
    (total,) = ledger.query(0, 1e12)
    assert total == Spend((), 4, 18 + 15 + 15, 357, 240, 1, 1, 1, 12, 500)
    assert ledger.query(NOON + 1, NOON + 86_401)[0].calls == 2, "from the first second to before the last"
    assert ledger.query(0, 1) == [Spend((), 0, 0, 0, 0, 0, 0, 0)]


def test_groups_come_with_the_dearest_first(ledger):
    assert [(row.by, row.calls, row.cost_nusd) for row in ledger.query(0, 1e12, group_by=["team", "model"])] == [
        ((None, "claude"), 1, 250),
        (("research", "gpt-5-mini"), 3, 107),
    ]
    assert [(row.by, row.cost_nusd) for row in ledger.query(0, 1e12, group_by=["day"])] == [
        (("2026-06-21",), 350),
        (("2026-06-22",), 7),
    ]


def test_a_call_with_two_tags_counts_in_both(ledger):
    assert [(row.by, row.calls, row.cost_nusd) for row in ledger.query(0, 1e12, group_by=["tag"])] == [
        (("x",), 2, 350),
        (("y",), 1, 100),
        ((None,), 2, 7),
    ]
    assert ledger.query(0, 1e12, {"tag": "x"})[0].cost_nusd == 350


def test_filters(ledger):
    assert ledger.query(0, 1e12, {"key": "bob"})[0].cost_nusd == 250
    assert ledger.query(0, 1e12, {"purpose": "retry", "key": "alice"})[0].cost_nusd == 7
    assert ledger.query(0, 1e12, {"key": "'; DROP TABLE entries; --"})[0].calls == 0


@pytest.mark.parametrize("query", [{"group_by": ["colour"]}, {"filters": {"colour": "red"}}])
def test_an_unknown_name_is_answered_with_the_known_ones(ledger, query):
    with pytest.raises(ValueError, match=r"'colour'; known: key, team"):
        ledger.query(0, 1e12, **query)


def test_every_entry_comes_back_as_it_was(ledger):
    assert list(ledger.stream(0, 1e12)) == [json.loads(json.dumps(one.row())) for one in ENTRIES]


def test_another_process_reads_it(tmp_path):
    store = SqliteStore(tmp_path, has_thread=False)
    store.settle(Settlement("a", (), [ENTRIES[0]]))
    store.write_down()
    program = (
        "import sys; from pathlib import Path; from policies.stores.entries import Ledger; "
        "print(Ledger(Path(sys.argv[1])).query(0, 1e12)[0].cost_nusd)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("100\n", "")
    asyncio.run(store.close())


def test_without_a_ledger_the_reader_is_told_so(tmp_path):
    with pytest.raises(StoreError, match="SIGNALBOX_STATE_DIR"):
        Ledger(tmp_path).query(0, 1)
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        Ledger(tmp_path).query(0, 1)


def test_memory_keeps_the_last_ones():
    ledger = MemoryLedger(kept=2)
    ledger.add(ENTRIES)
    assert [row["id"] for row in ledger.stream(0, 1e12)] == ["d", "e"]


def test_a_table_of_an_older_version_gets_the_columns_it_lacks():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE entries (id TEXT PRIMARY KEY, at_s REAL)")
    create(connection)
    create(connection)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(entries)")}
    assert {"id", "at_s", "cost_nusd", "tags", "cache_read"} <= columns
    connection.close()


def test_the_table_of_an_older_version_is_read_as_it_is(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    create(connection)
    insert(connection, [row_of(one) for one in ENTRIES[:4]])
    for name in ("saved_nusd", "saved_calls"):
        connection.execute(f"ALTER TABLE entries DROP COLUMN {name}")
    connection.close()
    ledger = Ledger(tmp_path)
    assert [(row.by, row.calls, row.kept_calls) for row in ledger.query(0, 1e12, {"tag": "x"}, ["tag"])] == [
        (("x",), 2, 0),
        (("y",), 1, 0),
    ]
    assert list(ledger.stream(0, 1e12)) == [json.loads(json.dumps(one.row())) for one in ENTRIES[:4]]


def test_old_entries_are_deleted(tmp_path):
    store = SqliteStore(tmp_path, lambda: NOON + 86_400 * 30.5, keep_days=30, has_thread=False)
    old = [entry(f"old{number}", 1, 1.0) for number in range(2500)]  # more than go at once
    store.settle(Settlement("all", (), [*ENTRIES, *old]))
    store.write_down()
    store._tidy()
    assert [row["id"] for row in Ledger(tmp_path).stream(0, 1e12)] == ["c", "d", "e"]
    assert not delete_before(store._connection, 0)
    tables.tidy(store._connection, NOON + 86_400 * 300, None)
    assert len(list(Ledger(tmp_path).stream(0, 1e12))) == 3, "kept for ever where nobody said how long"
    asyncio.run(store.close())


def test_every_fact_of_a_call_has_a_column():
    columns = set(_COLUMNS)
    assert columns == {field.name for field in (*fields(Entry), *fields(Usage))} - {"usage"}
    assert len(columns) == len(_COLUMNS)


def test_a_row_of_an_older_version_may_lack_columns(tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as connection:
        create(connection)
        insert(connection, [row_of(entry("a", 5, NOON))[:-2], row_of(entry("b", 7, NOON))])
    assert [row["id"] for row in Ledger(tmp_path).stream(0, 1e12)] == ["a", "b"]


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 200])
def test_rows_are_written_whatever_their_number_and_once(tmp_path, count):
    rows = [row_of(entry(f"{number:03d}", number, NOON + number)) for number in range(count)]
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as connection:
        create(connection)
        insert(connection, rows)
        insert(connection, rows[::-1])
    found = [(row["id"], row["cost_nusd"]) for row in Ledger(tmp_path).stream(0, 1e12)]
    assert found == [(f"{number:03d}", number) for number in range(count)]
