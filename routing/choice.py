"""What a strategy chooses from, and what it may ask about each candidate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log10
from random import Random
from typing import Protocol

from providers.base import Usage
from routing.affinity import AffinityBook, Stay
from routing.ask import Ask
from routing.classifier import Classification
from routing.decision import Deployment, Estimate, Reason
from routing.expectations import OutputBook
from routing.latency import LatencyBook
from routing.learned.live import LiveRouter

# Quality to expect of a model whose operator gave none: it grows with the price of its output, roughly as public
# rankings do. One US dollar per million tokens is in the middle.
_QUALITY_AT_1_USD = 0.6
_QUALITY_PER_TENFOLD = 0.12
_UNKNOWN_QUALITY = 0.5
_NUSD_PER_USD = 1_000_000_000
# How quality falls with the classifier's score: see routing.learned.predict, which does the same with what it learned.
_SLOPE = 0.2
_SPREAD = 1.0
_CENTRE = 0.45


class Availability(Protocol):
    """What is known of a deployment beyond its configuration: breakers, pauses that providers asked for, budgets."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing stands against any deployment, so that there is no need to ask for each."""
        ...

    def reason_against(self, deployment: Deployment, ask: Ask) -> Reason | None:
        """Why it cannot be called now; None where it can."""
        ...


class AlwaysAvailable:
    """Nothing stands against any deployment."""

    is_calm = True

    def reason_against(self, deployment: Deployment, ask: Ask) -> Reason | None:  # noqa: ARG002
        """None."""
        return None


class Spending(Protocol):
    """How the money of a caller's budget is holding out."""

    def pressure(self, ask: Ask) -> float:
        """By what factor cost counts more than usual; 1 while spending is on schedule."""
        ...

    def note(self, key: str, cost_nusd: int, now_s: float) -> None:
        """A request of the caller `key` cost this much at `now_s` (Unix seconds)."""
        ...


class Unhurried:
    """No budget is running out."""

    def pressure(self, ask: Ask) -> float:  # noqa: ARG002
        """1."""
        return 1.0

    def note(self, key: str, cost_nusd: int, now_s: float) -> None:
        """Nothing is followed."""


@dataclass(slots=True)
class World:
    """What routing knows of the present. It outlives a reload: experience is kept by stable ids."""

    rng: Random
    latency: LatencyBook
    affinity: AffinityBook
    outputs: OutputBook = field(default_factory=OutputBook)
    availability: Availability = field(default_factory=AlwaysAvailable)
    spending: Spending = field(default_factory=Unhurried)


@dataclass(slots=True, frozen=True)
class Group:
    """A model with the deployments of it that may be called, and the tier it stands in."""

    model: str
    deployments: tuple[Deployment, ...]
    tier: str | None = None


@dataclass(slots=True)
class Choice:
    """One decision in the making. `groups` are the candidates that passed every constraint, in configured order.

    A strategy may leave what it found in `tier`, `classification`, `estimates`, `router_version` and `shadow`. `tier`
    is given where a rule set it, `min_tier` where the route has a floor; `stay` is where this conversation has been.
    """

    ask: Ask
    groups: Sequence[Group]
    world: World
    tier: str | None = None
    min_tier: str | None = None
    stay: Stay | None = None
    classification: Classification | None = None
    estimates: dict[str, Estimate] = field(default_factory=dict)
    router_version: str | None = None
    shadow: str | None = None

    def spread(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        """The deployments of one model, the one to try first in front."""
        if len(deployments) == 1:
            return deployments
        return self.world.latency.order(deployments, self.world.rng)

    def in_order(self, groups: Iterable[Group]) -> list[Deployment]:
        """Every deployment of these models, model by model, none twice."""
        ranked: list[Deployment] = []
        for group in groups:
            for deployment in self.spread(group.deployments):
                if deployment not in ranked:
                    ranked.append(deployment)
        return ranked

    def output_tokens(self, model: str) -> float:
        """Output tokens to reckon with."""
        ask = self.ask
        return self.world.outputs.expected(ask.application(), model, ask.max_output_tokens())

    def cost_nusd(self, deployment: Deployment) -> int | None:
        """What the request is expected to cost there, in nano-dollars; None without a price.

        What the provider has of this conversation in its prompt cache is reckoned at the price for that.
        """
        price = deployment.price
        if price is None:
            return None
        tokens = self.ask.input_tokens()
        stay = self.stay
        cached = 0
        if stay is not None and stay.deployment_id == deployment.id:
            cached = min(stay.prefix_tokens, tokens)
        output = round(self.output_tokens(deployment.model))
        return price.cost_nusd(Usage(input=tokens - cached, cache_read=cached, output=output))

    def expected(self, deployment: Deployment) -> tuple[int | None, float | None]:
        """What constraints ask for: expected cost in nano-dollars and seconds to the first content."""
        return self.cost_nusd(deployment), self.world.latency.ttft_s(deployment.id)

    def latency_s(self, deployment: Deployment) -> float | None:
        """Seconds to the end of the answer as far as experience tells; None where there is none."""
        return self.world.latency.expected_s(deployment.id, self.output_tokens(deployment.model))

    def estimate(self, quality: Mapping[str, float]) -> dict[str, Estimate]:
        """What is expected of the first deployment of every model, given its quality; kept for the explanation."""
        for group in self.groups:
            if group.model not in self.estimates:
                first = self.spread(group.deployments)[0]
                self.estimates[group.model] = Estimate(
                    quality=quality.get(group.model), cost_nusd=self.cost_nusd(first), latency_s=self.latency_s(first)
                )
        return self.estimates

    def quality(self, router: LiveRouter | None) -> dict[str, float]:
        """Expected quality 0..1 by model: what the router predicts, else what is usual."""
        if router is None or not router.is_ready:
            return self.usual_quality()
        self.router_version = router.version
        predicted = router.quality(self.ask.features(), self.ask.application())
        if all(group.model in predicted for group in self.groups):
            return predicted
        return self.usual_quality() | predicted

    def usual_quality(self) -> dict[str, float]:
        """Quality per model where nothing was learned: the operator's figure, less as the request is harder."""
        if self.classification is None:
            self.classification = self.ask.classify()
        score = self.classification.score
        means = {group.model: usual_quality(group.deployments[0]) for group in self.groups}
        best = max(means.values(), default=0.0)
        return {
            model: min(1.0, max(0.0, mean - (_SLOPE + _SPREAD * (best - mean)) * (score - _CENTRE)))
            for model, mean in means.items()
        }


def usual_quality(deployment: Deployment) -> float:
    """The operator's figure, else a guess by price."""
    if deployment.quality is not None:
        return deployment.quality
    price = deployment.price
    if price is None:
        return _UNKNOWN_QUALITY
    usd_per_mtok = price.rates.output / _NUSD_PER_USD
    if usd_per_mtok <= 0:
        return _UNKNOWN_QUALITY - _QUALITY_PER_TENFOLD
    return min(0.95, max(0.2, _QUALITY_AT_1_USD + _QUALITY_PER_TENFOLD * log10(usd_per_mtok)))
