"""Prices that an operator writes down: the keys of a `price:` section, alone or over what a list says."""

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal

from providers.prices import FOLLOWS, Price, Rates, Tariff, complete, nano

Amount = float | int | str | Decimal


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
SEARCH_KEY = "search_usd"


def declared_nusd(key: str, value: Amount) -> int:
    """USD as written -> nano-USD. `str` first: 0.1 is meant as 0.1, not as its binary neighbour."""
    if key not in (REQUEST_KEY, SEARCH_KEY) and key not in OVERRIDE_KEYS:
        known = ", ".join([*OVERRIDE_KEYS, REQUEST_KEY, SEARCH_KEY])
        raise PriceError(key, f"Unknown price key {key!r}. Known keys: {known}.")
    try:
        usd = Decimal(str(value))
    except ArithmeticError:
        raise PriceError(key, f"{key} must be an amount in USD, not {value!r}.") from None
    if not usd.is_finite() or usd < 0:
        raise PriceError(key, f"{key} must be zero or a positive amount in USD, not {value!r}.")
    return nano(usd)


def is_complete(declared: Mapping[str, int]) -> bool:
    """Whether a list could add nothing: then a private model's name is not even looked up."""
    return all(key in declared for key in OVERRIDE_KEYS)


def merge(known: Price | None, declared: Mapping[str, int]) -> Price | None:
    """What is declared (key -> nano-USD) over what a list says, field by field. Raises PriceError."""
    if not declared:
        return known
    given = {OVERRIDE_KEYS[key]: nusd for key, nusd in declared.items() if key in OVERRIDE_KEYS}
    if known is None:
        missing = [name for name in ("input", "output") if name not in given]
        if given and missing:
            key = f"{missing[0]}_usd_per_mtok"
            raise PriceError(key, f"No list knows this model, so its price needs {key} too (0 if it costs nothing).")
        known = Price(complete({"input": 0, "output": 0, **given}))
    else:
        own = overridden(known.rates, given)
        known = replace(
            known,
            rates=own,
            tiers=tuple((above, overridden(tier, given)) for above, tier in known.tiers),
            service_tiers=tuple(
                (name, _in_proportion(tariff, known.rates, own)) for name, tariff in known.service_tiers
            ),
        )
    return replace(
        known,
        request_nusd=declared.get(REQUEST_KEY, known.request_nusd),
        search_nusd=declared.get(SEARCH_KEY, known.search_nusd),
    )


def overridden(rates: Rates, given: Mapping[str, int]) -> Rates:
    """Declared rates over listed ones. A class whose listed rate merely follows a declared one follows it still."""
    values = {rate.name: getattr(rates, rate.name) for rate in fields(Rates)}
    changed = set(given)
    for name, parent in FOLLOWS.items():
        if name not in given and parent in changed and values[name] == values[parent]:
            changed.add(name)
    return complete(
        {name: given.get(name, value) for name, value in values.items() if name in given or name not in changed}
    )


def _in_proportion(tariff: Tariff, listed: Rates, own: Rates) -> Tariff:
    """A service tier keeps its distance from the standard price: who pays 80 % of the list pays 80 % of that too."""

    def follow(rates: Rates) -> Rates:
        found = {}
        for rate in fields(Rates):
            here, before, now = (getattr(which, rate.name) for which in (rates, listed, own))
            found[rate.name] = -(-here * now // before) if before else here if now == 0 else max(here, now)
        return Rates(**found)

    return Tariff(follow(tariff.rates), tuple((above, follow(tier)) for above, tier in tariff.tiers))
