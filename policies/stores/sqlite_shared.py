"""Holds that several processes of one machine share: the tables decide, in a transaction per group of operations.

One thread per process talks to SQLite and takes together whatever waits for it. A hold waits 200 ms at most, for the
thread and for other processes: then it is Unavailable, and given back should it still come about. A settlement goes
into the journal of its process first and is then tried until the tables have it; what a process that is gone left in
its journal is settled by the others, or at the next start. Time is the clock of the machine.
"""

import asyncio
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Any, TypeVar

from policies.stores import tables
from policies.stores.accounts import check_raise
from policies.stores.base import (
    Balance,
    Granted,
    Lines,
    Meter,
    OpenHold,
    Reports,
    Settlement,
    StoreError,
    Unavailable,
    Verdict,
)
from policies.stores.entries import row_of
from policies.stores.journal import Disk, Journal, countable, remove_all, remove_applied
from policies.stores.locks import FileLock, lock_shared
from policies.stores.recovery import (
    checkpoint,
    is_senseless,
    put_aside,
    recover,
    recover_workers,
    set_aside,
    tidy_up,
    transaction,
    worker_name,
)
from policies.stores.replica import Replica

_MAX_WAIT_S = 0.2
_BUSY_S = 0.15  # for other processes; what is left of the 200 ms is for our own queue
_GROUP = 64
_SYNC_EVERY_S = 1.0
_RECOVER_EVERY = 5  # times that
_TIDY_EVERY = 60
_START_WAIT_S = 10.0

Answer = TypeVar("Answer")


class _Operation:
    """What the thread shall do in its next transaction, and where the answer goes."""

    __slots__ = ("answer", "error", "future", "number", "record", "run", "undo", "until_s")

    def __init__(self, run: Callable[[Replica], Any]) -> None:
        self.run = run
        self.number = 0  # of its record in the journal
        self.record: Mapping[str, Any] | None = None  # that record
        self.future: asyncio.Future[Any] | None = None  # None: nobody waits, and it has to come about
        self.until_s = inf  # monotonic; nobody waits for the answer after that
        self.undo: Callable[[Any], None] | None = None  # gets an answer that came too late
        self.answer: Any = None
        self.error: Exception | None = None


