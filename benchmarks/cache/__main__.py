"""`python -m benchmarks.cache`: what is answered from the cache, and how much of it wrongly, on labelled streams.

Prints a table and writes benchmarks/results/cache.json and two pictures for docs/. Some minutes. Vectors come from
`--vectors FOLDER` (`texts.json`, `embeddings.npy`); without it whatever needs them is left out.
"""

import argparse
import json
import os
import platform
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread, as a worker has it

from rich.console import Console
from rich.table import Table

from benchmarks.cache import plots, speed
from benchmarks.cache.rivals import Cosine, Exact, Jaccard, TfIdf, VCache
from benchmarks.cache.streams import NAMES, Policy, Score, Semantic, Vectors, folder, replay, stream
from benchmarks.cache.together import replay_together

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("policies", "cosines", "bounds", "wrong_labels", "together", "speed", "money")
_WORKERS = 4
_BOUND = 0.01
_BOUNDS = (0.01, 0.02, 0.05)
_COSINES = (0.80, 0.85, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99)
_SIZES = (1_000, 10_000, 100_000)
_SEED = 1
# A call without the cache: tokens of the prompt with its system prompt, and of the answer; USD per million tokens.
_PROMPT_TOKENS, _ANSWER_TOKENS = 400, 250
_PROMPT_USD, _ANSWER_USD = 0.15, 0.60


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where there is nothing to measure on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--out", type=Path, default=_ROOT / "benchmarks" / "results" / "cache.json")
    parser.add_argument("--plots", type=Path, default=_ROOT / "docs" / "images")
    parser.add_argument("--vectors", type=Path, default=None, help="folder with texts.json and embeddings.npy")
    parser.add_argument("--model", type=Path, default=None, help="folder of the embedder, to time it as well")
    parser.add_argument("--bounds", nargs="+", type=float, default=_BOUNDS, help="values of max_wrong_hits")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="of the rest the results stay")
    options = parser.parse_args(arguments)
    if not folder().is_dir():
        sys.stderr.write(f"There is no {folder()}; set SIGNALBOX_SHARED to the folder that has 'cache'.\n")
        return 1
    results = json.loads(options.out.read_bytes()) if options.out.exists() else {}
    vectors = None if options.vectors is None else Vectors(options.vectors)
    results["machine"] = {"python": platform.python_version(), "machine": platform.machine()}
    for part in options.only:
        Console(stderr=True).print(part)
        _measure(part, results, vectors, options.model, options.bounds)
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    written = [options.out]
    if set(_PARTS) <= set(results):
        Console(width=120).print(_table(results))
        written += plots.draw(results, options.plots)
    for path in written:
        sys.stdout.write(f"written: {path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path}\n")
    return 0


def _measure(
    part: str, results: dict[str, Any], vectors: Vectors | None, model: Path | None, bounds: Sequence[float]
) -> None:
    if part == "policies":
        results[part] = {name: _on_all(make, has_normal=has_normal) for name, make, has_normal in _policies(vectors)}
    elif part == "cosines" and vectors is not None:
        results[part] = [{"least": least, **_on_all(_cosine(vectors, least))} for least in _COSINES]
    elif part == "bounds":
        results[part], results["curves"] = _bounds(vectors, bounds)
    elif part == "wrong_labels":
        results[part] = {
            kind: _on_all(lambda given=given: Semantic(given, _BOUND, _SEED, wrong_labels=0.05))
            for kind, given in _kinds(vectors)
        }
    elif part == "together":
        results[part] = {kind: _together(given) for kind, given in _kinds(vectors)}
    elif part == "speed":
        results[part] = speed.all_sizes(_SIZES, model)
    elif part == "money":
        results[part] = {kind: _money(Semantic(given, _BOUND, _SEED)) for kind, given in _kinds(vectors)}
        results[part]["normalised"] = _money(None)


def _kinds(vectors: Vectors | None) -> list[tuple[str, Vectors | None]]:
    return [("words", None)] if vectors is None else [("words", None), ("embedder", vectors)]


