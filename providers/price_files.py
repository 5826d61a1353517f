"""Prices in files of the operator's own: LiteLLM's list as it is published, or entries with the keys of `price:`.

The fields of LiteLLM's list (`model_prices_and_context_window.json`) and how they combine:
https://docs.litellm.ai/docs/proxy/custom_pricing and `litellm/litellm_core_utils/llm_cost_calc/utils.py` of
https://github.com/BerriAI/litellm. Prices there are USD per token; `_above_200k_tokens` is for the whole of a call with
a prompt of more tokens; `_priority`, `_flex` and `_batches` end the names of other service tiers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from providers.price_lists import is_anybody, list_name, usual_search_nusd
from providers.price_overrides import declared_nusd, merge, overridden
from providers.prices import Price, Rates, Tariff, complete, nano

# What LiteLLM calls a kind in `litellm_provider` and before the slash of a name, where that is another word.
_SELLERS: Mapping[str, tuple[str, ...]] = {
    "azure": ("azure", "azure_ai"),
    "bedrock": ("bedrock", "bedrock_converse"),
    "cohere": ("cohere", "cohere_chat"),
    "fireworks": ("fireworks_ai",),
    "gemini_openai": ("gemini",),
    "nvidia": ("nvidia_nim",),
    "together": ("together_ai",),
    "vertex": ("vertex_ai",),
}
_CLASSES: Mapping[str, str] = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_input": "input_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
# Ending -> the name that `Usage.service_tier` has for it.
_SERVICE_TIERS: Mapping[str, str] = {
    "priority": "priority",
    "flex": "flex",
    "batches": "batch",
    "ultrafast": "ultrafast",
}
_ABOVE = re.compile(r"_above_(\d+)(k?)_tokens")
_PER_QUERY = "per_query"
_GOOGLE = ("gemini", "vertex_ai-language")
_MTOK = 1_000_000

_Entry = Mapping[str, Any]


def find(
    files: Sequence[Mapping[str, _Entry]], kind: str, model: str, provider: str | None, base_url: str | None
) -> Price | None:
    """The price in the first file that has one for this model, None where no file has.

    Looked for in each file are `<provider's name>/<model>`, `<kind>/<model>`, and the model alone if the entry names
    no seller (`litellm_provider`), names this one, or the kind is a mere dialect. Entries were checked when they were
    read.
    """
    sellers = (kind, *_SELLERS.get(kind, ()))
    for entries in files:
        for name in dict.fromkeys([*([f"{provider}/{model}"] if provider else []), *(f"{s}/{model}" for s in sellers)]):
            if name in entries and (price := of_entry(entries[name], name)) is not None:
                return price
        entry = entries.get(model)
        if entry is not None and _is_sold_by(entry, sellers, kind, base_url):
            price = of_entry(entry, model)
            if price is not None:
                return price
    return None


def _is_sold_by(entry: _Entry, sellers: tuple[str, ...], kind: str, base_url: str | None) -> bool:
    seller = entry.get("litellm_provider")
    return seller is None or is_anybody(kind, base_url) or str(seller).partition("-")[0] in sellers


def of_entry(entry: _Entry, name: str = "") -> Price | None:
    """The price that one entry (`name` is its model's) says, None where it does not price tokens."""
    if any(key.endswith("_usd_per_mtok") for key in entry):
        return merge(None, {key: declared_nusd(key, value) for key, value in entry.items() if value is not None})
    own = _tariff(entry, "")
    if own is None:
        return None
    seller, model = str(entry.get("litellm_provider") or ""), name.rsplit("/", 1)[-1]
    searches = [nano(Decimal(str(usd))) for usd in _searches(entry)]
    is_per_prompt = seller.startswith(_GOOGLE) and entry.get("web_search_billing_unit") != _PER_QUERY
    return Price(
        rates=own.rates,
        tiers=own.tiers,
        request_nusd=nano(_amount(entry, "input_cost_per_request") or Decimal(0)),
        search_nusd=max(searches) if searches else usual_search_nusd(list_name(seller), model),
        searches_max=1 if is_per_prompt else None,
        service_tiers=tuple(_service_tiers(entry, own)),
    )


def _service_tiers(entry: _Entry, own: Tariff) -> Iterator[tuple[str, Tariff]]:
    found = {name: _tariff(entry, f"_{ending}", own) for ending, name in _SERVICE_TIERS.items()}
    times = entry.get("provider_specific_entry")
    factors = {name: value for name, value in times.items() if _is_factor(value)} if isinstance(times, dict) else {}
    if "fast" in factors:
        found["fast"] = _times(own, factors["fast"])
    yield from ((name, tariff) for name, tariff in found.items() if tariff is not None and tariff != own)
    if "us" in factors:
        yield "us", _times(own, factors["us"])
        for name in ("fast", "batch"):
            if (tariff := found.get(name)) is not None:
                yield f"{name}+us", _times(tariff, factors["us"])


def _is_factor(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value > 0


def _times(tariff: Tariff, factor: int | Decimal) -> Tariff:
    fraction = Decimal(factor).as_integer_ratio()
    return Tariff(tariff.rates.times(*fraction), tuple((above, tier.times(*fraction)) for above, tier in tariff.tiers))


def _searches(entry: _Entry) -> Iterator[Any]:
    """USD per search for each size of search context; the size is not reported, so the dearest counts."""
    per_query = entry.get("search_context_cost_per_query")
    if isinstance(per_query, dict):
        yield from (value for value in per_query.values() if value is not None)


def _tariff(entry: _Entry, ending: str, standard: Tariff | None = None) -> Tariff | None:
    """The rates that end so, over the standard ones; None where there are none."""
    tiers = _by_range(entry) if standard is None else None
    if tiers is not None:
        return tiers
    known = {name: rate for name, field in _CLASSES.items() if (rate := _rate(entry, field + ending)) is not None}
    if standard is None:
        if "input" not in known:
            return None
        known.setdefault("output", 0)
    elif not known:
        return None
    base = complete(known) if standard is None else overridden(standard.rates, known)
    starts = sorted({int(n) * (1000 if k else 1) for key in entry for n, k in _ABOVE.findall(key)})
    # xAI charges so from the length on, not above it (https://docs.x.ai/developers/models).
    off = 1 if entry.get("litellm_provider") == "xai" else 0
    found = []
    for start in starts:
        before = _at(standard, start - off) if standard is not None else base
        found.append((start - off, overridden(_scaled(before, standard, base), _above(entry, start, ending))))
    return Tariff(base, tuple(found))


def _above(entry: _Entry, start: int, ending: str) -> dict[str, int]:
    """Rates of prompts above so many tokens. The ending stands behind or before the length in these names."""
    length = f"_above_{start // 1000}k_tokens" if start % 1000 == 0 else f"_above_{start}_tokens"
    found = {}
    for name, field in _CLASSES.items():
        for key in (f"{field}{length}{ending}", f"{field}{ending}{length}"):
            rate = _rate(entry, key)
            if rate is not None:
                found[name] = rate
    return found


def _at(standard: Tariff, start: int) -> Rates:
    return next((rates for above, rates in standard.tiers if above == start), standard.rates)


def _scaled(longer: Rates, standard: Tariff | None, base: Rates) -> Rates:
    """The rates of a longer prompt for a service tier that has none of its own: as much dearer as the tier is."""
    if standard is None:
        return base
    found = {}
    for name in _CLASSES:
        at_length, usual, here = (getattr(rates, name) for rates in (longer, standard.rates, base))
        found[name] = -(-at_length * here // usual) if usual else here
    return Rates(**found)


def _by_range(entry: _Entry) -> Tariff | None:
    """`tiered_pricing`: a list of `range: [from, to]` with rates, the whole call at those of its prompt."""
    listed = entry.get("tiered_pricing")
    if not isinstance(listed, list) or not all(isinstance(step, dict) and "range" in step for step in listed):
        return None  # other steps are of searches or pages
    found = []
    for step in listed:
        known = {name: rate for name, field in _CLASSES.items() if (rate := _rate(step, field)) is not None}
        if "input" not in known:
            return None
        found.append((int(step["range"][0]), complete({"output": 0, **known})))
    found.sort(key=lambda step: step[0])
    return None if not found else Tariff(found[0][1], tuple(found[1:]))


def _rate(entry: _Entry, key: str) -> int | None:
    """USD per token -> nano-USD per million tokens."""
    usd = _amount(entry, key)
    return None if usd is None else nano(usd * _MTOK)


def _amount(entry: _Entry, key: str) -> Decimal | None:
    value = entry.get(key)
    return None if value is None else Decimal(str(value))
