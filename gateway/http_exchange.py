"""One request on a connection and its answer, which is written in as few pieces as it has.

uvicorn is pinned, because this class relies on the shape of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_LINGER_S = 1.0
_CRLF = b"\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Exchange(RequestResponseCycle):
    """One request and its answer: ASGI's `receive` and `send`, and beside them the Channel for our own endpoints.

    The head is written together with the first piece of the body.
    """

    _head = b""
    _is_chunked = False
    on_left_over: Callable[[], None] | None = None  # told of bytes that a connection about to close still has

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing()

    def take_body(self) -> bytes | None:
        if self.more_body or self.waiting_for_100_continue:
            return None
        body, self.body = self.body, bytearray()
        return bytes(body)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        self.begin(status, head)
        self._write_body(body, more_body=False)

    def begin(self, status: int, head: bytes) -> None:
        if self.response_started:
            raise RuntimeError("the answer was started twice")
        self.response_started = True
        self.waiting_for_100_continue = False
        block = STATUS_LINE[status]
        for name, value in self.default_headers:
            block += b"%b: %b\r\n" % (name, value)
        block += head
        if block.find(b"\r\nconnection: close\r\n") >= 0:  # `in` costs more: see providers.bodyedit
            self.keep_alive = False
        elif not self.keep_alive:
            block += b"connection: close\r\n"
        has_body = self.scope["method"] != "HEAD" and status not in (204, 304)
        # HTTP/1.0 has no chunks: there the end of the connection is the end of the body.
        if has_body and block.find(b"\r\ncontent-length: ") < 0 and self.scope["http_version"] != "1.0":
            self._is_chunked = True
            block += b"transfer-encoding: chunked\r\n"
        self._head = block + _CRLF

    def push(self, data: bytes) -> Awaitable[None] | None:
        self._write_body(data, more_body=True)
        return self.flow.drain() if self.flow.write_paused and not self.disconnected else None

    def unread(self) -> Awaitable[None] | None:
        return self.flow.drain() if self.flow.write_paused and not self.disconnected else None

    def end(self, data: bytes = b"") -> None:
        self._write_body(data, more_body=False)

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if message["type"] == "http.response.body":
            self._write_body(message.get("body", b""), more_body=message.get("more_body", False))
            return
        self.begin(message["status"], b"".join(_header_line(name, value) for name, value in message["headers"]))

    def _write_body(self, body: bytes, *, more_body: bool) -> None:
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("the answer was already complete")
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            data = head
        elif not self._is_chunked:
            data = head + body
        elif more_body:
            data = b"%b%x\r\n%b\r\n" % (head, len(body), body) if body else head
        else:
            data = b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body) if body else head + _LAST_CHUNK
        if data:
            self.transport.write(data)
        if not more_body:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._hang_up()
            self.on_response()

    def _hang_up(self) -> None:
        if self.more_body:
            # Closing while the client still sends would take the answer with it: read on for a moment (RFC 9112, 9.6).
            self.flow.resume_reading()
            asyncio.get_running_loop().call_later(_LINGER_S, self.transport.close)
            return
        self.transport.close()
        if self.transport.get_write_buffer_size() and self.on_left_over is not None:
            self.on_left_over()


def _header_line(name: bytes, value: bytes) -> bytes:
    if b"\r" in value or b"\n" in value or b"\x00" in value:
        raise RuntimeError("a header value has a line break")
    return b"%b: %b\r\n" % (name.lower(), value)
