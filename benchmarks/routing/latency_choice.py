"""How well a deployment is chosen while one of four has a bad time: a discrete-event simulation with a virtual clock.

    python -m benchmarks.routing.latency_choice                     # table, and benchmarks/results/latency_choice.json
    python -m benchmarks.routing.latency_choice --output FILE.json

Four workers serve one model; 8 requests a second come at random (Poisson) and stream their answers. A healthy worker
needs about 1.6 s for an answer, more when it is busy. Each worker in turn has a slow phase of two minutes, with half a
minute of calm before the next one's. A request whose attempt fails goes to the next worker of the same order, three
attempts in all. What counts are the requests that arrive in a slow phase, from their arrival to the last token. Every
chooser sees the same arrivals. There are two kinds of slow phase:

- `stuck`: an overloaded worker lets every call wait about 4.8 s in its queue, then refuses it. This is the scenario of
  the bars (p99 <= 4.5 s, failed attempts <= 5 %), and it is set so that `mean of 10` comes near 9.7 s and 20 %.
- `slow`: the first token comes 8 times later, the others 4 times slower, and a fifth of the calls is refused quickly.

`mean of 10` takes the lowest mean of the last ten times per output token, as LiteLLM's latency-based routing does
(`litellm/router_strategy/lowest_latency.py`); like there, a failure that is no time-out of its own leaves no trace.
`signalbox` is the gateway's own LatencyBook.
"""

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

from providers.base import Target
from routing.decision import Deployment
from routing.latency import LatencyBook

_RESULTS = Path(__file__).resolve().parents[1] / "results" / "latency_choice.json"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Times are medians or means; `*_factor` is how much slower a worker in its slow phase is."""

    note: str
    ttft_factor: float
    tpot_factor: float
    failing_share: float
    fails_after_s: float
    workers: int = 4
    requests_per_s: float = 8.0
    duration_s: float = 3_600.0
    calm_s: float = 30.0
    slow_s: float = 120.0
    ttft_s: float = 0.4
    tpot_s: float = 0.012
    spread: float = 0.25
    output_tokens: float = 100.0
    output_spread: float = 0.3
    # With so many calls under way a worker takes twice as long for each.
    crowd: float = 60.0
    attempts: int = 3


SCENARIOS = {
    "stuck": Scenario(
        "every call waits about 4.8 s in the worker's queue and is then refused",
        ttft_factor=1.0,
        tpot_factor=1.0,
        failing_share=1.0,
        fails_after_s=4.8,
    ),
    "slow": Scenario(
        "the first token comes 8 times later, the others 4 times slower; a fifth is refused at once",
        ttft_factor=8.0,
        tpot_factor=4.0,
        failing_share=0.2,
        fails_after_s=0.5,
    ),
}


class Chooser(Protocol):
    """What is compared. `order` gives the workers' numbers, the one to try first in front."""

    def order(self) -> Sequence[int]: ...

    def began(self, worker: int) -> None: ...

    def ended(self, worker: int, ttft_s: float | None, tokens: int, total_s: float, is_ok: bool) -> None: ...


class Plain:
    """Chooses without regard to times; counts what is under way."""

    def __init__(self, workers: int) -> None:
        self.in_flight = [0] * workers

    def began(self, worker: int) -> None:
        self.in_flight[worker] += 1

    def ended(self, worker: int, ttft_s: float | None, tokens: int, total_s: float, is_ok: bool) -> None:  # noqa: ARG002
        self.in_flight[worker] -= 1


class RoundRobin(Plain):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._turn = 0

    def order(self) -> Sequence[int]:
        workers = len(self.in_flight)
        self._turn = (self._turn + 1) % workers
        return [(self._turn + step) % workers for step in range(workers)]


class AtRandom(Plain):
    def __init__(self, workers: int, rng: Random) -> None:
        super().__init__(workers)
        self._rng = rng

    def order(self) -> Sequence[int]:
        return self._rng.sample(range(len(self.in_flight)), len(self.in_flight))


class LeastInFlight(AtRandom):
    def order(self) -> Sequence[int]:
        return sorted(super().order(), key=self.in_flight.__getitem__)


