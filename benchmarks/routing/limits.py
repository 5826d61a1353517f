"""What GSM8K's rows allow at all: routers that know what none can have, dealt to folds and judged like ours.

Another file of the folder has the answers of 43 other models to the very same questions. They are no part of the
router: these figures say how much of what is missing is in the text.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from routing.learned import wording
from routing.learned.evaluate import pair_figures
from routing.learned.feedback import Examples
from routing.learned.report import FOLDS, levelled, predict_all
from routing.learned.train import fit

Floats = NDArray[np.float64]
Folds = NDArray[np.uint32]
_TREES = 300
_LEAF_ROWS = 8
_RESAMPLES = 1_000
_SEED = 11
_SAME_MODEL = "Mixtral-8x7B-Instruct-v0.1"
_BARS = {"apgr": 0.70, "cpt50": 0.29, "cpt80": 0.52}


def measure(pair: Examples, texts: list[str], others: Examples, their_texts: list[str], splits: int) -> dict[str, Any]:
    """Means over so many ways to deal the rows of `pair` to folds. `others` has the same questions, in any order."""
    place = {text: row for row, text in enumerate(their_texts)}
    both = np.array([row for row, text in enumerate(texts) if text in place], np.intp)
    pair = pair.subset(both)
    answers = others.scores[[place[texts[row]] for row in both]]
    strong, weak = pair.scores[:, pair.scores.mean(0).argmax()], pair.scores[:, pair.scores.mean(0).argmin()]
    ours = np.array([[*found.values, *wording.measure(found.words)] for found in pair.features])
    again = answers[:, others.models.index(_SAME_MODEL)]
    dealt = [_folds(pair, split) for split in range(splits)]
    routed = [_routed(pair, folds) for folds in dealt]
    known = [_forest(answers, strong - weak, folds) for folds in dealt]
    joined = [_forest(np.hstack((answers, ours)), strong - weak, folds) for folds in dealt]
    orders = {
        "the trained router": routed,
        "forest on the answers": known,
        "forest on the answers and our features": joined,
        "the same, averaged with the router": [(a + b) / 2 for a, b in zip(joined, routed, strict=True)],
        "how many answered wrongly": [-answers.mean(1)],
        "the weak model's failures in another run": [-again],
    }
    return {
        "rows": len(pair),
        "orders": {name: _means(found, strong, weak) for name, found in orders.items()},
        "trained_with_their_grades": _means([_helped(pair, answers, dealt[0])], strong, weak),
        "weak_model_agrees_with_itself": round(float(np.corrcoef(again, weak)[0, 1]), 3),
        "resamples_that_reach": _reached(routed, strong, weak),
    }


def _folds(examples: Examples, split: int) -> Folds:
    """The rows dealt in other ways, the same words always together."""
    mixed = examples.keys.astype(np.uint64) * np.uint64(2_654_435_761 + 2 * split) >> np.uint64(7)
    return (mixed % FOLDS).astype(np.uint32)


def _out_of_fold(folds: Folds, predict: Callable[[NDArray[np.intp], NDArray[np.intp]], Floats]) -> Floats:
    """`predict` gets rows to train on and rows to judge; every fold is moved to the same mean, as for the router."""
    order = np.zeros((len(folds), 1))
    for fold in range(FOLDS):
        inside = np.flatnonzero(folds == fold)
        order[inside, 0] = predict(np.flatnonzero(folds != fold), inside)
    return levelled(order, folds)[:, 0]


def _routed(examples: Examples, folds: Folds) -> Floats:
    """What the router expects the strongest model to gain."""
    best, worst = int(examples.scores[:, :2].mean(0).argmax()), int(examples.scores[:, :2].mean(0).argmin())

    def predict(train: NDArray[np.intp], test: NDArray[np.intp]) -> Floats:
        quality = predict_all(fit(examples.subset(train)), examples.subset(test))
        return quality[:, best] - quality[:, worst]

    return _out_of_fold(folds, predict)


def _helped(pair: Examples, answers: Floats, folds: Folds) -> Floats:
    """The router, with the grades of the other models as further models of the training rows."""
    empty = np.full(answers.shape, np.nan)
    more = Examples(
        (*pair.models, *(f"other {number}" for number in range(answers.shape[1]))),
        pair.features,
        np.hstack((pair.scores, answers)),
        np.hstack((pair.costs, empty)),
        np.hstack((pair.latencies_s, empty)),
        pair.applications,
        pair.keys,
    )
    return _routed(more, folds)


def _forest(inputs: Floats, gain: Floats, folds: Folds) -> Floats:
    def predict(train: NDArray[np.intp], test: NDArray[np.intp]) -> Floats:
        forest = ExtraTreesRegressor(
            n_estimators=_TREES, min_samples_leaf=_LEAF_ROWS, max_features=0.5, random_state=_SEED
        )
        found: Floats = forest.fit(inputs[train], gain[train]).predict(inputs[test])
        return found

    return _out_of_fold(folds, predict)


def _means(orders: list[Floats], strong: Floats, weak: Floats) -> dict[str, float]:
    found = [pair_figures(order, strong, weak) for order in orders]
    return {name: round(float(np.mean([getattr(one, name) for one in found])), 4) for name in _BARS}


def _reached(orders: list[Floats], strong: Floats, weak: Floats) -> dict[str, float]:
    """The share of bootstrap samples of the rows, over all splits, whose figures are as good as the aim."""
    rng = np.random.default_rng(_SEED)
    count = len(strong)
    figures = [
        pair_figures(orders[draw % len(orders)][rows], strong[rows], weak[rows])
        for draw, rows in enumerate(rng.integers(0, count, (_RESAMPLES, count)))
    ]
    met = {
        name: np.mean([(getattr(f, name) >= bar) if name == "apgr" else (getattr(f, name) <= bar) for f in figures])
        for name, bar in _BARS.items()
    }
    return {name: round(float(share), 3) for name, share in met.items()}
