"""A file of JSON lines that only grows, up to a size; written by one thread, so that a slow disk holds up no request.

Several processes may write to the same file: a line goes out in one piece, and one of them renames it when it is full.
"""

import fcntl
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore

_MAX_WAITING_LINES = 10_000


class Journal:
    """Appends lines to `path`. At `max_bytes` the file is renamed to end in `.1`, replacing the one from before.

    `on_lost` gets the error for every line that could not be written; it is called from the writing thread.
    """

    def __init__(self, path: Path, max_bytes: int, on_lost: Callable[[Exception], None] = lambda _: None) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._on_lost = on_lost
        self._writer = ThreadPoolExecutor(1, "feedback-writer")
        self._places = BoundedSemaphore(_MAX_WAITING_LINES)

    def append(self, line: bytes) -> "Future[None]":
        """Write `line` (without its line break) after all those before. The future raises OSError if that fails."""
        if not self._places.acquire(blocking=False):
            error = OSError("the disk is too slow")
            failed: Future[None] = Future()
            failed.set_exception(error)
            self._on_lost(error)
            return failed
        writing = self._writer.submit(self._write, line + b"\n")
        writing.add_done_callback(self._finished)
        return writing

    def _write(self, line: bytes) -> None:
        descriptor = self._open(len(line))
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)

    def _open(self, more: int) -> int:
        """The file, locked, with room for `more` bytes. What it holds is for its owner only."""
        while True:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                is_ours = os.path.samestat(os.fstat(descriptor), self.path.stat())
                if is_ours and (not size or size + more <= self._max_bytes):
                    return descriptor
                if is_ours:
                    self.path.replace(self.path.with_name(self.path.name + ".1"))
            except FileNotFoundError:
                pass  # another process has renamed it since it was opened
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _finished(self, writing: "Future[None]") -> None:
        self._places.release()
        error = writing.exception()
        if isinstance(error, Exception):
            self._on_lost(error)