class MeanOfTen(AtRandom):
    def __init__(self, workers: int, rng: Random) -> None:
        super().__init__(workers, rng)
        self._samples: list[deque[float]] = [deque(maxlen=10) for _ in range(workers)]

    def order(self) -> Sequence[int]:
        return sorted(super().order(), key=lambda w: sum(self._samples[w]) / max(1, len(self._samples[w])))

    def ended(self, worker: int, ttft_s: float | None, tokens: int, total_s: float, is_ok: bool) -> None:
        super().ended(worker, ttft_s, tokens, total_s, is_ok)
        if is_ok:
            self._samples[worker].append(total_s / tokens)


class Book:
    """The gateway's own choice, driven as the gateway drives it."""

    def __init__(self, workers: int, rng: Random, clock: Callable[[], float]) -> None:
        self._book = LatencyBook(clock)
        self._rng = rng
        self._deployments = [Deployment(f"w{n}/m", f"w{n}/m", "m", f"w{n}", Target("m"), None) for n in range(workers)]
        self._numbers = {deployment.id: n for n, deployment in enumerate(self._deployments)}

    def order(self) -> Sequence[int]:
        return [self._numbers[d.id] for d in self._book.order(self._deployments, self._rng)]

    def began(self, worker: int) -> None:
        self._book.began(self._deployments[worker].id)

    def ended(self, worker: int, ttft_s: float | None, tokens: int, total_s: float, is_ok: bool) -> None:
        tpot_s = (total_s - ttft_s) / tokens if ttft_s is not None else None
        self._book.ended(self._deployments[worker].id, ttft_s=ttft_s, tpot_s=tpot_s, is_ok=is_ok)


CHOOSERS: dict[str, Callable[[Scenario, Random, Callable[[], float]], Chooser]] = {
    "signalbox": lambda scenario, rng, clock: Book(scenario.workers, rng, clock),
    "mean of 10": lambda scenario, rng, _: MeanOfTen(scenario.workers, rng),
    "round robin": lambda scenario, _, __: RoundRobin(scenario.workers),
    "random": lambda scenario, rng, _: AtRandom(scenario.workers, rng),
    "least in flight": lambda scenario, rng, _: LeastInFlight(scenario.workers, rng),
}


