"""Candidates drawn by weight: the first one with probability weight / sum, the rest likewise from what is left."""

from collections.abc import Sequence
from math import log
from random import Random

from routing.decision import Deployment

KIND = "weighted"


def rank(models: Sequence[Sequence[Deployment]], rng: Random) -> tuple[Deployment, ...]:
    """Every deployment of every model in one draw."""
    return tuple(shuffle_by_weight([deployment for model in models for deployment in model], rng))


def shuffle_by_weight(deployments: Sequence[Deployment], rng: Random) -> list[Deployment]:
    """A weighted permutation without replacement.

    Sorting by u^(1/w) with u uniform gives exactly the successive draws (Efraimidis and Spirakis 2006); its logarithm
    is taken, because small weights would make it 0 for all. A weight of 0 stands behind all others: such a deployment
    is a fallback only.
    """
    keyed = [
        (d.weight <= 0, -log(1.0 - rng.random()) / d.weight if d.weight > 0 else rng.random(), index, d)
        for index, d in enumerate(deployments)
    ]
    keyed.sort()
    return [deployment for _, _, _, deployment in keyed]
