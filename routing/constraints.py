"""What a candidate must meet. Never traded against quality, cost or latency; given up only where the operator says so.

`screen` sorts deployments into candidates and rejections with a reason from a closed list.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from routing.decision import Deployment, Reason, Rejection
from routing.window import IMPOSSIBLE, SURE, Size

if TYPE_CHECKING:
    from config.schema_routes import ConstraintsConfig
    from providers.pricing import Price, Rates
    from routing.ask import Ask

_Number = TypeVar("_Number", int, float)
# Expected cost in nano-dollars and expected seconds to first content; None where nobody knows.
Expected = tuple[int | None, float | None]


class Constraint(StrEnum):
    """Constraints of a route that its operator may allow to be given up, by their names in the configuration."""

    MAX_COST_USD = "max_cost_usd"
    MAX_TTFT_S = "max_ttft_s"
    MAX_INPUT_USD_PER_MTOK = "max_input_usd_per_mtok"
    MAX_OUTPUT_USD_PER_MTOK = "max_output_usd_per_mtok"
    RESIDENCY = "residency"
    MIN_TIER = "min_tier"


@dataclass(slots=True, frozen=True)
class Limits:
    """Limits of a route, of a request, or of both; None: no limit. Money is nano-dollars.

    `residency`: every place a deployment may run at has to be among these. `below_tier` are the models that stand only
    in tiers below `min_tier`. `relax` says what is given up first where nothing else passes.
    """

    max_cost_nusd: int | None = None
    max_ttft_s: float | None = None
    max_input_nusd_per_mtok: int | None = None
    max_output_nusd_per_mtok: int | None = None
    max_request_nusd: int | None = None
    residency: frozenset[str] | None = None
    min_tier: str | None = None
    below_tier: frozenset[str] = frozenset()
    providers_only: frozenset[str] | None = None
    providers_ignore: frozenset[str] = frozenset()
    relax: tuple[Constraint, ...] = ()

    def merged(self, other: "Limits") -> "Limits":
        """Both at once. What one of them holds and does not list in its own `relax` is not given up."""
        if other is NO_LIMITS:
            return self
        if self is NO_LIMITS:
            return other
        tier = self if len(self.below_tier) >= len(other.below_tier) and self.min_tier is not None else other
        return Limits(
            max_cost_nusd=_lower(self.max_cost_nusd, other.max_cost_nusd),
            max_ttft_s=_lower(self.max_ttft_s, other.max_ttft_s),
            max_input_nusd_per_mtok=_lower(self.max_input_nusd_per_mtok, other.max_input_nusd_per_mtok),
            max_output_nusd_per_mtok=_lower(self.max_output_nusd_per_mtok, other.max_output_nusd_per_mtok),
            max_request_nusd=_lower(self.max_request_nusd, other.max_request_nusd),
            residency=_common(self.residency, other.residency),
            min_tier=tier.min_tier,
            below_tier=self.below_tier | other.below_tier,
            providers_only=_common(self.providers_only, other.providers_only),
            providers_ignore=self.providers_ignore | other.providers_ignore,
            relax=tuple(
                constraint
                for constraint in dict.fromkeys((*self.relax, *other.relax))
                if all(constraint in one.relax or not one.holds(constraint) for one in (self, other))
            ),
        )

    def holds(self, constraint: Constraint) -> bool:
        """Whether it limits anything in this respect."""
        return any(getattr(self, name) != getattr(NO_LIMITS, name) for name in _FIELDS[constraint])

    def without(self, constraint: Constraint) -> "Limits":
        """The same with one constraint given up."""
        changes: dict[str, object] = {name: getattr(NO_LIMITS, name) for name in _FIELDS[constraint]}
        changes["relax"] = tuple(other for other in self.relax if other is not constraint)
        return replace(self, **changes)  # type: ignore[arg-type]


NO_LIMITS = Limits()

_FIELDS: Mapping[Constraint, tuple[str, ...]] = {
    Constraint.MAX_COST_USD: ("max_cost_nusd",),
    Constraint.MAX_TTFT_S: ("max_ttft_s",),
    Constraint.MAX_INPUT_USD_PER_MTOK: ("max_input_nusd_per_mtok",),
    Constraint.MAX_OUTPUT_USD_PER_MTOK: ("max_output_nusd_per_mtok",),
    Constraint.RESIDENCY: ("residency",),
    Constraint.MIN_TIER: ("min_tier", "below_tier"),
}


def limits_of(config: "ConstraintsConfig | None", tiers: Mapping[str, Sequence[str]] | None = None) -> Limits:
    """The limits of a route. `tiers` are its models by tier, from the least to the most demanding."""
    if config is None:
        return NO_LIMITS
    limits = Limits(
        max_cost_nusd=_nusd(config.max_cost_usd),
        max_ttft_s=config.max_ttft_s,
        max_input_nusd_per_mtok=_nusd(config.max_input_usd_per_mtok),
        max_output_nusd_per_mtok=_nusd(config.max_output_usd_per_mtok),
        residency=frozenset(config.residency) if config.residency is not None else None,
        min_tier=config.min_tier,
        below_tier=_below(config.min_tier, tiers or {}),
        relax=tuple(Constraint(name) for name in config.relax),
    )
    return NO_LIMITS if limits == NO_LIMITS else limits


def relaxed(limits: Limits) -> Iterator[Limits]:
    """Ever looser limits: one more of `limits.relax` given up each time, in the operator's order."""
    for constraint in limits.relax:
        limits = limits.without(constraint)
        yield limits


