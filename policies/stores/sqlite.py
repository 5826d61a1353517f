"""Holds of one process that survive it: memory decides, a journal remembers, a thread writes the same into SQLite.

A settlement is durable when `settle` returns: one append to the journal, which a killed process does not take with it;
the thread has the machine sync it every second. A hold is written when its call is sent. What was under way at a crash
stays held until its lease ends and is then charged in full, with an entry that says so.

While the disk cannot take the journal, holds are refused as Unavailable: what is held already can still be settled,
and waits in memory for the disk.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

from policies.stores import tables
from policies.stores.base import Granted, Lines, Meter, Settlement, StoreError, Unavailable, Verdict
from policies.stores.entries import row_of
from policies.stores.journal import Disk, Journal, remove_all, remove_applied
from policies.stores.locks import lock_alone
from policies.stores.memory import Held, MemoryStore
from policies.stores.records import Begun, Ended
from policies.stores.recovery import ALONE, Applier, apply_changes, checkpoint, recover, set_aside, tidy_up

_SEGMENT_BYTES = 8 << 20
_RECENT = 20_000  # records, a few seconds of a busy gateway: what the thread does not reach in time it reads
_APPLY_EVERY_S = 0.2
_SYNC_EVERY_S = 0.8  # looked at after each of those: a second at most, but for what the tables take
_TIDY_EVERY = 300
_BUSY_S = 5.0


class SqliteStore(MemoryStore):
    """The store of one process with a state folder. `now` gives Unix seconds; `keep_days` is how long entries stay.

    Opening it applies what the last process left and loads balances and open holds: StoreError where another process
    uses the folder or the database cannot be read. `has_thread=False` leaves it to the caller to call `write_down`.
    `clock` is monotonic.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float] = time,
        *,
        keep_days: float | None = None,
        disk: Disk | None = None,
        segment_bytes: int = _SEGMENT_BYTES,
        has_thread: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(now)
        self._folder = folder
        self._disk = disk or Disk()
        self._keep_days = keep_days
        self._cannot_apply: str | None = None
        self._is_set_aside: str | None = None
        self._rounds = 0
        self._clock = clock
        self._synced_s = clock()
        self._lock = lock_alone(folder)
        try:
            self._connection = tables.connect(folder, busy_s=_BUSY_S)
            recover(self._connection, folder, self._disk, now, self.reports)
            self._is_set_aside = set_aside(folder)
            self._load()
            self._applier = Applier(self._connection, folder, ALONE, self._disk, apply_changes)
            self._journal = Journal(
                folder, ALONE, self._applier.last, disk=self._disk, segment_bytes=segment_bytes, kept=_RECENT
            )
            self._applier.recent = self._journal.recent
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError | sqlite3.Error):
                raise StoreError(f"the state folder {folder} cannot be used: {error}") from error
            raise
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        if has_thread:
            self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
            self._thread.start()

    @property
    def problem(self) -> str | None:
        """What is wrong with the disk or the database, for the operator; None where all is well."""
        return self._journal.problem or self._cannot_apply or self._is_set_aside

    def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        problem = self._journal.problem
        if problem is not None:
            return Unavailable(problem)
        verdict = super().hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)
        if (
            is_dispatched
            and type(verdict) is Granted
            and not self._write(Begun(hold_id, self._holds[hold_id], is_new=True))
        ):
            self.settle(Settlement(hold_id, [0] * len(lines)))
            return Unavailable(self._journal.problem or "the journal cannot be written")
        return verdict

    def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        verdict = super().extend(hold_id, amounts)
        held = self._holds.get(hold_id)
        if held is not None and held.is_dispatched and type(verdict) is Granted:
            self._write(Begun(hold_id, held, is_new=False))
        return verdict

    def dispatched(self, hold_id: str) -> None:
        held = self._holds.get(hold_id)
        if held is not None and not held.is_dispatched:
            held.is_dispatched = True
            self._write(Begun(hold_id, held, is_new=True))

    def settle(self, settlement: Settlement) -> None:
        done = self._settle(settlement)
        if done is None:
            if settlement.entries:
                rows = list(map(row_of, settlement.entries))
                self._journal.append({"k": "end", "id": settlement.id, "charges": (), "entries": rows})
            return
        held, charges = done
        if held.is_dispatched or settlement.entries or any(charges):
            void = tables.flagged_id(settlement.id) if held.is_ended and held.is_dispatched else None
            self._write(Ended(settlement.id, held, charges, list(map(row_of, settlement.entries)), void))

    def write_down(self) -> None:
        """Move all of the journal into the tables. Raises nothing: `problem` tells, and the next time tries again."""
        until = self._journal.last  # what comes meanwhile can wait: the more at once, the less each record costs
        try:
            while self._applier.last < until and self._applier.step():
                pass
            self._cannot_apply = None
            self._is_set_aside = set_aside(self._folder)
        except Exception as error:
            self._cannot_write(error)

    async def close(self) -> None:
        """Everything is in the tables, and no journal is left, unless the disk does not let it."""
        await asyncio.to_thread(self._close)

    def _open(self, meter: Meter, now_s: float) -> tables.Account:
        account = super()._open(meter, now_s)
        self._journal.append({"k": "window", "row": tables.account_row(meter.id, account)})
        return account

    def _ended(self, hold_id: str, held: Held) -> None:
        if held.is_dispatched:
            charges = [
                0 if meter.is_returned else amount for meter, amount in zip(held.meters, held.amounts, strict=True)
            ]
            entry = tables.flagged_entry(hold_id, held, self._now())
            self._write(Ended(hold_id, held, charges, [] if entry is None else [row_of(entry)]))

    def _before_raise(self, meter: Meter, amount: int) -> None:
        self._write_change({"k": "raise", "meter": meter.id, "amount": amount})

    def _before_reset(self, meter: Meter) -> None:
        self._write_change({"k": "reset", "meter": meter.id})

    def _write_change(self, record: dict[str, Any]) -> None:
        """What an operator changes comes about or is refused. Raises StoreError."""
        problem = self._journal.problem
        if problem is not None:
            raise StoreError(problem)
        self._journal.append(record)

    def _write(self, record: Begun | Ended) -> bool:
        payload = record.payload()
        return self._journal.append(record.record() if payload is None else record, payload)

    def _load(self) -> None:
        for (meter_id,) in self._connection.execute("SELECT meter_id FROM accounts").fetchall():
            account = tables.load_account(self._connection, meter_id)
            assert account is not None
            self._accounts[meter_id] = account
        holds = "SELECT id, until_s, is_dispatched, is_ended, lines FROM holds WHERE is_ended = 0"
        for hold_id, *row in self._connection.execute(holds):
            held = tables.load_hold(row, self._accounts.get)
            self._holds[hold_id] = held
            self._next_end_s = min(self._next_end_s, held.lease_until_s)

    def _run(self) -> None:
        while not self._is_closing.wait(_APPLY_EVERY_S):
            self._round()

    def _round(self) -> None:
        self._rounds += 1
        now_s = self._clock()
        is_due = now_s - self._synced_s >= _SYNC_EVERY_S
        if is_due:
            self._synced_s = now_s
            self._journal.sync()
        if self._applier.last < self._journal.last:
            self.write_down()
        if is_due:
            self.remove_applied()
        if self._rounds % _TIDY_EVERY == 0:
            self._tidy()

    def remove_applied(self) -> None:
        """Delete the files of the journal whose records are in the database for good."""
        try:
            applied = self._applier.last
            if self._journal.has_finished and checkpoint(self._connection):
                self._journal.has_finished = not remove_applied(self._folder, ALONE, applied, self._disk)
        except Exception as error:
            self._cannot_write(error)

    def _tidy(self) -> None:
        try:
            tidy_up(self._connection, self._disk, self._now, self._keep_days)
        except Exception as error:
            self._cannot_write(error)

    def _cannot_write(self, error: Exception) -> None:
        self._cannot_apply = f"the database in {self._folder} cannot be written: {error!r}"

    def _close(self) -> None:
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join()
        self._journal.close()
        self.write_down()
        try:
            is_all_applied = self._cannot_apply is None and self._applier.last >= self._journal.last
            if is_all_applied and self._journal.problem is None and checkpoint(self._connection):
                remove_all(self._folder, ALONE, self._disk)
        finally:
            self._connection.close()
            self._lock.release()
