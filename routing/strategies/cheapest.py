"""The candidate that is expected to cost least."""

from math import inf

from routing.choice import Choice
from routing.decision import Deployment
from routing.strategies.registry import Spec

KIND = "cheapest"


class Cheapest:
    """By counted input, expected output and what the provider has in its prompt cache; without a price: last."""

    is_fixed = False

    def rank(self, choice: Choice) -> list[Deployment]:
        """By expected cost; equal ones stay in the configured order."""
        choice.estimate({})
        costs = {}
        for deployment in choice.in_order(choice.groups):
            cost_nusd = choice.cost_nusd(deployment)
            costs[deployment] = inf if cost_nusd is None else cost_nusd
        return sorted(costs, key=costs.__getitem__)


def build(spec: Spec) -> Cheapest:  # noqa: ARG001
    """It has no settings."""
    return Cheapest()
