"""The sections that choose: routes and rules."""

from itertools import pairwise
from math import ceil, floor, inf
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from config.patterns import compile_pattern
from config.schema_base import FileName, Name, Names, Ratio, RetryOverrides, RouteTimeouts, Section, Strategy, Usd
from config.schema_experiments import CanaryConfig, ExperimentConfig, MirrorConfig
from config.schema_policies import StreamCut
from config.schema_semantic import RouteSemanticCacheConfig

Relaxable = Literal[
    "max_cost_usd", "max_ttft_s", "max_input_usd_per_mtok", "max_output_usd_per_mtok", "residency", "min_tier"
]
ResponseFormat = Literal["text", "json_object", "json_schema"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

# An empty keyword is in every text.
Keyword = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


def _check_pattern(pattern: str) -> str:
    compile_pattern(pattern)
    return pattern


# Their names say their order, so a file whose keys some program sorted means the same.
_WELL_KNOWN_TIERS = ("simple", "medium", "complex")


def _from_least_demanding(tiers: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    if not set(tiers) <= set(_WELL_KNOWN_TIERS):
        return tiers
    return {tier: tiers[tier] for tier in _WELL_KNOWN_TIERS if tier in tiers}


class WeightsConfig(Section):
    """What `balanced` trades against what; only the proportions count."""

    quality: Annotated[float, Field(ge=0)] = Field(default=0.5, description="How much the expected quality counts.")
    cost: Annotated[float, Field(ge=0)] = Field(default=0.4, description="How much the expected cost counts.")
    latency: Annotated[float, Field(ge=0)] = Field(default=0.1, description="How much the expected latency counts.")

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.quality + self.cost + self.latency == 0:
            raise ValueError("at least one weight must be above 0")
        return self


class ConstraintsConfig(Section):
    """What a candidate must meet; never traded against anything, and given up only as `relax` says."""

    max_cost_usd: Usd | None = Field(default=None, description="Most a request may be expected to cost, in US dollars.")
    max_ttft_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Longest expected time to first content, in seconds."
    )
    max_input_usd_per_mtok: Usd | None = Field(
        default=None, description="Highest price of a million input tokens, in US dollars."
    )
    max_output_usd_per_mtok: Usd | None = Field(
        default=None, description="Highest price of a million output tokens, in US dollars."
    )
    residency: Names | None = Field(
        default=None,
        description="Where data may be processed: every place in a candidate's `residency` must be one of these.",
    )
    min_tier: Name | None = Field(default=None, description="For `complexity`: the lowest tier that may answer.")
    relax: tuple[Relaxable, ...] = Field(
        default=(),
        description="Which of the above are given up, in this order, where no candidate meets them all.",
    )


class GoalConfig(Section):
    """What `learned` aims for."""

    min_quality_vs_best: Ratio = Field(
        default=0.98, description="Share of the best model's predicted quality that the chosen model must reach."
    )


class RouteConfig(Section):
    """A virtual model: its name can be asked for, and the gateway chooses the real one."""

    strategy: Strategy = Field(default="ordered", description="How candidates are ranked.")
    budget: Name | None = Field(default=None, description="The budget that pays for every request of this route.")
    limits: Name | None = Field(default=None, description="The rate limits that hold for this route.")
    tiers: Annotated[
        dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]], AfterValidator(_from_least_demanding)
    ] = Field(
        default_factory=dict,
        description="For `complexity`: models per tier, best first. Tiers stand from the least to the most demanding; "
        "`simple`, `medium` and `complex` may stand in any order.",
    )
    pool: tuple[Name, ...] = Field(default=(), description="The models to choose from; for `ordered`, in this order.")
    default_tier: Name | None = Field(default=None, description="The tier where the classifier is not confident.")
    cuts: tuple[Ratio, ...] | None = Field(
        default=None,
        description="For `complexity`: the scores between the tiers, one fewer than tiers, ascending. "
        "`signalbox calibrate` finds them; the usual ones where left out.",
    )
    min_confidence: Ratio | None = Field(
        default=None,
        description="For `complexity`: below this confidence the default tier is taken; 0.55 where left out.",
    )
    fallbacks: tuple[Name, ...] = Field(
        default=(), description="Models tried after every other candidate, in this order."
    )
    context_window_fallbacks: tuple[Name, ...] = Field(
        default=(), description="Models tried only where the request is too long for the candidate, in this order."
    )
    content_filter_fallbacks: tuple[Name, ...] = Field(
        default=(), description="Models tried only where a content filter refused the request, in this order."
    )
    preset: Literal["cheapest-acceptable", "balanced", "best"] | None = Field(
        default=None,
        description="For `balanced` and `learned`: weights and goal in a word; `weights` and `goal` go before it.",
    )
    weights: WeightsConfig | None = Field(default=None, description="For `balanced`: what counts how much.")
    constraints: ConstraintsConfig | None = Field(default=None, description="What every candidate must meet.")
    router_file: FileName | None = Field(
        default=None,
        description="For `learned`: the file made by `signalbox train`, relative to this file.",
    )
    shadow_router_file: FileName | None = Field(
        default=None,
        description="For `learned`: another router file, whose choices are counted and logged but not followed.",
    )
    goal: GoalConfig | None = Field(default=None, description="For `learned`: what the choice aims for.")
    timeouts: RouteTimeouts | None = Field(default=None, description="Time limits of this route where they differ.")
    retry: RetryOverrides | None = Field(default=None, description="Retry settings of this route where they differ.")
    on_stream_cut: StreamCut | None = Field(
        default=None, description="What happens to a broken stream of this route, instead of `policies.on_stream_cut`."
    )
    sticky: bool | None = Field(
        default=None,
        description="Whether a conversation keeps its model until a move pays. Where left out: with `complexity`, "
        "`balanced` and `learned`.",
    )
    canary: CanaryConfig | None = Field(default=None, description="A model that takes a share of the traffic.")
    experiment: ExperimentConfig | None = Field(default=None, description="An A/B test of this route.")
    mirror: MirrorConfig | None = Field(default=None, description="A model that gets copies of requests.")
    semantic_cache: RouteSemanticCacheConfig | None = Field(
        default=None,
        description="Answers by meaning for this route, where that differs from `policies.cache.semantic`.",
    )

    @model_validator(mode="after")
    def _check_cuts(self) -> Self:
        if self.cuts is None:
            return self
        if self.tiers and len(self.cuts) != len(self.tiers) - 1:
            raise ValueError(f"{len(self.tiers)} tiers need {len(self.tiers) - 1} cuts, not {len(self.cuts)}")
        if any(low >= high for low, high in pairwise(self.cuts)):
            raise ValueError("cuts ascend: each is above the one before")
        return self


