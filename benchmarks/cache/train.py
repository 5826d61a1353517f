"""Trains the verifier's tables: boosted trees over the features of two prompts.

    python -m benchmarks.cache.train --data FOLDER [--vectors FOLDER] [--into policies/cache/semantic/tables]

`--data` holds `pairs_gw.jsonl` and `pairs_intent.jsonl`; more groups of prompts stand in `groups.toml` beside this
file. `--vectors` holds `texts.json` and `embeddings.npy` (row i belongs to text i, unit length); with it the table with
cosines is trained as well. Same data, same tables.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other in a loop take the whole machine

from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.cache.groups import made_pairs
from policies.cache.semantic.features import NAMES, features
from policies.cache.semantic.guards import refusal
from policies.cache.semantic.text import Text, analyse

TABLES = Path("policies/cache/semantic/tables")
# How a feature may move the score: more that is shared never speaks against, more that is left over never for it.
_DIRECTIONS = {
    "words_shared": 1,
    "content_shared": 1,
    "content_left_fewer": -1,
    "content_left_more": -1,
    "prepositions_left": -1,
    "grams_shared": 1,
    "grams_contained": 1,
    "pairs_shared": 1,
    "inversions": -1,
    "is_one_template": 1,
    "slots_shared": 1,
    "is_one_question": 1,
    "is_one_asking": 1,
    "persons_differ": -1,
    "unknown_left": -1,
    "values_left": -1,
    "exchanged": -1,
    "is_one_bag": 1,
    "longest_run": 1,
    "half_opposites": -1,
    "cosine": 1,
}
_SOURCES = (
    "prompts written for this project; CLINC150 (clinc/oos-eval), CC BY 3.0; "
    "BANKING77 (PolyAI-LDN/task-specific-datasets), CC BY 4.0"
)
# Pairs of one intent share an answer only roughly.
_WEIGHTS = {"gw": 1.0, "made": 1.5, "intent": 0.1}


@dataclass
class Pairs:
    """Rows of one or several files. `x` has the cosine last where there are vectors; refused rows are kept apart."""

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    source: np.ndarray
    is_refused: np.ndarray
    rows: list[dict[str, Any]]


def read_rows(data: Path) -> list[dict[str, Any]]:
    rows = []
    for name, source in (("pairs_gw.jsonl", "gw"), ("pairs_intent.jsonl", "intent")):
        for line in (data / name).read_text("utf-8").splitlines():
            row = json.loads(line)
            # Intent pairs have no group: a fold is drawn from the text.
            rows.append({**row, "src": source, "grp": row.get("grp") or f"intent{len(row['a']) % 10}"})
    return rows


def vectors_of(folder: Path | None) -> dict[str, np.ndarray] | None:
    if folder is None:
        return None
    texts = json.loads((folder / "texts.json").read_text("utf-8"))
    return dict(zip(texts, np.load(folder / "embeddings.npy"), strict=True))


def pairs_of(rows: list[dict[str, Any]], vectors: dict[str, np.ndarray] | None) -> Pairs:
    """Features of every row; rows without a vector are left out where there are vectors."""
    if vectors is not None:
        rows = [row for row in rows if row["a"] in vectors and row["b"] in vectors]
    texts: dict[str, Text] = {}
    x, refused = [], []
    for row in rows:
        a, b = (texts.setdefault(row[side], None) or analyse(row[side]) for side in ("a", "b"))  # type: ignore[arg-type]
        texts[row["a"]], texts[row["b"]] = a, b
        cosine = None if vectors is None else float(vectors[row["a"]] @ vectors[row["b"]])
        refused.append(refusal(a, b) is not None)
        x.append(features(a, b, cosine))
    return Pairs(
        np.array(x),
        np.array([row["label"] for row in rows]),
        np.array([row["grp"] for row in rows]),
        np.array([row["src"] for row in rows]),
        np.array(refused),
        rows,
    )


def fit(pairs: Pairs, chosen: np.ndarray) -> HistGradientBoostingClassifier:
    """Trees over the rows that are chosen and that no guard refuses."""
    names = [*NAMES, "cosine"][: pairs.x.shape[1]]
    used = chosen & ~pairs.is_refused
    model = HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=8,
        learning_rate=0.1,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.5,
        early_stopping=False,
        monotonic_cst=[_DIRECTIONS.get(name, 0) for name in names],
        random_state=7,
    )
    weights = np.array([_WEIGHTS[source] for source in pairs.source[used]])
    return model.fit(pairs.x[used], pairs.y[used], sample_weight=weights)


def table_of(model: HistGradientBoostingClassifier, count: int) -> dict[str, Any]:
    trees = []
    for (predictor,) in model._predictors:
        trees.append(
            [
                [round(float(node["value"]), 4)]
                if node["is_leaf"]
                else [
                    int(node["feature_idx"]),
                    round(float(node["num_threshold"]), 5),
                    int(node["left"]),
                    int(node["right"]),
                ]
                for node in predictor.nodes
            ]
        )
    return {
        "sources": _SOURCES,
        "features": [*NAMES, "cosine"][:count],
        "base": round(float(model._baseline_prediction.ravel()[0]), 4),
        "trees": trees,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--into", type=Path, default=TABLES)
    chosen = parser.parse_args()
    rows = read_rows(chosen.data) + made_pairs()
    for name, vectors in (("lexical", None), ("with_cosine", vectors_of(chosen.vectors))):
        if name == "with_cosine" and vectors is None:
            continue
        pairs = pairs_of(rows, vectors)
        model = fit(pairs, np.ones(len(pairs.y), bool))
        text = json.dumps(table_of(model, pairs.x.shape[1]), separators=(",", ":"))
        (chosen.into / f"{name}.json").write_text(text + "\n", "utf-8")
        print(f"{name}: {len(pairs.y)} pairs, {len(text) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
