"""OpenRouter's request extensions, as far as they mean something here: which models and providers a caller prefers.

The members `models`, `provider` and `route` of a body, and the suffixes `:floor` and `:nitro` of a model's name:
https://openrouter.ai/docs/guides/routing/provider-selection and /model-fallbacks, /model-variants/floor, /nitro.
Differences: a provider is named as in this gateway's configuration, and what cannot be held here is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from routing.constraints import NO_LIMITS, Limits

Sort = Literal["price", "throughput", "latency"]

_SORTS: Mapping[str, Sort] = {"price": "price", "throughput": "throughput", "latency": "latency"}
_SUFFIXES: Mapping[str, Sort] = {":floor": "price", ":nitro": "throughput"}
_SUFFIX_WORDS = tuple(_SUFFIXES)
MEMBERS = ("models", "provider", "route")
_MAX_NAMES = 32
_MAX_NAME_CHARS = 256
_NUSD_PER_USD = 1_000_000_000
_MAX_USD = 1_000_000


class PreferenceError(ValueError):
    """A preference that cannot be read or held; `param` names the member of the body."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


@dataclass(slots=True, frozen=True)
class Preferences:
    """What a request itself wants. Providers are names of the configuration; `None` in `only` is no restriction.

    `models` are further candidates after the one asked for. Prices are nano-dollars per million tokens, `max_request`
    and `max_cost` nano-dollars per request.
    """

    models: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    only: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    sort: Sort | None = None
    max_input_nusd_per_mtok: int | None = None
    max_output_nusd_per_mtok: int | None = None
    max_request_nusd: int | None = None
    allow_fallbacks: bool = True
    require_parameters: bool = False
    max_cost_nusd: int | None = None
    _limits: Limits = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_limits", _limits_of(self))

    def limits(self) -> Limits:
        """The part of it that is a constraint."""
        return self._limits


def _limits_of(preferences: Preferences) -> Limits:
    only = preferences.only
    if preferences.order and not preferences.allow_fallbacks:
        # "the request will fail if none of the providers in the list is available"
        listed = frozenset(preferences.order)
        only = listed if only is None else only & listed
    limits = Limits(
        max_cost_nusd=preferences.max_cost_nusd,
        max_input_nusd_per_mtok=preferences.max_input_nusd_per_mtok,
        max_output_nusd_per_mtok=preferences.max_output_nusd_per_mtok,
        max_request_nusd=preferences.max_request_nusd,
        providers_only=only,
        providers_ignore=preferences.ignore,
    )
    return NO_LIMITS if limits == NO_LIMITS else limits


NO_PREFERENCES = Preferences()


def has_preferences(body: Mapping[str, Any], name: str) -> bool:
    """Whether a request says anything about them; 0.2 us."""
    return "provider" in body or "models" in body or "route" in body or name.endswith(_SUFFIX_WORDS)


def parse_preferences(
    name: str, body: Mapping[str, Any], is_configured: Callable[[str], object] = lambda _: False
) -> tuple[str, Preferences]:
    """The name without its suffix, and the preferences. Raises PreferenceError.

    A name for which `is_configured` is true is taken as it stands, whatever it ends in. Where both a suffix and
    `provider.sort` are given, `provider.sort` wins. `models` may repeat the name; it is left out.
    """
    name, sort = _split(name, is_configured)
    _check_route(body.get("route"))
    models = []
    for model in _names(body.get("models"), "models"):
        further, wish = _split(model, is_configured)
        sort = sort or wish
        if further != name and further not in models:
            models.append(further)
    provider = body.get("provider")
    if provider is None:
        return name, Preferences(models=tuple(models), sort=sort)
    if not isinstance(provider, dict):
        raise PreferenceError("provider", "'provider' has to be an object.")
    _check_unheld(provider)
    only = _names(provider.get("only"), "provider.only")
    prices = _prices(provider.get("max_price"))
    return name, Preferences(
        models=tuple(models),
        order=tuple(dict.fromkeys(_names(provider.get("order"), "provider.order"))),
        only=frozenset(only) if only else None,
        ignore=frozenset(_names(provider.get("ignore"), "provider.ignore")),
        sort=_sort(provider.get("sort")) or sort,
        max_input_nusd_per_mtok=prices.get("prompt"),
        max_output_nusd_per_mtok=prices.get("completion"),
        max_request_nusd=prices.get("request"),
        allow_fallbacks=_switch(provider, "allow_fallbacks", otherwise=True),
        require_parameters=_switch(provider, "require_parameters", otherwise=False),
    )


