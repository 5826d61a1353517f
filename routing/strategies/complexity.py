"""The tier that the request's difficulty asks for."""

from collections.abc import Iterable

from routing.choice import Choice, Group
from routing.classifier import DEFAULT_BOUNDARIES, Boundaries
from routing.decision import Deployment
from routing.strategies.registry import Spec

KIND = "complexity"


class Complexity:
    """The models of the classified tier in order; then those of the more demanding tiers, then the rest."""

    is_fixed = False

    def __init__(self, boundaries: Boundaries) -> None:
        self.boundaries = boundaries
        at = self._at = {tier: position for position, tier in enumerate(boundaries.tiers)}
        # For each tier: all tiers in the order in which they are tried.
        self._orders = {
            tier: sorted(at, key=lambda other, own=own: (at[other] < own, abs(at[other] - own)))  # type: ignore[misc]
            for tier, own in at.items()
        }

    def rank(self, choice: Choice) -> list[Deployment]:
        """A tier that a rule or a stay has set is kept."""
        if choice.tier is None:
            choice.classification = choice.ask.classify(self.boundaries)
            choice.tier = choice.classification.tier
        if choice.min_tier is not None and self._at[choice.tier] < self._at[choice.min_tier]:
            choice.tier = choice.min_tier
        return choice.in_order(self.in_order(choice.groups, choice.tier))

    def in_order(self, groups: Iterable[Group], tier: str) -> list[Group]:
        """The groups of this tier, then those of the others."""
        by_tier: dict[str | None, list[Group]] = {}
        for group in groups:
            by_tier.setdefault(group.tier, []).append(group)
        ranked: list[Group] = []
        for one in self._orders[tier]:
            ranked += by_tier.pop(one, ())
        return ranked + [group for rest in by_tier.values() for group in rest]


def build(spec: Spec) -> Complexity:
    """By the route's tiers."""
    return Complexity(spec.boundaries or DEFAULT_BOUNDARIES)
