"""What Redis was told and has not confirmed yet, on disk: a settlement outlives the process that made it.

Every process appends to a journal of its own. Redis takes a settlement once, by its id, so whatever a crash leaves here
is told again at the next start, by the first process to find it.
"""

import fcntl
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.stores.journal import Disk, Journal, Reader, remove_all, remove_applied

_PREFIX = "redis-"
_MARKED_EVERY = 256  # records; as many are told again after a crash, at most


class RedisJournal:
    """The journal of one process in the folder for state. Raises OSError where the folder cannot be written."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self.name = _PREFIX + secrets.token_hex(6)
        lock = _lock(folder, self.name)
        assert lock is not None, "a name that nobody else has"
        self._lock = lock
        self._journal = Journal(folder, self.name, 0, disk=self._disk)
        self._appended = 0
        self._applied = 0
        self._marked = 0
        self._adopted: list[tuple[str, int]] = []

    @property
    def problem(self) -> str | None:
        """What is wrong with the disk; None where all is well."""
        return self._journal.problem

    def append(self, record: Mapping[str, Any]) -> int:
        """Write a record; its number, to say later that Redis has it."""
        self._journal.append({**record, "number": self._journal.last + 1})
        self._appended = self._journal.last
        return self._appended

    def applied(self, number: int) -> None:
        """Redis has this record and all before it."""
        self._applied = max(self._applied, number)
        if self._applied - self._marked >= _MARKED_EVERY:
            self._mark()

    def replay(self) -> list[dict[str, Any]]:
        """What processes that are gone have left, oldest first. Write each again with `append`, then `adopt`."""
        left: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob(f"journal-{_PREFIX}*.lock")):
            name = path.stem.removeprefix("journal-")
            lock = _lock(self._folder, name) if name != self.name else None
            if lock is None:
                continue
            self._adopted.append((name, lock))
            left += _unapplied(Reader(self._folder, name, 0))
        return left

    def adopt(self) -> None:
        """All that `replay` told is in this journal now, so the old ones can go."""
        self.sync()
        for name, lock in self._adopted:
            remove_all(self._folder, name, self._disk)
            _release(self._folder, name, lock)
        self._adopted = []

    def sync(self) -> None:
        """Have the machine keep what was written. For a thread: this takes as long as the disk does."""
        self._journal.sync()

    def close(self) -> None:
        """Leave nothing behind where Redis has everything."""
        self._mark()
        self._journal.close()
        if self._applied >= self._appended:
            remove_all(self._folder, self.name, self._disk)
            _release(self._folder, self.name, self._lock)
        else:
            os.close(self._lock)

    def _mark(self) -> None:
        self._marked = self._applied
        self._journal.append({"applied": self._applied})
        remove_applied(self._folder, self.name, self._applied, self._disk)


def _unapplied(reader: Reader) -> list[dict[str, Any]]:
    """Records after the last one that is known to be in Redis."""
    left: list[dict[str, Any]] = []
    applied = 0
    while records := reader.read():
        for record in records:
            if "applied" in record:
                applied = max(applied, record["applied"])
            else:
                left.append(record)
    return [record for record in left if record["number"] > applied]


def _lock(folder: Path, name: str) -> int | None:
    """Held as long as the process lives; None where another one has it."""
    descriptor = os.open(folder / f"journal-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _release(folder: Path, name: str, lock: int) -> None:
    (folder / f"journal-{name}.lock").unlink(missing_ok=True)
    os.close(lock)
