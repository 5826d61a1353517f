"""Providers, transports and sinks that do as they are told: real objects of the protocols, without a network."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from gateway.availability import Guard
from gateway.pipeline import Pipeline
from gateway.runtime import Caller, Runtime, Upstream
from gateway.telemetry.logs import Logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder
from policies.hedging import HedgeRules, Hedges
from policies.retry import Retries, RetryRules
from policies.timeouts import Timeouts
from providers.base import Call, Cause, ErrorKind, ProviderError, Reply, Request, Target, Usage
from providers.pricing import Price, resolve
from routing.affinity import AffinityBook
from routing.choice import Group, World
from routing.decision import Deployment, header_text
from routing.latency import LatencyBook
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered

DONE = b"data: [DONE]\n\n"


@dataclass
class Answer:
    """What one upstream call does. `pieces` are bytes, a pause in seconds, an error to raise, or None for the end.

    `open_s` is what the head takes; `fails` is raised instead of a head. A list without None stays silent at its end.
    """

    pieces: list[Any] = field(default_factory=list)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    open_s: float = 0.0
    fails: BaseException | None = None


class ScriptedExchange:
    def __init__(self, transport: "ScriptedTransport", answer: Answer) -> None:
        self._transport, self._answer = transport, answer
        self._pieces = iter(answer.pieces)
        self.status, self.headers = answer.status, answer.headers

    async def __aenter__(self):
        self._transport.opened += 1
        self._transport.running += 1
        try:
            if self._answer.open_s:
                await asyncio.sleep(self._answer.open_s)
            if self._answer.fails is not None:
                raise self._answer.fails
        except BaseException:
            self._transport.running -= 1
            raise
        return self

    async def __aexit__(self, *_):
        self._transport.running -= 1

    async def chunk(self):
        for piece in self._pieces:
            if isinstance(piece, (int, float)):
                await asyncio.sleep(piece)
                continue
            if isinstance(piece, BaseException):
                raise piece
            return piece
        await asyncio.Event().wait()
        return None

    async def read(self, limit):
        body = b""
        while (piece := await self.chunk()) is not None:
            body += piece
        if len(body) > limit:
            raise ProviderError(ErrorKind.BROKEN, "too large", cause=Cause.TOO_LARGE)
        return body


class ScriptedTransport:
    """Plays its answers one after the other. `fresh` records how each connection was asked for."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.fresh: list[bool] = []
        self.opened = self.running = 0
        self.is_closed = False

    def open(self, call: Call, *, fresh: bool = False) -> ScriptedExchange:
        self.fresh.append(fresh)
        return ScriptedExchange(self, self._answers.pop(0))

    async def close(self) -> None:
        self.is_closed = True


class ScriptedDecoder:
    """A dialect for tests, one event a line: `role`, `text:...`, `usage:IN,OUT`, `bug`, `bad` (an error), `done`."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.error: ProviderError | None = None
        self.finish_reason: str | None = None
        self.has_content = self.is_finished = False
        self.output_bytes = 0
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._line(line) for line in lines if self.error is None)

    def close(self) -> bytes:
        if not self.is_finished:
            self.error = ProviderError(ErrorKind.BROKEN, "cut short", cause=Cause.CUT)
        return b""

    def _line(self, line: bytes) -> bytes:
        name, _, value = line.partition(b":")
        match name:
            case b"role":
                return b"data: role\n\n"
            case b"text":
                self.has_content = True
                self.output_bytes += len(value)
                return b"data: %b\n\n" % value
            case b"usage":
                prompt, _, completion = value.partition(b",")
                self.usage = Usage(input=int(prompt), output=int(completion))
            case b"bad":
                self.error = ProviderError(ErrorKind.OVERLOADED, "overloaded in band", cause=Cause.IN_BAND)
            case b"bug":
                raise LookupError("a bug in the dialect")
            case b"done":
                self.is_finished, self.finish_reason = True, "stop"
                return DONE
        return b""


class ScriptedProvider:
    """Whole answers are `IN,OUT,text`, or `none,text` without usage; `garbage` is none.

    `refuses` is raised instead of making a call.
    """

    kind = "scripted"

    def __init__(self, name: str, refuses: BaseException | None = None) -> None:
        self.name, self._refuses = name, refuses

    def call(self, request: Request, target: Target) -> Call:
        if self._refuses is not None:
            raise self._refuses
        return Call("http://upstream/", [], request.raw)

    def reply(self, request: Request, target: Target, body: bytes) -> Reply:
        if body == b"bug":
            raise LookupError("a bug in the dialect")
        if body == b"garbage":
            raise ProviderError(ErrorKind.BROKEN, "not JSON", cause=Cause.GARBAGE)
        if body.startswith(b"bad"):
            raise ProviderError(ErrorKind.OVERLOADED, "overloaded in band", cause=Cause.IN_BAND)
        if body.startswith(b"none,"):
            return Reply(body.removeprefix(b"none,"), None, "stop")
        prompt, completion, text = body.split(b",", 2)
        return Reply(text, Usage(input=int(prompt), output=int(completion)), "stop")

    def decoder(self, request: Request, target: Target) -> ScriptedDecoder:
        return ScriptedDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        kind = ErrorKind(body.decode())
        hint = headers.get("retry-after")
        return ProviderError(
            kind, f"the upstream says {kind}", status=status, retry_after_s=None if hint is None else float(hint)
        )


class Sink:
    """Remembers what a caller would see. `stalls_at`: the number of the piece from which on nobody reads."""

    def __init__(self, stalls_at: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.starts = 0
        self.may_read = asyncio.Event()
        self._stalls_at = stalls_at

    def start(self, outcome: Any) -> None:
        self.starts += 1
        assert outcome.answered_by is not None

    def write(self, data: bytes) -> Any:
        assert self.starts == 1, "bytes before the start"
        self.pieces.append(data)
        if self._stalls_at is not None and len(self.pieces) >= self._stalls_at and not self.may_read.is_set():
            return self.may_read.wait()
        return None

    def end(self) -> None:
        self.ended_at = asyncio.get_running_loop().time()

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


class Lines:
    """A log writer that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)


