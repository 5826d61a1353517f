"""Where a request's time goes: the gateway runs in this process under cProfile while the generator loads it.

Usage: python -m benchmarks.profile [--scenario plain] [--model gpt-5-mini] [--money budgets|ledger] [--cached]
[--requests 2000] [--top 40] [--json FILE].
Calls are exact (each resumption of a coroutine is one, as it costs one); times are inflated by the profiler, so read
them against each other, and against the CPU time of the same requests without it, which is printed as well.
"""

import argparse
import cProfile
import gc
import json
import os
import pstats
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generator import Job
from benchmarks.payloads import MODEL
from benchmarks.processes import free_port, has_answered
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.sitting import Generator, upstream
from benchmarks.subjects import GATEWAY_ENVIRON, ROOT, gateway_config
from gateway.cli.main import main as signalbox

OWN_PACKAGES = ("gateway", "policies", "routing", "providers", "config")
_START_S = 20.0
_FIRST_REQUESTS = 300


@dataclass(slots=True, frozen=True)
class Line:
    """One function: calls and microseconds per request, without (`own_us`) and with (`all_us`) what it calls."""

    where: str
    calls: float
    own_us: float
    all_us: float
    is_ours: bool


class Session:
    """Drives the gateway from a second thread, because the gateway needs the first."""

    def __init__(self, port: int, scenario: Scenario, model: str, requests: int, folder: Path) -> None:
        self.profiler = cProfile.Profile()
        self.requests = requests
        self.cpu_us = 0.0
        self.left_over = 0.0  # objects per request that only the garbage collector frees
        self.failed = 0
        self.problem: str | None = None
        self._port = port
        self._scenario = scenario
        self._model = model
        self._folder = folder
        self._is_on = False

    def switch(self, *_: object) -> None:
        """Signal handler: the profiler sees the thread that turns it on, so that has to be the gateway's."""
        self._is_on = not self._is_on
        if self._is_on:
            gc.collect()
            gc.disable()
            self.profiler.enable()
        else:
            self.profiler.disable()
            self.left_over = gc.collect() / self.requests
            gc.enable()

    def drive(self) -> None:
        """Warm up, measure without the profiler, then with it, then end the gateway."""
        generator = Generator(self._folder)
        try:
            self._wait()
            self._load(generator, _FIRST_REQUESTS)
            before = time.process_time()
            self._load(generator, self.requests)
            self.cpu_us = (time.process_time() - before) / self.requests * 1e6
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)
            self._load(generator, self.requests)
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)
        except (RuntimeError, TimeoutError) as error:
            self.problem = str(error)
        finally:
            generator.close()
            os.kill(os.getpid(), signal.SIGTERM)

    def _wait(self) -> None:
        until = time.monotonic() + _START_S
        while not has_answered(self._port, "/readyz"):
            if time.monotonic() > until:
                raise TimeoutError(f"The gateway was not ready within {_START_S:.0f} s.")
            time.sleep(0.02)

    def _load(self, generator: Generator, requests: int) -> None:
        scenario = self._scenario
        result = generator.perform(
            Job(
                port=self._port,
                model=self._model,
                connections=min(scenario.connections, requests),
                duration_s=120.0,
                max_requests=requests,
                chunks=scenario.chunks,
                pause_ms=scenario.pause_ms,
                asks_usage=scenario.asks_usage,
                min_bytes=scenario.min_bytes,
            )
        )
        self.failed += result.failed + result.broken
        if result.requests < requests or self.failed:
            raise RuntimeError(f"{result.requests} of {requests} requests were answered. {result.example or ''}")


def lines(profiler: cProfile.Profile, requests: int) -> list[Line]:
    """The functions seen, the most expensive first."""
    found = []
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own_s, all_s, _) in stats.items():
        where, is_ours = _place(file, line, name)
        found.append(Line(where, calls / requests, own_s / requests * 1e6, all_s / requests * 1e6, is_ours))
    return sorted(found, key=lambda one: -one.own_us)


def own_calls(found: Sequence[Line]) -> float:
    """Python calls of our own packages per request."""
    return sum(one.calls for one in found if one.is_ours)


def _place(file: str, line: int, name: str) -> tuple[str, bool]:
    path = Path(file)
    if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in OWN_PACKAGES:
        return f"{path.relative_to(ROOT)}:{line} {name}", True
    if "site-packages" in path.parts:
        path = Path(*path.parts[path.parts.index("site-packages") + 1 :])
        return f"{path}:{line} {name}", False
    return (name if file in ("~", "") else f"{path.name}:{line} {name}"), False


def _run(session: Session, port: int, config: Path) -> None:
    """The gateway itself, in this thread, with its log going nowhere."""
    signal.signal(signal.SIGUSR1, session.switch)
    os.environ.update(GATEWAY_ENVIRON)
    driver = threading.Thread(target=session.drive, daemon=True)
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    driver.start()
    try:
        signalbox(["serve", "--port", str(port), "--config", str(config)])
    except SystemExit as error:
        if error.code and session.problem is None:
            session.problem = f"The gateway ended with exit code {error.code}."
    finally:
        driver.join(5)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _config(upstream_url: str, options: argparse.Namespace) -> str:
    return gateway_config(upstream_url, None, has_budgets=options.money == "budgets", has_cache=options.cached)


def _print(session: Session, found: Sequence[Line], top: int) -> None:
    profiled = sum(one.own_us for one in found)
    print(f"CPU without profiler: {session.cpu_us:,.0f} us/request (all threads)")
    print(f"under the profiler:   {profiled:,.0f} us/request (the event loop's thread, waiting included)")
    print(f"own Python calls:     {own_calls(found):.1f} per request")
    print(f"left to the collector: {session.left_over:.1f} objects per request")
    print(f"{'calls':>8} {'own us':>8} {'all us':>8}  function")
    for one in found[:top]:
        mark = "*" if one.is_ours else " "
        print(f"{one.calls:8.2f} {one.own_us:8.2f} {one.all_us:8.2f} {mark}{one.where}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when requests failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--scenario", choices=[s.name for s in SCENARIOS], default="plain")
    parser.add_argument("--model", default=MODEL, help="gpt-5-mini, auto or normalised")
    parser.add_argument(
        "--money",
        choices=("ledger", "budgets"),
        help="write the ledger to disk; with `budgets` the client pays from three of them and is under two limits",
    )
    parser.add_argument("--cached", action="store_true", help="keep answers: all but the first request are hits")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write every function here instead of printing a table")
    options = parser.parse_args(arguments)
    scenario = next(s for s in SCENARIOS if s.name == options.scenario)
    with tempfile.TemporaryDirectory(prefix="signalbox-profile-") as name, upstream("http", Path(name)) as near:
        config = Path(name) / "signalbox.yaml"
        config.write_text(_config(near.base_url, options))
        if options.money is not None:
            os.environ["SIGNALBOX_STATE_DIR"] = str(Path(name) / "state")
        port = free_port()
        session = Session(port, scenario, options.model, options.requests, Path(name))
        _run(session, port, config)
    if session.problem is not None:
        print(session.problem, file=sys.stderr)
        return 1
    found = lines(session.profiler, session.requests)
    if options.json is not None:
        rows = [{"where": o.where, "calls": o.calls, "own_us": o.own_us, "is_ours": o.is_ours} for o in found]
        document = {
            "cpu_us": session.cpu_us,
            "own_calls": own_calls(found),
            "left_over": session.left_over,
            "rows": rows,
        }
        options.json.write_text(json.dumps(document))
    else:
        _print(session, found, options.top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
