"""Prices from the genai-prices data that is installed, flattened once per deployment at load.

Nothing here ever downloads: the package's updater is not started, so prices are as old as the installed package.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from providers.catalog import vendors
from providers.prices import Price, Tariff, Tiers, complete, nano

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as PriceList

    from providers.prices import Rates

# Kinds whose genai-prices list has another name and cannot be told from their address.
_PRICE_LISTS: Mapping[str, str] = {
    "bedrock": "aws",
    "gemini": "google",
    "huggingface": "",  # its router sells for many; the models' names alone do not say who
    "vertex": "google",
    "xai": "x-ai",
}
# Kinds that are only a dialect: whoever is behind them, the model's name decides.
_ANYBODY = frozenset({"openai_compatible", "mock"})
_LOCAL_HOSTS = ("localhost", "127.", "[::1]", "host.docker.internal")

# USD per thousand searches where a list has no price for a model's. OpenAI: 10, for the preview tool of models that do
# not reason 25 (https://developers.openai.com/api/docs/pricing). Anthropic: 10
# (https://platform.claude.com/docs/en/about-claude/pricing). Gemini: 14 for each query, before Gemini 3 it was 35 for
# each prompt that was grounded (https://ai.google.dev/gemini-api/docs/pricing). xAI: 5 for each use of a tool of its
# own (https://docs.x.ai/developers/pricing). OpenRouter: 10 is what it charges in recorded answers.
_SEARCHES: Mapping[str, Decimal] = {
    "anthropic": Decimal(10),
    "azure": Decimal(25),
    "google": Decimal(14),
    "openai": Decimal(25),
    "openrouter": Decimal(10),
    "x-ai": Decimal(5),
}
_GROUNDED_PROMPT = Decimal(35)
_PER_PROMPT = ("gemini-1", "gemini-2")
# Models that search once in every call and say nothing of it in their usage.
_ALWAYS_SEARCH: Mapping[str, Decimal] = {"-search-preview": Decimal(25), "-search-api": Decimal(10)}

# https://platform.claude.com/docs/en/about-claude/pricing: inference in the United States only costs 1.1 times as much.
_ANTHROPIC_US = (11, 10)
# Gemini's tiers where the list has none for a model: flex is half, cached tokens stay as they are, priority 1.8 times
# (https://ai.google.dev/gemini-api/docs/pricing).
_GEMINI_FLEX, _GEMINI_PRIORITY = (1, 2), (9, 5)


@dataclass(slots=True, frozen=True)
class ModelFacts:
    """What the price data knows about a model besides its price."""

    price_list: str
    model: str
    context_window: int | None


def load() -> None:
    """Read the lists, 40 ms and 7 MB: for a process whose forks will all need them."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - `check` does not need it

    get_snapshot()


def model_facts(kind: str, model: str, *, prices: str | None = None, base_url: str | None = None) -> ModelFacts | None:
    """What the price data knows about a model; None if it does not know it."""
    found = _find(kind, model, prices, base_url)
    if found is None:
        return None
    price_list, info = found
    return ModelFacts(price_list.id, info.id, info.context_window)


def listed_price(kind: str, model: str, prices: str | None, base_url: str | None, now: datetime) -> Price | None:
    """The list's price of one deployment, None where no list knows it or none of its prices is one of tokens."""
    found = _find(kind, model, prices, base_url)
    return _from_list(found[0].id, found[1], now) if found is not None else None


def list_name(kind: str) -> str:
    """What genai-prices calls the seller that a kind stands for."""
    return _PRICE_LISTS.get(kind, kind)


def is_anybody(kind: str, base_url: str | None) -> bool:
    """Whether a model's name alone says what it costs: a mere dialect, and not on this machine.

    What runs here is rarely sold at the price of the company that trained it.
    """
    return kind in _ANYBODY and not (base_url and urlsplit(base_url).netloc.rpartition("@")[2].startswith(_LOCAL_HOSTS))


_LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "output": ("output_mtok",),
    "cache_read": ("cache_read_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok"),
    "audio_input": ("input_audio_mtok",),
    "image_input": ("input_image_mtok",),
    "reasoning": ("output_reasoning_mtok",),
    "audio_output": ("output_audio_mtok",),
    "image_output": ("output_image_mtok",),
}


def _find(kind: str, model: str, prices: str | None, base_url: str | None) -> "tuple[PriceList, ModelInfo] | None":
    """The list's entry for a model: in the named list, or that of the address, or for some kinds by the model's name.

    The prefix of names like `openai/gpt-4o` is left out if the whole name is not known.
    """
    wanted = list_name(kind) if prices is None else prices
    if not wanted:
        return None
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - 40 ms and 7 MB that `check` does not need

    snapshot = get_snapshot()
    names = [model, model.rsplit("/", 1)[1]] if "/" in model else [model]
    is_listed = prices is not None or any(price_list.id == wanted for price_list in snapshot.providers)
    sellers = [(wanted, None)] if is_listed else _sellers(kind, base_url)
    for seller, url in sellers:
        for name in names:
            try:
                return snapshot.find_provider_model(name, None, seller, url)
            except LookupError:
                continue
    return None


