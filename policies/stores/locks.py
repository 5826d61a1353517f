"""Who may write to a state folder: one process alone, or several that share it. What a process held ends with it."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from policies.stores.base import StoreError


class FileLock:
    """A lock on a file, held until `release` or until the process ends. Raises OSError where it cannot be made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, *, is_shared: bool = False) -> bool:
        """Try once; whoever shares it already may take it alone, and the other way round."""
        if self._descriptor is not None:
            return self._flock(self._descriptor, is_shared)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._flock(descriptor, is_shared) and self._is_there(descriptor):
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def release(self, *, is_removed: bool = False) -> None:
        if self._descriptor is None:
            return
        if is_removed:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _flock(self, descriptor: int, is_shared: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_there(self, descriptor: int) -> bool:
        """Whether the file is still the one of that name: its last holder may have removed it meanwhile."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False


def lock_alone(folder: Path) -> FileLock:
    """Keep every other process out of the folder. Raises StoreError where one is in it."""
    lock = _folder_lock(folder)
    if not lock.take():
        raise StoreError(
            f"another process uses the state folder {folder}; stop it, name another folder in SIGNALBOX_STATE_DIR, or "
            "start several workers as one gateway, which share a folder"
        )
    return lock


def lock_shared(folder: Path, wait_s: float, first: Callable[[], None]) -> FileLock:
    """Keep out a process that wants to be alone. Whoever comes first calls `first` before the others come in.

    Raises StoreError where a process stays alone in it for longer than `wait_s`.
    """
    lock = _folder_lock(folder)
    until_s = time.monotonic() + wait_s
    if lock.take():
        try:
            first()
        except BaseException:
            lock.release()
            raise
    while not lock.take(is_shared=True):
        if time.monotonic() >= until_s:
            raise StoreError(
                f"a gateway with one worker uses the state folder {folder}; stop it, or name another folder"
            )
        time.sleep(0.02)
    return lock


def _folder_lock(folder: Path) -> FileLock:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(folder / "store.lock")
    except OSError as error:
        raise StoreError(f"the state folder {folder} cannot be used: {error.strerror}") from error
