"""The whole data plane on a real socket in this process, over scripted upstreams; and a client that sees bytes."""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import uvicorn

from config.settings import Settings
from gateway.api.endpoint import endpoints
from gateway.app import App
from gateway.connection import Connection, DrainingState
from gateway.service import Service
from tests.gateway.scripted import ScriptedTransport, Stage

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAMED = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
_STEP_S = 0.005


class Listening:
    """Use as an async context manager. `stage` holds metrics and log, `service` what endpoints see."""

    def __init__(
        self, upstreams: Mapping[str, ScriptedTransport], *, connection: type[Connection] = Connection, **stage: Any
    ) -> None:
        self._upstreams, self._connection, self._stage_options = upstreams, connection, stage

    async def __aenter__(self):
        self._clients: list[asyncio.StreamWriter] = []
        self.stage = Stage(self._upstreams, **self._stage_options)
        loop = self.stage.loop
        ids = (f"req_{number}" for number in count(1))
        self.service = Service(
            settings=Settings(),
            recorder=self.stage.recorder,
            loop=loop,
            clock=loop.time,
            wall_clock=lambda: 0.0,
            new_request_id=lambda: next(ids),
            render_metrics=lambda: b"",
            pipeline=self.stage.pipeline,
        )
        self.app = App(self.service, endpoints(), lambda: None)
        config = uvicorn.Config(
            self.app, http=self._connection, ws="none", lifespan="off", interface="asgi3", log_config=None,
            access_log=False, proxy_headers=False,
        )  # fmt: skip
        config.load()
        self.state = DrainingState()
        self.closed: list[str] = []
        self.state.on_closed = self.closed.append
        self._server = await loop.create_server(
            lambda: self._connection(config=config, server_state=self.state, app_state={}, _loop=loop), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._clients:
            writer.transport.abort()
        await turns(0.01)
        for connection in list(self.state.connections):
            connection.transport.abort()
        await until(lambda: not self.state.tasks and not self.state.connections)
        assert self.service.in_flight == 0
        assert all(transport.running == 0 for transport in self._upstreams.values())

    async def connect(self, receive_buffer: int | None = None) -> "Client":
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16 if receive_buffer is None else 1024)
        self._clients.append(writer)
        return Client(reader, writer)

    async def talk(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Send pieces, a moment apart, and read until the server closes or is silent."""
        client = await self.connect()
        for piece in pieces:
            client.writer.write(piece)
            await turns(0.01)
        if half_close:
            client.writer.write_eof()
        answer = await client.read_all()
        client.writer.close()
        return answer


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something the gateway does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it has no event for everything
            await asyncio.sleep(0.005)


async def turns(seconds: float) -> None:
    """Time for both sides to act: in many small steps, because on a busy machine a long one may be a single turn of the
    loop, after which nothing has happened.
    """
    for _ in range(int(seconds / _STEP_S)):
        await asyncio.sleep(_STEP_S)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.is_closed = False

    async def read_all(self, silence_s: float = 0.15) -> bytes:
        """What comes until the end or until a silence of so many turns; `is_closed` tells which."""
        data, silent = b"", 0
        try:
            while silent < silence_s / _STEP_S:
                try:
                    piece = await asyncio.wait_for(self.reader.read(65536), _STEP_S)
                except TimeoutError:
                    silent += 1
                    continue
                if not piece:
                    self.is_closed = True
                    break
                data, silent = data + piece, 0
        except ConnectionResetError:
            self.is_closed = True
        return data


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/chat/completions", length: bool = True) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"host: x", b"content-type: application/json", *headers]
    if length:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def statuses(data: bytes) -> list[int]:
    """The status of each answer in `data`."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def dechunk(data: bytes) -> bytes:
    """The body of a chunked answer; fails where the framing is wrong or does not end."""
    body, rest = b"", data.split(b"\r\n\r\n", 1)[1]
    while True:
        size, rest = rest.split(b"\r\n", 1)
        if int(size, 16) == 0:
            assert rest == b"\r\n"
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) :]
        assert rest.startswith(b"\r\n")
        rest = rest[2:]
