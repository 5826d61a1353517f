"""What is known about a name when the configuration is loaded: its candidates, limits and strategy."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from routing.choice import Group
from routing.constraints import NO_LIMITS, Limits
from routing.decision import Deployment, Rejection, summarise
from routing.experiments import Experiments
from routing.strategies.registry import Strategy

# A share of the smallest context window: a body of fewer bytes, which has no more tokens, fits with room for images
# and for an answer of a quarter.
_SURE_SHARE = 0.5


@dataclass(slots=True, frozen=True)
class Plan:
    """A model or route. `groups` are its models in configured order, `fallbacks` come after every one of them.

    `tiers` are from the least to the most demanding. `others` are strategies that a rule may set instead of the
    route's own. `rejections` are what is off whatever the request.
    """

    name: str
    kind: str
    strategy: Strategy
    groups: tuple[Group, ...]
    fallbacks: tuple[Group, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    route: str | None = None
    tiers: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    others: Mapping[str, Strategy] = field(default_factory=dict)
    is_sticky: bool = False
    experiments: Experiments | None = None

    def deployments(self) -> Iterator[Deployment]:
        """All candidates; one that stands in several places comes several times."""
        for group in (*self.groups, *self.fallbacks):
            yield from group.deployments

    def sure_bytes(self) -> float:
        """Length of a body that fits every candidate without counting."""
        windows = [d.target.context_window for d in self.deployments() if d.target.context_window is not None]
        return min(windows) * _SURE_SHARE if windows else float("inf")

    def sure_output_tokens(self) -> float:
        """Output limit of a request that fits every candidate without counting."""
        limits = [d.target.max_output_tokens for d in self.deployments() if d.target.max_output_tokens is not None]
        windows = [d.target.context_window // 4 for d in self.deployments() if d.target.context_window is not None]
        return min([*limits, *windows], default=float("inf"))

    def summary(self) -> str:
        """What of the decision's summary does not depend on the request."""
        return summarise(self.kind, route=self.route)


def usable(groups: Iterable[Group], is_on: Mapping[str, object]) -> tuple[tuple[Group, ...], list[Deployment]]:
    """Groups without the deployments whose provider is not in `is_on`, and those deployments."""
    kept: list[Group] = []
    off: list[Deployment] = []
    for group in groups:
        on = tuple(d for d in group.deployments if d.provider in is_on)
        off += [d for d in group.deployments if d.provider not in is_on]
        if on:
            kept.append(group if len(on) == len(group.deployments) else Group(group.model, on, group.tier))
    return tuple(kept), off
