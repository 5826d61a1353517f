"""The figures of routing in the documentation, from the last runs of the benchmarks in `benchmarks/routing`."""

import json
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT
from tests.docs.tables import table

_FOLDER = ROOT / "benchmarks/results"
_SETS = {
    "mmlu": "MMLU, 2 models",
    "gsm8k": "GSM8K, 2 models",
    "nine_models": "14 tasks, 9 models",
    "zeroeval_gsm": "GSM8K, 43 models",
    "zeroeval_crux": "output of code, 51 models",
    "zeroeval_math_l5": "hardest MATH, 41 models",
    "zeroeval_numersense": "comparing numbers, 9 models",
}
_METHODS = {
    "random": "random",
    "length": "length of the text",
    "classifier": "classifier",
    "v1": "LiteLLM v1",
    "v2": "LiteLLM v2",
}


def untrained() -> str:
    """Zero configuration beside chance, length and LiteLLM's local classifiers."""
    found = _without_training()
    rows = [[words, *(_apgr(one) for one in found[name].values())] for name, words in _SETS.items()]
    rows.append(["**mean**", *(f"**{_apgr(mean)}**" for mean in _means(found).values())])
    return table(("graded set", *(_METHODS[method] for method in next(iter(found.values())))), rows)


def _without_training() -> dict[str, dict[str, float]]:
    """APGR by set and method; LiteLLM's where it was installed."""
    found = _read("routing")
    peers = found.get("litellm", {}).get("apgr", {})
    return {
        name: {method: found["untrained"][name][method] for method in ("random", "length", "classifier")}
        | peers.get(name, {})
        for name in _SETS
    }


def _means(found: dict[str, dict[str, float]]) -> dict[str, float]:
    methods = next(iter(found.values()))
    return {method: sum(one[method] for one in found.values()) / len(found) for method in methods}


def _apgr(value: float) -> str:
    return f"{value:.3f}"


def trained() -> str:
    """A router on rows it was not trained on."""
    rows = []
    for name, one in _read("routing")["trained"].items():
        own = one["learned"]
        rows.append(
            [
                f"{_SETS[name]}, {one['rows']:,} rows",
                *(f"{own[figure]['value']:.3f} ({_range(own[figure])})" for figure in ("apgr", "cpt50", "cpt80")),
                f"{one['untrained']['classifier']:.3f}",
                f"{one['knn']['apgr']:.3f}",
                f"{one['calibration_error']:.3f}",
            ]
        )
    head = ("graded set", "APGR", "CPT50", "CPT80", "APGR untrained", "APGR nearest rows", "calibration error")
    return table(head, rows)


def cost() -> str:
    """What the quality of the best single model costs when a router chooses."""
    own = _read("routing")["trained"]["nine_models"]["learned"]
    words = {"cost_at_100": "as good as the best single model", "cost_at_98": "98 % of its quality"}
    rows = [[words[name], f"{own[name]['value']:.0%} ({_range(own[name], '.0%')})"] for name in words]
    return table(("quality", "cost, share of the best single model's"), rows)


def learning() -> str:
    """Gain over the classifier by number of rows: mean, and the least of the draws."""
    found = _read("routing")["learning_curve"]
    sizes = sorted({point["rows"] for curve in found.values() for point in curve})
    rows = []
    for name, curve in found.items():
        by_size = {point["rows"]: f"{point['gain_mean']:+.3f} ({point['gain_least']:+.3f})" for point in curve}
        rows.append([_SETS[name], *(by_size.get(size, "") for size in sizes)])
    return table(("gain in APGR with", *(f"{size:,} rows" for size in sizes)), rows)


def decision() -> str:
    """Time of one decision by length of the prompt."""
    found = _read("routing")
    models = found["decision_cpu"][0]["models"]
    peers = found.get("litellm", {}).get("cpu_us", {})
    versions = list(next(iter(peers.values()), ()))
    rows = []
    for one in found["decision_cpu"]:
        peer = peers.get(str(one["chars"]), {})
        own = [_count_us(one, name) for name in ("features", "classifier", "learned")]
        rows.append([f"{one['chars']:,}", *own, *(f"{peer[v]:,.0f}" if v in peer else "" for v in versions)])
    head = ["characters", "signals", "with the classifier", f"with a trained router, {models} models"]
    return table((*head, *(_METHODS[version] for version in versions)), rows)


