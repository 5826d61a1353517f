"""Checks of routes against the models and tiers they name."""

from collections.abc import Iterator, Set

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config
from config.schema_routes import RouteConfig

# What a strategy needs, and which settings have no meaning for the others.
_TIERED = "complexity"
_ONLY_FOR = {
    "tiers": ("complexity",),
    "default_tier": ("complexity",),
    "cuts": ("complexity",),
    "min_confidence": ("complexity",),
    "preset": ("balanced", "learned"),
    "weights": ("balanced",),
    "router_file": ("learned", "balanced"),
    "shadow_router_file": ("learned",),
    "goal": ("learned",),
}


def check_routes(config: Config, names: Names) -> Iterator[Finding]:
    """Routes against models and tiers."""
    for name, route in config.routes.items():
        path: Path = ("routes", name)
        by_rules = {rule.strategy for rule in config.rules if rule.when.route is None or name in rule.when.route}
        yield from _check_needs(route, path, {route.strategy, *by_rules})
        for place, model in _listed(route):
            if model not in names.models:
                yield _no_model(model, (*path, *place), names)
        if route.default_tier is not None and route.tiers and route.default_tier not in route.tiers:
            message = f"Route '{name}' has no tier '{route.default_tier}'."
            hint = suggestion(route.default_tier, list(route.tiers))
            yield Finding("error", "unknown-tier", message, (*path, "default_tier"), hint=hint)


def _check_needs(route: RouteConfig, path: Path, strategies: Set[str | None]) -> Iterator[Finding]:
    """`strategies` are the route's own and those that rules may set instead."""
    if route.strategy == _TIERED and not route.tiers:
        message = f"{path[0]}.{path[1]} needs 'tiers': the strategy 'complexity' chooses between them."
        yield Finding("error", "missing-key", message, path, "key", hint="tiers: {simple: [...], complex: [...]}")
    if route.strategy != _TIERED and not route.pool:
        message = f"{path[0]}.{path[1]} needs 'pool': the models that the strategy '{route.strategy}' chooses from."
        yield Finding("error", "missing-key", message, path, "key", hint="pool: [model, model]")
    if route.strategy == "learned" and route.router_file is None:
        message = f"{path[0]}.{path[1]} needs 'router_file': what the strategy 'learned' has learned."
        yield Finding("error", "missing-key", message, path, "key", hint="Make one with 'signalbox train'.")
    for key, owners in _ONLY_FOR.items():
        if key in route.model_fields_set and strategies.isdisjoint(owners):
            message = f"'{key}' has no effect with the strategy '{route.strategy}'."
            hint = f"It belongs to {' and '.join(map(repr, owners))}."
            yield Finding("warning", "unused-key", message, (*path, key), "key", hint=hint)
    if route.strategy == _TIERED and "pool" in route.model_fields_set:
        message = "'pool' has no effect with the strategy 'complexity'."
        yield Finding("warning", "unused-key", message, (*path, "pool"), "key", hint="Its models are in 'tiers'.")


def _listed(route: RouteConfig) -> Iterator[tuple[Path, str]]:
    for tier, models in route.tiers.items():
        yield from (((("tiers", tier, index)), model) for index, model in enumerate(models))
    yield from (((("pool", index)), model) for index, model in enumerate(route.pool))
    for key in ("fallbacks", "context_window_fallbacks", "content_filter_fallbacks"):
        yield from ((((key, index)), model) for index, model in enumerate(getattr(route, key)))


def _no_model(name: str, path: Path, names: Names) -> Finding:
    if name in names.routes:
        message = f"'{name}' is a route; a route chooses between models."
        return Finding("error", "not-a-model", message, path, hint=f"Name the models of '{name}' here.")
    return Finding(
        "error", "unknown-model", f"There is no model '{name}'.", path, hint=suggestion(name, names.models, "models")
    )
