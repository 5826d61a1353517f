"""How many pairs that may share an answer a rule accepts, where it wrongly accepts at most 1 % and 0.1 % of the others.

    python -m benchmarks.cache.pairs --data FOLDER [--vectors FOLDER] [--only GROUP,GROUP...] [--json FILE]

Ours is cross-validated by group: who scores a group was trained on the other groups. Guards count: what they refuse is
never accepted. See `train.py` for the folders.
"""

import argparse
import json
from collections import Counter
from math import log, sqrt
from pathlib import Path

import numpy as np

from benchmarks.cache.groups import made_pairs
from benchmarks.cache.train import Pairs, fit, pairs_of, read_rows, vectors_of
from policies.cache.normal import normal
from policies.cache.semantic.text import analyse

NEVER = -1e9
_FOLDS = 8


def accepted(scores: np.ndarray, labels: np.ndarray, share: float) -> float:
    """Share of true pairs above the lowest threshold at which at most `share` of the false ones are."""
    false = np.sort(scores[labels == 0])[::-1]
    allowed = int(share * len(false))
    threshold = false[allowed] if allowed < len(false) else -np.inf
    return float((scores[labels == 1] > max(threshold, NEVER)).mean())


def out_of_fold(pairs: Pairs) -> np.ndarray:
    """Scores of the rows of the prompts' groups, each by trees that never saw its group."""
    scores = np.full(len(pairs.y), NEVER)
    for groups in np.array_split(np.unique(pairs.group[pairs.source == "gw"]), _FOLDS):
        inside = np.isin(pairs.group, groups)
        scores[inside] = fit(pairs, ~inside).decision_function(pairs.x[inside])
    scores[pairs.is_refused] = NEVER
    return scores


def rivals(pairs: Pairs, vectors: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Scores of what others do."""
    texts = [(row["a"], row["b"]) for row in pairs.rows]
    words = {text: analyse(text).words or tuple(text.split()) for both in texts for text in both}
    plain = {text: frozenset(text.lower().split()) for text in words}
    counts = Counter(word for said in plain.values() for word in said)
    weight = {word: log(len(plain) / count) + 1 for word, count in counts.items()}

    def tfidf(a: str, b: str) -> float:
        shared = sum(weight[word] ** 2 for word in plain[a] & plain[b])
        return shared / sqrt(sum(weight[w] ** 2 for w in plain[a]) * sum(weight[w] ** 2 for w in plain[b]) or 1.0)

    found = {
        "exact": np.array([1.0 if a == b else NEVER for a, b in texts]),
        "normalised text": np.array([1.0 if normal(a) and normal(a) == normal(b) else NEVER for a, b in texts]),
        "Jaccard": np.array([len(plain[a] & plain[b]) / max(len(plain[a] | plain[b]), 1) for a, b in texts]),
        "TF-IDF": np.array([tfidf(a, b) for a, b in texts]),
    }
    if vectors is not None:
        found["cosine"] = np.array([float(vectors[a] @ vectors[b]) for a, b in texts])
        found["cosine and guards"] = np.where(pairs.is_refused, NEVER, found["cosine"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--only", default="", help="groups to report by themselves as well, separated by commas")
    parser.add_argument("--json", type=Path, help="where the table is written as JSON")
    chosen = parser.parse_args()
    rows = read_rows(chosen.data) + made_pairs()
    vectors = vectors_of(chosen.vectors)
    if vectors is not None:
        rows = [row for row in rows if row["a"] in vectors and row["b"] in vectors]
    lexical = pairs_of(rows, None)
    scores = rivals(pairs_of(rows, vectors) if vectors else lexical, vectors)
    scores["ours, nothing installed"] = out_of_fold(lexical)
    if vectors is not None:
        scores["ours, with embedder"] = out_of_fold(pairs_of(rows, vectors))
    report = {"all groups": _table(scores, lexical, np.unique(lexical.group))}
    if chosen.only:
        report[chosen.only] = _table(scores, lexical, np.array(chosen.only.split(",")))
    for name, table in report.items():
        print(f"\n{name}\n\n| rule | true pairs at 1 % false | at 0.1 % |\n|---|---|---|")
        for rule, shares in table.items():
            print(f"| {rule} | {shares['0.01']:.3f} | {shares['0.001']:.3f} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def _table(scores: dict[str, np.ndarray], pairs: Pairs, groups: np.ndarray) -> dict[str, dict[str, float]]:
    reported = (pairs.source == "gw") & np.isin(pairs.group, groups)
    labels = pairs.y[reported]
    return {
        name: {str(share): round(accepted(found[reported], labels, share), 3) for share in (0.01, 0.001)}
        for name, found in scores.items()
    }


if __name__ == "__main__":
    main()
