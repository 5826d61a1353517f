"""How good predictions are: the figures of routing papers and of the bill. Pure arithmetic on arrays.

Scores [N, M] may have NaN where a model was not graded; a figure uses the rows that have what it needs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_BINS = 10
# Prices of quality, from "only cost counts" to "only quality counts".
_SWEEP = 400
_LEAST_GAP = 0.05
# Rows that grade both models of a pair, from which on the others are left out.
_LEAST_BOTH = 20


@dataclass(slots=True, frozen=True)
class PairFigures:
    """Between a weaker and a stronger model. `apgr`: average share of the gap in quality that is closed, over all
    shares of calls to the stronger one; 0.5 is random. `cpt50`, `cpt80`: the share of calls that closes 50, 80 % of it.
    """

    apgr: float
    cpt50: float
    cpt80: float


def pairs(scores: Floats) -> list[tuple[int, int]]:
    """The best model against each that is at least 5 points weaker, or against the weakest where none is."""
    means = np.nanmean(scores, 0)
    best = int(means.argmax())
    weaker = [(best, column) for column in range(len(means)) if means[best] - means[column] >= _LEAST_GAP]
    return weaker or [(best, int(means.argmin()))] if len(means) > 1 and means.min() < means.max() else []


def has_gap(scores: Floats) -> bool:
    """Whether the best model is ahead of the weakest by more than two standard errors. Where it is not, a share of the
    gap is a share of noise.
    """
    means = np.nanmean(scores, 0)
    gain = _gains(scores[:, int(means.argmax())], scores[:, int(means.argmin())])
    gain = gain[~np.isnan(gain)]
    return len(gain) > 1 and float(gain.mean()) > 2.0 * float(gain.std(ddof=1)) / float(len(gain)) ** 0.5


def pair_figures(order: ArrayLike, strong: ArrayLike, weak: ArrayLike) -> PairFigures:
    """`order` [N] is high where the stronger model should answer. Equal values are taken in one go, in proportion.

    Rows that grade both models count where there are enough of them, else those that grade one: see `_gains`.
    """
    wanted = np.asarray(order, np.float64)
    gain = _gains(np.asarray(strong, np.float64), np.asarray(weak, np.float64))
    graded = ~np.isnan(gain)
    wanted, gain = wanted[graded], gain[graded]
    total = gain.sum()
    if not len(gain) or total <= 0.0:
        return PairFigures(np.nan, np.nan, np.nan)
    _, group = np.unique(-wanted, return_inverse=True)
    share = np.concatenate(([0.0], np.cumsum(np.bincount(group)) / len(gain)))
    closed = np.concatenate(([0.0], np.cumsum(np.bincount(group, gain)) / total))
    area = float(((closed[1:] + closed[:-1]) / 2 * np.diff(share)).sum())
    return PairFigures(area, _reaches(share, closed, 0.5), _reaches(share, closed, 0.8))


def _gains(strong: Floats, weak: Floats) -> Floats:
    """What the stronger model gains on each row, [N].

    Traffic has one answer to each request. Where which model answered did not depend on the request, as in a weighted
    route, a row stands for those that the other model got: its distance from its model's mean, over the share of rows
    that model has (the doubly robust estimate of Dudik, Langford and Li 2011 with constant models). Single rows are
    noise, their sums are not.
    """
    gain = strong - weak
    if (~np.isnan(gain)).sum() >= _LEAST_BOTH:
        return gain
    by_strong, by_weak = ~np.isnan(strong), ~np.isnan(weak)
    rows = int((by_strong | by_weak).sum())
    if not by_strong.any() or not by_weak.any():
        return gain
    means = strong[by_strong].mean(), weak[by_weak].mean()
    ahead = np.where(by_strong, (np.nan_to_num(strong) - means[0]) * (rows / by_strong.sum()), 0.0)
    behind = np.where(by_weak, (np.nan_to_num(weak) - means[1]) * (rows / by_weak.sum()), 0.0)
    found: Floats = np.where(by_strong | by_weak, means[0] - means[1] + ahead - behind, np.nan)
    return found


def mean_pair_figures(quality: Floats, scores: Floats) -> PairFigures:
    """Over all `pairs`, routing by the difference of predicted qualities."""
    found = [pair_figures(quality[:, s] - quality[:, w], scores[:, s], scores[:, w]) for s, w in pairs(scores)]
    return _mean(found)


def mean_order_figures(order: Floats, scores: Floats) -> PairFigures:
    """Over all `pairs`, routing by one number for all of them."""
    return _mean([pair_figures(order, scores[:, strong], scores[:, weak]) for strong, weak in pairs(scores)])


def cost_at(goal: float, quality: Floats, scores: Floats, costs: Floats) -> float:
    """Least cost, as a share of the best single model's, that reaches `goal` times its mean score; NaN if nothing does.

    Chooses argmax(quality - price * cost) for every price of a sweep.
    """
    graded = ~(np.isnan(scores) | np.isnan(costs)).any(1)
    quality, scores, costs = quality[graded], scores[graded], costs[graded]
    if not len(scores):
        return float("nan")
    best = int(scores.mean(0).argmax())
    unit = costs[:, best].mean()
    if unit <= 0.0:
        return float("nan")
    rows = np.arange(len(scores))
    wanted = goal * scores[:, best].mean()
    least = float("nan")
    for price in np.concatenate(([0.0], np.geomspace(1e-4, 30.0, _SWEEP))):
        chosen = (quality - price * costs / unit).argmax(1)
        if scores[rows, chosen].mean() >= wanted - 1e-12:
            least = float(np.fmin(least, costs[rows, chosen].mean() / unit))
    return least


def calibration_error(quality: Floats, scores: Floats) -> float:
    """Mean distance between what was predicted and what came, over ten bins of predicted quality and all models."""
    graded = ~np.isnan(scores)
    predicted, came = quality[graded], scores[graded]
    bins = np.minimum((predicted * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    distance = np.abs(np.bincount(bins, predicted, _BINS) - np.bincount(bins, came, _BINS))
    return float(distance.sum() / max(1, counts.sum()))


def _reaches(share: Floats, closed: Floats, target: float) -> float:
    """The least share of calls at which `target` of the gap is closed, between two points in proportion."""
    at = int(np.argmax(closed >= target - 1e-12))
    low, high = closed[at - 1], closed[at]
    return float(share[at - 1] + (share[at] - share[at - 1]) * (target - low) / (high - low))


def _mean(found: list[PairFigures]) -> PairFigures:
    if not found:
        return PairFigures(np.nan, np.nan, np.nan)
    values = np.array([(one.apgr, one.cpt50, one.cpt80) for one in found])
    known = ~np.isnan(values)
    means = np.where(known.any(0), np.nansum(values, 0) / np.maximum(1, known.sum(0)), np.nan)
    return PairFigures(*map(float, means))
