"""The shares that an operator sets by weights, as an order to try deployments in."""

from collections.abc import Sequence
from math import log
from random import Random

from routing.decision import Deployment


def shuffle_by_weight(deployments: Sequence[Deployment], rng: Random) -> list[Deployment]:
    """A weighted permutation without replacement: the first with probability weight / sum, the rest likewise.

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