def _policies(vectors: Vectors | None) -> list[tuple[str, Callable[[], Policy | None], bool]]:
    """Name, how to make it, and whether the normalised tier stands before it."""
    found: list[tuple[str, Callable[[], Policy | None], bool]] = [
        ("exact", Exact, False),
        ("normalised", lambda: None, True),
        ("jaccard 0.8", lambda: Jaccard(0.8), False),
        ("tf-idf 0.9", lambda: TfIdf(0.9), False),
    ]
    if vectors is not None:
        found += [(f"cosine {least:.2f}", _cosine(vectors, least), False) for least in (0.80, 0.90, 0.95)]
        found += [
            (f"vcache {delta}", lambda delta=delta: VCache(vectors, delta, random.Random(_SEED).random), False)
            for delta in (0.01, 0.02)
        ]
    return found


def _cosine(vectors: Vectors, least: float) -> Callable[[], Policy]:
    return lambda: Cosine(vectors, least)


def _on_all(make: Callable[[], Policy | None], *, has_normal: bool = True) -> dict[str, Any]:
    scores = {name: replay(make(), stream(name), has_normal=has_normal) for name in NAMES}
    return {**{name: score.as_json() for name, score in scores.items()}, "mean": _mean(scores)}


def _mean(scores: dict[str, Score]) -> dict[str, float]:
    return {
        "hits": round(fmean(score.hit_share for score in scores.values()), 4),
        "wrong_of_hits": round(fmean(score.wrong_of_hits for score in scores.values()), 5),
    }


def _together(vectors: Vectors | None) -> dict[str, Any]:
    scores = {name: replay_together(_WORKERS, vectors, _BOUND, _SEED, stream(name)) for name in NAMES}
    return {**{name: score.as_json() for name, score in scores.items()}, "mean": _mean(scores)}


def _bounds(vectors: Vectors | None, wanted: Sequence[float]) -> tuple[dict[str, Any], dict[str, Any]]:
    bounds: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for bound in wanted:
        bounds[str(bound)] = {}
        for kind, given in _kinds(vectors):
            scores = {name: replay(Semantic(given, bound, _SEED), stream(name)) for name in NAMES}
            bounds[str(bound)][kind] = {
                **{name: score.as_json() for name, score in scores.items()},
                "mean": _mean(scores),
            }
            if bound == _BOUND:
                curves |= {f"{name}, {kind}": score.curve for name, score in scores.items()}
    return bounds, curves


def _money(policy: Policy | None) -> dict[str, float]:
    """The gateway stream is a Zipf stream. Checks of hits are paid for."""
    score = replay(policy, stream("gw"))
    call_usd = (_PROMPT_TOKENS * _PROMPT_USD + _ANSWER_TOKENS * _ANSWER_USD) / 1e6
    saved = score.normal_hits + score.hits - score.checks
    return {
        "share_saved": round(saved / score.requests, 4),
        "usd_per_million_requests": round(call_usd * 1e6, 2),
        "usd_saved_per_million_requests": round(call_usd * 1e6 * saved / score.requests, 2),
        "checks": score.checks,
    }


def _table(results: dict[str, Any]) -> Table:
    table = Table(title="hits / wrong of hits")
    for column in ("policy", *NAMES, "mean"):
        table.add_column(column)
    for name, rows in results["policies"].items():
        table.add_row(name, *(_cell(rows[each]) for each in (*NAMES, "mean")))
    for kind, rows in results["bounds"][str(_BOUND)].items():
        table.add_row(f"semantic {_BOUND}, {kind}", *(_cell(rows[each]) for each in (*NAMES, "mean")))
    for kind, rows in results["wrong_labels"].items():
        table.add_row(f"semantic, 5 % wrong labels, {kind}", *(_cell(rows[each]) for each in (*NAMES, "mean")))
    for kind, rows in results["together"].items():
        table.add_row(f"semantic, {_WORKERS} workers, {kind}", *(_cell(rows[each]) for each in (*NAMES, "mean")))
    return table


def _cell(row: dict[str, float]) -> str:
    return f"{row['hits']:.3f} / {row['wrong_of_hits']:.4f}"


if __name__ == "__main__":
    sys.exit(main())
