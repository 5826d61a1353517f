"""Candidates in the configured order; between the deployments of one model, by weight."""

from collections.abc import Sequence
from random import Random

from routing.decision import Deployment
from routing.strategies.weighted import shuffle_by_weight

KIND = "ordered"


def rank(models: Sequence[Sequence[Deployment]], rng: Random) -> tuple[Deployment, ...]:
    """All deployments of the first model, then all of the second, and so on."""
    ranked: list[Deployment] = []
    for deployments in models:
        ranked.extend(deployments if len(deployments) == 1 else shuffle_by_weight(deployments, rng))
    return tuple(ranked)
