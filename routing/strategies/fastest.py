"""The candidate that is expected to answer first."""

from routing.choice import Choice
from routing.decision import Deployment
from routing.strategies.registry import Spec

KIND = "fastest"


class Fastest:
    """By time to first content, time per token, load and errors of late; see `LatencyBook`."""

    is_fixed = False

    def rank(self, choice: Choice) -> list[Deployment]:
        """All deployments of all models in one comparison."""
        choice.estimate({})
        deployments = dict.fromkeys(deployment for group in choice.groups for deployment in group.deployments)
        return list(choice.world.latency.order(list(deployments), choice.world.rng, by_weight=False))


def build(spec: Spec) -> Fastest:  # noqa: ARG001
    """It has no settings."""
    return Fastest()
