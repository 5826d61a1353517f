"""Checks of what a route tries out (canary, experiment, mirror) against the models and routes it names."""

from collections.abc import Iterator

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config
from config.schema_experiments import ArmConfig, ExperimentConfig
from config.schema_routes import RouteConfig


def check_experiments(config: Config, names: Names) -> Iterator[Finding]:
    """Every name exists, every strategy has what it needs, and no arm leads to where it came from."""
    seen: dict[str, tuple[str, ExperimentConfig]] = {}
    for name, route in config.routes.items():
        path: Path = ("routes", name)
        for key, part in (("canary", route.canary), ("mirror", route.mirror)):
            if part is not None and part.model not in names.models:
                yield _no_model(part.model, (*path, key, "model"), names)
        if route.experiment is None:
            continue
        yield from _check_same_name(name, route.experiment, seen)
        if route.experiment.by == "key" and len(names.keys) < 2:
            message = (
                f"The experiment of route '{name}' is by key, and there are not two keys: one arm gets everything."
            )
            hint = "Use 'by: session', or declare keys under 'keys'."
            yield Finding("warning", "one-unit", message, (*path, "experiment", "by"), hint=hint)
        for arm_name, arm in route.experiment.arms.items():
            place: Path = (*path, "experiment", "arms", arm_name)
            yield from _check_use(config, name, arm, place, names)
            yield from _check_strategy(route, arm, place)


def _no_model(name: str, path: Path, names: Names) -> Finding:
    if name in names.routes:
        message = f"'{name}' is a route; one model takes this part."
        return Finding("error", "not-a-model", message, path, hint=f"Name a model of '{name}' here.")
    hint = suggestion(name, names.models, "models")
    return Finding("error", "unknown-model", f"There is no model '{name}'.", path, hint=hint)


def _check_same_name(
    route: str, experiment: ExperimentConfig, seen: dict[str, tuple[str, ExperimentConfig]]
) -> Iterator[Finding]:
    """Routes may share an experiment, whose units are then in the same arm everywhere; but it must be the same one."""
    other = seen.setdefault(experiment.name, (route, experiment))
    if other[0] != route and other[1] != experiment:
        message = f"Route '{other[0]}' has another experiment of the name '{experiment.name}'."
        hint = "Give it a name of its own; its results could not be told apart."
        path: Path = ("routes", route, "experiment", "name")
        yield Finding("error", "duplicate-experiment", message, path, hint=hint)


def _check_use(config: Config, route: str, arm: ArmConfig, path: Path, names: Names) -> Iterator[Finding]:
    if arm.use is None:
        return
    if not names.can_be_asked(arm.use):
        hint = suggestion(arm.use, names.callable, "models")
        message = f"There is no model or route '{arm.use}'."
        yield Finding("error", "unknown-model", message, (*path, "use"), hint=hint)
    elif arm.use == route:
        message = f"This arm of route '{route}' leads to '{route}' itself."
        hint = "Leave 'use' out: an arm with a share alone is the route as it stands."
        yield Finding("error", "circle", message, (*path, "use"), hint=hint)
    elif arm.use in config.routes and config.routes[arm.use].experiment is not None:
        message = f"Route '{arm.use}' has an experiment of its own, which is not made for requests that come from here."
        hint = "A request is part of one experiment: that of the route it asks for."
        yield Finding("warning", "nested-experiment", message, (*path, "use"), hint=hint)


def _check_strategy(route: RouteConfig, arm: ArmConfig, path: Path) -> Iterator[Finding]:
    if arm.strategy is None:
        return
    place: Path = (*path, "strategy")
    if arm.strategy == "complexity" and not route.tiers:
        message = f"{path[0]}.{path[1]} has no 'tiers', between which the strategy 'complexity' chooses."
        yield Finding("error", "missing-key", message, place, hint="Give the route tiers, or use another route here.")
    if arm.strategy == "learned" and route.router_file is None:
        message = f"{path[0]}.{path[1]} has no 'router_file': what the strategy 'learned' has learned."
        yield Finding("error", "missing-key", message, place, hint="Make one with 'signalbox train'.")
