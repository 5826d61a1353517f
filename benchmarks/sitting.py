"""One sitting: the servers of one transport side by side, and rounds that take turns between the subjects."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import tls
from benchmarks.generator import Job, Result
from benchmarks.processes import MemoryWatch, Server, StartError, free_port, start
from benchmarks.scenarios import Scenario
from benchmarks.subjects import STARTERS, Place, Subject, own_environ

_MAX_REQUESTS = 200_000
_SETTLE_S = 1.0


@dataclass(slots=True, frozen=True)
class Pace:
    """How long to look: rounds per scenario, seconds per round and of warming up before the first."""

    rounds: int
    round_s: float
    warm_up_s: float


@dataclass(slots=True)
class Start:
    """What a server cost before any request."""

    server: str
    transport: str
    ready_s: float
    idle_rss_mb: float


@dataclass(slots=True)
class Round:
    """One round of one subject. `cpu_us` is user and system time of its process tree per request."""

    cpu_us: float
    peak_rss_mb: float
    result: Result


@dataclass(slots=True)
class Series:
    """All rounds of one subject in one scenario; `ratios` compare each with the yardstick's round beside it."""

    scenario: str
    transport: str
    subject: str
    rounds: list[Round] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    base_rss_mb: float = 0.0

    @property
    def cpu_us(self) -> float:
        return statistics.median(r.cpu_us for r in self.rounds)

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None


class Generator:
    """The load generator's process."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            env=own_environ(),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def perform(self, job: Job) -> Result:
        """Raises RuntimeError when the generator died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The load generator ended early; its words are above.")
        return Result(**json.loads(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(slots=True)
class Sitting:
    """Started servers by name, and the generator that loads them."""

    transport: str
    servers: dict[str, Server]
    starts: list[Start]
    generator: Generator
    skipped: dict[str, str]

    def measure(self, scenario: Scenario, subjects: Sequence[Subject], pace: Pace) -> list[Series]:
        """Warm everybody up, then take turns. The first subject is the yardstick."""
        present = [s for s in subjects if s.server in self.servers]
        series = {s.name: Series(scenario.name, self.transport, s.name) for s in present}
        for subject in present:
            series[subject.name].base_rss_mb = self.servers[subject.server].rss_mb()
            self._load(scenario, subject, pace.warm_up_s)
        for number in range(pace.rounds):
            yardstick: float | None = None
            for subject in present:
                if number >= max(1, round(pace.rounds * subject.share)):
                    continue
                one = self._round(scenario, subject, pace.round_s)
                series[subject.name].rounds.append(one)
                if yardstick is None:
                    yardstick = one.cpu_us
                else:
                    series[subject.name].ratios.append(one.cpu_us / yardstick)
        return list(series.values())

    def crowd(self, scenario: Scenario, subject: Subject) -> Series:
        """Every connection carries one stream, all at the same time, on a server just started."""
        server = self.servers[subject.server]
        series = Series(scenario.name, self.transport, subject.name, base_rss_mb=server.rss_mb())
        series.rounds.append(self._round(scenario, subject, 300.0, max_requests=scenario.connections))
        return series

    def _round(
        self, scenario: Scenario, subject: Subject, duration_s: float, max_requests: int = _MAX_REQUESTS
    ) -> Round:
        server = self.servers[subject.server]
        with MemoryWatch(server) as memory:
            before = server.cpu_s()
            result = self._load(scenario, subject, duration_s, max_requests)
            spent = server.cpu_s() - before
        return Round(spent / max(1, result.requests) * 1e6, memory.peak_mb, result)

    def _load(
        self, scenario: Scenario, subject: Subject, duration_s: float, max_requests: int = _MAX_REQUESTS
    ) -> Result:
        return self.generator.perform(
            Job(
                port=self.servers[subject.server].port,
                model=subject.model,
                connections=scenario.connections,
                duration_s=duration_s,
                max_requests=max_requests,
                chunks=scenario.chunks,
                pause_ms=scenario.pause_ms,
                asks_usage=scenario.asks_usage,
                min_bytes=scenario.min_bytes,
                headers=dict(subject.headers),
            )
        )


@dataclass(slots=True, frozen=True)
class Upstream:
    """The scripted upstream of a transport: its base URL and its CA file."""

    base_url: str
    ca_file: Path | None


@contextmanager
def upstream(transport: str, folder: Path) -> Iterator[Upstream]:
    """A running upstream, ended with the context."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    ca_file = None
    if transport == "tls":
        ca_file, cert, key = tls.make(folder)
        command += [str(cert), str(key)]
    server = start(command, port, None, environ=own_environ(), within_s=15, folder=folder)
    try:
        yield Upstream(f"http{'s' if ca_file else ''}://127.0.0.1:{port}/v1", ca_file)
    finally:
        server.stop()


@contextmanager
def sitting(transport: str, near: Upstream, names: Sequence[str], folder: Path) -> Iterator[Sitting]:
    """The servers `names` in front of an upstream, ended with the context. One that does not start is left out."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        starts: list[Start] = []
        skipped: dict[str, str] = {}
        for name in dict.fromkeys(names):
            place = folder / f"{name}-{transport}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                server = STARTERS[name](Place(near.base_url, near.ca_file, place))
            except StartError as error:
                skipped[name] = str(error)
                continue
            stack.callback(server.stop)
            time.sleep(_SETTLE_S)
            servers[name] = server
            starts.append(Start(name, transport, server.ready_s, server.rss_mb()))
        generator = Generator(folder)
        stack.callback(generator.close)
        yield Sitting(transport, servers, starts, generator, skipped)
