"""From graded requests to a router. The only file that needs scikit-learn (extra `train`). Deterministic.

Per model a logistic on hashed words and word pairs, then boosted trees on the features and on what the words say about
every model, which places a request among tasks. For training the trees that comes from words of other rows (inner cross
validation), as it does at decision time. A score between 0 and 1 counts as that share of a success.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from routing.classifier import classify
from routing.features import NAMES
from routing.learned.feedback import Examples
from routing.learned.hashing import BUCKETS, buckets
from routing.learned.model_file import LEAVES, NODES, RouterModel
from routing.learned.predict import average, prior

ROUNDS = 100
_DEPTH = 3
_LEARNING_RATE = 0.04
# Inverse strength of the penalty on words.
_WORDS_C = 1.0
_INNER_FOLDS = 5
_MEAN_ROWS = 4.0
# From so many rows on, what was learned is trusted without a test; below so few a fold has nothing to learn from.
_TRUSTED_ROWS = 1_500
_TRUST_FOLDS = 3
_LEAST_ROWS = 10
_MIN_LEAF = 20
_SEED = 20_240_611

Floats = NDArray[np.float64]
Advance = Callable[[], None]


@dataclass(slots=True)
class Trees:
    """One model's: features and cuts [7, R], leaves [R, 8], and what they add to."""

    features: NDArray[np.uint16]
    cuts: Floats
    leaves: Floats
    bias: float
    predict: Callable[[NDArray[np.float32]], Floats]


def fit(examples: Examples, advance: Advance = lambda: None) -> RouterModel:
    """Train on all rows; `advance` is called `steps` times. Raises ValueError where no row grades a model."""
    ungraded = np.isnan(examples.scores).all(0)
    if ungraded.any():
        raise ValueError(f"no row grades {examples.models[int(ungraded.argmax())]!r}")
    words = _word_matrix(examples)
    used = np.unique(words.indices)
    words = words[:, used]
    weights, bias = _fit_words(words, examples.scores, advance)
    # Trees compare in single precision at decision time, so they are grown on what that gives.
    values = np.array([features.values for features in examples.features], np.float32)
    logits = _unseen_logits(words, examples, advance)
    inputs = np.hstack((values, logits), dtype=np.float32)
    trust = _trust(inputs, logits, examples) if len(examples) <= _TRUSTED_ROWS else 1.0
    trees = []
    for column in range(len(examples.models)):
        graded = np.flatnonzero(~np.isnan(examples.scores[:, column]))
        trees.append(_boost(inputs[graded], examples.scores[graded, column]))
        advance()
    return _assemble(examples, trust, used, weights, bias, trees)


def steps(models: int) -> int:
    """How often `fit` advances for that many models."""
    return models * (_INNER_FOLDS + 2)


def _unseen_logits(words: csr_matrix, examples: Examples, advance: Advance) -> Floats:
    """What the words say about every row and model, learned from rows with other words."""
    logits = np.zeros(examples.scores.shape)
    for inside, outside in _folds(examples):
        weights, bias = _fit_words(words[outside], examples.scores[outside], advance)
        logits[inside] = words[inside] @ weights + bias
    return logits