def screen(
    deployments: Iterable[Deployment], ask: "Ask", limits: Limits, expected: Callable[[Deployment], Expected]
) -> tuple[list[Deployment], list[Rejection]]:
    """Candidates in the given order, and the others with the reason. `expected` is asked only where a limit needs it.

    A deployment that may be too small (by an estimate, or because its output limit is below the one asked for, which
    some dialects then lower) is a candidate only where none is surely large enough.
    """
    good: list[Deployment] = []
    doubtful: list[tuple[Deployment, Reason]] = []
    rejections: list[Rejection] = []
    size = Size(ask)
    is_free = limits is NO_LIMITS and ask.allowed is None
    is_expecting = limits.max_cost_nusd is not None or limits.max_ttft_s is not None
    for deployment in deployments:
        target = deployment.target
        if not is_free or target.capabilities is not None:
            cost_nusd, ttft_s = expected(deployment) if is_expecting else (None, None)
            reason = check(deployment, ask, limits, cost_nusd=cost_nusd, ttft_s=ttft_s)
            if reason is not None:
                rejections.append(Rejection(deployment, reason))
                continue
        share = size.filled(target)
        if share > IMPOSSIBLE:
            rejections.append(Rejection(deployment, Reason.CONTEXT_WINDOW))
        elif share > SURE:
            doubtful.append((deployment, Reason.CONTEXT_WINDOW))
        elif target.max_output_tokens is not None and (size.output_tokens or 0) > target.max_output_tokens:
            doubtful.append((deployment, Reason.OUTPUT_LIMIT))
        else:
            good.append(deployment)
    if doubtful and not good:
        return [deployment for deployment, _ in doubtful], rejections
    rejections += [Rejection(deployment, reason) for deployment, reason in doubtful]
    return good, rejections


def check(
    deployment: Deployment, ask: "Ask", limits: Limits, *, cost_nusd: int | None = None, ttft_s: float | None = None
) -> Reason | None:
    """Why a deployment is no candidate whatever the size of the request; None where it is one. The cheapest questions
    come first.

    Unknown capabilities and latencies rule nothing out; an unknown price does where a limit is about money.
    """
    if ask.allowed is not None and deployment.model not in ask.allowed:
        return Reason.NOT_ALLOWED
    reason = _against_place(deployment, limits) if limits is not NO_LIMITS else None
    if reason is not None:
        return reason
    able = deployment.target.capabilities
    if able is not None:
        lacking = ask.needs().capabilities - able
        if lacking:
            return next(reason for name, reason in _LACKING.items() if name in lacking)
    if limits is NO_LIMITS:
        return None
    if ttft_s is not None and limits.max_ttft_s is not None and ttft_s > limits.max_ttft_s:
        return Reason.MAX_TTFT
    return _against_price(deployment, ask, limits, cost_nusd)


