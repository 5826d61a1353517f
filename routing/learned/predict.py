"""Expected quality of every model on one request, by a trained router. numpy alone; pure.

A logistic on hashed words and boosted trees, which see the features and what the words say about every model, are
averaged, moved towards the statistics of the request's application, and mixed with what the untrained classifier would
say: the fewer graded rows, the more of that.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.classifier import classify
from routing.features import NAMES, Features
from routing.learned.hashing import BUCKETS, buckets
from routing.learned.model_file import ModelFileError, RouterModel

Floats = NDArray[np.float32]

_WORDS_SHARE = np.float32(1 / 3)
# Rows at which training and prior weigh the same.
PRIOR_ROWS = 300
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
        if missing := [name for name in model.features if name not in NAMES]:
            raise ModelFileError(f"it was trained with features this version does not have ({missing[0]}); train again")
        arrays = model.arrays
        self.models = model.models
        self._picked = _pick(model.features)
        self._means = arrays["means"].astype(np.float32)
        rows = arrays["rows"].astype(np.float32)
        self._learned_share = model.trust * rows / (PRIOR_ROWS + rows)
        self._slots = np.zeros(BUCKETS, np.int32)
        self._slots[arrays["word_rows"]] = np.arange(1, len(arrays["word_rows"]) + 1, dtype=np.int32)
        none = np.zeros((1, len(self.models)), np.float32)
        self._word_weights = np.concatenate((none, arrays["word_weights"].astype(np.float32)))
        self._word_bias = arrays["word_bias"]
        self._trees = _trees(model)
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
        return np.minimum(np.maximum(mixed, 0.0), 1.0, dtype=np.float32)

    def learned(self, values: Floats, words: list[str]) -> Floats:
        """The average of words and trees, without application and prior."""
        found = buckets(words)
        weights: Floats = self._word_weights[self._slots[found]].sum(0)
        logits: Floats = self._word_bias + weights * np.float32(1.0 / max(1, len(found)) ** 0.5)
        trees = self._trees(np.concatenate((values, logits)))
        return average(logits, trees)


def prior(means: Floats, score: float) -> Floats:
    """What to expect of models with these mean scores where only the untrained classifier's score is known.

    Everything gets worse as requests get harder, the weaker the model the more; so their order by what the best model
    gains is the classifier's own.
    """
    slopes: Floats = _PRIOR_SLOPE + _PRIOR_SPREAD * (means.max() - means)
    return means - slopes * np.float32(score - _PRIOR_CENTRE)


def average(logits: NDArray[Any], trees: NDArray[Any]) -> NDArray[Any]:
    """What words and trees say together, in the precision of what it is given."""
    result: NDArray[Any] = trees + _WORDS_SHARE * (_logistic(logits) - trees)
    return result


def quality(predictor: Predictor, features: Features, application: str | None = None) -> dict[str, float]:
    """Expected score by model name."""
    return dict(zip(predictor.models, predictor.predict(features, application).tolist(), strict=True))


def _pick(names: tuple[str, ...]) -> NDArray[np.int64] | None:
    """Where the features of the file are among ours; None where they are ours exactly."""
    return None if names == NAMES else np.array([NAMES.index(name) for name in names], np.int64)


def _logistic(value: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = 1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0)))
    return result


def _trees(model: RouterModel) -> Callable[[Floats], Floats]:
    """All trees at once: every node of every tree is compared, then three choices lead to a leaf."""
    arrays = model.arrays
    features = np.ascontiguousarray(arrays["tree_features"]).astype(np.intp)
    cuts = arrays["tree_cuts"].astype(np.float32)
    leaves = arrays["tree_leaves"].astype(np.float32).ravel()
    starts = np.arange(0, leaves.size, 8)
    shape = (len(model.models), -1)
    bias = arrays["tree_bias"].astype(np.float32)

    def evaluate(values: Floats) -> Floats:
        right = values[features] > cuts
        first = right[0]
        second = np.where(first, right[2], right[1])
        third = np.where(first, np.where(second, right[6], right[5]), np.where(second, right[4], right[3]))
        leaf = starts + (first * 4 + second * 2 + third)
        total: Floats = np.clip(bias + leaves[leaf].reshape(shape).sum(1), 0.0, 1.0)
        return total

    return evaluate


def _applications(model: RouterModel, means: Floats) -> Mapping[str, tuple[Floats, Floats]]:
    """By name: how much its statistics weigh per model, and the shrunken mean scores."""
    found = {}
    for name, mean, rows in zip(
        model.applications, model.arrays["application_means"], model.arrays["application_rows"], strict=True
    ):
        share = rows.astype(np.float32) / (rows + np.float32(_APPLICATION_ROWS))
        found[name] = (_APPLICATION_SHARE * share, means + share * (mean - means))
    return found