class Simulation:
    """One chooser through one scenario. Events are (time, number, what to do); the clock jumps from one to the next."""

    def __init__(self, scenario: Scenario, name: str, seed: int) -> None:
        self._scenario = scenario
        self.now_s = 0.0
        # Arrivals do not depend on the chooser, so that all see the same.
        self._arrivals = Random(seed)
        self._work = Random(seed + 1)
        self._chooser = CHOOSERS[name](scenario, Random(seed + 2), lambda: self.now_s)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._busy = [0] * scenario.workers
        self.times_s: dict[bool, list[float]] = {True: [], False: []}
        self.attempts = {True: 0, False: 0}
        self.failed_attempts = {True: 0, False: 0}
        self.failed_requests = {True: 0, False: 0}

    def run(self) -> None:
        self._at(0.0, self._arrive)
        while self._events:
            self.now_s, _, act = heappop(self._events)
            act()

    def slow_worker(self) -> int | None:
        """Who has its slow phase now."""
        scenario = self._scenario
        turn, within = divmod(self.now_s, scenario.calm_s + scenario.slow_s)
        return None if within < scenario.calm_s else int(turn) % scenario.workers

    def _at(self, time_s: float, act: Callable[[], None]) -> None:
        heappush(self._events, (time_s, next(self._numbers), act))

    def _arrive(self) -> None:
        gap_s = self._arrivals.expovariate(self._scenario.requests_per_s)
        if self.now_s + gap_s < self._scenario.duration_s:
            self._at(self.now_s + gap_s, self._arrive)
        tokens = max(
            1, round(self._arrivals.lognormvariate(0, self._scenario.output_spread) * self._scenario.output_tokens)
        )
        ranked = self._chooser.order()[: self._scenario.attempts]
        self._attempt(list(ranked), tokens, self.now_s, self.slow_worker() is not None)

    def _attempt(self, ranked: list[int], tokens: int, arrived_s: float, is_slow_phase: bool) -> None:
        scenario = self._scenario
        worker = ranked.pop(0)
        is_slow = worker == self.slow_worker()
        self.attempts[is_slow_phase] += 1
        crowd = 1.0 + self._busy[worker] / scenario.crowd
        self._busy[worker] += 1
        self._chooser.began(worker)
        began_s = self.now_s
        fails = is_slow and self._work.random() < scenario.failing_share
        ttft_s = crowd * self._drawn(scenario.ttft_s) * (scenario.ttft_factor if is_slow else 1.0)
        tpot_s = crowd * self._drawn(scenario.tpot_s) * (scenario.tpot_factor if is_slow else 1.0)

        def end() -> None:
            self._busy[worker] -= 1
            total_s = self.now_s - began_s
            self._chooser.ended(worker, None if fails else ttft_s, tokens, total_s, not fails)
            if not fails:
                self.times_s[is_slow_phase].append(self.now_s - arrived_s)
                return
            self.failed_attempts[is_slow_phase] += 1
            if ranked:
                self._attempt(ranked, tokens, arrived_s, is_slow_phase)
            else:
                self.failed_requests[is_slow_phase] += 1

        self._at(self.now_s + (self._drawn(scenario.fails_after_s) if fails else ttft_s + tpot_s * tokens), end)

    def _drawn(self, median: float) -> float:
        return median * self._work.lognormvariate(0, self._scenario.spread)

    def figures(self) -> dict[str, float]:
        """Of the requests that came in a slow phase, and for comparison of those that did not."""
        slow, calm = sorted(self.times_s[True]), sorted(self.times_s[False])
        return {
            "slow_p50_s": _quantile(slow, 0.5),
            "slow_p95_s": _quantile(slow, 0.95),
            "slow_p99_s": _quantile(slow, 0.99),
            "failed_attempts": self.failed_attempts[True] / max(1, self.attempts[True]),
            "failed_requests": self.failed_requests[True] / max(1, self.failed_requests[True] + len(slow)),
            "calm_p50_s": _quantile(calm, 0.5),
            "calm_p99_s": _quantile(calm, 0.99),
        }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def measure(scenario: Scenario, seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Figures by chooser, the mean over the seeds."""
    found: dict[str, dict[str, float]] = {}
    for name in CHOOSERS:
        rows = []
        for seed in seeds:
            simulation = Simulation(scenario, name, seed)
            simulation.run()
            rows.append(simulation.figures())
        found[name] = {figure: round(fmean(row[figure] for row in rows), 4) for figure in rows[0]}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates every chooser in every scenario; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.latency_choice")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="where to write the figures as JSON")
    parser.add_argument("--hours", type=float, default=2.0, help="simulated time")
    parser.add_argument("--seeds", type=int, default=6, help="simulations of each; figures are their mean")
    options = parser.parse_args(arguments)
    seeds = range(1, options.seeds + 1)
    console = Console(width=None if sys.stdout.isatty() else 130)
    document: dict[str, Any] = {"seeds": list(seeds), "scenarios": {}}
    for name, usual in SCENARIOS.items():
        scenario = replace(usual, duration_s=options.hours * 3_600.0)
        results = measure(scenario, seeds)
        document["scenarios"][name] = {"scenario": asdict(scenario), "results": results}
        console.print(_table(name, scenario, results))
    options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    console.print(f"written: {options.output.name}")
    return 0


def _table(name: str, scenario: Scenario, results: dict[str, dict[str, float]]) -> Table:
    table = Table(title=f"Slow phases of kind `{name}`: {scenario.note}")
    table.add_column("chooser")
    for heading in ("p50 s", "p95 s", "p99 s", "failed attempts", "failed requests", "p99 s in calm"):
        table.add_column(heading, justify="right")
    for chooser, found in results.items():
        table.add_row(
            chooser,
            *(f"{found[figure]:.2f}" for figure in ("slow_p50_s", "slow_p95_s", "slow_p99_s")),
            *(f"{found[figure]:.1%}" for figure in ("failed_attempts", "failed_requests")),
            f"{found['calm_p99_s']:.2f}",
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
