"""Expected quality of every model on one request, by a trained router. numpy alone; pure.

A logistic on hashed words and on counts of the wording, and random trees, which see the features and what the logistic
says about every model, are averaged, moved towards the statistics of the request's application, and mixed with what the
untrained classifier would say: the fewer graded rows, the more of that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.classifier import classify
from routing.features import NAMES, Features
from routing.learned import wording
from routing.learned.hashing import BUCKETS, buckets
from routing.learned.model_file import DEPTH, LEAVES, ModelFileError, RouterModel

Floats = NDArray[np.float32]

# How much the logistic counts beside the trees, by rows: trees on many rows have taken in what the words say.
_WORDS_SHARE = 0.15
_WORDS_SHARE_MORE = 0.65
_WORDS_ROWS = 1_000
# Rows at which training and prior weigh the same; and so few rows that half of what they seem to say is chance.
PRIOR_ROWS = 300
_DOUBT_ROWS = 70
# Statistics of an application weigh up to a quarter, half of that at this many rows.
_APPLICATION_SHARE = 0.25
_APPLICATION_ROWS = 50
# How much better than its mean a model is expected to be on the easiest request, and by how much more that is for every
# point that its mean is below the best one's.
_PRIOR_SLOPE = 0.2
_PRIOR_SPREAD = 1.0
# The middle of the scores of the untrained classifier.
_PRIOR_CENTRE = 0.45


class Predictor:
    """A loaded router. `models` are in the order of what `predict` gives."""

    def __init__(self, model: RouterModel) -> None:
        arrays = model.arrays
        self.models = model.models
        self._picked = _pick(model.features, NAMES)
        self._picked_wording = _pick(model.wording, wording.NAMES)
        self._means = arrays["means"].astype(np.float32)
        rows = arrays["rows"].astype(np.float32)
        self._learned_share: Floats = rows / (PRIOR_ROWS + rows) * (rows**2 / (_DOUBT_ROWS**2 + rows**2))
        self._slots = np.zeros(BUCKETS, np.int32)
        self._slots[arrays["word_rows"]] = np.arange(1, len(arrays["word_rows"]) + 1, dtype=np.int32)
        none = np.zeros((1, len(self.models)), np.float32)
        self._word_weights = np.concatenate((none, arrays["word_weights"].astype(np.float32)))
        self._wording_weights = arrays["wording_weights"]
        self._word_bias = arrays["word_bias"]
        self._words_share = np.float32(_WORDS_SHARE) + _WORDS_SHARE_MORE * _WORDS_ROWS / (_WORDS_ROWS + rows)
        self._trees = Trees(arrays)
        self._applications = _applications(model, self._means)

    def predict(self, features: Features, application: str | None = None) -> Floats:
        """Expected score 0..1 per model. `application` as in the training rows; an unknown one changes nothing."""
        values = np.array(features.values, np.float32)
        if self._picked is not None:
            values = values[self._picked]
        learned = self.learned(values, features.words)
        known = self._applications.get(application) if application is not None else None
        if known is not None:
            share, mean = known
            learned = learned + share * (mean - learned)
        expected = prior(self._means, classify(features).score)
        mixed = expected + self._learned_share * (learned - expected)
        result: Floats = np.minimum(np.maximum(mixed, 0.0), 1.0, dtype=np.float32)
        return result

    def learned(self, values: Floats, words: list[str]) -> Floats:
        """The average of words and trees, without application and prior."""
        found, counted = buckets(words)
        counts = wording.measure(words)
        if self._picked_wording is not None:
            counts = counts[self._picked_wording]
        logits = self._word_bias + counts @ self._wording_weights + counted @ self._word_weights[self._slots[found]]
        trees = self._trees(np.concatenate((values, logits)))
        result: Floats = trees + self._words_share * (_logistic(logits) - trees)
        return result


def prior(means: Floats, score: float) -> Floats:
    """What to expect of models with these mean scores where only the untrained classifier's score is known.

    Everything gets worse as requests get harder, the weaker the model the more; so their order by what the best model
    gains is the classifier's own.
    """
    slopes: Floats = _PRIOR_SLOPE + _PRIOR_SPREAD * (means.max() - means)
    return means - slopes * np.float32(score - _PRIOR_CENTRE)


def quality(predictor: Predictor, features: Features, application: str | None = None) -> dict[str, float]:
    """Expected score by model name."""
    return dict(zip(predictor.models, predictor.predict(features, application).tolist(), strict=True))


def _pick(names: tuple[str, ...], ours: tuple[str, ...]) -> NDArray[np.int64] | None:
    """Where the numbers that the file asks for are among ours; None where they are ours exactly."""
    if missing := [name for name in names if name not in ours]:
        raise ModelFileError(f"it was trained with features this version does not have ({missing[0]}); train again")
    return None if names == ours else np.array([ours.index(name) for name in names], np.int64)


def _logistic(value: Floats) -> Floats:
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-np.clip(value, -30.0, 30.0)))


class Trees:
    """Complete trees as `RouterModel` describes them. Calling it with the inputs of a row gives a score per model."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        features = arrays["tree_features"]
        self._count = features.shape[1]
        # Nodes are numbered from 1 at the root; at [node, tree] flat, the left one below is at twice that minus tree.
        self._features = np.concatenate((features[:1], features)).astype(np.intp).ravel()
        self._cuts = np.concatenate((arrays["tree_cuts"][:1], arrays["tree_cuts"])).astype(np.float32).ravel()
        tree = np.arange(self._count)
        self._roots = self._count + tree
        self._left = (2 * np.arange(self._features.size).reshape(-1, self._count) - tree).ravel()
        leaves = arrays["tree_leaves"].astype(np.float32)
        self._leaves = leaves.reshape(-1, leaves.shape[2])
        self._share = np.ones(self._count, np.float32) / np.float32(self._count)

    def __call__(self, inputs: Floats) -> Floats:
        """Six choices lead to a leaf, in all trees at once."""
        at = self._roots
        for _ in range(DEPTH):
            is_right = inputs[self._features[at]] > self._cuts[at]
            at = self._left[at] + self._count * is_right
        total: Floats = self._share @ self._leaves[at - LEAVES * self._count]
        return total


def _applications(model: RouterModel, means: Floats) -> Mapping[str, tuple[Floats, Floats]]:
    """By name: how much its statistics weigh per model, and the shrunken mean scores."""
    found = {}
    for name, mean, rows in zip(
        model.applications, model.arrays["application_means"], model.arrays["application_rows"], strict=True
    ):
        share = rows.astype(np.float32) / (rows + np.float32(_APPLICATION_ROWS))
        found[name] = (_APPLICATION_SHARE * share, means + share * (mean - means))
    return found
