"""The tier that the request's difficulty asks for."""

from routing.choice import Choice, Group
from routing.classifier import DEFAULT_BOUNDARIES, Boundaries
from routing.decision import Deployment
from routing.strategies.registry import Spec

KIND = "complexity"


class Complexity:
    """The models of the classified tier in order; then those of the more demanding tiers, then the rest."""

    is_fixed = False

    def __init__(self, boundaries: Boundaries) -> None:
        self._boundaries = boundaries
        at = self._at = {tier: position for position, tier in enumerate(boundaries.tiers)}
        # For each tier: all tiers in the order in which they are tried.
        self._orders = {
            tier: sorted(at, key=lambda other, own=own: (at[other] < own, abs(at[other] - own)))  # type: ignore[misc]
            for tier, own in at.items()
        }

    def rank(self, choice: Choice) -> list[Deployment]:
        """A tier that a rule or a stay has set is kept."""
        if choice.tier is None:
            choice.classification = choice.ask.classify(self._boundaries)
            choice.tier = choice.classification.tier
        if choice.min_tier is not None and self._at[choice.tier] < self._at[choice.min_tier]:
            choice.tier = choice.min_tier
        by_tier: dict[str | None, list[Group]] = {}
        for group in choice.groups:
            by_tier.setdefault(group.tier, []).append(group)
        own = by_tier.get(choice.tier)
        if own is not None and len(by_tier) == 1:
            return choice.in_order(own)
        return choice.in_order(group for tier in self._orders[choice.tier] for group in by_tier.get(tier, ()))


def build(spec: Spec) -> Complexity:
    """By the route's tiers."""
    return Complexity(spec.boundaries or DEFAULT_BOUNDARIES)
