"""What README.md shows of budgets and of the cache, from the last runs of their benchmarks."""

import json
from typing import Any

from tests.docs.pages import ROOT
from tests.docs.tables import table

_RESULTS = ROOT / "benchmarks/results"
_PROTOCOLS = {
    "check, then add": "check, then add",
    "increment and shrink": "increment and shrink",
    "hold and settle": "**hold and settle: Signalbox**",
}
_SUBJECTS = {
    "gateway": "Signalbox, no budget",
    "gateway-budgets": "with a key, three budgets and two limits, in memory",
    "gateway-money": "the same on disk, with the ledger",
    "litellm-budgets": "LiteLLM with two budgets and two limits, in memory",
}
_POLICIES = {
    "exact": "the very same text",
    "cosine 0.80": "cosine 0.80",
    "cosine 0.95": "cosine 0.95",
    "normalised": "Signalbox, meaning off",
}
_OURS = {"words": "**Signalbox, nothing installed**", "embedder": "**Signalbox, with an embedder**"}


def money() -> str:
    """How far a budget is overspent, and what budgets cost."""
    runs = [
        [_PROTOCOLS[one["check"]], f"{one['over_percent']:.1f} %", f"{one['spent_nusd'] / one['limit_nusd']:.1%}"]
        for one in _read("money_overspend")["runs"]
    ]
    found = {one["subject"]: one for one in _read("money_load")["results"]}
    costs = [
        [words, f"{found[name]['cpu_us']['median']:,.0f}", _times(found[name]["cpu_ratio_to_bare"]["median"])]
        for name, words in _SUBJECTS.items()
        if name in found
    ]
    return (
        table(("160 tasks in four processes on one budget", "beyond the limit", "spent of the limit"), runs)
        + "\n"
        + table(("plain chat", "CPU µs", "of a bare pass-through"), costs)
    )


def cache() -> str:
    """Hits of the gateway stream, and how many of them were wrong."""
    found = _read("cache")
    rows = [[words, *_hits(found["policies"][name])] for name, words in _POLICIES.items()]
    rows += [[words, *_hits(found["bounds"]["0.01"][name])] for name, words in _OURS.items()]
    return table(("", "answered from the cache", "wrong, of these"), rows)


def _hits(streams: dict[str, Any]) -> tuple[str, str]:
    return f"{streams['gw']['hits']:.1%}", f"{streams['gw']['wrong_of_hits']:.2%}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_RESULTS / f"{name}.json").read_text())
    return found


SUMMARIES = {"money-summary": money, "cache-summary": cache}