class RangeConfig(Section):
    """Bounds of a number; all given ones must hold."""

    gt: float | None = Field(default=None, description="Greater than.")
    ge: float | None = Field(default=None, description="Greater than or equal to.")
    lt: float | None = Field(default=None, description="Less than.")
    le: float | None = Field(default=None, description="Less than or equal to.")

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a range needs one of gt, ge, lt, le")
        least, most = self.bounds()
        if least > most:
            raise ValueError("no whole number is in this range")
        return self

    def bounds(self) -> tuple[int, float]:
        """The least and the greatest whole number that is not negative and in the range; the latter may be inf."""
        least = max(
            0,
            floor(self.gt) + 1 if self.gt is not None else 0,
            ceil(self.ge) if self.ge is not None else 0,
        )
        most = min(
            ceil(self.lt) - 1 if self.lt is not None else inf,
            floor(self.le) if self.le is not None else inf,
        )
        return least, most


class TimeOfDayConfig(Section):
    """A time of day and of the week. A range over midnight is written with `after` later than `before`."""

    after: ClockTime | None = Field(default=None, description="From this time on, as `HH:MM`.")
    before: ClockTime | None = Field(default=None, description="Until this time, as `HH:MM`.")
    days: tuple[Weekday, ...] = Field(default=(), description="On these days only; every day where left out.")
    timezone: str = Field(default="UTC", description="The time zone of the above, as `Europe/Berlin`.")

    @model_validator(mode="after")
    def _check_time(self) -> Self:
        if self.after is not None and self.after == self.before:
            raise ValueError("'after' and 'before' are the same; leave both out for the whole day")
        return self


class WhenConfig(Section):
    """The conditions of a rule: all that are given must hold. `$NAME` is not replaced in keywords and patterns."""

    route: Names | None = Field(default=None, description="The route asked for is one of these.")
    model: Names | None = Field(default=None, description="The model asked for is one of these.")
    input_tokens: RangeConfig | None = Field(default=None, description="Estimated tokens of the whole input.")
    max_output_tokens: RangeConfig | None = Field(default=None, description="The output limit that the request sets.")
    has_tools: bool | None = Field(default=None, description="Whether the request offers tools.")
    has_images: bool | None = Field(default=None, description="Whether the request has images.")
    response_format: ResponseFormat | None = Field(
        default=None, description="The response format that the request asks for."
    )
    keywords_any: tuple[Keyword, ...] | None = Field(
        default=None,
        min_length=1,
        description="At least one of these is in the last user text, in any case of letters.",
    )
    keywords_all: tuple[Keyword, ...] | None = Field(
        default=None, min_length=1, description="All of these are in the last user text, in any case of letters."
    )
    regex: Annotated[str, Field(min_length=1), AfterValidator(_check_pattern)] | None = Field(
        default=None, description="A pattern (RE2 syntax) found in the last user text."
    )
    headers: dict[Name, str] | None = Field(
        default=None,
        min_length=1,
        description="Request headers and their values; `*` means that the header is there at all.",
    )
    tags: Names | None = Field(
        default=None, description="The request has at least one of these tags (`x-signalbox-tags`)."
    )
    key: Names | None = Field(default=None, description="The caller's virtual key is one of these.")
    time: TimeOfDayConfig | None = Field(default=None, description="The time at which the request arrives.")


class RuleConfig(Section):
    """The first rule whose conditions hold decides, before any strategy."""

    name: Name | None = Field(
        default=None, description="How the rule is called in explanations; its place, as `rules[0]`, where left out."
    )
    when: WhenConfig = Field(description="The conditions; all must hold.")
    use: Name | None = Field(default=None, description="The model or route to use.")
    tier: Name | None = Field(default=None, description="The tier of the route to use.")
    strategy: Strategy | None = Field(default=None, description="The strategy to use instead of the route's own.")

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        if self.use is None and self.tier is None and self.strategy is None:
            raise ValueError("a rule needs one of use, tier, strategy")
        if self.use is not None and (self.tier is not None or self.strategy is not None):
            raise ValueError("'use' names the model or route, so it cannot stand beside 'tier' or 'strategy'")
        return self
