"""What a process may still use of budgets while Redis is away, on disk: a restart gives nobody another share."""

import secrets
from pathlib import Path
from typing import NamedTuple

from policies.stores.journal import Disk, Journal, Reader, remove_all, remove_applied
from policies.stores.locks import FileLock

_PREFIX = "share-"
_REWRITTEN_EVERY = 50_000  # records


class Share(NamedTuple):
    """What was left of a meter for this process alone (units of the meter), at a time (Unix seconds)."""

    left: int
    at_s: float


class Shares:
    """The shares of one process, in the folder for state. It begins with what one process that is gone has left there,
    or where none is gone, with as much as another one has: it may be about to take its place.

    Raises OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self.known: dict[str, Share] = {}
        self._folder = folder
        self._disk = disk or Disk()
        self._name = _PREFIX + secrets.token_hex(6)
        self._lock = FileLock(folder / f"journal-{self._name}.lock")
        self._lock.take()
        self._journal = Journal(folder, self._name, 0, disk=self._disk)
        self._rewritten = 0
        self._inherit()

    def note(self, meter_id: str, left: int, at_s: float) -> None:
        """So much is left now. It outlives the process, not a crash of the machine."""
        self.known[meter_id] = Share(left, at_s)
        self._journal.append({"meter": meter_id, "left": left, "at": at_s})
        if self._journal.last - self._rewritten > _REWRITTEN_EVERY + len(self.known):
            self._rewrite()

    def close(self) -> None:
        """What is known stays, for the next start."""
        self._journal.close()
        self._lock.release()

    def _inherit(self) -> None:
        living = None
        for path in sorted(self._folder.glob(f"journal-{_PREFIX}*.lock"), key=_changed, reverse=True):
            name = path.stem.removeprefix("journal-")
            lock = FileLock(path)
            if name == self._name:
                continue
            if not lock.take():
                living = living or name
                continue
            self._read(name)
            self._rewrite()
            self._journal.sync()
            remove_all(self._folder, name, self._disk)
            lock.release(is_removed=True)
            return  # another process of this gateway takes the next one
        if living is not None:
            self._read(living)
            self._rewrite()

    def _read(self, name: str) -> None:
        reader = Reader(self._folder, name, 0)
        while records := reader.read():
            for record in records:
                self.known[record["meter"]] = Share(record["left"], record["at"])

    def _rewrite(self) -> None:
        before = self._rewritten = self._journal.last
        for meter_id, (left, at_s) in self.known.items():
            self._journal.append({"meter": meter_id, "left": left, "at": at_s})
        remove_applied(self._folder, self._name, before, self._disk)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # another process has just inherited it
