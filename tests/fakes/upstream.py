"""A provider that does what a test tells it, over real sockets, and remembers every request.

It runs in a thread with an event loop of its own, so that plain synchronous tests can use it, and speaks OpenAI,
Anthropic and Gemini by the path of the request. What it answers is decided in this order: a queued script for the
model, a standing script for the model, the handler set with `on()`, and else a sensible answer of the dialect.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import httptools

from tests.fakes.dialects.choose import answer, model_of
from tests.fakes.script import Cut, Pause, Script, Stall, Until

ScriptOrFactory = Script | Callable[["Recorded"], Script | None]
_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_PATIENCE_S = 20.0


@dataclass(eq=False)
class Recorded:
    """One request as it arrived. Times are `time.monotonic()` seconds; `closed_at` is when the peer went away."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    connection: int
    body: bytes = b""
    arrived_at: float = 0.0
    answered_at: float | None = None
    closed_at: float | None = None
    sent_bytes: int = 0
    is_interrupted: bool = False
    _closed: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def model(self) -> str:
        return model_of(self)

    def header(self, name: str) -> str | None:
        """The value of a header, None where it was not sent."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def wait_closed(self, timeout_s: float = 8.0) -> float:
        """When the peer went away. Fails if it does not, before the gateway's own limits (10 s) would end the call."""
        assert self._closed.wait(timeout_s), f"the peer kept {self.method} {self.path} open for {timeout_s} s"
        assert self.closed_at is not None
        return self.closed_at

    def mark_closed(self) -> None:
        if self.closed_at is None:
            self.closed_at = time.monotonic()
            self.is_interrupted = self.answered_at is None
            self._closed.set()


class FakeUpstream:
    """Use as a context manager; `base_url` has no path. `reset()` between tests forgets scripts and requests."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._requests: list[Recorded] = []
        self._queues: dict[str, deque[ScriptOrFactory]] = defaultdict(deque)
        self._standing: dict[str, ScriptOrFactory] = {}
        self._handler: Callable[[Recorded], Script | None] | None = None
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-upstream", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.connection_count = 0
        self.idle_close_s: float | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_PATIENCE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    # What a test says.

    def script(self, model: str, *scripts: ScriptOrFactory) -> None:
        """The next answers for `model`, one each; afterwards it answers as usual."""
        with self._lock:
            self._queues[model].extend(scripts)

    def always(self, model: str, script: ScriptOrFactory) -> None:
        """The answer for `model` from now on."""
        with self._lock:
            self._standing[model] = script

    def on(self, handler: Callable[[Recorded], Script | None]) -> None:
        """Asked for every request without a script; None means the usual answer."""
        self._handler = handler

    def reset(self) -> None:
        with self._lock:
            self._requests.clear()
            self._queues.clear()
            self._standing.clear()
            self._handler = None
            self.idle_close_s = None

    def drop_idle_connections(self) -> None:
        """Close every connection that has no request under way, as a provider's load balancer does."""
        asyncio.run_coroutine_threadsafe(self._drop_idle(), self._loop).result(_PATIENCE_S)

    # What a test asks.

    def requests(self, model: str | None = None) -> list[Recorded]:
        with self._lock:
            return [r for r in self._requests if model is None or r.model == model]

    @property
    def last(self) -> Recorded:
        with self._lock:
            return self._requests[-1]

    def wait_requests(self, count: int, *, model: str | None = None, timeout_s: float = 20.0) -> list[Recorded]:
        """The requests so far, as soon as there are `count` of them. Fails if they do not come."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while True:
                found = [r for r in self._requests if model is None or r.model == model]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"{len(found)} of {count} requests arrived in {timeout_s} s"
                self._lock.wait(left)

    # The server's own side.

    def choose(self, request: Recorded) -> Script:
        with self._lock:
            self._requests.append(request)
            self._lock.notify_all()
            queue = self._queues.get(request.model)
            chosen = queue.popleft() if queue else self._standing.get(request.model, self._handler)
        script = chosen(request) if callable(chosen) else chosen
        return script if script is not None else answer(request)

    def opened(self, connection: "_Connection") -> None:
        self.connection_count += 1
        self._connections.add(connection)

    def gone(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), sock=self._listener)

    async def _stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0.01)

    async def _drop_idle(self) -> None:
        for connection in list(self._connections):
            connection.close_if_idle()
        await asyncio.sleep(0.01)


class _Connection(asyncio.Protocol):
    """One client connection: parses requests and plays their scripts, one after the other."""

    _transport: asyncio.Transport

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._current: Recorded | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._dies_idle = False
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upstream.opened(self)
        self._number = self._upstream.connection_count

    def data_received(self, data: bytes) -> None:
        if self._dies_idle:
            self._transport.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def eof_received(self) -> bool:
        self._peer_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._peer_left()
        self._upstream.gone(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], bytearray()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if ("expect", "100-continue") in self._headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        method = self._parser.get_method().decode()
        request = Recorded(method, self._target.decode("latin-1"), self._headers, self._number, bytes(self._body))
        request.arrived_at = time.monotonic()
        self._current = request
        script = self._upstream.choose(request)
        self._task = asyncio.get_running_loop().create_task(self._play(script, request))

    # Answering.

    async def _play(self, script: Script, request: Recorded) -> None:
        try:
            for step in script.before:
                await self._step(step, request, chunked=False)
            if script.framing != "raw":
                self._transport.write(_head(script))
            chunked = script.framing == "chunked"
            for step in script.steps:
                await self._step(step, request, chunked=chunked)
            if chunked:
                self._transport.write(b"0\r\n\r\n")
        except _HungUpError:
            return
        request.answered_at = time.monotonic()
        self._current = None
        self._dies_idle = script.dies_idle
        if script.framing in ("close", "raw"):
            self._transport.close()
        elif self._upstream.idle_close_s is not None:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._upstream.idle_close_s, self._transport.close)

    async def _step(self, step: object, request: Recorded, *, chunked: bool) -> None:
        match step:
            case bytes():
                self._transport.write(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
                request.sent_bytes += len(step)
                await self._writable.wait()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Until(event):
                while not event.is_set():  # noqa: ASYNC110  (a test sets it from another thread)
                    await asyncio.sleep(0.2)
            case Stall():
                await asyncio.Event().wait()
            case Cut(reset):
                if reset:
                    self.abort()
                else:
                    self._transport.close()
                raise _HungUpError
        if self._transport.is_closing():
            raise _HungUpError

    def abort(self) -> None:
        """End the connection with a reset."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close_if_idle(self) -> None:
        if self._current is None:
            self._transport.close()

    def _peer_left(self) -> None:
        if self._current is not None:
            self._current.mark_closed()
        if self._task is not None and not self._task.done():
            self._task.cancel()


class _HungUpError(Exception):
    """The script, or the peer, ended the connection."""


def _head(script: Script) -> bytes:
    lines = [f"HTTP/1.1 {script.status} {_PHRASES.get(script.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in script.headers]
    match script.framing:
        case "length":
            size = sum(len(step) for step in script.steps if isinstance(step, bytes))
            lines.append(f"content-length: {size + script.length_extra}")
        case "chunked":
            lines.append("transfer-encoding: chunked")
        case _:
            lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def refusing_port() -> socket.socket:
    """A bound socket nobody listens on: connections to its port are refused for as long as it is kept open."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock
