"""Checks of routes and rules against the models, tiers and keys they name."""

from collections.abc import Iterator
from typing import Protocol

from config.findings import Finding, Path, suggestion
from config.schema import Config
from config.schema_routes import RouteConfig, RuleConfig

# What a strategy needs, and which settings have no meaning for the others.
_TIERED = "complexity"
_ONLY_FOR = {
    "tiers": "complexity",
    "default_tier": "complexity",
    "weights": "balanced",
    "router_file": "learned",
    "goal": "learned",
}


class Names(Protocol):
    """The names that routes and rules may refer to."""

    @property
    def models(self) -> frozenset[str]: ...
    @property
    def routes(self) -> frozenset[str]: ...
    @property
    def keys(self) -> frozenset[str]: ...
    @property
    def callable(self) -> frozenset[str]: ...

    def can_be_asked(self, name: str) -> bool: ...


def check_routes(config: Config, names: Names) -> Iterator[Finding]:
    """Routes against models and tiers."""
    for name, route in config.routes.items():
        path: Path = ("routes", name)
        yield from _check_needs(route, path)
        for place, model in _listed(route):
            if model not in names.models:
                yield _no_model(model, (*path, *place), names)
        if route.default_tier is not None and route.tiers and route.default_tier not in route.tiers:
            message = f"Route '{name}' has no tier '{route.default_tier}'."
            hint = suggestion(route.default_tier, list(route.tiers))
            yield Finding("error", "unknown-tier", message, (*path, "default_tier"), hint=hint)


def check_rules(config: Config, names: Names) -> Iterator[Finding]:
    """Rules against models, routes, tiers and keys."""
    for index, rule in enumerate(config.rules):
        path: Path = ("rules", index)
        if rule.use is not None and not names.can_be_asked(rule.use):
            hint = suggestion(rule.use, names.callable, "models")
            message = f"There is no model or route '{rule.use}'."
            yield Finding("error", "unknown-model", message, (*path, "use"), hint=hint)
        for key in rule.when.key or ():
            if key not in names.keys:
                hint = suggestion(key, names.keys, "keys")
                yield Finding(
                    "error", "unknown-key-name", f"There is no key '{key}'.", (*path, "when", "key"), hint=hint
                )
        for route in rule.when.route or ():
            if route not in names.routes:
                hint = suggestion(route, names.routes, "routes")
                yield Finding(
                    "error", "unknown-route", f"There is no route '{route}'.", (*path, "when", "route"), hint=hint
                )
        yield from _check_tier(config, names, rule, path)
        yield from _check_timezone(rule, path)


def _check_needs(route: RouteConfig, path: Path) -> Iterator[Finding]:
    if route.strategy == _TIERED and not route.tiers:
        message = f"{path[0]}.{path[1]} needs 'tiers': the strategy 'complexity' chooses between them."
        yield Finding("error", "missing-key", message, path, "key", hint="tiers: {simple: [...], complex: [...]}")
    if route.strategy != _TIERED and not route.pool:
        message = f"{path[0]}.{path[1]} needs 'pool': the models that the strategy '{route.strategy}' chooses from."
        yield Finding("error", "missing-key", message, path, "key", hint="pool: [model, model]")
    if route.strategy == "learned" and route.router_file is None:
        message = f"{path[0]}.{path[1]} needs 'router_file': what the strategy 'learned' has learned."
        yield Finding("error", "missing-key", message, path, "key", hint="Make one with 'signalbox train'.")
    for key, strategy in _ONLY_FOR.items():
        if key in route.model_fields_set and route.strategy != strategy:
            message = f"'{key}' has no effect with the strategy '{route.strategy}'."
            yield Finding("warning", "unused-key", message, (*path, key), "key", hint=f"It belongs to '{strategy}'.")
    if route.strategy == _TIERED and "pool" in route.model_fields_set:
        message = "'pool' has no effect with the strategy 'complexity'."
        yield Finding("warning", "unused-key", message, (*path, "pool"), "key", hint="Its models are in 'tiers'.")


def _listed(route: RouteConfig) -> Iterator[tuple[Path, str]]:
    for tier, models in route.tiers.items():
        yield from (((("tiers", tier, index)), model) for index, model in enumerate(models))
    yield from (((("pool", index)), model) for index, model in enumerate(route.pool))
    yield from (((("fallbacks", index)), model) for index, model in enumerate(route.fallbacks))


def _no_model(name: str, path: Path, names: Names) -> Finding:
    if name in names.routes:
        message = f"'{name}' is a route; a route chooses between models."
        return Finding("error", "not-a-model", message, path, hint=f"Name the models of '{name}' here.")
    return Finding(
        "error", "unknown-model", f"There is no model '{name}'.", path, hint=suggestion(name, names.models, "models")
    )


def _check_tier(config: Config, names: Names, rule: RuleConfig, path: Path) -> Iterator[Finding]:
    if rule.tier is None:
        return
    if not names.routes <= config.routes.keys() or not set(rule.when.route or ()) <= names.routes:
        return  # a route that could not be read may have the tier, and one that does not exist was reported
    routes = {
        name: route for name, route in config.routes.items() if rule.when.route is None or name in rule.when.route
    }
    tiers = {tier for route in routes.values() for tier in route.tiers}
    if rule.tier not in tiers:
        where = f"Route '{rule.when.route[0]}' has" if rule.when.route is not None else "No route has"
        no = "no " if rule.when.route is not None else ""
        message = f"{where} {no or 'a '}tier '{rule.tier}'."
        yield Finding("error", "unknown-tier", message, (*path, "tier"), hint=suggestion(rule.tier, tiers))


def _check_timezone(rule: RuleConfig, path: Path) -> Iterator[Finding]:
    if rule.when.time is None or rule.when.time.timezone == "UTC":
        return
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for rules about time

    try:
        ZoneInfo(rule.when.time.timezone)
    except (KeyError, ValueError, OSError):
        message = f"There is no time zone '{rule.when.time.timezone}'."
        yield Finding(
            "error",
            "unknown-timezone",
            message,
            (*path, "when", "time", "timezone"),
            hint="Write it as 'Europe/Berlin'.",
        )
