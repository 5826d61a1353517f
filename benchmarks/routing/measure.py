"""The figures, each of rows that were not trained on."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.noise import KINDS
from routing.classifier import classify
from routing.features import extract_text
from routing.learned.evaluate import calibration_error, cost_at, mean_order_figures, mean_pair_figures
from routing.learned.feedback import Examples, assemble
from routing.learned.predict import Predictor
from routing.learned.report import FOLDS, fold_of, levelled, predict_all, row_costs, untrained
from routing.learned.train import fit, word_matrix

Floats = NDArray[np.float64]
_RESAMPLES = 200
_NEIGHBOURS = 40
_NOISY_ROWS = 400
# Enough to judge a draw by.
_CURVE_ROWS = 2_000
_TIMED_CALLS = 200
_TIMED_BATCHES = 9
_GOAL = 0.98
_SEED = 11


def untrained_figures(examples: Examples) -> dict[str, Any]:
    """APGR of chance, length and classifier."""
    return {name: round(found.apgr, 4) for name, found in untrained(examples).items()}


def trained_figures(examples: Examples) -> dict[str, Any]:
    """Everything about a set with five-fold cross-validation by hash, and 95 % bootstrap intervals."""
    folds = fold_of(examples)
    learned, near = _out_of_fold(examples, folds, _learned), _out_of_fold(examples, folds, neighbours)
    costs = row_costs(examples)
    found = {"rows": len(examples), "untrained": untrained_figures(examples)}
    found["learned"] = _with_intervals(learned, folds, examples.scores, costs)
    found["knn"] = _plain(near, levelled(near, folds), examples.scores, costs)
    found["calibration_error"] = round(calibration_error(learned, examples.scores), 4)
    found["curve"] = _cost_quality(learned, examples.scores, costs)
    return found


def other_splits(examples: Examples, splits: int) -> dict[str, list[float]]:
    """The figures of a small set again, with the rows dealt to the folds in other ways: what a split is worth."""
    found = []
    for split in range(splits):
        folds = (examples.keys.astype(np.uint64) * np.uint64(2_654_435_761 + 2 * split) >> np.uint64(7)) % FOLDS
        quality = _out_of_fold(examples, folds.astype(np.uint32), _learned)
        figures = mean_pair_figures(levelled(quality, folds.astype(np.uint32)), examples.scores)
        found.append((figures.apgr, figures.cpt50, figures.cpt80))
    return {
        name: [round(float(value), 4) for value in values]
        for name, values in zip(("apgr", "cpt50", "cpt80"), np.transpose(found), strict=True)
    }


def _out_of_fold(
    examples: Examples, folds: NDArray[np.uint32], predicted: Callable[[Examples, Examples], Floats]
) -> Floats:
    quality = np.zeros(examples.scores.shape)
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        quality[inside] = predicted(examples.subset(outside), examples.subset(inside))
    return quality


def _learned(train: Examples, test: Examples) -> Floats:
    return predict_all(fit(train), test)


def neighbours(train: Examples, test: Examples) -> Floats:
    """Mean score of the nearest training rows by cosine of hashed words."""
    known, asked = word_matrix(train), word_matrix(test)
    quality = np.zeros((len(test), len(train.models)))
    for start in range(0, len(test), 500):
        alike = (asked[start : start + 500] @ known.T).toarray()
        nearest = np.argpartition(-alike, min(_NEIGHBOURS, alike.shape[1] - 1), 1)[:, :_NEIGHBOURS]
        quality[start : start + 500] = train.scores[nearest].mean(1)
    return quality


def learning_curve(examples: Examples, sizes: tuple[int, ...], draws: int) -> list[dict[str, float]]:
    """APGR beside the classifier's, trained on few rows drawn at random, on rows with other words."""
    found = []
    for size in sizes:
        if size > len(examples) * (FOLDS - 1) // FOLDS:
            break
        before, gains = [], []
        for draw in range(draws):
            order = np.random.default_rng(draw).permutation(len(examples))
            drawn, rest = order[:size], order[size:]
            rest = rest[~np.isin(examples.keys[rest], examples.keys[drawn])][:_CURVE_ROWS]
            test = examples.subset(rest)
            before.append(untrained(test)["classifier"].apgr)
            quality = predict_all(fit(examples.subset(drawn)), test)
            gains.append(mean_pair_figures(quality, test.scores).apgr - before[-1])
        found.append(
            {
                "rows": size,
                "classifier": float(np.mean(before)),
                "gain_mean": float(np.mean(gains)),
                "gain_least": float(min(gains)),
            }
        )
    return found


