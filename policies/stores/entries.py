"""The ledger as a table: one row for every upstream call, written once, read by whoever adds up what was spent."""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from policies.ledger import Entry
from policies.stores.base import StoreError
from providers.base import Usage

FILE_NAME = "signalbox.db"  # in the folder for state; balances and holds are in it too
_KEPT_IN_MEMORY = 10_000
_AT_ONCE = 1_000  # rows per step of a deletion: none of them holds up a writer for long

# Journals have rows in this order, also those that another version left: a new column comes at the end.
_COLUMNS = (
    "tags", "id", "request_id", "at_s", "key", "team", "asked", "route", "model", "deployment", "provider", "operation",
    "purpose", "ending", "cost_nusd", "reported_nusd", "is_estimated", "is_flagged", "input", "cache_read",
    "cache_write_5m", "cache_write_1h", "audio_input", "image_input", "output", "reasoning", "audio_output",
    "image_output", "searches", "service_tier", "saved_nusd", "saved_calls",
)  # fmt: skip
_OF_ENTRY = frozenset(field.name for field in fields(Entry))
_USAGE_COLUMNS = tuple(name for name in _COLUMNS if name not in _OF_ENTRY)
_COUNTS = tuple(field.name for field in fields(Usage) if type(field.default) is int)
_TOKENS = tuple(name for name in _COUNTS if name != "searches")  # a search is paid apart
_REAL = ("at_s",)
_SAVINGS = ("saved_nusd", "saved_calls")
_WHOLE = ("cost_nusd", "reported_nusd", "is_estimated", "is_flagged", *_SAVINGS, *_COUNTS)
_VALUES = f"({', '.join('?' * len(_COLUMNS))})"
# Rows per statement: Python's lock is given up for each, and has to be won back from the threads that serve requests.
_INSERTS = {
    rows: f"INSERT OR IGNORE INTO entries ({', '.join(_COLUMNS)}) VALUES {', '.join([_VALUES] * rows)}"  # noqa: S608
    for rows in (64, 8, 1)
}

# All but the tags, in one call.
_FACTS = attrgetter(*(name if name in _OF_ENTRY else f"usage.{name}" for name in _COLUMNS[1:]))
_NO_USAGE: Any = SimpleNamespace(**dict.fromkeys(_USAGE_COLUMNS))

GROUPS = {
    **{
        name: name
        for name in ("key", "team", "asked", "route", "model", "deployment", "provider", "operation", "purpose")
    },
    "ending": "ending",
    "tag": "tag.value",
    "hour": "strftime('%Y-%m-%dT%H:00', at_s, 'unixepoch')",
    "day": "strftime('%Y-%m-%d', at_s, 'unixepoch')",
    "month": "strftime('%Y-%m', at_s, 'unixepoch')",
}
"""What entries can be grouped and filtered by (times in UTC), and how SQL says it."""


@dataclass(slots=True, frozen=True)
class Spend:
    """What the calls of one group cost. `by` has the values it is grouped by, in their order.

    `reported_nusd` is the sum of what providers said they charged; calls whose provider said nothing add nothing.
    `kept_calls` were answered without a call, which would have cost `saved_nusd` more.
    """

    by: tuple[str | None, ...]
    calls: int
    tokens: int
    cost_nusd: int
    reported_nusd: int
    estimated_calls: int
    flagged_calls: int
    unpriced_calls: int
    kept_calls: int = 0
    saved_nusd: int = 0


def create(connection: sqlite3.Connection) -> None:
    """Make the table, or give the one of an older version the columns it lacks."""
    types = {**dict.fromkeys(_REAL, "REAL"), **dict.fromkeys(_WHOLE, "INTEGER")}
    columns = ", ".join(f"{name} {types.get(name, 'TEXT')}" for name in _COLUMNS if name != "id")
    connection.execute(f"CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, {columns})")
    present = {row[1] for row in connection.execute("PRAGMA table_info(entries)")}
    for name in _COLUMNS:
        if name not in present:
            connection.execute(f"ALTER TABLE entries ADD COLUMN {name} {types.get(name, 'TEXT')}")
    connection.execute("CREATE INDEX IF NOT EXISTS entries_at ON entries (at_s)")


def row_of(entry: Entry) -> tuple[Any, ...]:
    """An entry as journals and the table have it, in JSON types."""
    tags = entry.tags
    if entry.usage is None:
        entry = replace(entry, usage=_NO_USAGE)
    facts: tuple[Any, ...] = _FACTS(entry)
    return (orjson.dumps(tags).decode() if tags else "[]", *facts)