IN_NUSD, OUT_NUSD = 1_000, 10_000  # a token's price
PRICE = resolve(
    "openai_compatible",
    "none",
    now=datetime(2026, 1, 1, tzinfo=UTC),
    override={"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0},
)


def deployment(provider: str, model: str = "m", *, price: Price | None = PRICE, **more: Any) -> Deployment:
    name = f"{provider}/{model}"
    return Deployment(name, name, model, provider, Target(model), price, header=header_text(name), **more)


class Stage:
    """A pipeline over scripted upstreams: `upstreams` by name, in the order in which they are candidates."""

    def __init__(
        self,
        upstreams: Mapping[str, ScriptedTransport],
        *,
        timeouts: Timeouts | None = None,
        max_attempts: int = 4,
        refuses: Mapping[str, BaseException] | None = None,
        clock: Any = None,
        hedge: HedgeRules | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transports = upstreams
        self.log = Lines()
        self.metrics = Metrics(CollectorRegistry())
        self.clock = clock or self.loop.time
        limits = timeouts or Timeouts(1, 10, 5, 60)
        self.world = World(Random(1), LatencyBook(self.clock), AffinityBook(self.clock))
        self.guard = Guard(clock=self.loop.time, chance=Random(2).random)
        self.world.availability = self.guard
        self.runtime = Runtime(
            version="1",
            router=Router({"m": self._plan(upstreams)}, {}, self.world),
            upstreams={
                name: Upstream(ScriptedProvider(name, (refuses or {}).get(name)), transport, limits)
                for name, transport in upstreams.items()
            },
            keys={},
            models={},
            retries=Retries(RetryRules(max_attempts)),
            guard=self.guard,
            hedge=hedge,
            hedges=Hedges(self.loop.time),
            max_body_bytes=1000,
        )
        self.recorder = Recorder(self.metrics, Logger(self.log, "info"))
        self.pipeline = Pipeline(self.runtime, self.recorder, self.loop, self.clock, lambda: 0.0)
        self.sink = Sink()

    def request(self, *, stream: bool = False) -> Request:
        body = {"model": "m", "messages": [{"role": "user", "content": "tell me a story, please"}], "stream": stream}
        return Request("chat", body, b"{}", "m", stream=stream, include_usage=False, request_id="req_1")

    async def run(self, *, stream: bool = False, timeout_s: float | None = None) -> Any:
        caller = Caller("tester")
        return await self.pipeline.run(self.request(stream=stream), caller, self.sink, self.clock(), timeout_s)

    def value(self, name: str, **labels: str) -> float:
        """The sum of a series' samples with these labels, tallies included."""
        self.metrics.flush()
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @staticmethod
    def _plan(names: Any) -> Plan:
        return Plan("m", "ordered", Ordered(), tuple(Group(name, (deployment(name),)) for name in names))
