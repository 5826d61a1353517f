"""HTTP/1.1 to a provider: one connection and the exchanges on it, one after the other.

Small on purpose: requests with a whole body, no redirects, no proxies, no cookies. What it has instead is exactness
where a gateway needs it: leaving an exchange closes its connection at once, in every phase; it is known whether a byte
came back; no byte that came unasked is taken for an answer; nothing is read that nobody waits for.

Strict about framing, as RFC 9112 asks and httptools does: two lengths, a length beside chunks, a bare line feed, a
folded line are no answer but an error. Section numbers below are those of https://www.rfc-editor.org/rfc/rfc9112.
"""

import asyncio
import select
from collections import deque
from functools import lru_cache
from typing import Any

import httptools

# Bytes of a body that may wait for their reader before the connection is no longer read.
_MAX_WAITING_BYTES = 128 * 1024
_PIECE_COST = 64  # what a piece weighs beside its bytes: a body of tiny chunks is held back earlier
_MAX_FRAMING_BYTES = 64 * 1024
_COPIED_BODY_BYTES = 16 * 1024  # up to here one write of head and body is cheaper than two


# A provider names the same fields in all its answers: what they are about is worked out once.
_HEADS_KEPT = 64


class BadAnswerError(Exception):
    """The peer does not speak HTTP/1.1 as the RFC has it."""


