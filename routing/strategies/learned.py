"""The cheapest candidate that is predicted to be good enough."""

from math import inf

from routing.choice import Choice
from routing.decision import Deployment, Estimate
from routing.learned.live import LiveRouter
from routing.strategies.registry import Spec

KIND = "learned"


class Learned:
    """Of the models predicted to reach a share of the best one's quality, the cheapest; behind it the rest by quality.

    Without a usable router file the untrained estimate stands in for the prediction.
    """

    is_fixed = False

    def __init__(self, goal: float, router: LiveRouter | None) -> None:
        self._goal = goal
        self.router = router

    def rank(self, choice: Choice) -> list[Deployment]:
        """Good enough ones by cost, then the others by quality."""
        estimates = choice.estimate(choice.quality(self.router))
        if not estimates:
            return []
        goal = self._goal ** choice.world.spending.pressure(choice.ask)  # a budget that runs out lowers the bar
        enough = goal * max(estimate.quality or 0.0 for estimate in estimates.values())
        for estimate in estimates.values():
            estimate.utility = -_cost(estimate) if (estimate.quality or 0.0) >= enough else -inf
        if self.router is not None and self.router.shadow is not None:
            costs = {model: one.cost_nusd for model, one in estimates.items() if one.cost_nusd is not None}
            choice.shadow = self.router.shadow_choice(choice.ask.features(), choice.ask.application(), goal, costs)
        return choice.in_order(sorted(choice.groups, key=lambda group: _key(estimates[group.model])))


def _key(estimate: Estimate) -> tuple[float, float]:
    return -(estimate.utility or 0.0) if estimate.utility is not None else inf, -(estimate.quality or 0.0)


def _cost(estimate: Estimate) -> float:
    return inf if estimate.cost_nusd is None else float(estimate.cost_nusd)


def build(spec: Spec) -> Learned:
    """By the route's goal and router file."""
    return Learned(spec.min_quality_vs_best, spec.router)
