"""The last word on a candidate: a logistic regression that every namespace learns for itself, from a common start.

Where to start is a normal distribution around packaged weights, worth 60 observations, so that it takes some hundred
labels to go elsewhere. Fitted by Newton's method.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp

_PRIOR_WORTH = 60.0
_STEPS = 4
_MOST_LOGIT = 30.0


@dataclass(slots=True, frozen=True)
class Labelled:
    """One look-up of which is known whether the best candidate's answer was right."""

    row: tuple[float, ...]
    is_right: bool
    weight: float


@dataclass(slots=True, frozen=True)
class Prior:
    """`weights` to start from, and the curvature of the log likelihood of one average observation."""

    weights: tuple[float, ...]
    curvature: tuple[tuple[float, ...], ...]


def logit_of(weights: Sequence[float], row: Sequence[float]) -> float:
    """Log odds of being right."""
    return sum(weight * value for weight, value in zip(weights, row, strict=True))


def fit(prior: Prior, labelled: Iterable[Labelled], start: Sequence[float] | None = None) -> list[float]:
    """The most likely weights after some labels. `start`: of an earlier fit, which saves steps."""
    observed = list(labelled)
    weights = list(start or prior.weights)
    for _ in range(_STEPS):
        gradient, curvature = _prior_terms(prior, weights)
        for one in observed:
            _observe(one, weights, gradient, curvature)
        step = _solve(curvature, gradient)
        weights = [weight + change for weight, change in zip(weights, step, strict=True)]
    return weights


def _prior_terms(prior: Prior, weights: Sequence[float]) -> tuple[list[float], list[list[float]]]:
    away = [centre - weight for centre, weight in zip(prior.weights, weights, strict=True)]
    curvature = [[_PRIOR_WORTH * value for value in line] for line in prior.curvature]
    gradient = [sum(value * gone for value, gone in zip(line, away, strict=True)) for line in curvature]
    return gradient, curvature


def _observe(one: Labelled, weights: Sequence[float], gradient: list[float], curvature: list[list[float]]) -> None:
    logit = max(-_MOST_LOGIT, min(_MOST_LOGIT, logit_of(weights, one.row)))
    share = 1.0 / (1.0 + exp(-logit))
    pull = one.weight * ((1.0 if one.is_right else 0.0) - share)
    bend = one.weight * share * (1.0 - share)
    for place, value in enumerate(one.row):
        gradient[place] += pull * value
        scaled = bend * value
        line = curvature[place]
        for other in range(place + 1):
            line[other] += scaled * one.row[other]


def _solve(lower: list[list[float]], right: list[float]) -> list[float]:
    """Cholesky's method; of the symmetric matrix only the lower half is read."""
    size = len(right)
    root = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = lower[i][j] - sum(root[i][k] * root[j][k] for k in range(j))
            root[i][j] = max(rest, 1e-9) ** 0.5 if i == j else rest / root[j][j]
    found = [0.0] * size
    for i in range(size):
        found[i] = (right[i] - sum(root[i][k] * found[k] for k in range(i))) / root[i][i]
    for i in reversed(range(size)):
        found[i] = (found[i] - sum(root[k][i] * found[k] for k in range(i + 1, size))) / root[i][i]
    return found
