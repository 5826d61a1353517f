"""Purges for all workers of a machine: each is a line of a file that all of them read on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson

from policies.cache.purge import Purge

_FILE = "cache-purges.jsonl"
_LOOK_S = 0.2


class SharedPurges:
    """`folder` is one that the workers share; None where there is one worker only."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _FILE if folder is not None else None
        self._seen = self._size()

    def tell(self, purge: Purge) -> None:
        """Let the others know. Raises OSError."""
        if self._path is None:
            return
        with self._path.open("ab", buffering=0) as file:  # one write: lines of two workers do not mix
            file.write(orjson.dumps(purge.to_json()) + b"\n")

    async def follow(self, carry_out: Callable[[Purge], object]) -> None:
        """Carry out what the others tell, and once more what came from here. Until cancelled."""
        while self._path is not None:
            await asyncio.sleep(_LOOK_S)
            if self._size() != self._seen:
                for line in self._new_lines():
                    with suppress(ValueError, TypeError):  # of another version
                        carry_out(Purge(**orjson.loads(line)))

    def _new_lines(self) -> list[bytes]:
        assert self._path is not None
        if self._size() < self._seen:
            self._seen = 0  # somebody cleaned up: what is new begins anew
        try:
            with self._path.open("rb") as file:
                file.seek(self._seen)
                data = file.read()
        except OSError:
            return []
        whole, newline, _ = data.rpartition(b"\n")
        self._seen += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []

    def _size(self) -> int:
        with suppress(OSError):
            return self._path.stat().st_size if self._path is not None else 0
        return 0
