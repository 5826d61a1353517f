"""From the name a caller asked for to a Decision. Pure: no I/O, randomness injected.

Everything that can be worked out when the configuration is loaded is in a `Plan`; a plan whose order never varies holds
its finished Decision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random

from routing.decision import Decision, Deployment, Rejection
from routing.strategies.registry import Rank

# A caller can invent direct names for ever; what is remembered of them is bounded.
_DIRECT_NAMES_KEPT = 512
_NEAR_NAMES_SHOWN = 3


class UnknownModelError(Exception):
    """No model, route or provider of that name; `near` has configured names that look like it."""

    def __init__(self, name: str, near: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.near = tuple(near)


@dataclass(slots=True, frozen=True)
class Plan:
    """What is known about a name at load time. `models` are the candidates' deployments, grouped by model, in order.

    `fallbacks` come after every candidate whatever the strategy says.
    """

    name: str
    strategy: str
    rank: Rank
    models: tuple[tuple[Deployment, ...], ...]
    fallbacks: tuple[Deployment, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    route: str | None = None
    tier: str | None = None
    summary: str = ""

    def decide(self, rng: Random) -> Decision:
        ranked = self.rank(self.models, rng)
        rest = tuple(d for d in self.fallbacks if d not in ranked)
        return Decision(self.name, self.strategy, ranked + rest, self.rejections, self.route, self.tier, self.summary)

    @property
    def is_fixed(self) -> bool:
        """True when every draw gives the same order."""
        count = sum(len(model) for model in self.models)
        return count <= 1 or (self.strategy == "ordered" and all(len(model) == 1 for model in self.models))


class Router:
    """Plans by name, plus direct `provider/model` names for everything a configured provider serves.

    `direct` maps a provider's name (or its kind, where one provider has it) to a function that makes a deployment for a
    model name at it.
    """

    def __init__(
        self, plans: Mapping[str, Plan], direct: Mapping[str, Callable[[str], Deployment]], rng: Random
    ) -> None:
        self.plans = plans
        self._direct = direct
        self._rng = rng
        self._fixed: dict[str, Decision] = {name: plan.decide(rng) for name, plan in plans.items() if plan.is_fixed}
        self._direct_fixed: dict[str, Decision] = {}

    def decide(self, name: str) -> Decision:
        """The candidates for `name`. Raises UnknownModelError."""
        fixed = self._fixed.get(name)
        if fixed is not None:
            return fixed
        plan = self.plans.get(name)
        if plan is not None:
            return plan.decide(self._rng)
        return self._decide_direct(name)

    def _decide_direct(self, name: str) -> Decision:
        known = self._direct_fixed.get(name)
        if known is not None:
            return known
        provider, slash, model = name.partition("/")
        make = self._direct.get(provider)
        if make is None or not slash or not model:
            raise UnknownModelError(name, get_close_matches(name[:128], self.plans, n=_NEAR_NAMES_SHOWN, cutoff=0.5))
        deployment = make(model)
        decision = Decision(deployment.label, "direct", (deployment,), summary="direct")
        if len(self._direct_fixed) >= _DIRECT_NAMES_KEPT:
            self._direct_fixed.clear()
        self._direct_fixed[name] = decision
        return decision
