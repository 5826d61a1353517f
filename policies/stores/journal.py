"""An append-only file of records: what was appended outlives the process, what was synced the machine.

One record is one line: a checksum, its number, its JSON. A line that a crash or a full disk cut short fails its
checksum and counts as never written. Files are called `journal-<name>-<number of the first record>.jsonl`; a new one
begins at every start and every 8 MB, so that what the database holds for good can be deleted.
"""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from policies.stores.accounts import MOST

_SEGMENT_BYTES = 8 << 20
_READ_BYTES = 256 << 10  # more at once costs more per record: it no longer fits the cache
_UNWRITTEN_KEPT = 100_000  # records that wait for the disk


class Disk:
    """The calls that make data durable, in one place so that tests can let each of them fail or be the last."""

    write: Callable[[int, bytes], int] = staticmethod(os.write)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")


class Journal:
    """The file that one process appends to. `last` is the number of the last record that may exist already.

    `append` never raises for a disk that is full or broken: what could not be written stays in memory, in order, and is
    tried again with every `append` and `sync`. Meanwhile `problem` says what is wrong: whoever needs the record to be
    durable before going on has to stop there. Of the records that are in the file the last `kept` stay in memory too,
    for `recent`: to read and parse them again would cost as much as all the rest.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        last: int,
        *,
        disk: Disk | None = None,
        segment_bytes: int = _SEGMENT_BYTES,
        kept: int = 0,
    ) -> None:
        self.name = name
        self.last = last
        self.lost = 0
        self.has_finished = False  # there are files that get no more
        self.problem: str | None = None  # what is wrong with the disk
        self._cannot_write: str | None = None
        self._cannot_sync: str | None = None
        self._folder = folder
        self._disk = disk or Disk()
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._unwritten: deque[bytes] = deque(maxlen=_UNWRITTEN_KEPT)
        self._recent: deque[tuple[int, Any]] = deque(maxlen=kept)
        self._finished: list[int] = []  # descriptors of full segments that are not synced yet
        self._is_torn = False
        self._is_unsynced = False
        self._size = 0
        self._descriptor = self._open(last + 1)

    def append(self, record: Any, payload: bytes | None = None) -> bool:
        """Write one record with one system call; False where it waits for the disk.

        `payload` is its JSON, for those who have it already; both are as `countable` returns them. Beside a payload the
        record may be anything: it is what `recent` gives.
        """
        if payload is None:
            try:
                payload = orjson.dumps(record, option=orjson.OPT_STRICT_INTEGER)
            except TypeError:
                record, payload = countable(record)
        with self._lock:
            self.last = number = self.last + 1
            body = b"%d %b" % (number, payload)
            line = b"%08x %b\n" % (crc32(body), body)
            if not self._unwritten and self._put(line):
                self._recent.append((number, record))
                return True
            if len(self._unwritten) == _UNWRITTEN_KEPT:
                self.lost += 1
            self._unwritten.append(line)
            return self._write_waiting()

    def recent(self, after: int) -> list[Any] | None:
        """All records after number `after`; None where they have to be read from the file.

        They are handed out once, to one thread: whoever fails with them finds them in the file.
        """
        with self._lock:
            if self.last <= after:
                return []
            recent, self._recent = self._recent, deque(maxlen=self._recent.maxlen)
        records = [record for number, record in recent if number > after]
        is_gapless = bool(records) and recent[-1][0] == after + len(records)
        return records if is_gapless else None

    def sync(self) -> None:
        """Write what waits, then have the machine keep all of it. For a thread: this takes as long as the disk does."""
        with self._lock:
            self._write_waiting()
            finished, self._finished = self._finished, []
            descriptor = self._descriptor
            is_unsynced, self._is_unsynced = self._is_unsynced, False
        try:
            for full in finished:
                self._disk.sync(full)
            if is_unsynced:
                self._disk.sync(descriptor)
            self._cannot_sync = None
        except OSError as error:
            self._is_unsynced = True
            self._cannot_sync = f"the journal in {self._folder} cannot be synced: {error.strerror}"
        finally:
            self.problem = self._cannot_write or self._cannot_sync
            for full in finished:
                os.close(full)

    def close(self) -> None:
        self.sync()
        os.close(self._descriptor)

    def _write_waiting(self) -> bool:
        while self._unwritten:
            if not self._put(self._unwritten[0]):
                return False
            self._unwritten.popleft()
        self._cannot_write, self.problem = None, self._cannot_sync
        return True

    def _put(self, line: bytes) -> bool:
        if self._size >= self._segment_bytes:
            self._rotate(line)
        if self._is_torn:
            line = b"\n" + line  # what was cut short stays a line of its own
        try:
            written = self._disk.write(self._descriptor, line)
        except OSError as error:
            self._fail(f"{error.strerror}")
            return False
        self._size += written
        self._is_unsynced = True
        if written == len(line):
            self._is_torn = False
            return True
        self._is_torn = True
        self._fail("the disk took a part of a record")
        return False

    def _fail(self, why: str) -> None:
        self.problem = self._cannot_write = f"the journal in {self._folder} cannot be written: {why}"

    def _rotate(self, line: bytes) -> None:
        try:
            descriptor = self._open(number_of(line))
        except OSError:
            return  # no new file now: the old one goes on
        self._finished.append(self._descriptor)
        self.has_finished = True
        self._descriptor = descriptor
        self._is_torn = False
        self._size = 0

    def _open(self, first: int) -> int:
        # A file of this number can only hold a record that a crash cut short.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._folder / f"journal-{self.name}-{first:016d}.jsonl", flags, 0o600)


class Reader:
    """Reads the records of one journal after number `after`, while it is written or when its process is gone."""

    def __init__(self, folder: Path, name: str, after: int) -> None:
        self.last = after
        self.damaged = 0
        self._folder = folder
        self._name = name
        self._path: Path | None = None
        self._offset = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """The next records, at most about 256 KB of them; none at the end. `last` is that of the last one then."""
        while True:
            following = self._next_segment()  # asked for first: where there is one, this one gets no more
            data = self._read_some()
            if data:
                records = self._parse(data)
                if records:
                    return records
            elif following is None:
                return []
            else:
                self._path, self._offset, self._rest = following, 0, b""

    def _next_segment(self) -> Path | None:
        paths = segments(self._folder, self._name)
        if self._path is None:
            return paths[0] if paths else None
        return next((path for path in paths if path.name > self._path.name), None)

    def _read_some(self) -> bytes:
        if self._path is None:
            return b""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(_READ_BYTES)
        self._offset += len(data)
        return data

    def _parse(self, data: bytes) -> list[dict[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        records = []
        for line in lines:
            checksum, _, body = line.partition(b" ")
            number, _, payload = body.partition(b" ")
            if not _is_whole(checksum, body):
                self.damaged += bool(line)
            elif int(number) > self.last:
                self.last = int(number)
                records.append(orjson.loads(payload))
        return records


def countable(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """A record and its JSON. Numbers that no store can count (a provider told them) become the most that it can."""
    try:
        return record, orjson.dumps(record, option=orjson.OPT_STRICT_INTEGER)  # at most 53 bits
    except TypeError:
        record = _countable(record)
        return record, orjson.dumps(record, option=orjson.OPT_STRICT_INTEGER)


def _countable(value: Any) -> Any:
    if type(value) is int:
        return max(-MOST, min(MOST, value))
    if isinstance(value, Mapping):
        return {key: _countable(part) for key, part in value.items()}
    if is_dataclass(value):
        return {field.name: _countable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_countable(part) for part in value]
    return value


def segments(folder: Path, name: str) -> list[Path]:
    """The files of one journal, oldest first."""
    return sorted(folder.glob(f"journal-{name}-{'[0-9]' * 16}.jsonl"))


def remove_applied(folder: Path, name: str, applied: int, disk: Disk) -> bool:
    """Delete every file but the newest that holds nothing after record `applied`; True where no other is left."""
    paths = segments(folder, name)
    for path, following in pairwise(paths):
        if _first(following) > applied + 1:
            return False
        disk.remove(path)
    return True


def remove_all(folder: Path, name: str, disk: Disk) -> None:
    """Delete the files of a journal that nobody writes any more and whose records are all applied, oldest first."""
    for path in segments(folder, name):
        disk.remove(path)


def number_of(line: bytes) -> int:
    """The number of the record in a line that is whole."""
    return int(line.split(b" ", 2)[1])


def _first(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _is_whole(checksum: bytes, body: bytes) -> bool:
    try:
        return int(checksum, 16) == crc32(body)
    except ValueError:
        return False
