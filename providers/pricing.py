"""Who says what a deployment costs: its own `price:`, else the operator's price files, else the installed list.

Resolved once per deployment, at load; see `providers.prices` for what runs on the request path. A model without a price
is `None`, never free.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from providers import price_files
from providers.price_lists import ModelFacts, listed_price, model_facts
from providers.price_overrides import Amount, PriceError, declared_nusd, is_complete, merge
from providers.prices import Price, Rates

__all__ = ["ModelFacts", "Price", "PriceError", "Rates", "model_facts", "resolve"]


def resolve(
    kind: str,
    model: str,
    *,
    now: datetime,
    override: Mapping[str, Amount] | None = None,
    prices: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    files: Sequence[Mapping[str, Mapping[str, Any]]] = (),
) -> Price | None:
    """The price of one deployment, or None when nobody knows one.

    `kind` is the provider's kind and `provider` its name in the configuration; `prices` names genai-prices' list where
    a catalog row knows better, "" says that no list applies. `files` are the operator's price files, model by model;
    the first that has this model decides, and no list is asked. `override` has the keys of a `price:` section in USD
    (`providers.price_overrides`); each given one wins at every prompt length. `now` must carry a time zone. Load time
    only: about 0.1 ms per call, 40 ms and 7 MB for the first. Raises PriceError for an override that cannot be used.
    """
    declared = {key: declared_nusd(key, value) for key, value in (override or {}).items()}
    known: Price | None = None
    if not is_complete(declared):
        known = price_files.find(files, kind, model, provider, base_url)
        if known is None:
            known = listed_price(kind, model, prices, base_url, now)
    return merge(known, declared)
