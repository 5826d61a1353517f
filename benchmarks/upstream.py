"""The scripted upstream: a process of its own that answers like an OpenAI endpoint as cheaply as Python can.

Usage: python -m benchmarks.upstream PORT [CERT KEY]. It ends when its standard input does.
"""

import asyncio
import ssl
import sys
from collections.abc import Iterator
from typing import cast

import uvloop

from benchmarks import payloads

# The heads of a recorded exchange, with the size and number of fields that real ones have.
_COMMON = (
    b"date: Tue, 18 Nov 2025 19:12:11 GMT\r\n"
    b"openai-organization: bench-organization\r\nopenai-processing-ms: 742\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 30000\r\nx-ratelimit-limit-tokens: 150000000\r\n"
    b"x-ratelimit-remaining-requests: 29999\r\nx-ratelimit-remaining-tokens: 149999967\r\n"
    b"x-ratelimit-reset-requests: 2ms\r\nx-ratelimit-reset-tokens: 0s\r\n"
    b"x-request-id: req_5d1c0bd29d0f4ae4b1dbbd11ff0a31b2\r\n"
    b"strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"
    b"x-content-type-options: nosniff\r\nserver: bench\r\ncf-ray: 9a0b1c2d3e4f5061-FRA\r\n"
)
_WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
    % (_COMMON, len(payloads.whole_answer()))
    + payloads.whole_answer()
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n%stransfer-encoding: chunked\r\n\r\n"
    % _COMMON
)
_LAST_CHUNK = b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            self._transport.abort()  # every client here knows the size of its body
            return
        size = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < size:
            return
        body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        chunks, pause_s = payloads.plan_of(body)
        if not chunks:
            self._transport.write(_WHOLE)
            return
        self._transport.write(_STREAM_HEAD)
        frames = payloads.stream_frames(chunks, has_usage=payloads.wants_usage(body))
        self._next(iter(frames[:-1]), frames[-1], pause_s)

    def _next(self, frames: Iterator[bytes], last: bytes, pause_s: float) -> None:
        frame = next(frames, None)
        if frame is None:
            self._transport.write(_chunk(last) + _LAST_CHUNK)
            self._timer = None
            return
        self._transport.write(_chunk(frame))
        self._timer = self._loop.call_later(pause_s, self._next, frames, last, pause_s)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(port: int, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, ssl=context, backlog=2048)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    context = None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    uvloop.run(serve(int(sys.argv[1]), context))


if __name__ == "__main__":
    main()
