"""A proxy on loopback that spoils answers: each request gets a fault of its own, chosen by the test.

It stands between the gateway and the fake provider, so that the provider can speak any dialect while the accidents are
those of the network: resets, silence, tiny pieces, slow lines, bodies that end early, connections that die idle. It
runs in a thread with its own event loop, like the provider.
"""

import asyncio
import contextlib
import errno
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import httptools

_PATIENCE_S = 20.0
_SETTLE_S = 0.05  # a reset must not overtake the bytes before it
_CONNECTS = 64


@dataclass(slots=True, frozen=True)
class Fault:
    """What happens to one answer.

    `then` happens right behind the first occurrence of `after` in the answer's raw bytes, its head included; with
    `after` empty it happens before the first byte. Of the shape: `latency_s` once before the first byte, writes of at
    most `slice_bytes` with `pause_s` after each, `bytes_per_s` on the whole. Of the time after a complete answer:
    the connection is closed when idle for `idle_s`, or with `dies_on_reuse` as soon as another request begins on it.
    """

    then: Literal["reset", "fin", "stall"] | None = None
    after: bytes = b""
    latency_s: float = 0.0
    slice_bytes: int = 0
    pause_s: float = 0.0
    bytes_per_s: float = 0.0
    idle_s: float | None = None
    dies_on_reuse: bool = False


HEALTHY = Fault()
HEAD_END = b"\r\n\r\n"
FaultOrFactory = Fault | Callable[[int], Fault]


def reset(after: bytes = b"") -> Fault:
    """RST."""
    return Fault("reset", after)


def fin(after: bytes = b"") -> Fault:
    """The connection ends in good order where the answer does not: a truncated body, or none at all."""
    return Fault("fin", after)


def stall(after: bytes = b"") -> Fault:
    """Nothing more is sent, and the connection stays."""
    return Fault("stall", after)


def slices(size: int, pause_s: float = 0.0) -> Fault:
    """Pieces of `size` bytes; with a pause, a slow drip."""
    return Fault(slice_bytes=size, pause_s=pause_s)


def latency(seconds: float) -> Fault:
    return Fault(latency_s=seconds)


def bandwidth(bytes_per_s: float) -> Fault:
    return Fault(bytes_per_s=bytes_per_s, slice_bytes=max(1, int(bytes_per_s / 50)))


