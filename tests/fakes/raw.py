"""A peer that sends exactly the bytes a test gives it, over real sockets, in the test's own event loop.

A script is a coroutine function that gets each new connection as a `Peer`. When it returns, the connection stays as it
is; it is the script's business to close it.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from providers.base import Call
from providers.transport import HttpTransport

LIMIT = 64 * 1024 * 1024
HEADERS = [("content-type", "application/json"), ("authorization", "Bearer sk-test")]
_PATIENCE_S = 20.0  # for what happens at once, or never: a busy machine must not turn the one into the other


class Peer:
    """The server's side of one connection. `number` counts connections from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.requests: list[tuple[bytes, bytes]] = []
        self._reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request. Raises IncompleteReadError when the client leaves instead."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        self.requests.append((head, body))
        return head, body

    async def send(self, data: bytes, *, piece: int | None = None) -> None:
        """Send, in one piece or in pieces of a size that leave one by one. Raises ConnectionError."""
        size = piece or max(1, len(data))
        for start in range(0, len(data), size):
            if self.writer.transport.is_closing():  # uvloop would raise a RuntimeError
                raise ConnectionResetError
            self.writer.write(data[start : start + size])
            if piece:
                await asyncio.sleep(0)
        await self.writer.drain()

    async def answer(self, data: bytes, *, piece: int | None = None) -> None:
        """One request, one answer."""
        await self.request()
        await self.send(data, piece=piece)

    def end(self) -> None:
        """FIN."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def gone(self, within_s: float = _PATIENCE_S) -> float:
        """Wait until the client is gone; what it still sends is thrown away. Returns the loop's time."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(65536):
                    pass
        return asyncio.get_running_loop().time()


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Listens on loopback for as long as its context lasts. A script's failure is raised when it ends."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        self._host = host
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.peers: list[Peer] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, 0, ssl=self._tls, limit=1 << 20, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)
        if self._failures:
            raise self._failures[0]

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/v1/chat/completions"

    def call(self, body: bytes = b"{}", url: str | None = None) -> Call:
        return Call(url or self.url, HEADERS, body)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(self.peers), reader, writer)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # the client left, or the test is over
        except BaseException as error:  # raised in the test's own task
            self._failures.append(error)
            writer.transport.abort()
        finally:
            self._tasks.discard(task)


@contextlib.asynccontextmanager
async def serving(
    script: Script,
    *,
    connect_s: float = 10.0,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    **options: Any,
) -> Any:
    """A server with a transport to it, and at the end neither of both."""
    transport = HttpTransport(connect_s=connect_s, **options)
    async with RawServer(script, tls=tls, host=host) as server:
        try:
            yield server, transport
        finally:
            await transport.close()


async def fetch(transport: HttpTransport, call: Call, **options: Any) -> tuple[int, bytes]:
    """A whole exchange: status and body."""
    async with transport.open(call, **options) as exchange:
        return exchange.status, await exchange.read(LIMIT)


async def stream(transport: HttpTransport, call: Call) -> tuple[int, bytes]:
    """A whole exchange, read piece by piece."""
    pieces = []
    async with transport.open(call) as exchange:
        while (piece := await exchange.chunk()) is not None:
            assert piece
            pieces.append(piece)
        return exchange.status, b"".join(pieces)


async def until(condition: Callable[[], Any], within_s: float = _PATIENCE_S) -> None:
    """Wait for something the other side does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for are bytes, not a flag of ours
            await asyncio.sleep(0.002)


async def settled(figure: Callable[[], int]) -> int:
    """A figure that has stopped to change: for many turns of the loop, however long a busy machine takes for them."""
    last, unchanged = figure(), 0
    while unchanged < 20:
        await asyncio.sleep(0.005)
        unchanged = unchanged + 1 if figure() == last else 0
        last = figure()
    return last


def answer(body: bytes = b"{}", *fields: str, status: str = "200 OK") -> bytes:
    """An answer with a length."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked(*chunks: bytes, fields: str = "", trailers: str = "") -> bytes:
    """An answer in chunks, each of them as it is given."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = f"HTTP/1.1 200 OK\r\n{fields}transfer-encoding: chunked\r\n\r\n".encode()
    return head + body + b"0\r\n" + trailers.encode() + b"\r\n"


def open_files() -> int:
    """File descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