def noise() -> str:
    """How often the choice stays the same under noise."""
    found = _read("routing")["same_choice"]
    kinds = ("typos", "case", "blanks", "politeness")
    rows = [
        [f"{_SETS[name]}: {what}", *(f"{one[f'{key}_{kind}']:.3f}" for kind in kinds)]
        for name, one in found.items()
        for key, what in (("tier", "tier of the classifier"), ("model", "model of a trained router"))
    ]
    return table(("same choice with", *kinds), rows)


def latency() -> str:
    """Four workers, one of which has slow phases."""
    found = _read("latency_choice")["scenarios"]
    heads = {"slow": "slow worker", "stuck": "stuck worker"}
    rows = [
        [name, *(cell for key in heads for cell in _slow(found[key]["results"][name]))]
        for name in found["slow"]["results"]
    ]
    head = [f"{words}: {figure}" for words in heads.values() for figure in ("p99, s", "failed attempts")]
    return table(("choice by", *head), rows)


def pacing() -> str:
    """A day with more demand than money."""
    rows = [
        [f"{one['demand']:g}", one["pacing"], f"{one['served']:.0%}", f"{one['quality']:.3f}", f"{one['spent']:.0%}"]
        for one in _read("budget_pacing")["results"]
    ]
    return table(("demand, times the budget", "pacing", "answered", "quality, all requests", "spent"), rows)


def summary() -> str:
    """What README.md shows."""
    routing, choice = _read("routing"), _read("latency_choice")["scenarios"]["stuck"]["results"]
    nine = routing["trained"]["nine_models"]["learned"]
    means = {_METHODS[method]: mean for method, mean in _means(_without_training()).items()}
    others = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items() if name not in ("random", "classifier"))
    cpu = routing["decision_cpu"]
    slow_s = {name: choice[name]["slow_p99_s"] for name in ("signalbox", "mean of 10")}
    rows = [
        ["the quality of the best of nine models, after training", f"{nine['cost_at_100']['value']:.0%} of its cost"],
        ["98 % of that quality", f"{nine['cost_at_98']['value']:.0%} of its cost"],
        *(
            [f"APGR after training: {_SETS[name]}, {one['rows']:,} rows", f"{one['learned']['apgr']['value']:.3f}"]
            for name, one in routing["trained"].items()
        ),
        ["APGR without training, mean of seven sets", f"{means['classifier']:.3f} ({others})"],
        *(
            [f"time of a decision, {one['chars']:,} characters: classifier, trained router", _us(one)]
            for one in cpu
            if one["chars"] in (450, 1_000_000)
        ),
        [
            "p99 while one of four deployments is stuck: simulated; in brackets, by the mean of its last ten answers",
            f"{slow_s['signalbox']:.1f} s ({slow_s['mean of 10']:.1f} s)",
        ],
    ]
    return table(("", ""), rows)


def _us(one: dict[str, Any]) -> str:
    return f"{_count_us(one, 'classifier')} µs, {_count_us(one, 'learned')} µs"


def _count_us(one: dict[str, Any], name: str) -> str:
    """A decision takes no time only where the clock stands still between its ticks."""
    return f"{one[f'{name}_p50_us']:.0f}" if one[f"{name}_p50_us"] > 0 else "–"


def _slow(one: dict[str, Any]) -> tuple[str, str]:
    return f"{one['slow_p99_s']:.1f}", f"{one['failed_attempts']:.1%}"


def _range(one: dict[str, float], form: str = ".3f") -> str:
    return f"{one['low']:{form}}–{one['high']:{form}}"


def _read(name: str) -> Any:
    return json.loads(Path(_FOLDER / f"{name}.json").read_text())


FIGURES = {
    "routing-summary": summary,
    "routing-untrained": untrained,
    "routing-trained": trained,
    "routing-cost": cost,
    "routing-learning": learning,
    "routing-decision": decision,
    "routing-noise": noise,
    "routing-latency": latency,
    "routing-pacing": pacing,
}
