"""Checks of what candidates must meet: constraints against tiers and residencies, the candidates of a key, and
capabilities that rule out more than was probably meant.
"""

from collections.abc import Iterator, Mapping

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config
from config.schema_routes import ConstraintsConfig, RouteConfig


def check_constraints(config: Config, names: Names) -> Iterator[Finding]:
    """All findings about constraints."""
    places = _places(config)
    for name, route in config.routes.items():
        if route.constraints is not None:
            path: Path = ("routes", name, "constraints")
            yield from _check_tier(name, route, route.constraints, path)
            yield from _check_residency(name, route, route.constraints, path, places)
            yield from _check_relax(route.constraints, path)
    yield from _check_candidates(config, names)
    yield from _check_capabilities(config)


def _places(config: Config) -> dict[str, list[frozenset[str]]]:
    """Where each deployment of a model may run; nowhere that is known where nobody said it."""
    declared = {name: provider.residency for name, provider in config.providers.items()}
    return {
        name: [frozenset(d.residency or declared.get(d.provider) or ()) for d in model.deployments]
        for name, model in config.models.items()
    }


def _check_tier(name: str, route: RouteConfig, constraints: ConstraintsConfig, path: Path) -> Iterator[Finding]:
    tier = constraints.min_tier
    if tier is None or tier in route.tiers:
        return
    if not route.tiers:
        message = f"'min_tier' has no effect: route '{name}' has no tiers."
        yield Finding("warning", "unused-key", message, (*path, "min_tier"), "key")
        return
    message = f"Route '{name}' has no tier '{tier}'."
    hint = suggestion(tier, list(route.tiers))
    yield Finding("error", "unknown-tier", message, (*path, "min_tier"), hint=hint)


def _check_residency(
    name: str,
    route: RouteConfig,
    constraints: ConstraintsConfig,
    path: Path,
    places: Mapping[str, list[frozenset[str]]],
) -> Iterator[Finding]:
    if constraints.residency is None or "residency" in constraints.relax:
        return
    allowed = set(constraints.residency)
    models = {*route.pool, *route.fallbacks, *(model for tier in route.tiers.values() for model in tier)}
    if any(model not in places for model in models):
        return  # one that does not exist was reported, one that could not be read may fit
    if any(place and place <= allowed for model in models for place in places[model]):
        return
    message = f"Route '{name}' cannot answer: none of its candidates runs in {' or '.join(constraints.residency)} only."
    known = {place for found in places.values() for one in found for place in one}
    strange = [place for place in constraints.residency if place not in known]
    if strange:
        hint = suggestion(strange[0], known) or "Declare it: providers.<name>.residency."
    else:
        hint = "A candidate that may run in several places needs every one of them to be allowed."
    yield Finding("warning", "route-disabled", message, (*path, "residency"), "key", hint=hint)


def _check_relax(constraints: ConstraintsConfig, path: Path) -> Iterator[Finding]:
    for index, key in enumerate(constraints.relax):
        if getattr(constraints, key) is None:
            message = f"'{key}' is not limited here, so there is nothing to relax."
            yield Finding("warning", "unused-key", message, (*path, "relax", index))
        elif key in constraints.relax[:index]:
            yield Finding("warning", "unused-key", f"'{key}' is in 'relax' twice.", (*path, "relax", index))


def _check_candidates(config: Config, names: Names) -> Iterator[Finding]:
    for index, key in enumerate(config.keys):
        for position, model in enumerate(key.candidates or ()):
            path: Path = ("keys", index, "candidates", position)
            if model in names.routes:
                message = f"'{model}' is a route; a route chooses between models."
                hint = "Name the models that may answer; 'models' says what the key may ask for."
                yield Finding("error", "not-a-model", message, path, hint=hint)
            elif not names.can_be_asked(model):
                near = suggestion(model, names.models, "models")
                yield Finding("error", "unknown-model", f"There is no model '{model}'.", path, hint=near)


def _check_capabilities(config: Config) -> Iterator[Finding]:
    for name, model in config.models.items():
        able = model.capabilities
        if able is None:
            continue
        path: Path = ("models", name, "capabilities")
        if "text" not in able and "embeddings" not in able:
            message = f"Model '{name}' has neither 'text' nor 'embeddings', so it is never a candidate."
            yield Finding("warning", "model-disabled", message, path, "key", hint="Add 'text'.")
