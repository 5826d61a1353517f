"""From journals into tables: while a gateway runs, and at its start for what the last one left."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from policies.stores import tables
from policies.stores.base import Reports
from policies.stores.journal import Disk, Reader, remove_all
from policies.stores.locks import FileLock
from policies.stores.records import Begun, Ended
from policies.stores.replica import Replica

ALONE = "alone"  # the journal of a process that has the folder for itself
_WORKER = "worker"
_ASIDE = "unapplied"

Record = Mapping[str, Any] | Begun | Ended
Apply = Callable[[Sequence[Record], tables.Changes], None]


@contextmanager
def transaction(connection: sqlite3.Connection, disk: Disk) -> Iterator[None]:
    """All or nothing: what is raised within it is raised after it was rolled back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        disk.commit(connection)
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


class Applier:
    """Moves one journal into the tables: each step is one transaction together with how far it has come.

    `recent` gives the records after a number, or None where the file has to be read: for the process that writes it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path,
        name: str,
        disk: Disk,
        apply: Apply,
        recent: Callable[[int], Sequence[Record] | None] | None = None,
    ) -> None:
        self.name = name
        self.recent = recent
        self._connection = connection
        self._folder = folder
        self._disk = disk
        self._apply = apply
        self._reader: Reader | None = None
        self._has_failed = False
        self.last = tables.position(connection, name)  # the number of the last record that is in the tables

    def step(self) -> bool:
        """Apply what is there, of the file at most about 256 KB; False where there is nothing. What raises: try again.

        A record that can never be applied is put aside, so that it does not stand in the way of the others.
        """
        if self._has_failed:  # the tables say how far it has come
            self.last = tables.position(self._connection, self.name)
            self._reader = None
        self._has_failed = True
        records, last = self._next()
        if records:
            try:
                self._write(records, last)
            except Exception as error:
                if not is_senseless(error):
                    raise
                self._write_each(records, last)
            self.last = last
        self._has_failed = False
        return bool(records)

    def _next(self) -> tuple[Sequence[Record], int]:
        """The next records, and the number of the last of them."""
        if self.recent is not None:
            records = self.recent(self.last)
            if records is not None:
                return records, self.last + len(records)
        reader = self._reader
        if reader is None or reader.last != self.last:
            reader = self._reader = Reader(self._folder, self.name, self.last)
        return reader.read(), reader.last

    def _write(self, records: Sequence[Record], last: int) -> None:
        with transaction(self._connection, self._disk):
            changes = tables.Changes()
            self._apply(records, changes)
            changes.write(self._connection)
            tables.set_position(self._connection, self.name, last)

    def _write_each(self, records: Sequence[Record], last: int) -> None:
        """The same where one of the records makes no sense: what makes none is written into a file of its own."""
        senseless: list[tuple[Record, Exception]] = []
        with transaction(self._connection, self._disk):
            for record in records:
                self._connection.execute("SAVEPOINT record")
                try:
                    changes = tables.Changes()
                    self._apply([record], changes)
                    changes.write(self._connection)
                except Exception as error:
                    if not is_senseless(error):
                        raise
                    self._connection.execute("ROLLBACK TO record")
                    senseless.append((record, error))
                self._connection.execute("RELEASE record")
            tables.set_position(self._connection, self.name, last)
            # Before the commit: a record is in the tables, in this file or in the journal, always.
            put_aside(self._folder, f"{self.name}-{self.last + 1}", senseless, self._disk)


def is_senseless(error: Exception) -> bool:
    """Whether this is the fault of what is written and not of the disk: to try it again would not help."""
    if isinstance(error, sqlite3.Error):
        return isinstance(
            error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError
        )
    return not isinstance(error, OSError | MemoryError)


def put_aside(folder: Path, name: str, senseless: Sequence[tuple[Record, Exception]], disk: Disk) -> None:
    """Write records that cannot be applied into `unapplied-<name>.jsonl`, each with why, for an operator to look at.

    The same name replaces the file: what comes to it is what was tried once more.
    """
    lines = [orjson.dumps({"record": _as_json(record), "error": repr(error)}) + b"\n" for record, error in senseless]
    if not lines:
        return
    path = folder / f"{_ASIDE}-{name}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = b"".join(lines)
        if disk.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(folder: Path) -> str | None:
    """What an operator is told of records that could not be applied; None where there are none."""
    paths = sorted(folder.glob(f"{_ASIDE}-*.jsonl"))
    if not paths:
        return None
    names = ", ".join(map(str, paths))
    return f"some records of the journal cannot be applied: {names}; look at them, then move them away and restart"


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Move the log of the database into its file and sync both; False where a reader stands in the way."""
    is_busy, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not is_busy and logged == moved


