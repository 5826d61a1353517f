"""The figures of README.md, from the last full run of `make bench`."""

import json
from typing import Any

from tests.docs.pages import ROOT
from tests.docs.tables import table

RESULTS = ROOT / "benchmarks/results/load.json"
_SHOWN = (
    ("plain", "plain chat, CPU µs"),
    ("body-100k", "conversation of 100 KB, CPU µs"),
    ("stream", "stream of 100 chunks, CPU µs"),
)
_SUBJECTS = (
    ("gateway", "Signalbox"),
    ("bare", "bare pass-through"),
    ("portkey", "Portkey"),
    ("litellm", "LiteLLM"),
)


def figures() -> str:
    found = json.loads(RESULTS.read_text())
    results = {(one["scenario"], one["transport"], one["subject"]): one for one in found["results"]}
    starts = {one["server"]: one for one in found["starts"] if one["transport"] == "http"}
    subjects = [(key, name) for key, name in _SUBJECTS if ("plain", "http", key) in results]
    rows = [
        [f"{words}{' (upstream over TLS)' if transport == 'tls' else ''}"]
        + [_cost(results, (scenario, transport, key)) for key, _ in subjects]
        for scenario, words in _SHOWN
        for transport in ("http", "tls")
        if (scenario, transport, "gateway") in results
    ]
    peak = [results.get(("plain", "http", key), {}).get("peak_rss_mb") for key, _ in subjects]
    rows.append(["memory under load, MB", *(f"{value:.0f}" if value else "" for value in peak)])
    rows.append(["ready after, s", *(f"{starts[key]['ready_s']:.2f}" if key in starts else "" for key, _ in subjects)])
    versions = found["machine"]["peers"]
    head = [f"{name} {versions.get(key, '')}".strip() for key, name in subjects]
    return table(["", *head], rows) + "\n" + _crowd(results) + _told(found)


def _cost(results: dict[tuple[str, str, str], Any], at: tuple[str, str, str]) -> str:
    one = results.get(at)
    if one is None:
        return ""
    bare = results[(at[0], at[1], "bare")]["cpu_us"]["median"]
    ratio = one["cpu_ratio_to_bare"]["median"] if "cpu_ratio_to_bare" in one else one["cpu_us"]["median"] / bare
    shown = f"{one['cpu_us']['median']:,.0f}"
    return shown if at[2] == "bare" else f"{shown} ({ratio:,.2f}×)" if ratio < 10 else f"{shown} ({ratio:,.0f}×)"


def _crowd(results: dict[tuple[str, str, str], Any]) -> str:
    one = results.get(("streams-1000", "http", "gateway"))
    if one is None:
        return ""
    failed = one["wrong"] + one["broken"]
    broken = "none broken" if failed == 0 else f"{failed} broken"
    return f"1,000 streams at once: {broken}, {one['rss_kb_per_stream']:.0f} KB of memory each.\n\n"


def _told(found: dict[str, Any]) -> str:
    machine, pace = found["machine"], found["pace"]
    return (
        f"One worker, {machine['cores']} cores ({machine['processor']}), Python {machine['python']}. CPU is user and "
        f"system time of the process tree, median of {pace['rounds']} rounds in turns; in brackets, times the bare "
        "pass-through (uvicorn and pyreqwest without any feature).\n"
    )
