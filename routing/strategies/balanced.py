"""The best trade between quality, cost and latency."""

from collections.abc import Mapping

from routing.choice import Choice
from routing.decision import Deployment
from routing.learned.live import LiveRouter
from routing.strategies.registry import Spec

KIND = "balanced"

# What leaving the model of a conversation costs, in units of quality, so that equal candidates do not alternate.
_SWITCH_PENALTY = 0.02


class Balanced:
    """argmax of quality - lambda * cost - mu * latency - switch penalty.

    Cost and latency are shares of the dearest and the slowest candidate of this request, so that the weights mean the
    same for long and for short requests. lambda rises as a budget runs ahead of its window.
    """

    is_fixed = False

    def __init__(self, weights: Mapping[str, float], router: LiveRouter | None) -> None:
        quality = max(weights.get("quality", 0.5), 1e-6)
        self._cost = weights.get("cost", 0.4) / quality
        self._latency = weights.get("latency", 0.1) / quality
        self.router = router

    def rank(self, choice: Choice) -> list[Deployment]:
        """Models by utility."""
        estimates = choice.estimate(choice.quality(self.router))
        highest_nusd = max((e.cost_nusd for e in estimates.values() if e.cost_nusd is not None), default=0) or 1
        highest_s = max((e.latency_s for e in estimates.values() if e.latency_s is not None), default=0.0) or 1.0
        cost_weight = self._cost * choice.world.spending.pressure(choice.ask)
        stay = choice.stay.model if choice.stay is not None else None
        for model, estimate in estimates.items():
            # Without a price a candidate counts as the dearest; a latency that nobody knows yet does not count.
            cost = 1.0 if estimate.cost_nusd is None else estimate.cost_nusd / highest_nusd
            latency = 0.0 if estimate.latency_s is None else estimate.latency_s / highest_s
            estimate.utility = (estimate.quality or 0.0) - cost_weight * cost - self._latency * latency
            if stay is not None and model != stay:
                estimate.utility -= _SWITCH_PENALTY
        return choice.in_order(sorted(choice.groups, key=lambda group: -(estimates[group.model].utility or 0.0)))


def build(spec: Spec) -> Balanced:
    """By the route's weights."""
    return Balanced(spec.weights, spec.router)
