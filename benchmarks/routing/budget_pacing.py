"""What pacing does for a budget that demand exceeds: a simulated day of traffic.

    python -m benchmarks.routing.budget_pacing                     # table, and benchmarks/results/budget_pacing.json
    python -m benchmarks.routing.budget_pacing --output FILE.json

A day has about 20,000 requests, few by night and most in the afternoon. Each has a hardness; four models answer it, the
dearer the better, the more so the harder it is. The model is chosen as the strategy `balanced` does it: argmax of
quality - lambda * pressure * cost / the dearest cost. The budget is strict: a request that it cannot pay is refused.
`demand` is what the day would cost without a limit, as a multiple of the limit.

- `none`: the pressure is always 1.
- `pace`: the gateway's own, from routing.pacing.
- `best fixed`: the one pressure for the whole day, found in hindsight, that serves everything with the money there is.
  Nobody can know it in the morning; it shows what is left to gain.

Quality is given over all requests, where a refused one counts 0, and over those served.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from routing.pacing import Pace

_RESULTS = Path(__file__).resolve().parents[1] / "results" / "budget_pacing.json"
_DAY_S = 86_400.0
_NUSD_PER_USD = 1_000_000_000
DEMANDS = (0.8, 1.2, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Model:
    """`cost_usd` for a request of usual length; quality is `easy` at hardness 0 and falls by `fall` to hardness 1."""

    name: str
    cost_usd: float
    easy: float
    fall: float


@dataclass(frozen=True, slots=True)
class Day:
    """The traffic. The rate swings around its mean by `swing`, lowest at 3 and highest at 15 o'clock."""

    requests: int = 20_000
    swing: float = 0.8
    length_spread: float = 0.8
    # As large as it is with the usual weights of a route that is meant to be good rather than cheap.
    cost_weight: float = 0.2
    models: tuple[Model, ...] = (
        Model("tiny", 0.0001, 0.88, 0.65),
        Model("small", 0.0006, 0.92, 0.42),
        Model("medium", 0.003, 0.95, 0.25),
        Model("large", 0.012, 0.97, 0.12),
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when, how hard (0..1), and its length as a multiple of the usual."""

    at_s: float
    hardness: float
    length: float


Pressure = Callable[[int, float], float]


def arrivals(day: Day, seed: int) -> list[Arrival]:
    """The requests of a day, by thinning of an even stream (Lewis and Shedler 1979)."""
    rng = Random(seed)
    peak_per_s = day.requests / _DAY_S * (1.0 + day.swing)
    found: list[Arrival] = []
    at_s = 0.0
    while (at_s := at_s + rng.expovariate(peak_per_s)) < _DAY_S:
        rate = 1.0 - day.swing * math.cos(math.tau * (at_s / _DAY_S - 3 / 24))
        if rng.random() * (1.0 + day.swing) < rate:
            found.append(Arrival(at_s, rng.betavariate(1.5, 2.5), rng.lognormvariate(0.0, day.length_spread)))
    return found


@dataclass(slots=True)
class Outcome:
    """A day's end."""

    served: int
    requests: int
    quality_sum: float
    spent_nusd: int
    limit_nusd: int
    refused_from_s: float | None

    def figures(self) -> dict[str, float]:
        """Shares are 0..1; `lasted` is the share of the day that passed before the first refusal."""
        return {
            "served": self.served / self.requests,
            "lasted": 1.0 if self.refused_from_s is None else self.refused_from_s / _DAY_S,
            "quality": self.quality_sum / self.requests,
            "quality_of_served": self.quality_sum / max(1, self.served),
            "spent": self.spent_nusd / self.limit_nusd,
            "overspent": max(0.0, self.spent_nusd / self.limit_nusd - 1.0),
        }


def simulate(day: Day, requests: Sequence[Arrival], limit_nusd: int, pressure: Pressure) -> Outcome:
    """Serve a day's requests with `limit_nusd`."""
    outcome = Outcome(0, len(requests), 0.0, 0, limit_nusd, None)
    dearest = max(model.cost_usd for model in day.models)
    for request in requests:
        weight = day.cost_weight * pressure(outcome.spent_nusd, request.at_s)
        best = max(day.models, key=lambda m: m.easy - m.fall * request.hardness - weight * m.cost_usd / dearest)
        cost_nusd = round(best.cost_usd * request.length * _NUSD_PER_USD)
        if outcome.spent_nusd + cost_nusd > limit_nusd:
            if outcome.refused_from_s is None:
                outcome.refused_from_s = request.at_s
            continue
        outcome.spent_nusd += cost_nusd
        outcome.served += 1
        outcome.quality_sum += best.easy - best.fall * request.hardness
    return outcome


def unlimited_nusd(day: Day, requests: Sequence[Arrival], pressure: float = 1.0) -> int:
    """What the day costs where no limit holds."""
    return simulate(day, requests, 10**18, lambda *_: pressure).spent_nusd


def best_fixed(day: Day, requests: Sequence[Arrival], limit_nusd: int) -> float:
    """The least pressure with which the money lasts, by halving."""
    low, high = 1.0, 1_000.0
    if unlimited_nusd(day, requests) <= limit_nusd:
        return low
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if unlimited_nusd(day, requests, middle) > limit_nusd else (low, middle)
    return high


def measure(day: Day, demands: Sequence[float], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row for every demand and way of pacing; figures are the mean over the seeds."""
    days = [arrivals(day, seed) for seed in seeds]
    rows: list[dict[str, Any]] = []
    for demand in demands:
        found: dict[str, list[dict[str, float]]] = {"none": [], "pace": [], "best fixed": []}
        for requests in days:
            limit_nusd = round(unlimited_nusd(day, requests) / demand)
            fixed = best_fixed(day, requests, limit_nusd)
            ways: dict[str, Pressure] = {
                "none": lambda *_: 1.0,
                "pace": Pace(limit_nusd, 0.0, _DAY_S).multiplier,
                "best fixed": lambda *_, fixed=fixed: fixed,
            }
            for way, pressure in ways.items():
                found[way].append(simulate(day, requests, limit_nusd, pressure).figures())
        for way, figures in found.items():
            means = {figure: round(fmean(one[figure] for one in figures), 4) for figure in figures[0]}
            rows.append({"demand": demand, "pacing": way, **means})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates every demand with and without pacing; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.budget_pacing")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="where to write the figures as JSON")
    parser.add_argument("--requests", type=int, default=Day().requests, help="about so many in the day")
    parser.add_argument("--seeds", type=int, default=5, help="days simulated; figures are their mean")
    options = parser.parse_args(arguments)
    day = Day(requests=options.requests)
    seeds = range(1, options.seeds + 1)
    rows = measure(day, DEMANDS, seeds)
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(_table(rows))
    options.output.write_text(json.dumps({"seeds": list(seeds), "day": asdict(day), "results": rows}, indent=1) + "\n")
    console.print(f"written: {options.output.name}")
    return 0


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="A day with a budget")
    for heading in ("demand", "pacing"):
        table.add_column(heading)
    for heading in ("served", "lasted", "quality", "of served", "spent", "overspent"):
        table.add_column(heading, justify="right")
    for row in rows:
        shares = (f"{row[figure]:.1%}" for figure in ("served", "lasted"))
        qualities = (f"{row[figure]:.3f}" for figure in ("quality", "quality_of_served"))
        money = (f"{row[figure]:.1%}" for figure in ("spent", "overspent"))
        table.add_row(f"{row['demand']:.1f}", row["pacing"], *shares, *qualities, *money)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
