"""ASGI in and out: reading a bounded body, sending whole answers and event streams."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from gateway.wire import refusals

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Channel(Protocol):
    """The server's side of one exchange, for endpoints that carry traffic: plain calls where ASGI has coroutines.

    It stands in the scope under CHANNEL. `head` is finished header lines.
    """

    @property
    def is_open(self) -> bool:
        """Whether there is still somebody to answer."""
        ...

    def take_body(self) -> bytes | None:
        """The request body if all of it has arrived, else None: then it has to be read through ASGI's `receive`."""
        ...

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Send one whole answer."""
        ...

    def unread(self) -> Awaitable[None] | None:
        """Something to wait for while more than a little of what was sent is still here; None where it is not."""
        ...

    def begin(self, status: int, head: bytes) -> None:
        """Start a streamed answer; the head goes out with the first piece."""
        ...

    def push(self, data: bytes) -> Awaitable[None] | None:
        """Send a piece. Returns something to wait for when the client reads more slowly than we write."""
        ...

    def end(self, data: bytes = b"") -> None:
        """End a streamed answer, with a last piece where there is one. Nobody waits for it to be read."""
        ...


CHANNEL = "signalbox.channel"
_LISTS = frozenset({b"cache-control", b"x-signalbox-cache", b"x-signalbox-tags"})


class ClientGoneError(Exception):
    """The client closed its connection before its request was complete."""


def with_lists_joined(lines: Headers) -> dict[bytes, bytes]:
    """The fields of a head that has some in several lines. A list may stand in as many as its sender likes (RFC 9110,
    5.3); of everything else the last line counts.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        headers[name] = b"%b, %b" % (headers[name], value) if name in _LISTS and name in headers else value
    return headers


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], limit: int, note: Callable[[int], None] | None = None
) -> bytes:
    """The request body. `note` is told how many bytes each piece has, and may raise.

    Raises RefusedError (413) beyond `limit` bytes, ClientGoneError.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit:
        raise refusals.body_too_large(limit)
    pieces: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body: bytes = message.get("body", b"")
        has_more = bool(message.get("more_body"))
        size += len(body)
        if size > limit:
            raise refusals.body_too_large(limit)
        if note is not None:
            note(len(body))
        pieces.append(body)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """One complete answer; `headers` gets its content-length here."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
