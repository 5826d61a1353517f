"""What a price is, in integer nano-dollars: the cost of a call that is over, and the most that one to come can cost.

Everything is prepared when a `Price` is made, so that the request path only multiplies whole numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_UP, Decimal

from providers.base import Usage

_MTOK = 1_000_000
# Tariffs that only a caller's own parameter asks for; `fast` and `priority` are two names of one thing at OpenAI:
# https://developers.openai.com/api/docs/guides/priority-processing
_ON_REQUEST = ("priority", "fast", "ultrafast")
_SYNONYMS: Mapping[str, tuple[str, ...]] = {"priority": ("priority", "fast"), "fast": ("priority", "fast")}
# What may be asked for without paying more than the standard price. Anything else that is asked for and not known
# here may turn out to be the dearest tariff there is.
_PLAIN = ("auto", "default", "standard", "standard_only", "on_demand", "performance", "scale", "flex", "batch")


@dataclass(slots=True, frozen=True)
class Rates:
    """Nano-dollars per million tokens for each class of `Usage`."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    reasoning: int
    audio_output: int
    image_output: int

    @property
    def most_input(self) -> int:
        """The dearest that a token of the prompt can be."""
        return max(
            self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.audio_input, self.image_input
        )

    @property
    def most_output(self) -> int:
        """The dearest that a token of the answer can be."""
        return max(self.output, self.reasoning, self.audio_output, self.image_output)

    def times(self, numerator: int, denominator: int) -> "Rates":
        """All rates times a fraction, rounded up."""
        return Rates(*(-(-getattr(self, rate.name) * numerator // denominator) for rate in fields(self)))


# (prompt tokens above which they hold, rates), ascending.
Tiers = tuple[tuple[int, Rates], ...]
# (prompt tokens above which they hold, dearest rate of input, dearest rate of output), ascending, from -1.
_Steps = tuple[tuple[int, int, int], ...]


@dataclass(slots=True, frozen=True)
class Tariff:
    """What one service tier costs: the rates, and those of longer prompts."""

    rates: Rates
    tiers: Tiers = ()


@dataclass(slots=True, frozen=True)
class Price:
    """Everything needed to price one deployment's calls.

    `tiers` are (prompt tokens above which it holds, rates) in ascending order: the whole call is charged at the tier of
    its prompt length, as providers do. `request_nusd` is added per call, `search_nusd` per search of `Usage.searches`,
    of which no more than `searches_max` are charged. `service_tiers` are the tariffs that differ from the standard one,
    by the name that a provider reports them under; a tier without one costs what the standard does. `expires_at_s`
    (seconds since the epoch) is when the list changes by date or time of day; resolve again then.

    No price is None instead of a Price. A Price of zeros is one that was declared or listed as free.
    """

    rates: Rates
    tiers: Tiers = ()
    request_nusd: int = 0
    expires_at_s: float | None = None
    search_nusd: int = 0
    searches_max: int | None = None
    service_tiers: tuple[tuple[str, Tariff], ...] = ()
    _worst: _Steps = field(init=False, repr=False, compare=False)
    _worst_by_tier: Mapping[str, _Steps] = field(init=False, repr=False, compare=False)
    _worst_of_all: _Steps = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        def steps(*asked: str) -> _Steps:
            unasked = {name for name in _ON_REQUEST if name not in asked}
            return _steps(own, *(t for name, t in self.service_tiers if name.partition("+")[0] not in unasked))

        own = Tariff(self.rates, self.tiers)
        worst = steps()
        by_tier = dict.fromkeys(_PLAIN, worst)
        by_tier |= {name: steps(*_SYNONYMS.get(name, (name,))) for name in _ON_REQUEST}
        object.__setattr__(self, "_worst", worst)
        object.__setattr__(self, "_worst_by_tier", by_tier)
        object.__setattr__(self, "_worst_of_all", steps(*_ON_REQUEST))

    def cost_nusd(self, usage: Usage, asked_tier: str | None = None) -> int:
        """Nano-dollars for one call, rounded up once at the end. Exact for any number of tokens.

        The service tier that the provider reported decides; `asked_tier`, what the request asked for, where it
        reported none.
        """
        service_tier = usage.service_tier or asked_tier
        rates = self.rates
        if self.tiers or (self.service_tiers and service_tier is not None and service_tier != "default"):
            rates = self._rates(usage.prompt_tokens, service_tier)
        total = usage.input * rates.input + usage.output * rates.output
        if usage.cache_read:
            total += usage.cache_read * rates.cache_read
        if usage.cache_write_5m:
            total += usage.cache_write_5m * rates.cache_write_5m
        if usage.cache_write_1h:
            total += usage.cache_write_1h * rates.cache_write_1h
        if usage.reasoning:
            total += usage.reasoning * rates.reasoning
        if usage.audio_input or usage.image_input or usage.audio_output or usage.image_output:
            total += usage.audio_input * rates.audio_input + usage.image_input * rates.image_input
            total += usage.audio_output * rates.audio_output + usage.image_output * rates.image_output
        cost = -(-total // _MTOK) + self.request_nusd
        return cost + self._searched(usage.searches) if usage.searches else cost

    def worst_nusd(
        self, input_tokens: int, output_tokens: int, *, asked_tier: str | None = None, searches: int = 0
    ) -> int:
        """The most that a call with at most so many tokens and searches can cost, whatever classes they fall into.

        `cost_nusd` of any such usage is not above it, as long as the provider applies the service tier that was asked
        for (`asked_tier`) or a cheaper one. Two multiplications: what is dearest was found when the price was made.
        """
        steps = self._worst if asked_tier is None else self._worst_by_tier.get(asked_tier, self._worst_of_all)
        input_rate = output_rate = 0
        for above_tokens, of_input, of_output in steps:
            if input_tokens <= above_tokens:
                break
            input_rate, output_rate = of_input, of_output
        cost = -(-(input_tokens * input_rate + output_tokens * output_rate) // _MTOK) + self.request_nusd
        return cost + self._searched(searches) if searches else cost

    def _rates(self, prompt_tokens: int, service_tier: str | None) -> Rates:
        rates, tiers = self.rates, self.tiers
        for name, tariff in self.service_tiers:
            if name == service_tier:
                rates, tiers = tariff.rates, tariff.tiers
        for above_tokens, tier in tiers:
            if prompt_tokens > above_tokens:
                rates = tier
        return rates

    def _searched(self, searches: int) -> int:
        return self.search_nusd * (searches if self.searches_max is None else min(searches, self.searches_max))


def _steps(*tariffs: Tariff) -> _Steps:
    """The dearest rates of several tariffs by prompt length; they never fall with the length."""
    starts = sorted({-1, *(above for tariff in tariffs for above, _ in tariff.tiers)})
    found: list[tuple[int, int, int]] = []
    of_input = of_output = 0
    for start in starts:
        for tariff in tariffs:
            rates = [tariff.rates] if start < 0 else [tier for above, tier in tariff.tiers if above == start]
            of_input = max(of_input, *(rate.most_input for rate in rates), 0)
            of_output = max(of_output, *(rate.most_output for rate in rates), 0)
        found.append((start, of_input, of_output))
    return tuple(found)


# A class without a rate of its own follows the one it is a kind of, as in genai-prices.
FOLLOWS: Mapping[str, str] = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "audio_input": "input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
}


def complete(known: Mapping[str, int]) -> Rates:
    """Rates from those that are known, which are at least `input` and `output`."""
    values = dict(known)
    for name, parent in FOLLOWS.items():
        values.setdefault(name, values[parent])
    return Rates(**values)


def nano(usd: Decimal) -> int:
    """USD -> nano-USD: exact up to nine decimals; beyond them (lists carry 0.0833333333333333) to the nearest."""
    return int(usd.scaleb(9).to_integral_value(ROUND_HALF_UP))