def _folds(examples: Examples) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows inside and outside each fold; the same words are always on the same side."""
    folds = examples.keys // 7 % _INNER_FOLDS
    for fold in range(_INNER_FOLDS):
        yield np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)


def _trust(inputs: NDArray[np.float32], logits: Floats, examples: Examples) -> float:
    """How far to go from the prior to what was learned: the slope that is certain on rows not learned from.

    Rows are compared between models, as a choice does, where they grade several. One standard error is taken off.
    """
    scores = examples.scores
    learned = np.zeros(scores.shape)
    for inside, outside in islice(_folds(examples), _TRUST_FOLDS):
        for column in range(scores.shape[1]):
            graded = outside[~np.isnan(scores[outside, column])]
            if len(graded) >= _LEAST_ROWS:
                trees = _boost(inputs[graded], scores[graded, column]).predict(inputs[inside])
                learned[inside, column] = average(logits[inside, column], trees)
    means = np.array([_mean(column[~np.isnan(column)]) for column in scores.T])
    expected = np.array([prior(means, classify(features).score) for features in examples.features])
    step, error = learned - expected, scores - expected
    judged = ~np.isnan(scores) & (learned > 0.0)
    some = judged.any(1)
    if not some.any():
        return 0.0
    step, error, judged = step[some], error[some], judged[some]
    step[~judged] = np.nan
    error[~judged] = np.nan
    if judged.sum(1).max() > 1:
        step = step - np.nanmean(step, 1, keepdims=True)
        error = error - np.nanmean(error, 1, keepdims=True)
    total = np.nansum(step * step)
    if total <= 0.0:
        return 0.0
    slope = np.nansum(step * error) / total
    deviation = np.sqrt((np.nansum(step * (error - slope * step), 1) ** 2).sum()) / total
    return float(np.clip(slope - deviation, 0.0, 1.0))


def _fit_words(words: csr_matrix, scores: Floats, advance: Advance) -> tuple[Floats, Floats]:
    """Weights [U, M] and bias [M]."""
    weights = np.zeros((words.shape[1], scores.shape[1]))
    bias = np.zeros(scores.shape[1])
    for column in range(scores.shape[1]):
        graded = np.flatnonzero(~np.isnan(scores[:, column]))
        weights[:, column], bias[column] = _logistic(words[graded], scores[graded, column])
        advance()
    return weights, bias


def _logistic(inputs: csr_matrix, score: Floats) -> tuple[Floats, float]:
    """Weights and bias. Every row stands twice: as a success with its score as weight, as a failure with the rest."""
    count = len(score)
    labels = np.repeat([1, 0], count)
    shares = np.concatenate((score, 1.0 - score))
    kept = np.flatnonzero(shares > 0.0)
    if len(set(labels[kept])) < 2:
        mean = _mean(score)
        return np.zeros(inputs.shape[1]), float(np.log(mean / (1.0 - mean)))
    # The solver penalises the bias too; scaled up, that is next to nothing.
    model = LogisticRegression(C=_WORDS_C, solver="liblinear", intercept_scaling=30.0, max_iter=300, random_state=_SEED)
    model.fit(inputs[kept % count], labels[kept], sample_weight=shares[kept])
    return model.coef_[0], float(model.intercept_[0])


def _mean(score: Floats) -> float:
    """The mean of few rows is moved towards one half."""
    return float((score.sum() + 0.5 * _MEAN_ROWS) / (len(score) + _MEAN_ROWS))


def _boost(values: NDArray[np.float32], score: Floats) -> Trees:
    """Boosted trees for one model."""
    booster = GradientBoostingRegressor(
        n_estimators=ROUNDS,
        learning_rate=_LEARNING_RATE,
        max_depth=_DEPTH,
        subsample=0.7,
        max_features=0.5,
        min_samples_leaf=max(2, min(_MIN_LEAF, len(score) // 5)),
        random_state=_SEED,
    )
    booster.fit(values, score)
    features = np.zeros((NODES, ROUNDS), "<u2")
    cuts = np.full((NODES, ROUNDS), np.finfo(np.float32).max, np.float64)
    leaves = np.zeros((ROUNDS, LEAVES))
    for number, (tree,) in enumerate(booster.estimators_):
        _flatten(tree.tree_, 0, 0, features[:, number], cuts[:, number], leaves[number])
    return Trees(features, cuts, leaves * _LEARNING_RATE, float(score.mean()), booster.predict)


def _flatten(tree: Any, node: int, place: int, features: NDArray[np.uint16], cuts: Floats, leaves: Floats) -> None:
    """Write a node and what is below it to its place in a complete tree; a leaf higher up fills all places below."""
    if place >= NODES:
        leaves[place - NODES] = tree.value[node, 0, 0]
        return
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left >= 0:
        features[place], cuts[place] = tree.feature[node], tree.threshold[node]
    _flatten(tree, left if left >= 0 else node, 2 * place + 1, features, cuts, leaves)
    _flatten(tree, right if left >= 0 else node, 2 * place + 2, features, cuts, leaves)


def _word_matrix(examples: Examples) -> csr_matrix:
    found = [buckets(features.words) for features in examples.features]
    ends = np.cumsum([0, *map(len, found)])
    norms = np.repeat([1.0 / max(1, len(row)) ** 0.5 for row in found], np.diff(ends))
    return csr_matrix((norms, np.concatenate(found), ends), shape=(len(found), BUCKETS))


def _assemble(
    examples: Examples, trust: float, used: NDArray[np.intp], weights: Floats, bias: Floats, trees: Sequence[Trees]
) -> RouterModel:
    names, means, rows = _applications(examples)
    graded = ~np.isnan(examples.scores)
    arrays: dict[str, NDArray[Any]] = {
        "means": _floats([_mean(examples.scores[graded[:, m], m]) for m in range(len(examples.models))]),
        "rows": graded.sum(0).astype("<i4"),
        "word_rows": used.astype("<i4"),
        "word_weights": weights.astype("<f2"),
        "word_bias": _floats(bias),
        "tree_features": np.concatenate([one.features for one in trees], 1),
        "tree_cuts": _floats(np.concatenate([one.cuts for one in trees], 1)),
        "tree_leaves": _floats(np.concatenate([one.leaves for one in trees])),
        "tree_bias": _floats([one.bias for one in trees]),
        "application_means": _floats(means),
        "application_rows": rows.astype("<i4"),
        "seen": np.unique(examples.keys).astype("<u4"),
    }
    return RouterModel(
        models=examples.models,
        features=NAMES,
        applications=names,
        arrays=arrays,
        trust=trust,
        costs=_means_by_model(examples, examples.costs),
        latencies_s=_means_by_model(examples, examples.latencies_s),
    )


def _floats(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, "<f4")


def _applications(examples: Examples) -> tuple[tuple[str, ...], Floats, NDArray[np.int64]]:
    names = tuple(sorted({name for name in examples.applications if name is not None}))
    means = np.zeros((len(names), len(examples.models)))
    rows = np.zeros((len(names), len(examples.models)), np.int64)
    labels = np.array(["" if name is None else f"={name}" for name in examples.applications])
    for position, name in enumerate(names):
        scores = examples.scores[labels == f"={name}"]
        rows[position] = (~np.isnan(scores)).sum(0)
        means[position] = np.nansum(scores, 0) / np.maximum(1, rows[position])
    return names, means, rows


def _means_by_model(examples: Examples, values: Floats) -> dict[str, float]:
    counts = (~np.isnan(values)).sum(0)
    totals = np.nansum(values, 0)
    return {
        name: float(total / count) for name, total, count in zip(examples.models, totals, counts, strict=True) if count
    }
