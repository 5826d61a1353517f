"""What Redis was told and has not confirmed yet, on disk: a settlement outlives the process that made it.

Every process appends to a journal of its own. Redis takes a settlement once, by its id, so whatever a crash leaves here
is told again at the next start, by the first process to find it.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.stores.journal import Disk, Journal, Reader, remove_all, remove_applied
from policies.stores.locks import FileLock

_PREFIX = "redis-"
_MARKED_EVERY = 256  # records; as many are told again after a crash, at most


class RedisJournal:
    """The journal of one process in the folder for state. Raises OSError where the folder cannot be written."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self.name = _PREFIX + secrets.token_hex(6)
        self._lock = FileLock(_lock_path(folder, self.name))
        self._lock.take()
        self._journal = Journal(folder, self.name, 0, disk=self._disk)
        self._appended = 0
        self._applied = 0
        self._marked = 0
        self._adopted: list[tuple[str, FileLock]] = []

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
            lock = FileLock(path)
            if name != self.name and lock.take():
                self._adopted.append((name, lock))
                left += _unapplied(Reader(self._folder, name, 0))
        return left

    def adopt(self) -> None:
        """All that `replay` told is in this journal now, so the old ones can go."""
        self.sync()
        for name, lock in self._adopted:
            remove_all(self._folder, name, self._disk)
            lock.release(is_removed=True)
        self._adopted = []

    def sync(self) -> None:
        """Have the machine keep what was written. For a thread: this takes as long as the disk does."""
        self._journal.sync()

    def close(self) -> None:
        """Leave nothing behind where Redis has everything."""
        self._mark()
        self._journal.close()
        is_done = self._applied >= self._appended
        if is_done:
            remove_all(self._folder, self.name, self._disk)
        self._lock.release(is_removed=is_done)

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


def _lock_path(folder: Path, name: str) -> Path:
    return folder / f"journal-{name}.lock"