def recover(
    connection: sqlite3.Connection, folder: Path, disk: Disk, now: Callable[[], float], reports: Reports
) -> None:
    """Apply every journal in the folder that the tables do not have yet. For whoever has the folder alone."""
    alone = Applier(connection, folder, ALONE, disk, apply_changes)
    while alone.step():
        pass
    with transaction(connection, disk):
        _count_held(connection)
    if checkpoint(connection):
        remove_all(folder, ALONE, disk)
    recover_workers(connection, folder, disk, now, reports)


def recover_workers(
    connection: sqlite3.Connection, folder: Path, disk: Disk, now: Callable[[], float], reports: Reports
) -> int:
    """Settle what workers that are gone had in their journals; the number of such workers."""
    found = 0
    for path in sorted(folder.glob(f"{_WORKER}-*.lock")):
        lock = FileLock(path)
        if not lock.take():
            continue  # it runs
        replica = Replica(connection, now)
        replica.reports = reports
        journal = Applier(connection, folder, path.stem, disk, settle_with(replica))
        while journal.step():
            pass
        if checkpoint(connection):
            remove_all(folder, path.stem, disk)
            with transaction(connection, disk):
                connection.execute("DELETE FROM positions WHERE journal = ?", (path.stem,))
            lock.release(is_removed=True)
        else:
            lock.release()
        found += 1
    return found


def tidy_up(
    connection: sqlite3.Connection, disk: Disk, now: Callable[[], float], keep_days: float | None, rounds: int = 50
) -> None:
    """Delete what nobody asks for any more, in transactions that are short. Raises sqlite3.Error."""
    for _ in range(rounds):
        with transaction(connection, disk):
            has_more = tables.tidy(connection, now(), keep_days)
        if not has_more:
            return


def worker_name(identity: str) -> str:
    """How the journal and the lock of a worker are called."""
    return f"{_WORKER}-{identity}"


def apply_changes(records: Sequence[Record], changes: tables.Changes) -> None:
    """Add up the records of a process that was alone: they say what changed."""
    for record in records:
        if type(record) is Begun:
            changes.began(record)
        elif type(record) is Ended:
            changes.ended(record)
        else:
            assert isinstance(record, Mapping)
            _APPLY[record["k"]](record, changes)


def settle_with(replica: Replica) -> Apply:
    """Apply the records of a worker: they say what was used, and the hold in the tables says where it belongs."""

    def apply(records: Sequence[Record], changes: tables.Changes) -> None:
        replica.forget()  # what was made of records that were not written after all
        replica.begin(changes)
        for record in records:
            assert isinstance(record, Mapping)
            replica.settle_record(record)

    return apply


def _as_json(record: Record) -> Mapping[str, Any]:
    return record if isinstance(record, Mapping) else record.record()


def _window(record: Mapping[str, Any], changes: tables.Changes) -> None:
    changes.opened(record["row"])


def _hold(record: Mapping[str, Any], changes: tables.Changes) -> None:
    is_new = "new" in record
    changes.put_hold(record["id"], record["until"], record["lines"], is_dispatched=True, is_ended=False, is_new=is_new)


def _end(record: Mapping[str, Any], changes: tables.Changes) -> None:
    changes.remove_hold(record["id"])
    for line in record["charges"]:
        changes.charged(*line)
    changes.wrote(record["entries"])
    if "void" in record:
        changes.void(record["void"])


def _raise(record: Mapping[str, Any], changes: tables.Changes) -> None:
    changes.raised(record["meter"], record["amount"])


def _reset(record: Mapping[str, Any], changes: tables.Changes) -> None:
    changes.reset(record["meter"])


_APPLY = {"window": _window, "hold": _hold, "end": _end, "raise": _raise, "reset": _reset}


def _count_held(connection: sqlite3.Connection) -> None:
    """A process alone knows what is held from its holds; workers read it from the accounts.

    A hold that was not sent by a process that is gone never will be.
    """
    connection.execute("DELETE FROM holds WHERE is_dispatched = 0")
    connection.execute("UPDATE accounts SET held = 0")
    connection.execute("UPDATE ended SET held = 0")
    changes = tables.Changes()
    for (text,) in connection.execute("SELECT lines FROM holds WHERE is_ended = 0"):
        for meter_id, _, _, _, kind, mark, amount in orjson.loads(text):
            changes.held(meter_id, kind, mark, amount)
    changes.write(connection)