def insert(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Write rows as `row_of` makes them; those whose id is there already are left as they are.

    A row that an older version left in a journal may lack the last columns.
    """
    width = len(_COLUMNS)
    if any(len(row) != width for row in rows):
        rows = [(*row, *(None,) * (width - len(row))) for row in rows]
    at = 0
    for count, statement in _INSERTS.items():
        while at + count <= len(rows):
            connection.execute(statement, tuple(chain.from_iterable(rows[at : at + count])))
            at += count


def delete_before(connection: sqlite3.Connection, until_s: float) -> bool:
    """Delete some of the entries that are older; whether there may be more of them."""
    old = "SELECT rowid FROM entries WHERE at_s < ? LIMIT ?"
    return connection.execute(f"DELETE FROM entries WHERE rowid IN ({old})", (until_s, _AT_ONCE)).rowcount == _AT_ONCE  # noqa: S608


class Ledger:
    """The entries in the state folder, read while a gateway writes them, from any thread or process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def query(
        self, since_s: float, until_s: float, filters: Mapping[str, str] | None = None, group_by: Sequence[str] = ()
    ) -> list[Spend]:
        """What was spent from `since_s` to before `until_s` (Unix seconds), the dearest group first.

        `filters` and `group_by` take the names in GROUPS; a call with two tags counts in both. Raises ValueError for
        another name, StoreError where there is no ledger or it cannot be read.
        """
        statement, parameters = _statement(since_s, until_s, filters or {}, group_by)
        with self._connected() as connection:
            rows = connection.execute(statement.format(entries=_source(connection)), parameters).fetchall()
        return [Spend(tuple(row[: len(group_by)]), *row[len(group_by) :]) for row in rows]

    def stream(self, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """Every entry of that time, the oldest first, in the form of Entry.row(). Raises StoreError."""
        with self._connected() as connection:
            source = _source(connection)
            statement = f"SELECT {', '.join(_COLUMNS)} FROM {source} WHERE at_s >= ? AND at_s < ? ORDER BY at_s, rowid"  # noqa: S608
            for values in connection.execute(statement, (since_s, until_s)):
                yield _row(values)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            raise StoreError(
                f"no ledger at {self._path}; a gateway writes it when SIGNALBOX_STATE_DIR names a folder for it"
            )
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"the ledger at {self._path} cannot be read: {error}") from error


class MemoryLedger(Ledger):
    """The last 10,000 entries of a gateway without a state folder; they end with it."""

    def __init__(self, kept: int = _KEPT_IN_MEMORY) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._lock = threading.Lock()

    def add(self, entries: Sequence[Entry]) -> None:
        """Keep these; the oldest make room."""
        with self._lock:
            self._entries.extend(entries)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            entries = list(self._entries)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            create(connection)
            insert(connection, list(map(row_of, entries)))
            yield connection


def _source(connection: sqlite3.Connection) -> str:
    """What to select from: a table of an older version lacks columns until a gateway of this one has opened it."""
    present = {row[1] for row in connection.execute("PRAGMA table_info(entries)")}
    missing = [f"NULL AS {name}" for name in _COLUMNS if name not in present]
    return f"(SELECT rowid, *, {', '.join(missing)} FROM entries) AS entries" if missing else "entries"  # noqa: S608


def _statement(
    since_s: float, until_s: float, filters: Mapping[str, str], group_by: Sequence[str]
) -> tuple[str, list[Any]]:
    unknown = [name for name in (*filters, *group_by) if name not in GROUPS]
    if unknown:
        raise ValueError(f"spending cannot be grouped or filtered by {unknown[0]!r}; known: {', '.join(GROUPS)}")
    where = ["at_s >= ?", "at_s < ?"]
    parameters: list[Any] = [since_s, until_s]
    source = "{entries}"
    if "tag" in group_by:
        source = "{entries} LEFT JOIN json_each(entries.tags) AS tag"
    for name, value in filters.items():
        by = "EXISTS (SELECT 1 FROM json_each(entries.tags) AS one WHERE one.value = ?)"
        where.append(by if name == "tag" else f"{GROUPS[name]} = ?")
        parameters.append(value)
    groups = [GROUPS[name] for name in group_by]
    tokens = " + ".join(f"coalesce({name}, 0)" for name in _TOKENS)
    sums = [
        "count(*) - count(saved_calls)",
        f"coalesce(sum({tokens}), 0)",
        "coalesce(sum(cost_nusd), 0) AS cost",
        "coalesce(sum(reported_nusd), 0)",
        "coalesce(sum(is_estimated), 0)",
        "coalesce(sum(is_flagged), 0)",
        "count(*) - count(cost_nusd)",
        "coalesce(sum(saved_calls), 0)",
        "coalesce(sum(saved_nusd), 0)",
    ]
    # Names come from GROUPS and from the fields of Entry and Usage; what the caller wrote is bound.
    statement = f"SELECT {', '.join(groups + sums)} FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608
    if groups:
        numbers = ", ".join(str(at + 1) for at in range(len(groups)))
        statement += f" GROUP BY {numbers} ORDER BY cost DESC, {numbers}"
    return statement, parameters


def _row(values: Sequence[Any]) -> dict[str, Any]:
    row = dict(zip(_COLUMNS, values, strict=True))
    row["tags"] = orjson.loads(row.pop("tags"))
    for name in ("is_estimated", "is_flagged"):
        row[name] = bool(row[name])
    for name in _USAGE_COLUMNS:
        if not row[name]:
            del row[name]
    if row["saved_calls"] is None:
        for name in _SAVINGS:
            del row[name]
    return row
