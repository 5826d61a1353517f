"""Figures for people and for files: a table on standard output, JSON with the facts of the machine beside it."""

import os
import platform
import ssl
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.network import congestion_control
from benchmarks.scenarios import Scenario
from benchmarks.sitting import Pace, Series, Start
from benchmarks.subjects import Subject, peer_versions

_PACKAGES = (
    "signalbox-gateway",
    "uvicorn",
    "uvloop",
    "httptools",
    "pyreqwest",
    "orjson",
    "prometheus-client",
    "aiohappyeyeballs",
)


def document(
    pace: Pace,
    subjects: Sequence[Subject],
    scenarios: Iterable[Scenario],
    starts: Sequence[Start],
    series: Sequence[Series],
    skipped: dict[str, str],
    load_before: float,
) -> dict[str, Any]:
    """Everything that was measured, without names of hosts or paths."""
    return {
        "machine": machine(load_before),
        "pace": asdict(pace),
        "subjects": {subject.name: subject.note for subject in subjects},
        "scenarios": {scenario.name: scenario.note for scenario in scenarios},
        "starts": [_rounded(asdict(start)) for start in starts],
        "results": [_series(one) for one in series],
        "not_measured": sorted(skipped),
    }


def machine(load_before: float) -> dict[str, Any]:
    """What the figures depend on. `load_before` is the load average of the minute before the first process."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release().split("-")[0],
        "tcp": congestion_control(),
        "python": platform.python_version(),
        "openssl_of_upstream": ssl.OPENSSL_VERSION,
        "packages": {name: _version(name) for name in _PACKAGES},
        "peers": peer_versions(),
        # Other work beside the benchmark shows here; figures of a machine that was busy before are worth less.
        "load_before": round(load_before, 1),
    }


def show(console: Console, starts: Sequence[Start], series: Sequence[Series]) -> None:
    """The tables."""
    console.print(_start_table(starts))
    for transport in dict.fromkeys(one.transport for one in series):
        for scenario in dict.fromkeys(one.scenario for one in series if one.transport == transport):
            rows = [one for one in series if (one.transport, one.scenario) == (transport, scenario)]
            console.print(_crowd_table(rows) if scenario.startswith("streams-") else _scenario_table(rows))
    bad = [(one, r.result) for one in series for r in one.rounds if r.result.failed or r.result.broken]
    for one, result in bad:
        console.print(
            f"{one.subject}, {one.scenario} over {one.transport}: {result.failed} wrong answers, "
            f"{result.broken} broken connections of {result.requests}. {result.example or ''}",
            markup=False,
        )


def _start_table(starts: Sequence[Start]) -> Table:
    table = _table("Start", ("server", "upstream", "ready after s", "idle RSS MB"))
    for start in starts:
        table.add_row(start.server, start.transport, f"{start.ready_s:.2f}", f"{start.idle_rss_mb:.0f}")
    return table


def _scenario_table(rows: Sequence[Series]) -> Table:
    columns = (
        "subject",
        "CPU us",
        "(spread)",
        "x bare",
        "(spread)",
        "p50 ms",
        "p99 ms",
        "req/s",
        "RSS MB",
        "wrong",
    )
    table = _table(f"{rows[0].scenario}, upstream over {rows[0].transport}", columns)
    for row in rows:
        costs = [r.cpu_us for r in row.rounds]
        table.add_row(
            row.subject,
            f"{row.cpu_us:,.0f}",
            f"{min(costs):,.0f}-{max(costs):,.0f}",
            f"{row.ratio:.2f}" if row.ratio is not None else "1.00",
            f"{min(row.ratios):.2f}-{max(row.ratios):.2f}" if row.ratios else "",
            _ms(r.result.p50_ms for r in row.rounds),
            _ms(r.result.p99_ms for r in row.rounds),
            f"{statistics.median(_rate(r) for r in row.rounds):,.0f}",
            f"{max(r.peak_rss_mb for r in row.rounds):.0f}",
            str(sum(r.result.failed + r.result.broken for r in row.rounds)),
        )
    return table


def _crowd_table(rows: Sequence[Series]) -> Table:
    columns = (
        "subject",
        "streams",
        "wrong",
        "RSS before MB",
        "peak MB",
        "KB/stream",
        "CPU us",
        "first p99 ms",
    )
    table = _table(f"{rows[0].scenario}, upstream over {rows[0].transport}", columns)
    for row in rows:
        one = row.rounds[0]
        table.add_row(
            row.subject,
            str(one.result.requests),
            str(one.result.failed + one.result.broken),
            f"{row.base_rss_mb:.0f}",
            f"{one.peak_rss_mb:.0f}",
            f"{_kb_per_stream(row):.0f}",
            f"{one.cpu_us:,.0f}",
            _ms([one.result.first_p99_ms]),
        )
    return table


def _series(one: Series) -> dict[str, Any]:
    costs = [r.cpu_us for r in one.rounds]
    facts: dict[str, Any] = {
        "scenario": one.scenario,
        "transport": one.transport,
        "subject": one.subject,
        "rounds": len(one.rounds),
        "requests": sum(r.result.requests for r in one.rounds),
        "wrong": sum(r.result.failed for r in one.rounds),
        "broken": sum(r.result.broken for r in one.rounds),
        "cpu_us": _spread(costs),
        "p50_ms": _median(r.result.p50_ms for r in one.rounds),
        "p99_ms": _median(r.result.p99_ms for r in one.rounds),
        "first_p50_ms": _median(r.result.first_p50_ms for r in one.rounds),
        "first_p99_ms": _median(r.result.first_p99_ms for r in one.rounds),
        "requests_per_s": statistics.median(_rate(r) for r in one.rounds),
        "peak_rss_mb": max(r.peak_rss_mb for r in one.rounds),
    }
    if one.ratios:
        facts["cpu_ratio_to_bare"] = _spread(one.ratios)
    if one.scenario.startswith("streams-"):
        facts["rss_before_mb"] = one.base_rss_mb
        facts["rss_kb_per_stream"] = _kb_per_stream(one)
    return _rounded({name: value for name, value in facts.items() if value is not None})


def _kb_per_stream(row: Series) -> float:
    return (row.rounds[0].peak_rss_mb - row.base_rss_mb) * 1000 / max(1, row.rounds[0].result.requests)


def _rate(one: Any) -> float:
    return float(one.result.requests / one.result.elapsed_s)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _ms(values: Iterable[float | None]) -> str:
    median = _median(values)
    return "" if median is None else f"{median:.1f}"


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Four significant figures: more would pretend."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        return _rounded(value) if isinstance(value, dict) else value

    return {name: short(value) for name, value in facts.items()}


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
