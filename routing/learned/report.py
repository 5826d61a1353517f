"""What a router trained on these rows is worth on rows it was not trained on, beside what needs no training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.classifier import classify
from routing.learned.evaluate import (
    PairFigures,
    calibration_error,
    cost_at,
    mean_order_figures,
    mean_pair_figures,
)
from routing.learned.feedback import Examples
from routing.learned.model_file import RouterModel
from routing.learned.predict import Predictor
from routing.learned.train import fit, steps

FOLDS = 5
_CURVE = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

Floats = NDArray[np.float64]
Advance = Callable[[], None]


@dataclass(slots=True)
class Report:
    """`figures` of each method on the same rows; `curve`: mean APGR by number of training rows.

    `quality` [N, M] is what each row was predicted without having been trained on it.
    """

    rows: int
    figures: dict[str, PairFigures]
    cost_at_100: float
    cost_at_98: float
    calibration_error: float
    curve: dict[int, float]
    quality: Floats

    def to_json(self) -> dict[str, Any]:
        """For the file's header; what could not be measured is null."""
        return {
            "rows": self.rows,
            "cost_at_100": _number(self.cost_at_100),
            "cost_at_98": _number(self.cost_at_98),
            "calibration_error": _number(self.calibration_error),
            "figures": {
                method: {"apgr": _number(f.apgr), "cpt50": _number(f.cpt50), "cpt80": _number(f.cpt80)}
                for method, f in self.figures.items()
            },
            "curve": {str(rows): _number(apgr) for rows, apgr in self.curve.items()},
        }


def cross_validate(examples: Examples, advance: Advance = lambda: None) -> Report:
    """Train on four fifths, predict the fifth, five times. Raises ValueError where a part grades a model nowhere."""
    folds = fold_of(examples)
    quality = np.zeros(examples.scores.shape)
    for fold in range(FOLDS):
        inside = np.flatnonzero(folds == fold)
        model = fit(examples.subset(np.flatnonzero(folds != fold)), advance)
        quality[inside] = predict_all(model, examples.subset(inside))
    costs = row_costs(examples)
    return Report(
        rows=len(examples),
        figures={"learned": mean_pair_figures(levelled(quality, folds), examples.scores), **untrained(examples)},
        cost_at_100=cost_at(1.0, quality, examples.scores, costs),
        cost_at_98=cost_at(0.98, quality, examples.scores, costs),
        calibration_error=calibration_error(quality, examples.scores),
        curve=_curve(examples, folds, advance),
        quality=quality,
    )


def levelled(quality: Floats, folds: NDArray[np.uint32]) -> Floats:
    """Every fold moved to the same mean per model.

    A fold with bad luck was predicted by a router that saw the good luck of the others; ordering rows of all folds by
    that would count it against the router.
    """
    levelled = quality.copy()
    for fold in range(FOLDS):
        inside = folds == fold
        if inside.any():
            levelled[inside] += quality.mean(0) - quality[inside].mean(0)
    return levelled


def advances(examples: Examples) -> int:
    """How often `cross_validate` advances."""
    return steps(len(examples.models)) * (FOLDS + len(_curve_rows(fold_of(examples))))


def untrained(examples: Examples) -> dict[str, PairFigures]:
    """Methods that need no graded rows: chance, length, the classifier."""
    features = examples.features
    orders = {
        "random": np.zeros(len(features)),
        "length": np.array([found.tokens for found in features], np.float64),
        "classifier": np.array([classify(found).score for found in features]),
    }
    return {name: mean_order_figures(order, examples.scores) for name, order in orders.items()}


def predict_all(model: RouterModel, examples: Examples) -> Floats:
    """Predicted quality [N, M] of the examples' models."""
    predictor = Predictor(model)
    columns = [predictor.models.index(name) for name in examples.models]
    found = [
        predictor.predict(features, application)
        for features, application in zip(examples.features, examples.applications, strict=True)
    ]
    return np.array(found, np.float64).reshape(len(found), len(predictor.models))[:, columns]


def row_costs(examples: Examples) -> Floats:
    """Costs with a model's mean where a row does not say."""
    counts = (~np.isnan(examples.costs)).sum(0)
    means = np.where(counts > 0, np.nansum(examples.costs, 0) / np.maximum(counts, 1), np.nan)
    return np.where(np.isnan(examples.costs), means, examples.costs)


def fold_of(examples: Examples) -> NDArray[np.uint32]:
    """The fold of each row, by its words."""
    folds: NDArray[np.uint32] = examples.keys % FOLDS
    return folds


def _curve_rows(folds: NDArray[np.uint32]) -> list[int]:
    available = int((folds != 0).sum())
    return [rows for rows in _CURVE if rows < available]


def _curve(examples: Examples, folds: NDArray[np.uint32], advance: Advance) -> dict[int, float]:
    """Trained on the first rows of all folds but the first, judged on that one; the order is by hash."""
    held_back = examples.subset(np.flatnonzero(folds == 0))
    others = np.flatnonzero(folds != 0)
    others = others[np.argsort(examples.keys[others] * np.uint32(2_654_435_761), kind="stable")]
    found = {}
    for rows in _curve_rows(folds):
        part = examples.subset(others[:rows])
        if np.isnan(part.scores).all(0).any():
            continue
        found[rows] = mean_pair_figures(predict_all(fit(part, advance), held_back), held_back.scores).apgr
    return found


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