def parse_usd(text: str) -> int:
    """A positive decimal number of US dollars as whole nano-dollars, rounded down. Raises ValueError."""
    try:
        if not text.isascii() or "_" in text:  # Decimal takes digits of any script and underscores
            raise InvalidOperation
        usd = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("is no number of US dollars, such as 0.02.") from None
    if not usd.is_finite() or not 0 < usd <= _MAX_USD:
        raise ValueError(f"has to be above 0 and at most {_MAX_USD} US dollars.")
    return int(usd * _NUSD_PER_USD)


def _split(name: str, is_configured: Callable[[str], object]) -> tuple[str, Sort | None]:
    if not name.endswith(_SUFFIX_WORDS) or is_configured(name):
        return name, None
    bare, colon, word = name.rpartition(":")
    return (bare, _SUFFIXES[colon + word]) if bare else (name, None)


def _check_route(route: object) -> None:
    if route is not None and route != "fallback":
        raise PreferenceError(
            "route",
            "'route' can only be 'fallback'; a route of this gateway is named as 'model' or 'x-signalbox-route'.",
        )


def _names(value: object, param: str) -> Sequence[str]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(
        isinstance(name, str) and 0 < len(name) <= _MAX_NAME_CHARS for name in value
    ):
        raise PreferenceError(param, f"'{param}' has to be an array of names.")
    if len(value) > _MAX_NAMES:
        raise PreferenceError(param, f"'{param}' has more than {_MAX_NAMES} names.")
    return value


def _sort(value: object) -> Sort | None:
    """A word, or an object with the word in `by`; its `partition` has no meaning here."""
    word = value.get("by") if isinstance(value, dict) else value
    if word is None:
        return None
    sort = _SORTS.get(word) if isinstance(word, str) else None
    if sort is None:
        raise PreferenceError("provider.sort", "'provider.sort' has to be 'price', 'throughput' or 'latency'.")
    return sort


def _switch(provider: Mapping[str, Any], name: str, *, otherwise: bool) -> bool:
    value = provider.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise PreferenceError(f"provider.{name}", f"'provider.{name}' has to be true or false.")
    return value


def _prices(value: object) -> dict[str, int]:
    """`max_price` in nano-dollars: per million tokens for `prompt` and `completion`, per call for `request`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PreferenceError("provider.max_price", "'provider.max_price' has to be an object.")
    prices = {}
    for name, usd in value.items():
        param = f"provider.max_price.{name[:_MAX_NAME_CHARS]}"
        if name not in ("prompt", "completion", "request"):
            raise PreferenceError(param, f"'{param}' cannot be held here; 'prompt', 'completion' and 'request' can.")
        if usd is not None:
            prices[name] = _price(usd, param)
    return prices


def _price(usd: object, param: str) -> int:
    """A number, or a number in quotes as OpenRouter's SDKs send it."""
    problem = PreferenceError(param, f"'{param}' has to be a number of US dollars that is not negative.")
    if isinstance(usd, bool) or not isinstance(usd, (int, float, str)):
        raise problem
    try:
        price = Decimal(str(usd))
    except InvalidOperation:
        raise problem from None
    if not price.is_finite() or price < 0:
        raise problem
    return int(min(price, Decimal(_MAX_USD)) * _NUSD_PER_USD)


# Demands on providers of which this gateway knows nothing. To go on as if they were met would be a lie.
_UNHELD: Mapping[str, Callable[[Any], bool]] = {
    "data_collection": lambda value: value == "deny",
    "zdr": lambda value: value is True,
    "enforce_distillable_text": lambda value: value is True,
    "quantizations": bool,
}


def _check_unheld(provider: Mapping[str, Any]) -> None:
    for name, is_demand in _UNHELD.items():
        if name in provider and is_demand(provider[name]):
            raise PreferenceError(
                f"provider.{name}",
                f"'provider.{name}' cannot be held: nothing here knows it of a provider. "
                "Name the providers in 'provider.only', or ask for a route with a residency.",
            )
