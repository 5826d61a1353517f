"""Lessons in a folder that the workers of a machine share, and that outlives them: a file for each namespace.

A file has a head with the number of bytes that were cut off before its first line, so that a place in it stays the same
when it is shortened, and a line of base64 for each record. Whoever reads or writes holds the lock of the folder.
"""

import asyncio
import fcntl
import os
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.caching.semantic.board import Heard, Told

_HEAD = b"signalbox lessons %016x\n"
_HEAD_BYTES = len(_HEAD % 0)
_LONGEST, _SHORTENED = 1024 * 1024, 640 * 1024  # bytes of a file: the window of labels takes some 350 KB
_ENDING = ".lessons"
_HITS, _OLDER_HITS = "hits", "hits.old"
_MOST_HITS_BYTES = 1024 * 1024
_TAKEN = b"-"
_KEPT_S = 30 * 86_400.0
_MOST_FILES = 2_000


class LessonFiles:
    """A LessonStore. The folder is made when it is needed. `now_s` is Unix time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_tidy = False

    async def exchange(self, told: Sequence[Told]) -> Sequence[Heard]:
        return await asyncio.to_thread(self._exchange, told)

    async def discard(self, name: str) -> None:
        await asyncio.to_thread(self._discard, name)

    async def put_hits(self, hits: Sequence[tuple[str, bytes]]) -> None:
        await asyncio.to_thread(self._put_hits, hits)

    async def take_hit(self, name: str) -> bytes:
        return await asyncio.to_thread(self._take_hit, name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _exchange(self, told: Sequence[Told]) -> list[Heard]:
        with self._locked():
            if not self._is_tidy:
                self._tidy()
            return [self._one(one) for one in told]

    def _one(self, told: Told) -> Heard:
        path = self._folder / (told.name + _ENDING)
        try:
            file = path.open("r+b", buffering=0)
        except FileNotFoundError:
            if not told.records:
                return Heard((), "")
            file = path.open("w+b", buffering=0)
            file.write(_HEAD % 0)
            file.seek(0)
        with file:
            base = _base_of(file.read(_HEAD_BYTES))
            if base is None:
                return Heard((b"",), "")  # none of ours
            end = file.seek(0, os.SEEK_END)
            start = int(told.cursor or "0") - base
            start = start if _HEAD_BYTES <= start <= end else _HEAD_BYTES
            file.seek(start)
            whole, newline, torn = file.read().rpartition(b"\n")
            if torn:  # whoever wrote this died
                file.truncate(end - len(torn))
            cursor = start + len(whole) + len(newline)
            if told.records:
                file.seek(cursor)
                file.write(b"".join(b64encode(record) + b"\n" for record in told.records))
            if file.tell() > _LONGEST:
                self._shorten(path, base)
        return Heard([_decoded(line) for line in whole.split(b"\n")] if whole else (), str(base + cursor))

    def _shorten(self, path: Path, base: int) -> None:
        data = path.read_bytes()
        cut = data.index(b"\n", len(data) - _SHORTENED) + 1
        new = path.with_suffix(".new")
        new.write_bytes(_HEAD % (base + cut - _HEAD_BYTES) + data[cut:])
        new.replace(path)

    def _discard(self, name: str) -> None:
        """Kept beside, for whoever wants to know why."""
        path = self._folder / (name + _ENDING)
        with self._locked(), suppress(FileNotFoundError):
            path.replace(path.with_suffix(".broken"))

    def _put_hits(self, hits: Sequence[tuple[str, bytes]]) -> None:
        lines = b"".join(b"%b %b\n" % (name.encode(), b64encode(data)) for name, data in hits)
        with self._locked(), (self._folder / _HITS).open("ab", buffering=0) as file:
            file.write(lines)
            if file.tell() > _MOST_HITS_BYTES:
                (self._folder / _HITS).replace(self._folder / _OLDER_HITS)

    def _take_hit(self, name: str) -> bytes:
        """The last line of that name counts."""
        found = b""
        with self._locked():
            for file in (_OLDER_HITS, _HITS):
                with suppress(FileNotFoundError):
                    for line in (self._folder / file).read_bytes().split(b"\n"):
                        if line.startswith(name.encode() + b" "):
                            found = line.partition(b" ")[2]
            if found and found != _TAKEN:
                with (self._folder / _HITS).open("ab", buffering=0) as opened:
                    opened.write(b"%b %b\n" % (name.encode(), _TAKEN))
        return b"" if found == _TAKEN else _decoded(found)

    def _tidy(self) -> None:
        """Without what nobody has learnt from for long, and the oldest of too many."""
        self._is_tidy = True
        ages: list[tuple[float, Path]] = []
        for path in self._folder.iterdir():
            if path.suffix in (_ENDING, ".broken"):
                with suppress(FileNotFoundError):
                    ages.append((time.time() - path.stat().st_mtime, path))
        ages.sort(key=lambda one: one[0])
        for place, (age_s, path) in enumerate(ages):
            if place >= _MOST_FILES or age_s > _KEPT_S:
                path.unlink(missing_ok=True)


def _base_of(head: bytes) -> int | None:
    """Of a file of this version; None of any other."""
    try:
        base = int(head[-17:-1], 16)
    except ValueError:
        return None
    return base if head == _HEAD % base else None


def _decoded(line: bytes) -> bytes:
    """Empty for what is no base64, which no seal fits."""
    try:
        return b64decode(line, validate=True)
    except (Error, ValueError):
        return b""