class ChaosProxy:
    """Use as a context manager; forwards to `port`. Requests are told apart by the name of the model in them.

    A request gets the next queued fault of its model, else the standing one, else none. A factory is called with the
    number of the model's request, counted from 0.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self._queues: dict[str, deque[FaultOrFactory]] = defaultdict(deque)
        self._standing: dict[str, FaultOrFactory] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._running: dict[str, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_PATIENCE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def script(self, model: str, *faults: FaultOrFactory) -> None:
        """The faults of the model's next requests, one each."""
        with self._lock:
            self._counts.setdefault(model, 0)
            self._queues[model].extend(faults)

    def always(self, model: str, fault: FaultOrFactory) -> None:
        """The fault of every request of the model that has none of its own."""
        with self._lock:
            self._counts.setdefault(model, 0)
            self._standing[model] = fault

    def hits(self, model: str) -> int:
        """Requests of the model so far; they count from the first mention of it."""
        with self._lock:
            return self._counts[model]

    def wait_over(self, model: str, timeout_s: float = _PATIENCE_S) -> float:
        """When the last exchange of the model was seen to be over: answered, spoilt, or left by the gateway."""
        deadline = time.monotonic() + timeout_s
        while self._running[model]:
            assert time.monotonic() < deadline, f"{self._running[model]} calls of {model} are open after {timeout_s} s"
            time.sleep(0.005)
        return time.monotonic()

    def _choose(self, request: bytes) -> tuple[str, Fault]:
        with self._lock:
            model = next((name for name in self._counts if name.encode() in request), "")
            if not model:
                return model, HEALTHY
            number = self._counts[model]
            self._counts[model] += 1
            queue = self._queues.get(model)
            fault = queue.popleft() if queue else self._standing.get(model, HEALTHY)
        return model, fault(number) if callable(fault) else fault

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=1 << 24)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._exchanges(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the sides left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _exchanges(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, until a side closes it. The client's leaving ends the relay at once."""
        first = asyncio.ensure_future(_next_byte(reader))
        while byte := await first:
            request = byte + await _rest_of_request(reader)
            model, fault = self._choose(request)
            self._running[model] += 1
            first = asyncio.ensure_future(_next_byte(reader))
            relay = asyncio.ensure_future(self._relay(request, fault, writer))
            try:
                await asyncio.wait({first, relay}, return_when=asyncio.FIRST_COMPLETED)
                if not relay.done() and first.result():
                    await relay  # a pipelined request waits for its turn
                if not relay.done() or not relay.result():
                    return
            finally:
                relay.cancel()
                self._running[model] -= 1
            if not await _may_go_on(fault, first):
                return

    async def _relay(self, request: bytes, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """Forward one exchange under its fault. True when the connection can take another request."""
        source, sink = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            sink.write(request)
            if fault.then is not None and not fault.after:
                return await _happen(fault, writer)
            await asyncio.sleep(fault.latency_s)
            return await _forward(source, fault, writer)
        finally:
            sink.transport.abort()


class _Ending:
    """Tells httptools' callbacks apart by the one that matters: the answer is complete."""

    is_complete = False

    def on_message_complete(self) -> None:
        self.is_complete = True


async def _forward(source: asyncio.StreamReader, fault: Fault, writer: asyncio.StreamWriter) -> bool:
    ending = _Ending()
    parser = httptools.HttpResponseParser(ending)
    seen = b""
    while data := await source.read(65536):
        if fault.then is not None:
            sent, seen = len(seen), seen + data
            found = seen.find(fault.after)
            if found >= 0:
                await _write(writer, seen[sent : found + len(fault.after)], fault)
                return await _happen(fault, writer)
        parser.feed_data(data)
        await _write(writer, data, fault)
        if ending.is_complete:
            return True
    return False  # the provider ended the connection, and so do we


async def _write(writer: asyncio.StreamWriter, data: bytes, fault: Fault) -> None:
    size = fault.slice_bytes or len(data) or 1
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        writer.write(piece)
        await writer.drain()
        if fault.slice_bytes:
            await asyncio.sleep(len(piece) / fault.bytes_per_s if fault.bytes_per_s else fault.pause_s)


async def _happen(fault: Fault, writer: asyncio.StreamWriter) -> bool:
    match fault.then:
        case "reset":
            await asyncio.sleep(_SETTLE_S)
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        case "stall":
            await asyncio.Event().wait()
    return False


async def _may_go_on(fault: Fault, first: "asyncio.Future[bytes]") -> bool:
    """After a complete answer: whether the connection lives to take another request."""
    if fault.dies_on_reuse:
        await first
        return False
    if fault.idle_s is not None:
        await asyncio.wait({first}, timeout=fault.idle_s)
        return first.done()
    return True


async def _next_byte(reader: asyncio.StreamReader) -> bytes:
    """The first byte of the next request, b"" when the client has left."""
    with contextlib.suppress(ConnectionError):
        return await reader.read(1)
    return b""


async def _rest_of_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(HEAD_END)
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length or 0))


class SynDrop:
    """A port where connecting hangs: it listens, accepts nobody, and its queue is full. Use as a context manager.

    Linux drops a SYN while the accept queue is full; other systems may refuse it instead.
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._fillers: list[socket.socket] = []

    def __enter__(self) -> Self:
        for _ in range(_CONNECTS):
            filler = socket.socket()
            self._fillers.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(("127.0.0.1", self.port))
            except OSError as error:
                if isinstance(error, TimeoutError) or error.errno == errno.EINPROGRESS:
                    return self
                raise
        raise AssertionError(f"{_CONNECTS} connections were taken by a queue of none")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()
