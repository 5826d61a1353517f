"""Server-sent events as bytes: where one event ends, whatever way the network cut them.

Only LF, CRLF and CR end a line (text line iterators also split on U+2028 and tear JSON apart), so nothing is decoded
here. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n?)|\r\r\n?")
_CARRIAGE_RETURN = re.compile(rb"\r\n?")


class Event(NamedTuple):
    """One event: its `event:` field (empty when absent) and its `data:` lines joined with LF."""

    type: bytes
    data: bytes


class Framer:
    """Cuts a byte stream at the borders of events.

    `feed` returns the whole events that are complete now, as they came (b"" while none is); `events` splits them.
    Once an event is larger than `limit` bytes `is_too_large` is set, and what follows is ignored: at most `limit` bytes
    (and its line end) wait in memory. What is left when the stream ends never was a whole event and is dropped.
    """

    __slots__ = ("_is_started", "_limit", "_pending", "is_too_large")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.is_too_large = False
        self._limit = limit
        self._pending = bytearray()
        self._is_started = False

    @property
    def pending_bytes(self) -> int:
        """How much waits for the end of its event."""
        return len(self._pending)

    def feed(self, data: bytes) -> bytes:
        if self._is_started and not self._pending and data.endswith(b"\n\n") and len(data) <= self._limit:
            return data
        return self._feed_part(data)

    def _feed_part(self, data: bytes) -> bytes:
        if self.is_too_large:
            return b""
        pending = self._pending
        start = max(len(pending) - 1, 0)
        pending += data
        if not self._is_started:
            if len(pending) < len(_BOM) and _BOM.startswith(pending):
                return b""
            self._is_started = True
            start = 0
            if pending.startswith(_BOM):
                del pending[: len(_BOM)]
        end = _last_event_end(pending, start)
        block = bytes(pending[:end])
        if end:
            del pending[:end]
        if len(pending) > self._limit + len(b"\r\n"):
            self._give_up()
        return block if len(block) <= self._limit else self._up_to_limit(block)

    def _up_to_limit(self, block: bytes) -> bytes:
        """The events of `block` before the first one that is too large."""
        start = 0
        for found in _BLANK_LINE.finditer(block):
            if found.start() - start > self._limit:
                self._give_up()
                return block[:start]
            start = found.end()
        return block

    def _give_up(self) -> None:
        self.is_too_large = True
        self._is_started = False  # sends every later feed the slow way, where it ends
        self._pending.clear()


def events(block: bytes) -> list[Event]:
    """The events of a block of whole events; comments, `id:`, `retry:` and events without data are left out."""
    if b"\r" in block:
        block = _CARRIAGE_RETURN.sub(b"\n", block)
    found = []
    for frame in block.split(b"\n\n"):
        if frame.startswith(b"data: ") and b"\n" not in frame:
            found.append(Event(b"", frame[6:]))
        elif frame:
            event = _parse(frame)
            if event.data:
                found.append(event)
    return found


def _parse(frame: bytes) -> Event:
    kind = b""
    data = []
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return Event(kind, b"\n".join(data))


def _last_event_end(data: bytearray, start: int) -> int:
    """Where the last whole event in `data` ends, looking from `start`; 0 when none does.

    A CR closes its line at once; the LF that may follow it is then an empty line of its own, which means nothing.
    """
    at = max(data.rfind(b"\n\n", start), data.rfind(b"\n\r", start), data.rfind(b"\r\r", start))
    if at < 0:
        return 0
    end = at + 2
    return end + 1 if data[end - 1 : end + 1] == b"\r\n" else end