class CutError(Exception):
    """The connection ended before the answer was whole. `bytes_seen` tells whether any of it had come."""

    def __init__(self, *, bytes_seen: bool) -> None:
        super().__init__("the connection ended before the answer was whole")
        self.bytes_seen = bytes_seen


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    __slots__ = (
        "_bytes_seen",
        "_error",
        "_fields",
        "_framing_bytes",
        "_is_busy",
        "_is_complete",
        "_is_lost",
        "_is_paused",
        "_loop",
        "_may_be_kept",
        "_parser",
        "_pieces",
        "_poll",
        "_sent_at",
        "_transport",
        "_waiter",
        "_waiting_bytes",
        "content_encoding",
        "has_head",
        "headers",
        "idle_since",
        "is_reused",
        "kept_in",
        "on_header",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport
        self._poll: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        # Fields as they come, the first of each name. A method written in C takes them: it is called for every field.
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.setdefault
        self._parser = httptools.HttpResponseParser(self)
        self._waiting_bytes = 0
        self._framing_bytes = 0
        self._is_paused = False
        self._is_lost = False
        self._error: Exception | None = None
        self._is_busy = False
        self._bytes_seen = False
        self.has_head = False
        self._is_complete = False
        self._may_be_kept = False
        self._sent_at = 0.0
        self.is_reused = False
        self.idle_since = 0.0
        self.kept_in: list[Connection] | None = None  # where the pool keeps it while it is idle
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.content_encoding = b""

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            self.abort()  # nobody asked anything: whatever this is, it must not be taken for the next answer
            return
        self._bytes_seen = True
        had_head, waiting = self.has_head, self._waiting_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._is_complete:
                # The answer is whole; what follows it belongs to nobody, and the connection is not used again.
                self._may_be_kept = False
                self._wake()
            else:
                own = error.__context__
                self._fail(own if isinstance(own, BadAnswerError) else BadAnswerError(str(error)))
            return
        if not had_head or self._waiting_bytes == waiting:
            self._framing_bytes += len(data)
            if self._framing_bytes > _MAX_FRAMING_BYTES and self._is_framing_too_large(had_head):
                self.has_head = had_head
                self._fail(BadAnswerError("its head, or what stands around its chunks, is too large"))
                return
        if self._waiting_bytes > _MAX_WAITING_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The peer's last word. What we have not sent by now nobody will read, so nothing is waited for."""
        if self.has_head and not self._is_complete and self._ends_with_connection():
            self._is_complete = True
        self._is_lost = True
        self._may_be_kept = False
        self._wake()
        self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_lost = True
        self._may_be_kept = False
        if self.kept_in is not None:
            self.kept_in.remove(self)
            self.kept_in = None
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise BadAnswerError("a second answer to one request")

    def on_headers_complete(self) -> None:
        fields = self._fields.copy()
        self._fields.clear()  # what is added from here on are trailers, which nobody asked for (RFC 9110, 6.5.1)
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BadAnswerError(f"status {status} answers nothing that was asked")
            return  # 100 Continue, 103 Early Hints: the answer is still to come
        for name, is_content in _coding_fields(tuple(fields)):
            if is_content:
                self.content_encoding = fields[name].strip().lower()
            else:
                self._check_coding(fields[name])
        self.status = status
        self.headers = fields
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting_bytes += len(body) + _PIECE_COST

    def on_message_complete(self) -> None:
        if self.has_head:
            self._is_complete = True
            if not self._parser.should_keep_alive():
                self._may_be_kept = False

    # What an exchange does.

    def survived(self, idle_s: float) -> bool:
        """Whether it can carry another request after its time in the pool.

        The kernel is asked as well: the event loop may not have got round to bytes, or an end, that came while nobody
        asked. Sent into that, a request would get a foreign answer, or none.
        """
        return (
            not self._is_lost
            and not self._transport.is_closing()
            and self._loop.time() - self.idle_since < idle_s
            and (self._poll is None or not self._poll.poll(0))
        )

    @property
    def age_s(self) -> float:
        """Seconds since the request was sent."""
        return self._loop.time() - self._sent_at

    def send(self, head: bytes, body: bytes) -> None:
        """Start an exchange."""
        self._is_busy = self._may_be_kept = True
        self._bytes_seen = self.has_head = self._is_complete = False
        self._framing_bytes = self._waiting_bytes = 0
        self._fields.clear()
        self.content_encoding = b""
        self._sent_at = self._loop.time()
        if self._transport.is_closing():
            return  # it ended before it was used, which `arrival` will say; uvloop raises for a write into that
        if len(body) <= _COPIED_BODY_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def arrival(self) -> "asyncio.Future[None]":
        """To be awaited when there is nothing to do yet. Raises CutError, BadAnswerError when nothing more will come.

        Not a coroutine of its own, and neither is `piece`: on the way of every chunk each coroutine would be felt.
        """
        if self._error is not None:
            raise self._error
        if self._is_lost:
            raise CutError(bytes_seen=self._bytes_seen)
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def piece(self) -> bytes | None:
        """What has arrived of the body since the last call, b"" when that is nothing yet, None at the body's end."""
        pieces = self._pieces
        if not pieces:
            return None if self._is_complete else b""
        if len(pieces) == 1:
            data = pieces.popleft()
        else:
            data = b"".join(pieces)
            pieces.clear()
        self._waiting_bytes = 0
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def read_all(self, limit: int) -> bytes | None:
        """The whole body, None if it has more than `limit` bytes. Raises CutError, BadAnswerError."""
        kept: list[bytes] = []
        size = 0
        while (piece := self.piece()) is not None:
            if not piece:
                await self.arrival()
                continue
            size += len(piece)
            if size > limit:
                return None
            if self._is_complete and not kept:
                return piece
            kept.append(piece)
        return b"".join(kept)

    def finish(self) -> bool:
        """End the exchange. True when the connection can take another one; else it is closed at once."""
        if (
            self._is_complete
            and self._may_be_kept
            and not self._pieces
            and not self._is_paused
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()  # answered before it was asked in full
        ):
            self._is_busy = False
            self.idle_since = self._loop.time()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close without ceremony: the peer learns at once that nobody listens."""
        self._is_busy = False
        self._pieces.clear()
        self._transport.abort()

    def _check_coding(self, coding: bytes) -> None:
        if coding.rstrip(b" ").lower() != b"chunked":  # with any other ending the parser reads no chunks
            raise BadAnswerError("its transfer coding is not 'chunked'")
        if self._parser.get_http_version() == "1.0":
            self._may_be_kept = False  # 6.1: such framing cannot be trusted beyond this answer

    def _is_framing_too_large(self, had_head: bool) -> bool:
        """Heads, chunk sizes and trailers have no other limit; a body that came together with the head counts not."""
        if not had_head and self.has_head:
            self._framing_bytes = sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        return self._framing_bytes > _MAX_FRAMING_BYTES

    def _ends_with_connection(self) -> bool:
        """6.3: a body without a length and without chunks lasts until the connection is closed."""
        names = {name.lower() for name in self.headers}
        return b"content-length" not in names and b"transfer-encoding" not in names

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)


@lru_cache(maxsize=_HEADS_KEPT)
def _coding_fields(names: tuple[bytes, ...]) -> tuple[tuple[bytes, bool], ...]:
    """The fields among `names` that say how a body is coded, and whether they say it of the content."""
    codings = (b"content-encoding", b"transfer-encoding")
    return tuple((name, name.lower() == codings[0]) for name in names if name.lower() in codings)
