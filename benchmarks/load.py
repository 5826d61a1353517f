"""`make bench`: what a request through the gateway costs, beside a bare pass-through and whichever peers are installed.

Everything runs on loopback, in turns, for a bounded time, and is ended by its process id. Figures are CPU time per
request (user and system, whole process tree), latency, memory and time to start; nothing is asserted.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console

from benchmarks import report, tls
from benchmarks.network import leave_pacing_behind
from benchmarks.processes import allow_many_files
from benchmarks.scenarios import CROWD, SCENARIOS, Scenario
from benchmarks.sitting import Pace, Series, Sitting, Start, Upstream, sitting, upstream
from benchmarks.subjects import STARTERS, Subject, start_other_checkout, subjects

_RESULTS = Path(__file__).resolve().parent / "results"
_FULL = Pace(rounds=5, round_s=3.0, warm_up_s=1.5)
_QUICK = Pace(rounds=2, round_s=0.5, warm_up_s=0.2)
# The first of these is the yardstick. A thousand open streams say nothing about the gateway's other paths.
_IN_A_CROWD = ("bare", "gateway", "gateway-compat")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every answer was right, 1 when the gateway or the yardstick failed."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    complaint = leave_pacing_behind()
    pace = _pace(options)
    if options.other is not None:
        STARTERS["other"] = partial(start_other_checkout, options.other)
    console = Console(width=None if sys.stdout.isatty() else 140)
    if complaint is not None:
        console.print(complaint, markup=False)
    crowd = replace(CROWD, connections=options.crowd, pause_ms=options.pause_ms)
    bench = Bench(console, pace, options.scenario, options.subjects, crowd)
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder:
        for transport in options.transport:
            if transport == "tls" and not tls.is_available():
                bench.skipped["tls"] = "the openssl command is not installed"
                continue
            bench.sit(transport, Path(folder))
    report.show(console, bench.starts, bench.series)
    for name, reason in bench.skipped.items():
        console.print(f"not measured: {name}: {reason}", markup=False)
    output = options.output or _RESULTS / ("load.tmp.json" if _is_partial(options) else "load.json")
    output.write_text(json.dumps(bench.document(), indent=1) + "\n")
    console.print(f"written: {output.name}")
    return 0 if bench.is_clean() else 1


class Bench:
    """What is asked for, and what was found so far."""

    def __init__(
        self, console: Console, pace: Pace, scenarios: list[str] | None, names: list[str] | None, crowd: Scenario
    ) -> None:
        self._console = console
        self._pace = pace
        self._wanted = scenarios
        self._names = names
        self._crowd = crowd
        self._load_before = os.getloadavg()[0]
        if self._load_before > 0.5:
            self._say(f"the machine is busy (load {self._load_before:.1f}): figures will vary more than usual")
        self._subjects: dict[str, Subject] = {}
        self.starts: list[Start] = []
        self.series: list[Series] = []
        self.skipped: dict[str, str] = {}

    def sit(self, transport: str, folder: Path) -> None:
        """All scenarios of one transport."""
        with upstream(transport, folder) as near:
            known = subjects(near.base_url, has_other="other" in STARTERS)
            chosen = [s for s in known if self._names is None or s.name in self._names]
            self._subjects |= {s.name: s for s in chosen}
            self._rounds(transport, near, chosen, folder)
            self._crowds(transport, near, chosen, folder)

    def document(self) -> dict[str, object]:
        scenarios = [s for s in (*SCENARIOS, CROWD) if any(one.scenario == s.name for one in self.series)]
        return report.document(
            self._pace,
            list(self._subjects.values()),
            scenarios,
            self.starts,
            self.series,
            self.skipped,
            self._load_before,
        )

    def is_clean(self) -> bool:
        """Whether the gateway and the yardstick started and answered everything rightly."""
        own = [one for one in self.series if not self._subjects[one.subject].is_peer]
        if not own or not {"bare", "gateway"}.isdisjoint(self.skipped):
            return False
        return all(r.result.failed + r.result.broken == 0 for one in own for r in one.rounds)

    def _rounds(self, transport: str, near: Upstream, chosen: list[Subject], folder: Path) -> None:
        scenarios = [s for s in SCENARIOS if self._is_wanted(s, transport)]
        if not scenarios:
            return
        with sitting(transport, near, [s.server for s in chosen], folder) as found:
            self._keep(found)
            for scenario in scenarios:
                self._say(f"{scenario.name} over {transport}")
                some = [s for s in chosen if scenario.has_variants or s.name == s.server]
                some = [s for s in some if s.scenarios is None or scenario.name in s.scenarios]
                self.series += found.measure(scenario, some, self._pace)

    def _crowds(self, transport: str, near: Upstream, chosen: list[Subject], folder: Path) -> None:
        crowd = self._crowd
        if not self._is_wanted(crowd, transport) or crowd.connections == 0:
            return
        for subject in [s for s in chosen if s.name in _IN_A_CROWD]:
            # A server of its own for each, so that memory is not what earlier rounds have left.
            with sitting(transport, near, [subject.server], folder) as found:
                self._say(f"{crowd.name} over {transport}: {subject.name}")
                if subject.server in found.servers:
                    self.series.append(found.crowd(crowd, subject))

    def _is_wanted(self, scenario: Scenario, transport: str) -> bool:
        return transport in scenario.transports and (self._wanted is None or scenario.name in self._wanted)

    def _keep(self, found: Sitting) -> None:
        self.starts += found.starts
        self.skipped |= found.skipped

    def _say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    names = [scenario.name for scenario in (*SCENARIOS, CROWD)]
    parser.add_argument("--quick", action="store_true", help="short rounds and 200 streams: to see that it works")
    parser.add_argument("--scenario", nargs="+", choices=names, help="only these")
    parser.add_argument("--subjects", nargs="+", metavar="NAME", help="only these, e.g. bare gateway litellm")
    parser.add_argument("--transport", nargs="+", choices=("http", "tls"), default=["http", "tls"])
    parser.add_argument("--rounds", type=int, help=f"rounds per scenario (default {_FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"length of a round (default {_FULL.round_s:g})")
    parser.add_argument("--crowd", type=int, help="concurrent streams (default 1000, with --quick 200; 0: none)")
    parser.add_argument(
        "--pause-ms",
        type=int,
        default=CROWD.pause_ms,
        help="between two chunks of a stream of the crowd (default %(default)s)",
    )
    parser.add_argument("--other", type=Path, metavar="FOLDER", help="also measure the gateway of another checkout")
    parser.add_argument("--output", type=Path, help="JSON file; default results/load.json, or load.tmp.json if partial")
    return parser


def _is_partial(options: argparse.Namespace) -> bool:
    """Whether a run shows less, or more, than the published one."""
    is_other_crowd = options.pause_ms != CROWD.pause_ms
    return (
        options.quick
        or is_other_crowd
        or any((options.scenario, options.subjects, options.other))
        or len(options.transport) < 2
    )


def _pace(options: argparse.Namespace) -> Pace:
    base = _QUICK if options.quick else _FULL
    limit = allow_many_files()
    if options.crowd is None:
        options.crowd = 200 if options.quick else CROWD.connections
    # The gateway holds two sockets per stream.
    options.crowd = min(options.crowd, (limit - 200) // 2)
    return Pace(options.rounds or base.rounds, options.seconds or base.round_s, base.warm_up_s)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