def _sellers(kind: str, base_url: str | None) -> list[tuple[str | None, str | None]]:
    """Where to look, as genai-prices' (list, address) pairs; neither of them means by the model's name."""
    vendor = vendors().get(kind)
    url = base_url or (vendor.base_url if vendor is not None else None)
    found: list[tuple[str | None, str | None]] = [(None, url)] if url else []
    if is_anybody(kind, url):
        found.append((None, None))
    return found


def _from_list(price_list: str, info: "ModelInfo", now: datetime) -> Price | None:
    listed = info.get_prices(now)
    values = {key: value for key, value in vars(listed).items() if value is not None}
    if not values:
        # An empty entry is free where the seller says so in the name; elsewhere nobody knows its price.
        return Price(complete({"input": 0, "output": 0})) if info.id.endswith(":free") else None
    if "input_mtok" not in values:
        return None  # sold by the hour, page or character: tokens cannot price it
    per_thousand = values.get("requests_kcount")
    always = Decimal(0)
    if price_list in ("openai", "azure"):
        always = next((fee for ending, fee in _ALWAYS_SEARCH.items() if ending in info.id), always)
    own = _tariff(listed)
    return Price(
        rates=own.rates,
        tiers=own.tiers,
        request_nusd=nano((_at(per_thousand, 0) if per_thousand is not None else Decimal(0)) / 1000 + always / 1000),
        expires_at_s=_next_change_s(info, now),
        search_nusd=nano(_per_thousand_searches(price_list, info.id, values.get("web_searches_kcount")) / 1000),
        searches_max=1 if price_list == "google" and info.id.startswith(_PER_PROMPT) else None,
        service_tiers=tuple(_service_tiers(price_list, info, now, own)),
    )


def usual_search_nusd(price_list: str, model: str) -> int:
    """What a search costs at a seller where nothing is said about the model's; 0 where that is not known either."""
    return nano(_per_thousand_searches(price_list, model, None) / 1000)


def _per_thousand_searches(price_list: str, model: str, listed: object) -> Decimal:
    if listed is not None:
        return _at(listed, 0)
    if price_list == "google" and model.startswith(_PER_PROMPT):
        return _GROUNDED_PROMPT
    return _SEARCHES.get(price_list, Decimal(0))


def _service_tiers(price_list: str, info: "ModelInfo", now: datetime, own: Tariff) -> Iterator[tuple[str, Tariff]]:
    """The tariffs besides the standard one, by the name that `Usage.service_tier` has for them."""
    found = {"": own}
    for variant in info.price_variants or ():
        if len(variant.when) != 1 or (variant.constraint is not None and not variant.constraint.active(now)):
            continue
        ((key, name),) = variant.when.items()
        if key in ("service_tier", "processing", "speed") and any(vars(variant.prices).values()):
            found[name] = _tariff(info.get_prices(now, variant.when))
    if price_list == "google" and info.id.startswith("gemini-"):
        found = {"flex": _times(own, *_GEMINI_FLEX, is_cache=False), "priority": _times(own, *_GEMINI_PRIORITY)} | found
    for name, tariff in found.items():
        if name and tariff != own:
            yield name, tariff
        if price_list == "anthropic":
            yield f"{name}+us" if name else "us", _times(tariff, *_ANTHROPIC_US)


def _times(tariff: Tariff, numerator: int, denominator: int, *, is_cache: bool = True) -> Tariff:
    def times(rates: "Rates") -> "Rates":
        found = rates.times(numerator, denominator)
        return found if is_cache else replace(found, cache_read=rates.cache_read)

    return Tariff(times(tariff.rates), tuple((above, times(tier)) for above, tier in tariff.tiers))


def _tariff(listed: "ModelPrice") -> Tariff:
    values = [value for value in vars(listed).values() if value is not None]
    starts = sorted({tier.start for value in values for tier in getattr(value, "tiers", ())})
    tiers: Tiers = tuple((start, _list_rates(listed, start + 1)) for start in starts)
    return Tariff(_list_rates(listed, 0), tiers)


def _list_rates(listed: "ModelPrice", prompt_tokens: int) -> "Rates":
    known = {"output": 0}
    for name, keys in _LIST_KEYS.items():
        for key in keys:
            value = getattr(listed, key)
            if value is not None:
                known[name] = nano(_at(value, prompt_tokens))
                break
    return complete(known)


def _at(value: object, prompt_tokens: int) -> Decimal:
    """A plain or tiered list price at one prompt length."""
    if isinstance(value, Decimal):
        return value
    price = value.base  # type: ignore[attr-defined]  # TieredPrices; naming the class would import the package
    for tier in value.tiers:  # type: ignore[attr-defined]
        if prompt_tokens > tier.start:
            price = tier.price
    assert isinstance(price, Decimal)
    return price


def _next_change_s(info: "ModelInfo", now: datetime) -> float | None:
    """The next moment at which a dated or time-of-day entry of the list begins or ends."""
    entries = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    moments: list[datetime] = []
    for entry in entries:
        constraint = entry.constraint
        start_date = getattr(constraint, "start_date", None)
        if start_date is not None:
            moments.append(datetime.combine(start_date, time(), UTC))
        for edge in (getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)):
            if edge is not None:
                moment = datetime.combine(now.astimezone(UTC).date(), edge if edge.tzinfo else edge.replace(tzinfo=UTC))
                moments.extend((moment, moment + timedelta(days=1)))
    return min((moment.timestamp() for moment in moments if moment > now), default=None)
