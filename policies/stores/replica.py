"""The tables as a store in memory, for the length of one transaction: the rules of holds are written once, in `memory`.

It reads what an operation needs when the operation needs it, and puts what changed into `Changes`. Between two
transactions it keeps what it has read as long as no other process has written meanwhile.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from policies.stores import tables
from policies.stores.base import Granted, Lines, Meter, OpenHold, Settlement, Verdict
from policies.stores.entries import row_of
from policies.stores.memory import Held, MemoryStore, shown
from policies.stores.records import charge_lines, hold_lines

_REAPED_AT_ONCE = 500
_KEPT = 50_000  # accounts


class _Accounts(dict[str, tables.Account]):
    """Accounts by meter, read from the tables when first asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def get(self, meter_id: str, default: Any = None) -> Any:
        account = super().get(meter_id)
        if account is None:
            account = tables.load_account(self._connection, meter_id)
            if account is None:
                return default
            self[meter_id] = account
        return account


class Replica(MemoryStore):
    """A store whose every operation belongs to the transaction that `begin` was told of."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], float]) -> None:
        super().__init__(now)
        self._connection = connection
        self._changes = tables.Changes()
        self._accounts = _Accounts(connection)
        self._ended_accounts: dict[tuple[str, float], tables.Account] = {}  # of windows that are over, by their start
        self._version: int | None = None
        self._gone: set[str] = set()  # settled in this transaction, while the tables still have them

    def begin(self, changes: tables.Changes) -> None:
        """A transaction has begun: forget what another process has changed, and end the leases that are over."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._accounts) + len(self._ended_accounts) > _KEPT:
            self.forget()
        self._version = version
        self._changes = changes
        self._gone.clear()
        self._reap(self._now())

    def forget(self) -> None:
        """What was read is not true any more."""
        self._accounts.clear()
        self._groups.clear()
        self._ended_accounts.clear()
        self._holds.clear()
        self._late.clear()
        self._version = None

    def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        known = self._fetch(hold_id)
        if known is not None:
            now_s = self._now()
            rooms = zip(lines, known.accounts, strict=False)
            return Granted(tuple(account.limit(meter) - account.used(now_s) for (meter, _), account in rooms))
        verdict = super().hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)
        if type(verdict) is Granted:
            held = self._holds[hold_id]
            self._take(held, held.amounts)
            self._put(hold_id, held)
        return verdict

    def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        held = self._fetch(hold_id)
        verdict = super().extend(hold_id, amounts)
        if held is not None and type(verdict) is Granted:
            self._take(held, amounts)
            self._put(hold_id, held)
        return verdict

    def dispatched(self, hold_id: str) -> None:
        held = self._fetch(hold_id)
        if held is not None and not held.is_dispatched:
            held.is_dispatched = True
            self._put(hold_id, held)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        there = [hold_id for hold_id in hold_ids if self._fetch(hold_id) is not None]
        super().renew(there, lease_s)
        for hold_id in there:
            self._put(hold_id, self._holds[hold_id])

    def settle_record(self, record: Mapping[str, Any]) -> None:
        """Settle from a journal: `id`, what was `used`, and the `entries` in JSON types."""
        hold_id = record["id"]
        self._fetch(hold_id)
        self._changes.wrote(record["entries"])
        done = self._settle(Settlement(hold_id, record["used"]))
        if done is None:
            return
        held, charges = done
        for line in charge_lines(held, charges):
            self._changes.charged(*line)
        if held.is_ended:
            self._changes.void(tables.flagged_id(hold_id))
        else:
            self._take(held, [-amount for amount in held.amounts])
        self._changes.remove_hold(hold_id)
        self._gone.add(hold_id)

    def open_holds(self) -> list[OpenHold]:
        ids = {hold_id for (hold_id,) in self._connection.execute("SELECT id FROM holds WHERE is_ended = 0")}
        loaded = [(hold_id, self._fetch(hold_id)) for hold_id in sorted(ids.union(self._holds))]
        return [shown(hold_id, held) for hold_id, held in loaded if held is not None]

    def _fetch(self, hold_id: str) -> Held | None:
        """An open hold; one whose lease is over goes to where late settlements look."""
        held = self._holds.get(hold_id)
        if held is not None or hold_id in self._late or hold_id in self._gone:
            return held
        row = self._connection.execute(
            "SELECT until_s, is_dispatched, is_ended, lines FROM holds WHERE id = ?", (hold_id,)
        ).fetchone()
        if row is None:
            return None
        held = tables.load_hold(row, self._accounts.get, self._ended_account)
        if held.is_ended:
            self._late[hold_id] = held
            return None
        self._holds[hold_id] = held
        return held

    def _open(self, meter: Meter, now_s: float) -> tables.Account:
        last = self._accounts.get(meter.id)
        if last is not None and last.held > 0:
            self._ended_accounts[meter.id, last.mark] = last
        account = super()._open(meter, now_s)
        self._changes.opened(tables.account_row(meter.id, account))
        return account

    def _ended_account(self, meter_id: str, start_s: float) -> tables.Account | None:
        account = self._ended_accounts.get((meter_id, start_s))
        if account is None:
            account = tables.load_ended(self._connection, meter_id, start_s)
            if account is not None:
                self._ended_accounts[meter_id, start_s] = account
        return account

    def _reap(self, now_s: float) -> None:
        over = "SELECT id FROM holds WHERE is_ended = 0 AND until_s <= ? LIMIT ?"
        for (hold_id,) in self._connection.execute(over, (now_s, _REAPED_AT_ONCE)).fetchall():
            self._fetch(hold_id)
        super()._reap(now_s)
        self._next_end_s = inf  # `begin` looks

    def _ended(self, hold_id: str, held: Held) -> None:
        self._take(held, [-amount for amount in held.amounts])
        if held.is_dispatched:
            returned = [
                0 if meter.is_returned else amount for meter, amount in zip(held.meters, held.amounts, strict=True)
            ]
            for line in charge_lines(held, returned):
                self._changes.charged(*line)
            entry = tables.flagged_entry(hold_id, held, self._now())
            if entry is not None:
                self._changes.wrote([row_of(entry)])
        self._put(hold_id, held)

    def _before_raise(self, meter: Meter, amount: int) -> None:
        self._changes.raised(meter.id, amount)

    def _before_reset(self, meter: Meter) -> None:
        self._changes.reset(meter.id)

    def _take(self, held: Held, amounts: Sequence[int]) -> None:
        for at, amount in enumerate(amounts):
            if amount:
                self._changes.held(held.meters[at].id, held.accounts[at].kind, held.marks[at], amount)

    def _put(self, hold_id: str, held: Held) -> None:
        self._changes.put_hold(
            hold_id,
            held.lease_until_s,
            hold_lines(held, held.amounts),
            is_dispatched=held.is_dispatched,
            is_ended=held.is_ended,
        )
