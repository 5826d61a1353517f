"""What a call costs, in integer nano-dollars.

A `Price` is flat numbers, resolved once per deployment at load from the genai-prices data that is installed and from
what the operator wrote; `cost_nusd` is all that runs on the request path. Nothing here ever downloads: the package's
updater is not started, so prices are as old as the installed package. A model without a price is `None`, never free.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from providers.base import Usage
from providers.catalog import vendors

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as PriceList

_MTOK = 1_000_000

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


@dataclass(slots=True, frozen=True)
class Price:
    """Everything needed to price one deployment's calls.

    `tiers` are (prompt tokens above which it holds, rates) in ascending order: the whole call is charged at the tier of
    its prompt length, as providers do. `request_nusd` is added per call. `expires_at_s` (seconds since the epoch) is
    when the list changes by date or time of day; resolve again then.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    request_nusd: int = 0
    expires_at_s: float | None = None

    def cost_nusd(self, usage: Usage) -> int:
        """Nano-dollars for one call, rounded up once at the end. Exact for any number of tokens."""
        rates = self.rates
        if self.tiers:
            prompt_tokens = usage.prompt_tokens
            for above_tokens, tier in self.tiers:
                if prompt_tokens <= above_tokens:
                    break
                rates = tier
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
        return -(-total // _MTOK) + self.request_nusd


@dataclass(slots=True, frozen=True)
class ModelFacts:
    """What the price data knows about a model besides its price."""

    price_list: str
    model: str
    context_window: int | None


class PriceError(ValueError):
    """A declared price that cannot be used; the message says which key and why. `key` names it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


# Keys of a `price:` section. A class that is not declared follows the one it is a kind of, as in genai-prices.
OVERRIDE_KEYS: Mapping[str, str] = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cache_read_usd_per_mtok": "cache_read",
    "cache_write_usd_per_mtok": "cache_write_5m",
    "cache_write_1h_usd_per_mtok": "cache_write_1h",
    "audio_input_usd_per_mtok": "audio_input",
    "image_input_usd_per_mtok": "image_input",
    "reasoning_usd_per_mtok": "reasoning",
    "audio_output_usd_per_mtok": "audio_output",
    "image_output_usd_per_mtok": "image_output",
}
REQUEST_KEY = "request_usd"

_FOLLOWS: Mapping[str, str] = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "audio_input": "input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
}


def resolve(
    kind: str,
    model: str,
    *,
    now: datetime,
    override: Mapping[str, float | int | str | Decimal] | None = None,
    prices: str | None = None,
    base_url: str | None = None,
) -> Price | None:
    """The price of one deployment, or None when neither the operator nor the data knows one.

    `kind` is the provider's kind; `prices` names genai-prices' list where a catalog row knows better, "" says that no
    list applies. `override` has the keys of `OVERRIDE_KEYS` and `REQUEST_KEY` in USD; each given one wins over the list
    at every prompt length. `now` must carry a time zone. Load time only: about 0.1 ms per call, 40 ms and 7 MB for the
    first. Raises PriceError for an override that cannot be used.
    """
    declared = {key: _declared_nusd(key, value) for key, value in (override or {}).items()}
    listed: Price | None = None
    if not _is_complete(declared):
        found = _find(kind, model, prices, base_url)
        listed = _from_list(found[1], now) if found is not None else None
    return _merge(listed, declared)


def model_facts(kind: str, model: str, *, prices: str | None = None, base_url: str | None = None) -> ModelFacts | None:
    """What the price data knows about a model; None if it does not know it."""
    found = _find(kind, model, prices, base_url)
    if found is None:
        return None
    price_list, info = found
    return ModelFacts(price_list.id, info.id, info.context_window)


def _declared_nusd(key: str, value: float | int | str | Decimal) -> int:
    """USD as written -> nano-USD. `str` first: 0.1 is meant as 0.1, not as its binary neighbour."""
    if key != REQUEST_KEY and key not in OVERRIDE_KEYS:
        known = ", ".join([*OVERRIDE_KEYS, REQUEST_KEY])
        raise PriceError(key, f"Unknown price key {key!r}. Known keys: {known}.")
    try:
        usd = Decimal(str(value))
    except ArithmeticError:
        raise PriceError(key, f"{key} must be an amount in USD, not {value!r}.") from None
    if not usd.is_finite() or usd < 0:
        raise PriceError(key, f"{key} must be zero or a positive amount in USD, not {value!r}.")
    return _nano(usd)


def _nano(usd: Decimal) -> int:
    """USD -> nano-USD: exact up to nine decimals; beyond them (lists carry 0.0833333333333333) to the nearest."""
    return int(usd.scaleb(9).to_integral_value(ROUND_HALF_UP))


def _is_complete(declared: Mapping[str, int]) -> bool:
    """Whether a list could add nothing: then a private model's name is not even looked up."""
    return all(key in declared for key in OVERRIDE_KEYS)


def _merge(listed: Price | None, declared: Mapping[str, int]) -> Price | None:
    if not declared:
        return listed
    given = {OVERRIDE_KEYS[key]: nusd for key, nusd in declared.items() if key != REQUEST_KEY}
    request_nusd = declared.get(REQUEST_KEY)
    if listed is None:
        missing = [name for name in ("input", "output") if name not in given]
        if given and missing:
            key = f"{missing[0]}_usd_per_mtok"
            raise PriceError(key, f"No list knows this model, so its price needs {key} too (0 if it costs nothing).")
        return Price(_complete({"input": 0, "output": 0, **given}), request_nusd=request_nusd or 0)
    return replace(
        listed,
        rates=_overridden(listed.rates, given),
        tiers=tuple((above, _overridden(tier, given)) for above, tier in listed.tiers),
        request_nusd=listed.request_nusd if request_nusd is None else request_nusd,
    )


def _overridden(rates: Rates, given: Mapping[str, int]) -> Rates:
    """Declared rates over listed ones. A class whose listed rate merely follows a declared one follows it still."""
    values = {field.name: getattr(rates, field.name) for field in fields(Rates)}
    changed = set(given)
    for name, parent in _FOLLOWS.items():
        if name not in given and parent in changed and values[name] == values[parent]:
            changed.add(name)
    return _complete(
        {name: given.get(name, value) for name, value in values.items() if name in given or name not in changed}
    )


def _complete(known: Mapping[str, int]) -> Rates:
    values = dict(known)
    for name, parent in _FOLLOWS.items():
        values.setdefault(name, values[parent])
    return Rates(**values)


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
    wanted = _PRICE_LISTS.get(kind, kind) if prices is None else prices
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
    # What runs on this machine is rarely sold at the price of the company that trained it.
    if kind in _ANYBODY and not (url and urlsplit(url).netloc.rpartition("@")[2].startswith(_LOCAL_HOSTS)):
        found.append((None, None))
    return found


def _from_list(info: "ModelInfo", now: datetime) -> Price | None:
    listed = info.get_prices(now)
    values = {key: value for key, value in vars(listed).items() if value is not None}
    if not values:
        # An empty entry is free where the seller says so in the name; elsewhere nobody knows its price.
        return Price(_complete({"input": 0, "output": 0})) if info.id.endswith(":free") else None
    if "input_mtok" not in values:
        return None  # sold by the hour, page or character: tokens cannot price it
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    per_thousand = values.get("requests_kcount")
    return Price(
        rates=_list_rates(listed, 0),
        tiers=tuple((start, _list_rates(listed, start + 1)) for start in starts),
        request_nusd=_nano(_at(per_thousand, 0) / 1000) if per_thousand is not None else 0,
        expires_at_s=_next_change_s(info, now),
    )


def _list_rates(listed: "ModelPrice", prompt_tokens: int) -> Rates:
    known = {"output": 0}
    for name, keys in _LIST_KEYS.items():
        for key in keys:
            value = getattr(listed, key)
            if value is not None:
                known[name] = _nano(_at(value, prompt_tokens))
                break
    return _complete(known)


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
    if not isinstance(info.prices, list):
        return None
    moments: list[datetime] = []
    for entry in info.prices:
        constraint = entry.constraint
        start_date = getattr(constraint, "start_date", None)
        if start_date is not None:
            moments.append(datetime.combine(start_date, time(), UTC))
        for edge in (getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)):
            if edge is not None:
                moment = datetime.combine(now.astimezone(UTC).date(), edge if edge.tzinfo else edge.replace(tzinfo=UTC))
                moments.extend((moment, moment + timedelta(days=1)))
    return min((moment.timestamp() for moment in moments if moment > now), default=None)
