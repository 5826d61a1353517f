"""From graded requests to a router. The only file that needs scikit-learn (extra `train`). Deterministic.

Per model a logistic on hashed words and word pairs, and on what `wording` counts of them. Then trees with random cuts
(extremely randomised trees: Geurts, Ernst, Wehenkel 2006) on the features and on what the logistics say about every
model, which places a request among tasks; all models share the trees. For growing them that comes from words of other
rows (inner cross validation), as it does at decision time. A score between 0 and 1 counts as that share of a success.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression

from routing.features import NAMES
from routing.learned import wording
from routing.learned.feedback import Examples
from routing.learned.hashing import BUCKETS, buckets
from routing.learned.model_file import DEPTH, LEAVES, NODES, RouterModel

TREES = 100
# Of the inputs, at each cut.
_INPUTS_SHARE = 0.7
# A leaf has at least this share of the rows, and at least so many.
_LEAF_SHARE = 0.005
_LEAF_ROWS = 8
# Inverse strength of the penalty on words.
_WORDS_C = 1.0
# What one standard deviation of a count weighs, where all words of a row have length 1; a count that hardly varies is
# taken to vary by so much.
_WORDING_WEIGHT = 0.1
_WORDING_LEAST = 0.3
_INNER_FOLDS = 5
_MEAN_ROWS = 4.0
_LEAF_MEAN_ROWS = 0.5
_SEED = 20_240_611

Floats = NDArray[np.float64]
Advance = Callable[[], None]


def fit(examples: Examples, advance: Advance = lambda: None) -> RouterModel:
    """Train on all rows; `advance` is called `steps` times. Raises ValueError where no row grades a model."""
    ungraded = np.isnan(examples.scores).all(0)
    if ungraded.any():
        raise ValueError(f"no row grades {examples.models[int(ungraded.argmax())]!r}")
    words = word_matrix(examples)
    used = np.unique(words.indices)
    counts, middle, scale = _counts(examples)
    words = hstack((words[:, used], csr_matrix((counts - middle) * scale)), "csr")
    weights, bias = _fit_words(words, examples.scores, advance)
    # Trees compare in single precision at decision time, so they are grown on what that gives.
    values = np.array([features.values for features in examples.features], np.float32)
    logits = _unseen_logits(words, examples, advance)
    inputs = np.hstack((values, logits), dtype=np.float32)
    trees = grow(inputs, examples.scores)
    advance()
    wording_weights = weights[len(used) :] * scale[:, None]
    words_arrays = {
        "word_rows": used.astype("<i4"),
        "word_weights": weights[: len(used)].astype("<f2"),
        "wording_weights": _floats(wording_weights),
        "word_bias": _floats(bias - middle @ wording_weights),
    }
    return _assemble(examples, words_arrays | trees)


def steps(models: int) -> int:
    """How often `fit` advances for that many models."""
    return models * (_INNER_FOLDS + 1) + 1


def _counts(examples: Examples) -> tuple[Floats, Floats, Floats]:
    """What `wording` counts, [N, K]; its middle and the scale that makes it as small as it should be, [K]."""
    counts = np.array([wording.measure(features.words) for features in examples.features], np.float64)
    return counts, counts.mean(0), _WORDING_WEIGHT / np.maximum(counts.std(0), _WORDING_LEAST)


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


def grow(inputs: NDArray[np.float32], scores: Floats) -> dict[str, NDArray[Any]]:
    """Trees on `inputs` [N, F] for `scores` [N, M], as `RouterModel` describes them."""
    rows, models = scores.shape
    graded = ~np.isnan(scores)
    means = np.array([_mean(column[~np.isnan(column)]) for column in scores.T])
    forest = ExtraTreesRegressor(
        n_estimators=TREES,
        max_depth=DEPTH,
        max_features=_INPUTS_SHARE,
        min_samples_leaf=max(_LEAF_ROWS, int(_LEAF_SHARE * rows)),
        random_state=_SEED,
    )
    forest.fit(inputs, _filled(scores, means))
    known = np.where(graded, scores - means, 0.0)
    features = np.zeros((NODES, TREES), "<u2")
    cuts = np.full((NODES, TREES), np.finfo(np.float32).max, "<f4")
    leaves = np.zeros((LEAVES, TREES, models), "<f4")
    ends = forest.apply(inputs)
    for number, one in enumerate(forest.estimators_):
        member = csr_matrix((np.ones(rows), (ends[:, number], np.arange(rows))), (one.tree_.node_count, rows))
        value = means + member @ known / (member @ graded.astype(np.float64) + _LEAF_MEAN_ROWS)
        _flatten(one.tree_, value, 0, 1, features[:, number], cuts[:, number], leaves[:, number])
    return {"tree_features": features, "tree_cuts": cuts, "tree_leaves": leaves}


def _filled(scores: Floats, means: Floats) -> Floats:
    """What was not graded is taken to be as far from its model's mean as the rest of the row."""
    distance = scores - means
    count = (~np.isnan(distance)).sum(1, keepdims=True)
    return np.where(np.isnan(distance), means + np.nansum(distance, 1, keepdims=True) / np.maximum(1, count), scores)


def _flatten(
    tree: Any,
    value: Floats,
    node: int,
    place: int,
    features: NDArray[np.uint16],
    cuts: NDArray[np.float32],
    leaves: NDArray[np.float32],
) -> None:
    """Write a node and what is below it to its place in a complete tree; a leaf higher up fills all places below.

    Places count from 1 at the root; below `place` are twice that and one more.
    """
    if place > NODES:
        leaves[place - LEAVES] = value[node]
        return
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left >= 0:
        features[place - 1], cuts[place - 1] = tree.feature[node], tree.threshold[node]
    _flatten(tree, value, left if left >= 0 else node, 2 * place, features, cuts, leaves)
    _flatten(tree, value, right if left >= 0 else node, 2 * place + 1, features, cuts, leaves)


def word_matrix(examples: Examples) -> csr_matrix:
    """Buckets of the words, [N, 2^18]; every row has length 1."""
    found = [buckets(features.words) for features in examples.features]
    ends = np.cumsum([0, *(len(places) for places, _ in found)])
    places = np.concatenate([places for places, _ in found])
    weights = np.concatenate([weights for _, weights in found], dtype=np.float64)
    return csr_matrix((weights, places, ends), shape=(len(found), BUCKETS))


def _assemble(examples: Examples, learned: Mapping[str, NDArray[Any]]) -> RouterModel:
    names, means, rows = _applications(examples)
    graded = ~np.isnan(examples.scores)
    arrays: dict[str, NDArray[Any]] = {
        **learned,
        "means": _floats([_mean(examples.scores[graded[:, m], m]) for m in range(len(examples.models))]),
        "rows": graded.sum(0).astype("<i4"),
        "application_means": _floats(means),
        "application_rows": rows.astype("<i4"),
        "seen": np.unique(examples.keys).astype("<u4"),
    }
    return RouterModel(
        models=examples.models,
        features=NAMES,
        wording=wording.NAMES,
        applications=names,
        arrays=arrays,
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