class SharedSqliteStore:
    """The store of one of several processes with the same state folder. `now` gives Unix seconds, the same for all.

    Each process makes its own, after it was forked.
    `keep_days` is how long entries stay. Opening it applies what other processes left: StoreError where a process has
    the folder for itself, or the database cannot be read.
    """

    is_remote = True

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float] = time,
        *,
        keep_days: float | None = None,
        disk: Disk | None = None,
        max_wait_s: float = _MAX_WAIT_S,
    ) -> None:
        self.reports = Reports()
        self._folder = folder
        self._now = now
        self._keep_days = keep_days
        self._disk = disk or Disk()
        self._max_wait_s = max_wait_s
        self._cannot_apply: str | None = None
        self._is_set_aside: str | None = None
        self._applied = 0
        self._lock, self._own_lock = _enter(folder, self._disk, now, self.reports)
        try:
            self._connection = tables.connect(folder, busy_s=min(_BUSY_S, max_wait_s))
            self._keeper = tables.connect(folder, busy_s=_START_WAIT_S)
            self._journal = Journal(folder, self._own_lock.path.stem, 0, disk=self._disk)
            self._is_set_aside = set_aside(folder)
        except (OSError, StoreError) as error:
            self._leave()
            raise StoreError(f"the state folder {folder} cannot be used: {error}") from error
        self._replica = Replica(self._connection, now)
        self._replica.reports = self.reports
        self._queue: deque[_Operation] = deque()
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._run, "store-writer"), (self._keep, "store-keeper"))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str | None:
        """What is wrong with the disk or the database, for the operator; None where all is well."""
        return self._journal.problem or self._cannot_apply or self._is_set_aside

    async def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        problem = self._journal.problem
        if problem is not None:
            return Unavailable(problem)
        return await self._decide(
            lambda replica: replica.hold(hold_id, lines, lease_s, is_dispatched=is_dispatched),
            lambda late: self._give_back(hold_id, lines) if type(late) is Granted else None,
        )

    async def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        given = [-amount for amount in amounts]
        return await self._decide(
            lambda replica: replica.extend(hold_id, amounts),
            lambda late: self._tell(lambda replica: replica.extend(hold_id, given)) if type(late) is Granted else None,
        )

    def dispatched(self, hold_id: str) -> None:
        self._tell(lambda replica: replica.dispatched(hold_id))

    def settle(self, settlement: Settlement) -> None:
        # The thread gets what the journal has, so that both ways into the tables are one.
        entries = list(map(row_of, settlement.entries))
        record, payload = countable(
            {"k": "settle", "id": settlement.id, "used": settlement.amounts, "entries": entries}
        )
        self._journal.append(record, payload)
        operation = _Operation(lambda replica: replica.settle_record(record))
        operation.number, operation.record = self._journal.last, record
        self._put(operation)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        ids = tuple(hold_ids)
        self._tell(lambda replica: replica.renew(ids, lease_s))

    async def balances(self, meters: Sequence[Meter]) -> list[Balance]:
        return await self._ask(lambda replica: replica.balances(meters))

    async def open_holds(self) -> list[OpenHold]:
        return await self._ask(lambda replica: replica.open_holds())

    async def raise_limit(self, meter: Meter, amount: int) -> Balance:
        check_raise(meter, amount)
        return await self._ask(lambda replica: replica.raise_limit(meter, amount))

    async def reset(self, meter: Meter) -> Balance:
        return await self._ask(lambda replica: replica.reset(meter))

    async def flush(self) -> None:
        """Everything that the store was told before is in the tables. Raises StoreError."""
        await self._ask(lambda _: None)

    async def close(self) -> None:
        """What was settled is in the tables, or stays in the journal for the next start."""
        await asyncio.to_thread(self._close)

    async def _decide(self, run: Callable[[Replica], Verdict], undo: Callable[[Any], None]) -> Verdict:
        try:
            return await self._ask(run, undo)
        except StoreError as error:
            return Unavailable(str(error))

    async def _ask(self, run: Callable[[Replica], Answer], undo: Callable[[Any], None] | None = None) -> Answer:
        """The answer to an operation. `undo` gets one that nobody waits for any more."""
        loop = asyncio.get_running_loop()
        operation = _Operation(run)
        future = operation.future = loop.create_future()
        operation.until_s = monotonic() + self._max_wait_s
        operation.undo = undo
        late = loop.call_later(self._max_wait_s, _give_up, future, self._folder)
        self._put(operation)
        try:
            answer: Answer = await future
            return answer
        finally:
            late.cancel()

    def _give_back(self, hold_id: str, lines: Lines) -> None:
        self.settle(Settlement(hold_id, [0] * len(lines)))

    def _tell(self, run: Callable[[Replica], Any]) -> None:
        self._put(_Operation(run))

    def _put(self, operation: _Operation) -> None:
        self._queue.append(operation)
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                if not self._apply(self._next_group()) and self._is_closing.wait(0.05):
                    return  # the journal has the rest
            if self._is_closing.is_set():
                return

    def _next_group(self) -> list[_Operation]:
        group: list[_Operation] = []
        while self._queue and len(group) < _GROUP:
            group.append(self._queue.popleft())
        return group

    def _apply(self, group: list[_Operation]) -> bool:
        """One transaction. Where it fails, whoever waits is told so, and the rest is put back to be tried again."""
        now_s = monotonic()
        group = [operation for operation in group if operation.until_s > now_s]
        if not group:
            return True
        applied = max(operation.number for operation in group)
        try:
            with transaction(self._connection, self._disk):
                changes = tables.Changes()
                self._replica.begin(changes)
                for operation in group:
                    operation.answer = operation.run(self._replica)
                changes.write(self._connection)
                if applied:
                    tables.set_position(self._connection, self._journal.name, applied)
        except Exception as error:  # the thread has to go on
            self._replica.forget()
            if is_senseless(error):
                return self._apply_each(group, error)
            self._cannot_apply = f"the database in {self._folder} cannot be written: {error!r}"
            self._queue.extendleft(operation for operation in reversed(group) if operation.future is None)
            for operation in group:
                operation.error = StoreError(self._cannot_apply)
            _answer(group)
            return False
        self._applied = max(self._applied, applied)
        self._cannot_apply = None
        _answer(group)
        return True

    def _apply_each(self, group: list[_Operation], error: Exception) -> bool:
        """An operation makes no sense: the others shall come about, and who asked for it gets the error."""
        if len(group) > 1:
            return min([self._apply([operation]) for operation in group])  # every one of them is tried
        operation = group[0]
        if operation.record is not None:
            name = f"{self._journal.name}-{operation.number}"
            try:
                put_aside(self._folder, name, [(operation.record, error)], self._disk)
            except OSError as not_now:
                self._cannot_apply = f"the database in {self._folder} cannot be written: {not_now!r}"
                self._queue.appendleft(operation)
                return False
            self._applied = max(self._applied, operation.number)
            self._is_set_aside = set_aside(self._folder)
        operation.error = error
        _answer(group)
        return True

    def _keep(self) -> None:
        """Everything that takes as long as the disk does, beside the thread that requests wait for."""
        rounds = 0
        while not self._is_closing.wait(_SYNC_EVERY_S):
            rounds += 1
            self._journal.sync()
            try:
                self._keep_small(rounds)
            except Exception as error:
                self._cannot_apply = f"the database in {self._folder} cannot be written: {error!r}"

    def _keep_small(self, rounds: int) -> None:
        applied = self._applied
        if self._journal.has_finished and checkpoint(self._keeper):
            self._journal.has_finished = not remove_applied(self._folder, self._journal.name, applied, self._disk)
        if rounds % _RECOVER_EVERY == 0:
            recover_workers(self._keeper, self._folder, self._disk, self._now, self.reports)
            self._is_set_aside = set_aside(self._folder)
        if rounds % _TIDY_EVERY == 0:
            tidy_up(self._keeper, self._disk, self._now, self._keep_days)

    def _close(self) -> None:
        self._is_closing.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._journal.close()
        try:
            if self._applied >= self._journal.last and checkpoint(self._connection):
                remove_all(self._folder, self._journal.name, self._disk)
                with transaction(self._connection, self._disk):
                    self._connection.execute("DELETE FROM positions WHERE journal = ?", (self._journal.name,))
                self._own_lock.release(is_removed=True)
        except sqlite3.Error as error:
            self._cannot_apply = f"the database in {self._folder} cannot be written: {error}"
        finally:
            self._connection.close()
            self._keeper.close()
            self._leave()

    def _leave(self) -> None:
        self._own_lock.release()
        self._lock.release()


