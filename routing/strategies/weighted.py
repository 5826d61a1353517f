"""Candidates drawn by weight: the first one with probability weight / sum, the rest likewise from what is left."""

from routing.choice import Choice
from routing.decision import Deployment
from routing.shares import shuffle_by_weight
from routing.strategies.registry import Spec

KIND = "weighted"


class Weighted:
    """Every deployment of every model in one draw."""

    is_fixed = False

    def rank(self, choice: Choice) -> list[Deployment]:
        """By weight; a model in the pool twice stands once."""
        deployments = dict.fromkeys(deployment for group in choice.groups for deployment in group.deployments)
        return shuffle_by_weight(list(deployments), choice.world.rng)


def build(spec: Spec) -> Weighted:  # noqa: ARG001
    """It has no settings."""
    return Weighted()
