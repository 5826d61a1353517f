"""Candidates in the configured order."""

from routing.choice import Choice
from routing.decision import Deployment
from routing.strategies.registry import Spec

KIND = "ordered"


class Ordered:
    """All deployments of the first model, then all of the second, and so on."""

    is_fixed = True

    def rank(self, choice: Choice) -> list[Deployment]:
        """In order; between the deployments of one model, by how they are doing."""
        return choice.in_order(choice.groups)


def build(spec: Spec) -> Ordered:  # noqa: ARG001
    """It has no settings."""
    return Ordered()