def _enter(folder: Path, disk: Disk, now: Callable[[], float], reports: Reports) -> tuple[FileLock, FileLock]:
    """Join those who share the folder; the first settles what was left in it. The lock, and that of our name."""
    lock = lock_shared(folder, _START_WAIT_S, first=lambda: _recover(folder, disk, now, reports))
    own = FileLock(folder / f"{worker_name(secrets.token_hex(6))}.lock")
    is_ours = own.take()
    assert is_ours, "a name that nobody else has"
    return lock, own


def _recover(folder: Path, disk: Disk, now: Callable[[], float], reports: Reports) -> None:
    connection = tables.connect(folder, busy_s=_START_WAIT_S)
    try:
        recover(connection, folder, disk, now, reports)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the state folder {folder} cannot be used: {error}") from error
    finally:
        connection.close()


def _give_up(future: "asyncio.Future[Any]", folder: Path) -> None:
    if not future.done():
        future.set_exception(StoreError(f"the database in {folder} does not answer; is its disk slow, or the machine?"))


def _answer(group: Sequence[_Operation]) -> None:
    """Hand the answers to the loops that wait for them: one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Operation]] = {}
    for operation in group:
        if operation.future is not None:
            by_loop.setdefault(operation.future.get_loop(), []).append(operation)
    for loop, operations in by_loop.items():
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(_deliver, operations)


def _deliver(operations: Sequence[_Operation]) -> None:
    for operation in operations:
        future = operation.future
        assert future is not None
        if not future.done():
            if operation.error is None:
                future.set_result(operation.answer)
            else:
                future.set_exception(operation.error)
        elif operation.error is None and operation.undo is not None:
            operation.undo(operation.answer)
