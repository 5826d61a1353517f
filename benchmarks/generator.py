"""The load generator: a process of its own that keeps N connections busy, each with one request at a time.

It reads one job per line (JSON, see Job) from standard input and writes one result per line; it ends with its input.
Every answer is checked: status, and for streams that each piece of content arrived once, in order, with its end.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import perf_counter  # the loop's own clock counts whole milliseconds
from typing import cast

import uvloop

from benchmarks import payloads

_GRACE_S = 60.0
_MAX_BROKEN = 200
_END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(slots=True)
class Job:
    """`chunks` > 0 asks for streams. The run ends after `duration_s` or `max_requests`, whichever comes first."""

    port: int
    model: str
    connections: int
    duration_s: float
    max_requests: int
    chunks: int = 0
    pause_ms: int = 0
    asks_usage: bool = False
    min_bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """`failed` counts answers with the wrong status or content, `broken` connections that died under a request."""

    requests: int
    failed: int
    broken: int
    elapsed_s: float
    p50_ms: float | None
    p99_ms: float | None
    first_p50_ms: float | None
    first_p99_ms: float | None
    example: str | None


class Run:
    """What the connections of one job share."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.loop = loop
        body = payloads.chat_request(
            job.model,
            chunks=job.chunks,
            pause_ms=job.pause_ms,
            asks_usage=job.asks_usage,
            min_bytes=job.min_bytes,
        )
        self.message = _request(job.headers, body)
        self.started = loop.time()
        self.stop_at = self.started + job.duration_s
        self.issued = self.failed = self.broken = self.active = 0
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.example: str | None = None
        self.over: asyncio.Future[None] = loop.create_future()

    def may_send(self) -> bool:
        return self.issued < self.job.max_requests and self.broken < _MAX_BROKEN and self.loop.time() < self.stop_at

    def leave(self) -> None:
        """A connection has nothing more to do."""
        self.active -= 1
        if self.active == 0 and not self.over.done():
            self.over.set_result(None)

    def judge(self, status: bytes, body: bytes) -> None:
        chunks = self.job.chunks
        is_good = status == b"200" and (payloads.is_unbroken(body, chunks) if chunks else payloads.is_whole(body))
        if not is_good:
            self.failed += 1
            if self.example is None:
                self.example = f"status {status.decode()}: {body[:200].decode(errors='replace')}"


class Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport
        self._pieces: list[bytes] = []
        self._tail = b""
        self._body_at = -1
        self._expected = -1  # bytes of head and body; -1: ends with the last chunk
        self._size = 0
        self._sent_at = 0.0
        self._is_first = True
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    def connection_lost(self, _error: Exception | None) -> None:
        run = self._run
        if self._is_waiting:
            run.broken += 1
        if run.may_send() and not run.over.done():
            run.loop.create_task(_connect(run)).add_done_callback(_restarted(run))
        else:
            run.leave()

    def send(self) -> None:
        run = self._run
        if not run.may_send():
            self._transport.close()
            return
        run.issued += 1
        self._pieces.clear()
        self._tail = b""
        self._body_at = self._expected = -1
        self._size = 0
        self._is_first = self._is_waiting = True
        self._sent_at = perf_counter()
        self._transport.write(run.message)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._body_at < 0 and not self._read_head():
            return
        if self._is_first and self._run.job.chunks and b" w0000" in data:
            self._is_first = False
            self._run.firsts.append(perf_counter() - self._sent_at)
        if self._expected >= 0:
            if self._size >= self._expected:
                self._finish(b"".join(self._pieces)[self._body_at :])
            return
        self._tail = (self._tail + data)[-len(_END_OF_CHUNKS) :]
        if self._tail == _END_OF_CHUNKS:
            body = _joined_chunks(b"".join(self._pieces), self._body_at)
            if body is not None:
                self._finish(body)

    def _read_head(self) -> bool:
        message = b"".join(self._pieces)
        end = message.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._pieces[:] = [message]
        self._body_at = end + 4
        head = message[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            self._expected = self._body_at + int(head[at + 15 :].split(b"\r\n", 1)[0])
        return True

    def _finish(self, body: bytes) -> None:
        run = self._run
        self._is_waiting = False
        run.latencies.append(perf_counter() - self._sent_at)
        run.judge(self._pieces[0][9:12], body)
        self.send()


def _joined_chunks(message: bytes, at: int) -> bytes | None:
    """The body of a chunked answer, None while it is not whole."""
    pieces: list[bytes] = []
    while True:
        line_end = message.find(b"\r\n", at)
        if line_end < 0:
            return None
        size = int(message[at:line_end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(pieces)
        at = line_end + 2
        if at + size + 2 > len(message):
            return None
        pieces.append(message[at : at + size])
        at += size + 2


def _request(headers: dict[str, str], body: bytes) -> bytes:
    # The fields that SDKs send, so that heads have their usual size.
    fields = {
        "host": "127.0.0.1",
        "accept": "application/json",
        "content-type": "application/json",
        "authorization": f"Bearer {payloads.CLIENT_KEY}",
        "user-agent": "AsyncOpenAI/Python 3.4.0",
        "x-stainless-lang": "python",
        "x-stainless-package-version": "3.4.0",
        "x-stainless-os": "Linux",
        "x-stainless-arch": "x64",
        "x-stainless-runtime": "CPython",
        "x-stainless-runtime-version": "3.11.7",
        "x-stainless-async": "async:asyncio",
        "x-stainless-retry-count": "0",
        **headers,
        "content-length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _connect(run: Run) -> Connection:
    _, connection = await run.loop.create_connection(lambda: Connection(run), "127.0.0.1", run.job.port)
    return connection


def _restarted(run: Run) -> Callable[[asyncio.Task[Connection]], None]:
    def go_on(task: asyncio.Task[Connection]) -> None:
        if task.cancelled() or task.exception() is not None:
            run.broken += 1
            run.leave()
        else:
            task.result().send()

    return go_on


async def perform(job: Job) -> Result:
    """Run one job to its end. Requests that have not ended a minute after it count as broken."""
    run = Run(job, asyncio.get_running_loop())
    connections = [await _connect(run) for _ in range(job.connections)]
    run.active = len(connections)
    run.started = run.loop.time()
    run.stop_at = run.started + job.duration_s
    for connection in connections:
        connection.send()
    try:
        await asyncio.wait_for(asyncio.shield(run.over), job.duration_s + _GRACE_S)
    except TimeoutError:
        run.over.set_result(None)
        for connection in connections:
            connection.abort()
        await asyncio.sleep(0.1)
    return Result(
        requests=len(run.latencies),
        failed=run.failed,
        broken=run.broken,
        elapsed_s=run.loop.time() - run.started,
        p50_ms=_quantile_ms(run.latencies, 0.50),
        p99_ms=_quantile_ms(run.latencies, 0.99),
        first_p50_ms=_quantile_ms(run.firsts, 0.50),
        first_p99_ms=_quantile_ms(run.firsts, 0.99),
        example=run.example,
    )


def _quantile_ms(values: list[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def main() -> None:
    for line in sys.stdin:
        result = uvloop.run(perform(Job(**json.loads(line))))
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
