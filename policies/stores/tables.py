"""Balances and holds as tables: what is written in one transaction, and how it is read back.

Both SQLite stores use the same tables, so that a gateway can go from one worker to several with what it has spent.
A calendar meter has one row, that of its newest window, and one for each window that ended while something of it was
held: more for such a hold has to fit there. What is charged later than that changes nothing any more.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from math import inf
from pathlib import Path
from typing import Any

import orjson

from policies.ledger import Entry, Purpose
from policies.stores import entries
from policies.stores.accounts import CalendarAccount, RollingAccount
from policies.stores.base import Granted, Meter, StoreError, Unit
from policies.stores.memory import Held
from policies.stores.records import Begun, Ended, charge_lines
from policies.windows import Calendar, CalendarWindow, NoWindow, Period, RollingWindow, Window

Account = CalendarAccount | RollingAccount

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
  meter_id TEXT PRIMARY KEY, kind TEXT NOT NULL, start_s REAL NOT NULL, end_s REAL, length_s REAL NOT NULL,
  parts INTEGER NOT NULL, carried INTEGER NOT NULL, raised INTEGER NOT NULL DEFAULT 0,
  spent INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (
  meter_id TEXT, start_s REAL, end_s REAL, carried INTEGER NOT NULL, raised INTEGER NOT NULL, spent INTEGER NOT NULL,
  held INTEGER NOT NULL, PRIMARY KEY (meter_id, start_s)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
  meter_id TEXT, number INTEGER, amount INTEGER NOT NULL, PRIMARY KEY (meter_id, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
  id TEXT PRIMARY KEY, until_s REAL NOT NULL, is_dispatched INTEGER NOT NULL, is_ended INTEGER NOT NULL,
  lines TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS holds_until ON holds (is_ended, until_s);
CREATE TABLE IF NOT EXISTS positions (journal TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""
_HIGHEST = 2**61  # two of them still fit SQLite's integers
_LATE_KEPT_S = 86_400.0  # how long an ended lease is kept for what is settled late
_UNUSED_KEPT_S = 400 * 86_400.0  # a balance whose window ended so long ago is forgotten


def connect(folder: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open the database of a state folder and make what it lacks. Raises StoreError.

    `busy_s`: how long a statement waits for another writer. The caller begins and commits its transactions itself.
    """
    path = folder / entries.FILE_NAME
    try:
        # SQLite gives its other files the mode of the first.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(f"{path} was written by a newer version; start that one, or name another state folder")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        entries.create(connection)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be opened: {error}; is the folder on a local disk and writable?") from error
    return connection


