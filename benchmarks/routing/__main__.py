"""`python -m benchmarks.routing`: how well requests are routed, on graded outcomes; some minutes.

Prints the bars and what was reached, writes benchmarks/results/routing.json and two pictures for docs/.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.routing import data, limits, measure, peers, plots
from routing.learned.feedback import assemble

_ROOT = Path(__file__).resolve().parents[2]
_TRAINED = ("mmlu", "gsm8k", "nine_models")
_PARTS = ("untrained", "decision_cpu", *_TRAINED, "gsm8k_splits", "gsm8k_limits")
_SPLITS = 8
_LIMIT_SPLITS = 4
_SIZES = (100, 450, 3_000, 100_000, 1_000_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where there is nothing to measure on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--out", type=Path, default=_ROOT / "benchmarks" / "results" / "routing.json")
    parser.add_argument("--plots", type=Path, default=_ROOT / "docs" / "images")
    parser.add_argument("--rows", type=int, default=None, help="at most so many rows of each set, for a quick look")
    parser.add_argument(
        "--only", nargs="+", choices=_PARTS, default=_PARTS, help="measure these; of the rest the results stay"
    )
    options = parser.parse_args(arguments)
    if not data.folder().is_dir():
        sys.stderr.write(f"There is no {data.folder()}; set SIGNALBOX_SHARED to the folder that has 'routing'.\n")
        return 1
    before = json.loads(options.out.read_bytes()) if options.out.exists() else {}
    results = before if len(options.only) < len(_PARTS) else {}
    work = _Work(options.rows)
    for part in options.only:
        Console(stderr=True).print(part)
        _measure(part, work, results)
        options.out.write_text(json.dumps(results, indent=1, allow_nan=True) + "\n", "utf-8")
    if "gsm8k_limits" in options.only:
        sys.stdout.write(json.dumps(results["gsm8k_limits"], indent=1) + "\n")
    written = [options.out]
    if {"untrained", "decision_cpu"} <= set(results) and len(results.get("trained", ())) == len(_TRAINED):
        Console(width=110).print(_table(results))
        written += plots.draw(results, options.plots)
    for path in written:
        sys.stdout.write(f"written: {path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path}\n")
    return 0


class _Work:
    """The rows of every set, as they are and as training reads them."""

    def __init__(self, most: int | None) -> None:
        self.rows = {name: data.read(name)[:most] for name in data.FILES}
        self.sets = {name: assemble(found) for name, found in self.rows.items()}
        self.texts = {name: [row["prompt"] for row in found] for name, found in self.rows.items()}


def _measure(part: str, work: _Work, results: dict[str, Any]) -> None:
    sets = work.sets
    if part in _TRAINED:
        found = measure.trained_figures(sets[part])
        results.setdefault("trained", {})[part] = found
        curve = measure.learning_curve(sets[part], (50, 200, 1_000, 3_000), 3)
        results.setdefault("learning_curve", {})[part] = curve
        results.setdefault("same_choice", {})[part] = measure.same_choice(sets[part], work.texts[part])
    elif part == "untrained":
        results |= {"cores": os.cpu_count(), "python": platform.python_version()}
        results["zero_configuration"] = measure.zero_configuration(sets)
        results["untrained"] = {name: measure.untrained_figures(examples) for name, examples in sets.items()}
        results["litellm"] = peers.measure(sets, work.texts)
    elif part == "decision_cpu":
        results[part] = measure.decision_cpu(work.rows["zeroeval_gsm"], 11, _SIZES)
    elif part == "gsm8k_splits":
        results[part] = measure.other_splits(sets["gsm8k"], _SPLITS)
    elif part == "gsm8k_limits":
        pair, others = "gsm8k", "zeroeval_gsm"
        results[part] = limits.measure(sets[pair], work.texts[pair], sets[others], work.texts[others], _LIMIT_SPLITS)


def _table(results: dict[str, Any]) -> Table:
    table = Table(title="Routing quality on rows not trained on")
    for heading in ("figure", "bar", "reached", "95 %", "kNN", "length", "classifier"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    bars = {
        "mmlu": {"apgr": ".69", "cpt50": ".27", "cpt80": ".57"},
        "gsm8k": {"apgr": ".70", "cpt50": ".29", "cpt80": ".52"},
        "nine_models": {"apgr": "", "cost_at_100": ".36", "cost_at_98": ".24"},
    }
    for name, wanted in bars.items():
        found = results["trained"][name]
        for figure, bar in wanted.items():
            one = found["learned"][figure]
            plain = [f"{found['untrained'][m]:.3f}" if figure == "apgr" else "" for m in ("length", "classifier")]
            near = f"{found['knn'][figure]:.3f}"
            table.add_row(
                f"{name} {figure}", bar, f"{one['value']:.3f}", f"{one['low']:.3f}-{one['high']:.3f}", near, *plain
            )
        table.add_row(f"{name} calibration error", ".03", f"{found['calibration_error']:.3f}")
        same = results["same_choice"][name]
        kinds = {kind: value for kind, value in same.items() if kind.startswith("model_")}
        table.add_row(f"{name} same model under noise", ".95", f"{sum(kinds.values()) / len(kinds):.3f}")
        least = results["learning_curve"][name][0]
        table.add_row(
            f"{name} 50 rows over classifier", "-.01", f"{least['gain_mean']:+.3f}", f"{least['gain_least']:+.3f}"
        )
    zero = results["zero_configuration"].values()
    table.add_row("zero-configuration mean APGR", ".56", f"{sum(zero) / len(zero):.3f}")
    for kind in ("v1", "v2") if results["litellm"] else ():
        apgr = [found[kind] for found in results["litellm"]["apgr"].values()]
        table.add_row(f"LiteLLM {kind} mean APGR", "", f"{sum(apgr) / len(apgr):.3f}")
    for one in results["decision_cpu"]:
        bar = "300" if one["chars"] <= 450 else "1000"
        table.add_row(f"us at {one['chars']} characters, 11 models", bar, f"{one['learned_p50_us']:.0f}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
