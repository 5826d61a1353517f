"""`python -m benchmarks.money.load`: what budgets, limits and the ledger add to a request.

One sitting, in turns: a bare pass-through, the gateway with a key, the gateway whose key pays from three budgets (its
own, the one above, its team's) and is under two limits, and the same with everything on disk and a ledger. The bar is
1.9 times the bare pass-through. LiteLLM is beside it where it is installed, with what it can limit without a database.
Then what no other load of the machine changes: our own Python calls per request, and the CPU time of holding and
settling in this process, without sockets.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import report
from benchmarks.money.desk import STORES, desk_us
from benchmarks.network import leave_pacing_behind
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.sitting import Pace, Series, Start, sitting, upstream
from benchmarks.subjects import ROOT, Subject, money_subjects, subjects

_OUTPUT = ROOT / "benchmarks" / "results" / "money_load.json"
_NAMES = ("bare", "gateway", "litellm")
_PROFILED = ("none", "ledger", "budgets")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every answer was right, else 1."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if (complaint := leave_pacing_behind()) is not None:
        console.print(complaint, markup=False)
    load_before = os.getloadavg()[0]
    pace = Pace(options.rounds, options.seconds, min(1.0, options.seconds))
    scenario = next(one for one in SCENARIOS if one.name == "plain")
    chosen, starts, series, skipped = _sit(scenario, pace)
    report.show(console, starts, series)
    calls = {name: _own_calls(name) for name in _PROFILED}
    desk = {name: _desk(name, options.requests, options.rounds) for name in STORES}
    console.print(f"own Python calls per request: {calls}", markup=False)
    console.print(f"hold and settle in this process, CPU us: {desk}", markup=False)
    document = report.document(pace, chosen, [scenario], starts, series, skipped, load_before)
    document |= {"own_calls": calls, "desk_requests": options.requests, "desk_us": desk}
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {options.output.name}")
    is_right = all(r.result.failed + r.result.broken == 0 for one in series for r in one.rounds)
    return 0 if is_right and not skipped else 1


def _sit(scenario: Scenario, pace: Pace) -> tuple[list[Subject], list[Start], list[Series], dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as name, upstream("http", Path(name)) as near:
        chosen = [*(one for one in subjects(near.base_url) if one.name in _NAMES), *money_subjects()]
        with sitting("http", near, [one.server for one in chosen], Path(name)) as found:
            return chosen, found.starts, found.measure(scenario, chosen, pace), found.skipped


def _own_calls(money: str) -> float:
    """Calls of our own functions for a plain request, by the profiler."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "calls.json"
        command = [sys.executable, "-m", "benchmarks.profile", "--requests", "300", "--json", str(output)]
        command += [] if money == "none" else ["--money", money]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        found: dict[str, Any] = json.loads(output.read_text())
    return round(float(found["own_calls"]), 1)


def _desk(name: str, requests: int, rounds: int) -> dict[str, float]:
    taken = [asyncio.run(desk_us(name, requests)) for _ in range(rounds)]
    return {"median": round(median(taken), 1), "min": round(min(taken), 1), "max": round(max(taken), 1)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.money.load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round")
    parser.add_argument("--requests", type=int, default=20_000, help="held and settled in this process, per round")
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