class Changes:
    """What one transaction writes, added up: a hold that comes and goes within it leaves nothing but its charge."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, float], int] = {}  # by meter and start of its window
        self._held: dict[tuple[str, float], int] = {}
        self._buckets: dict[tuple[str, float], int] = {}
        self._ended: dict[int, tuple[Held, list[int]]] = {}  # by the identity of the marks
        self._holds: dict[str, tuple[float, bool, bool, object] | None] = {}
        self._new: set[str] = set()  # holds that the tables do not have
        self._entries: list[Sequence[Any]] = []
        self._void: list[tuple[str]] = []
        self._others: list[tuple[str, tuple[Any, ...]]] = []

    def opened(self, account: Sequence[Any]) -> None:
        """A window began: a row as `account_row` makes it."""
        self._settle_up()
        self._others.append((_KEEP_ENDED, (account[0], account[2])))
        self._others.append((_PUT_ACCOUNT, tuple(account)))

    def charged(self, meter_id: str, kind: str, mark: float, amount: int) -> None:
        """Spent (less than 0: given back)."""
        sums = self._buckets if kind == "rolling" else self._spent
        key = (meter_id, mark)
        sums[key] = sums.get(key, 0) + amount

    def began(self, begun: Begun) -> None:
        """`put_hold` for a call that is sent."""
        if begun.is_new and begun.id not in self._holds:
            self._new.add(begun.id)
        self._holds[begun.id] = (begun.until_s, True, False, begun)

    def ended(self, ended: Ended) -> None:
        """`remove_hold`, what was `charged` for it, and what it `wrote`; all at once for holds of the same windows."""
        self.remove_hold(ended.id)
        known = self._ended.get(id(ended.held.marks))
        if known is None:
            self._ended[id(ended.held.marks)] = ended.held, list(ended.charges)
        else:
            sums = known[1]
            for at, amount in enumerate(ended.charges):
                sums[at] += amount
        self._entries.extend(ended.rows)
        if ended.void is not None:
            self.void(ended.void)

    def held(self, meter_id: str, kind: str, mark: float, amount: int) -> None:
        """Held (less than 0: free again)."""
        key = (meter_id, 0.0 if kind == "rolling" else mark)
        self._held[key] = self._held.get(key, 0) + amount

    def put_hold(
        self, hold_id: str, until_s: float, lines: object, *, is_dispatched: bool, is_ended: bool, is_new: bool = False
    ) -> None:
        """There is this hold now; what was known of it before is replaced. `is_new`: nothing was."""
        if is_new and hold_id not in self._holds:
            self._new.add(hold_id)
        self._holds[hold_id] = (until_s, is_dispatched, is_ended, lines)

    def remove_hold(self, hold_id: str) -> None:
        if hold_id in self._new:
            self._new.remove(hold_id)
            del self._holds[hold_id]
        else:
            self._holds[hold_id] = None

    def wrote(self, rows: Iterable[Sequence[Any]]) -> None:
        """Entries of the ledger, as `entries.row_of` makes them."""
        self._entries.extend(rows)

    def void(self, entry_id: str) -> None:
        """An entry was written for a call whose end is known now."""
        self._void.append((entry_id,))

    def raised(self, meter_id: str, amount: int) -> None:
        self._others.append((_ADD_RAISE, (amount, meter_id)))

    def reset(self, meter_id: str) -> None:
        self._settle_up()
        self._others.append(("UPDATE accounts SET spent = 0 WHERE meter_id = ?", (meter_id,)))
        self._others.append(("DELETE FROM buckets WHERE meter_id = ?", (meter_id,)))

    def write(self, connection: sqlite3.Connection) -> None:
        """Into the open transaction of the caller, once."""
        self._settle_up()
        for statement, values in self._others:
            changed = connection.execute(statement, values).rowcount
            if statement is _ADD_AMOUNTS and not changed:
                connection.execute(_ADD_ENDED, values)
        gone = [(hold_id,) for hold_id, row in self._holds.items() if row is None]
        there = [(hold_id, *row[:3], _lines_of(row[3])) for hold_id, row in self._holds.items() if row is not None]
        if gone:
            connection.executemany("DELETE FROM holds WHERE id = ?", gone)
        if there:
            connection.executemany("INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?)", there)
        if self._entries:
            entries.insert(connection, self._entries)
        if self._void:
            connection.executemany("DELETE FROM entries WHERE id = ?", self._void)

    def _settle_up(self) -> None:
        """What was added up so far comes before a statement for which the order matters."""
        for hold, sums in self._ended.values():
            for line in charge_lines(hold, sums):
                self.charged(*line)
        self._ended.clear()
        for key in self._spent | self._held:
            spent, held = self._spent.get(key, 0), self._held.get(key, 0)
            if spent or held:
                self._others.append((_ADD_AMOUNTS, (_whole(spent), _whole(held), *key)))
        for (meter_id, number), amount in self._buckets.items():
            if amount:
                self._others.append((_ADD_BUCKET, (meter_id, int(number), _whole(amount))))
        self._spent.clear()
        self._held.clear()
        self._buckets.clear()


_PUT_ACCOUNT = (
    "INSERT OR REPLACE INTO accounts (meter_id, kind, start_s, end_s, length_s, parts, carried) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# Sums stop where SQLite would go on with floats.
_SUM = f"max(-{_HIGHEST}, min({_HIGHEST}, {{}} + {{}}))"
_ADD_AMOUNTS = (
    f"UPDATE accounts SET spent = {_SUM.format('spent', '?')}, held = {_SUM.format('held', '?')} "  # noqa: S608
    "WHERE meter_id = ? AND start_s = ?"
)
_ADD_ENDED = _ADD_AMOUNTS.replace("accounts", "ended")
_KEEP_ENDED = (
    "INSERT OR REPLACE INTO ended SELECT meter_id, start_s, end_s, carried, raised, spent, held FROM accounts "
    "WHERE meter_id = ? AND start_s <> ? AND kind = 'calendar' AND held > 0"
)
_ADD_RAISE = f"UPDATE accounts SET raised = {_SUM.format('raised', '?')} WHERE meter_id = ?"  # noqa: S608
_ADD_BUCKET = (
    "INSERT INTO buckets VALUES (?, ?, ?) ON CONFLICT (meter_id, number) "  # noqa: S608
    f"DO UPDATE SET amount = {_SUM.format('amount', 'excluded.amount')}"
)


def _whole(amount: float) -> int:
    return max(-_HIGHEST, min(_HIGHEST, int(amount)))


def _lines_of(lines: object) -> bytes:
    return orjson.dumps(lines.lines() if isinstance(lines, Begun) else lines)


def account_row(meter_id: str, account: Account) -> tuple[Any, ...]:
    """A new account, without what is spent and held. The end is None where it never comes: JSON has no infinity."""
    if isinstance(account, RollingAccount):
        return (meter_id, "rolling", 0.0, None, account.window.length_s, account.window.buckets, 0)
    start_s, end_s = account.period
    return (meter_id, "calendar", start_s, None if end_s == inf else end_s, 0.0, 0, account.carried)


def load_account(connection: sqlite3.Connection, meter_id: str) -> Account | None:
    """The account of a meter with what is spent and held."""
    row = connection.execute(
        "SELECT kind, start_s, end_s, length_s, parts, carried, raised, spent, held FROM accounts WHERE meter_id = ?",
        (meter_id,),
    ).fetchone()
    if row is None:
        return None
    kind, start_s, end_s, length_s, parts, carried, raised, spent, held = row
    account: Account
    if kind == "rolling":
        account = RollingAccount(RollingWindow(length_s, parts))
        buckets = "SELECT number, amount FROM buckets WHERE meter_id = ? ORDER BY number"
        for number, amount in connection.execute(buckets, (meter_id,)):
            account.charge(_whole(amount), number)
    else:
        account = CalendarAccount(Period(start_s, inf if end_s is None else end_s), carried)
        account.spent = _whole(spent)
    account.raised = _whole(raised)
    account.held = _whole(held)
    return account


def load_ended(connection: sqlite3.Connection, meter_id: str, start_s: float) -> CalendarAccount | None:
    """The account of a window that ended while something of it was held."""
    row = connection.execute(
        "SELECT start_s, end_s, carried, raised, spent, held FROM ended WHERE meter_id = ? AND start_s = ?",
        (meter_id, start_s),
    ).fetchone()
    if row is None:
        return None
    account = CalendarAccount(Period(row[0], inf if row[1] is None else row[1]), row[2])
    account.raised, account.spent, account.held = map(_whole, row[3:])
    return account


def load_hold(
    row: Sequence[Any],
    account_of: Callable[[str], Account | None],
    ended_of: Callable[[str, float], Account | None] = lambda *_: None,
) -> Held:
    """A hold from its row (until_s, is_dispatched, is_ended, lines). Its limits are those it was taken under.

    `ended_of` knows the windows that are over, by meter and start. In one that nobody knows is no room for more.
    """
    until_s, is_dispatched, is_ended, text = row
    meters, accounts, marks, amounts = [], [], [], []
    for meter_id, unit, limit, is_returned, _, mark, amount in orjson.loads(text):
        account = account_of(meter_id)
        if account is None or (isinstance(account, CalendarAccount) and account.period.start_s != mark):
            account = ended_of(meter_id, mark)
        if account is None:
            account = CalendarAccount(Period(mark, mark))
            account.spent = limit
            account.held = 0 if is_ended else amount
        meters.append(Meter(meter_id, Unit(unit), limit, _window(is_returned, account)))
        accounts.append(account)
        marks.append(mark)
        amounts.append(amount)
    held = Held(meters, accounts, marks, amounts, Granted(), until_s, bool(is_dispatched))
    held.is_ended = bool(is_ended)
    return held


def _window(is_returned: bool, account: Account) -> Window:
    if is_returned:
        return NoWindow()
    # The unit of a calendar window matters to who opens the next one, and that is never a hold.
    return account.window if isinstance(account, RollingAccount) else CalendarWindow(Calendar.TOTAL, UTC)


def position(connection: sqlite3.Connection, journal: str) -> int:
    """The number of the last record of a journal that is in the tables."""
    row = connection.execute("SELECT number FROM positions WHERE journal = ?", (journal,)).fetchone()
    return 0 if row is None else int(row[0])


def set_position(connection: sqlite3.Connection, journal: str, number: int) -> None:
    """Everything up to this record is in the tables when the transaction is committed."""
    connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (journal, number))


def flagged_entry(hold_id: str, held: Held, at_s: float) -> Entry | None:
    """The ledger's line for a call that was sent and never settled; None where it held no money.

    Who asked for what is not known here: `request_id` is the id of the hold, and the rest is empty.
    """
    money = [amount for meter, amount in zip(held.meters, held.amounts, strict=True) if meter.unit is Unit.NUSD]
    if not money:
        return None
    return Entry(
        id=flagged_id(hold_id), request_id=hold_id, at_s=at_s, key="", team=None, tags=(), asked="", route=None,
        model="", deployment="", provider="", operation="", purpose=Purpose.ANSWER, ending="lease_ended", usage=None,
        cost_nusd=max(money), is_estimated=True, is_flagged=True,
    )  # fmt: skip


def flagged_id(hold_id: str) -> str:
    """The id of that entry."""
    return f"{hold_id}/lease_ended"


def tidy(connection: sqlite3.Connection, now_s: float, keep_days: float | None) -> bool:
    """Delete what nobody asks for any more, within an open transaction; whether more old entries are left."""
    connection.execute("DELETE FROM holds WHERE is_ended = 1 AND until_s < ?", (now_s - _LATE_KEPT_S,))
    connection.execute("DELETE FROM accounts WHERE end_s < ?", (now_s - _UNUSED_KEPT_S,))
    connection.execute("DELETE FROM ended WHERE held <= 0")
    connection.execute(
        "DELETE FROM buckets WHERE number < (SELECT ? / (length_s / parts) - parts - 1 FROM accounts "
        "WHERE accounts.meter_id = buckets.meter_id)",
        (now_s,),
    )
    return keep_days is not None and entries.delete_before(connection, now_s - keep_days * 86_400)