def same_choice(examples: Examples, texts: list[str]) -> dict[str, float]:
    """Share of held-back requests that get the same model, and the same tier, in spite of noise.

    The model is the cheapest that is predicted to reach 98 % of the best; without prices the weaker is the cheaper.
    """
    folds = fold_of(examples)
    predictor = Predictor(fit(examples.subset(np.flatnonzero(folds != 0))))
    rows = np.flatnonzero(folds == 0)[:_NOISY_ROWS]
    rng = Random(_SEED)
    costs = np.nan_to_num(np.nanmean(examples.costs, 0), nan=0.0) if not np.isnan(examples.costs).all() else None
    by_cost = np.argsort(np.nanmean(examples.scores, 0) if costs is None else costs, kind="stable")

    def choose(wanted: list[str]) -> tuple[NDArray[np.intp], list[str]]:
        features = [extract_text(text) for text in wanted]
        quality = np.array([predictor.predict(found) for found in features])[:, by_cost]
        is_enough = quality >= _GOAL * quality.max(1, keepdims=True)
        return is_enough.argmax(1), [classify(found).tier for found in features]

    plain_texts = [texts[row] for row in rows]
    model, tier = choose(plain_texts)
    found = {}
    for kind, change in KINDS.items():
        noisy_model, noisy_tier = choose([change(text, rng) for text in plain_texts])
        found[f"model_{kind}"] = float((model == noisy_model).mean())
        found[f"tier_{kind}"] = float(np.mean([a == b for a, b in zip(tier, noisy_tier, strict=True)]))
    return found


def decision_cpu(rows: list[dict[str, Any]], models: int, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Microseconds of CPU for features alone, with the classifier, and with a router of that many models."""
    names = sorted(rows[0]["scores"])[:models]
    examples = assemble([{**row, "scores": {name: row["scores"][name] for name in names}} for row in rows])
    predictor = Predictor(fit(examples))
    text = "\n\n".join(row["prompt"] for row in rows)
    text = text * (max(sizes) // len(text) + 2)
    return [{"chars": size, "models": models, **_timed(predictor, text, size)} for size in sizes]


def _timed(predictor: Predictor, text: str, size: int) -> dict[str, float]:
    steps: dict[str, Callable[[str], object]] = {
        "features": extract_text,
        "classifier": lambda t: classify(extract_text(t)),
        "learned": lambda t: predictor.predict(extract_text(t)),
    }
    parts = [text[draw * 97 : draw * 97 + size] for draw in range(_TIMED_CALLS)]
    found = {}
    for name, step in steps.items():
        taken = []
        # Whole batches, for where the clock is coarse.
        for _ in range(_TIMED_BATCHES):
            start = time.process_time()
            for part in parts:
                step(part)
            taken.append((time.process_time() - start) / _TIMED_CALLS)
        found[f"{name}_p50_us"] = round(float(np.median(taken)) * 1e6, 1)
    return found


def _plain(quality: Floats, even: Floats, scores: Floats, costs: Floats) -> dict[str, float]:
    """Order by `even`, which has the same mean in every fold; cost by what was predicted."""
    found = mean_pair_figures(even, scores)
    figures = {"apgr": found.apgr, "cpt50": found.cpt50, "cpt80": found.cpt80}
    if not np.isnan(costs).any():
        figures |= {
            "cost_at_100": cost_at(1.0, quality, scores, costs),
            "cost_at_98": cost_at(0.98, quality, scores, costs),
        }
    return {name: round(value, 4) for name, value in figures.items()}


def _with_intervals(quality: Floats, folds: NDArray[np.uint32], scores: Floats, costs: Floats) -> dict[str, Any]:
    even = levelled(quality, folds)
    rng = np.random.default_rng(_SEED)
    drawn = [
        _plain(quality[rows], even[rows], scores[rows], costs[rows])
        for rows in (rng.integers(0, len(scores), len(scores)) for _ in range(_RESAMPLES))
    ]
    return {
        name: {
            "value": value,
            "low": round(float(np.nanpercentile([one[name] for one in drawn], 2.5)), 4),
            "high": round(float(np.nanpercentile([one[name] for one in drawn], 97.5)), 4),
        }
        for name, value in _plain(quality, even, scores, costs).items()
    }


def _cost_quality(quality: Floats, scores: Floats, costs: Floats) -> list[list[float]]:
    """Points of cost and quality, both as a share of the best single model's; without costs nothing."""
    if np.isnan(costs).any():
        return []
    best = int(scores.mean(0).argmax())
    rows = np.arange(len(scores))
    points = []
    for price in np.geomspace(1e-3, 10.0, 40):
        chosen = (quality - price * costs / costs[:, best].mean()).argmax(1)
        points.append(
            [costs[rows, chosen].mean() / costs[:, best].mean(), scores[rows, chosen].mean() / scores[:, best].mean()]
        )
    return [[round(float(value), 4) for value in point] for point in points]


def zero_configuration(sets: dict[str, Examples]) -> dict[str, float]:
    """Mean APGR of the classifier by set."""
    return {
        name: round(
            mean_order_figures(np.array([classify(f).score for f in examples.features]), examples.scores).apgr, 4
        )
        for name, examples in sets.items()
    }