# What capabilities lack, the most telling first: who sends an image is told of the image, not of streaming.
_LACKING: Mapping[str, Reason] = {
    "embeddings": Reason.NO_EMBEDDINGS,
    "vision": Reason.NO_VISION,
    "audio": Reason.NO_AUDIO,
    "pdf": Reason.NO_PDF,
    "tools": Reason.NO_TOOLS,
    "json_schema": Reason.NO_JSON_SCHEMA,
    "reasoning": Reason.NO_REASONING,
    "text": Reason.NO_TEXT,
    "streaming": Reason.NO_STREAMING,
}


def _against_place(deployment: Deployment, limits: Limits) -> Reason | None:
    """Where and by whom it runs."""
    provider = deployment.provider
    only = limits.providers_only
    if provider in limits.providers_ignore or (only is not None and provider not in only):
        return Reason.EXCLUDED
    allowed = limits.residency
    if allowed is not None and not (deployment.residency and deployment.residency <= allowed):
        return Reason.RESIDENCY
    return Reason.TIER_FLOOR if deployment.model in limits.below_tier else None


def _against_price(deployment: Deployment, ask: "Ask", limits: Limits, cost_nusd: int | None) -> Reason | None:
    ceilings = limits.max_input_nusd_per_mtok, limits.max_output_nusd_per_mtok, limits.max_request_nusd
    most = limits.max_cost_nusd
    has_ceiling = ceilings != _NO_CEILINGS
    price = deployment.price
    if price is None:
        return Reason.UNPRICED if has_ceiling or most is not None else None
    if has_ceiling:
        rates = _rates(price, ask)
        charged = rates.input, rates.output, price.request_nusd
        if any(ceiling is not None and rate > ceiling for rate, ceiling in zip(charged, ceilings, strict=True)):
            return Reason.MAX_PRICE
    return Reason.MAX_COST if most is not None and cost_nusd is not None and cost_nusd > most else None


_NO_CEILINGS = (None, None, None)


def _rates(price: "Price", ask: "Ask") -> "Rates":
    """The rates that hold for a prompt of this length."""
    rates = price.rates
    if price.tiers:
        tokens = ask.input_tokens()
        for above_tokens, tier in price.tiers:
            if tokens > above_tokens:
                rates = tier
    return rates


def _below(min_tier: str | None, tiers: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Models that stand in lower tiers only."""
    if min_tier is None or min_tier not in tiers:
        return frozenset()
    names = list(tiers)
    at = names.index(min_tier)
    high = {model for name in names[at:] for model in tiers[name]}
    return frozenset(model for name in names[:at] for model in tiers[name]) - high


def _nusd(usd: float | None) -> int | None:
    """US dollars as written; `str` first, so that 0.1 is not its binary neighbour."""
    return None if usd is None else int(Decimal(str(usd)) * 1_000_000_000)


def _lower(one: _Number | None, other: _Number | None) -> _Number | None:
    return other if one is None else one if other is None else min(one, other)


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return other if one is None else one if other is None else one & other


class NoCandidateError(Exception):
    """Nothing passed. `rejections` has every deployment with its reason, `reasons` counts them, `main` is the one to
    name to the caller. `rule` is the name of the rule that matched.
    """

    def __init__(self, rejections: Sequence[Rejection], rule: str | None = None) -> None:
        self.rejections = tuple(rejections)
        self.rule = rule
        self.reasons = Counter(rejection.reason for rejection in rejections)
        self.main = _main(self.reasons)
        super().__init__(self.main.value)


# What passes by itself goes first: whoever waits can be served. What says nothing of the request goes last.
_PASSING = (Reason.BREAKER_OPEN, Reason.THROTTLED)
_LAST = (Reason.NOT_ALLOWED, Reason.DISABLED)


def _main(reasons: Counter[Reason]) -> Reason:
    passing = [reason for reason in _PASSING if reasons[reason]]
    if passing:
        return max(passing, key=reasons.__getitem__)
    telling = [reason for reason in Reason if reasons[reason] and reason not in _LAST]
    if telling:
        # The most frequent; of equals the one that is found out last, because that one was nearest to an answer.
        return max(telling, key=lambda reason: (reasons[reason], telling.index(reason)))
    return next((reason for reason in _LAST if reasons[reason]), Reason.DISABLED)
