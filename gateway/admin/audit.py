"""The audit log: who did what in the control plane, on what, when, from where, with what was there before and after.

One JSON object per line in `audit.jsonl` of the state folder, and the same as a log line `admin action`. Without a
state folder the last entries of this process are kept in memory.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway.telemetry.logs import Logger

FILE = "audit.jsonl"
_KEPT = 1_000  # entries in memory, where there is no file
_BLOCK_BYTES = 64 * 1024
_REFUSALS_PER_MINUTE = 60.0


@dataclass(slots=True, frozen=True)
class Actor:
    """Who asks for which action. `name` is the admin key's, empty where nobody knows; `action` the route's name."""

    name: str
    role: str | None
    action: str
    address: str | None


@dataclass(slots=True, frozen=True)
class AuditPage:
    """Entries, newest first; `next` is where the page after this one begins, None at the end."""

    entries: list[dict[str, Any]]
    next: int | None


class AuditLog:
    """Appends and reads entries. Several processes may share the file: each line is one write.

    `now_s` gives Unix seconds. Attempts of people without a key are noted at most sixty times a minute, so that nobody
    can fill the disk; how many were left out stands in the next one. Without a `logger` OSError is raised where the
    file cannot be written, else that is logged: what was done was done.
    """

    def __init__(self, folder: Path | None, logger: Logger | None, now_s: Callable[[], float]) -> None:
        self._path = folder / FILE if folder is not None else None
        self._logger = logger
        self._now_s = now_s
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._kept_from = 0
        self._tokens = _REFUSALS_PER_MINUTE
        self._filled_s = now_s()
        self._left_out = 0

    async def note(self, actor: Actor, target: str | None, *, before: Any = None, after: Any = None) -> None:
        """An action that was done."""
        await self._add(actor, target, {"outcome": "done", "before": before, "after": after})

    async def refused(self, actor: Actor, reason: str, target: str | None = None) -> None:
        """An action that was not allowed, or not possible; `reason` is the error's code."""
        if not actor.name and not self._may_note():
            self._left_out += 1
            return
        more: dict[str, Any] = {"outcome": "refused", "reason": reason}
        if self._left_out:
            more["left_out"], self._left_out = self._left_out, 0
        await self._add(actor, target, more)

    async def page(self, limit: int, after: int | None = None) -> AuditPage:
        """At most `limit` entries before the place `after`, which is an earlier page's `next`."""
        if self._path is None:
            return self._page_of_kept(limit, after)
        return await asyncio.to_thread(_read_backwards, self._path, limit, after)

    async def _add(self, actor: Actor, target: str | None, more: dict[str, Any]) -> None:
        entry = {
            "time": datetime.fromtimestamp(self._now_s(), UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "admin": actor.name or None,
            "role": actor.role,
            "action": actor.action,
            "target": target,
            "from": actor.address,
        } | {name: value for name, value in more.items() if value is not None}
        if self._logger is not None:
            self._logger.info("admin action", **{name: value for name, value in entry.items() if name != "time"})
        if self._path is None:
            self._kept_from += len(self._kept) == _KEPT
            self._kept.append(entry)
            return
        try:
            await asyncio.to_thread(_append, self._path, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            if self._logger is None:
                raise
            self._logger.error("audit log not written", error=str(error))

    def _may_note(self) -> bool:
        now_s = self._now_s()
        passed_s = max(0.0, now_s - self._filled_s)
        self._tokens = min(_REFUSALS_PER_MINUTE, self._tokens + passed_s * _REFUSALS_PER_MINUTE / 60)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _page_of_kept(self, limit: int, after: int | None) -> AuditPage:
        end = len(self._kept) if after is None else max(0, min(len(self._kept), after - self._kept_from))
        start = max(0, end - limit)
        entries = [self._kept[place] for place in range(end - 1, start - 1, -1)]
        return AuditPage(entries, self._kept_from + start if start else None)


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError("the disk is full")
    finally:
        os.close(descriptor)


def _read_backwards(path: Path, limit: int, after: int | None) -> AuditPage:
    """Lines before the offset `after` (None: the end of the file), from the last to the first."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            end = position = size if after is None else min(after, size)
            data = b""
            while position and data.count(b"\n") <= limit:
                step = min(_BLOCK_BYTES, position)
                position -= step
                stream.seek(position)
                data = stream.read(step) + data
    except FileNotFoundError:
        return AuditPage([], None)
    whole = data[: data.rfind(b"\n") + 1]  # a line that is being written has no end yet
    end -= len(data) - len(whole)
    lines = whole.splitlines(keepends=True)
    if position:
        lines = lines[1:]  # its beginning was not read
    taken = lines[-limit:]
    start = end - sum(map(len, taken))
    return AuditPage([_parsed(line) for line in reversed(taken)], start or None)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": line.decode("utf-8", "replace")}
