"""Checks of budgets, limits and teams: who refers to what, and that parents form no circle."""

from collections.abc import Iterator, Mapping

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config


def check_money(config: Config, names: Names) -> Iterator[Finding]:
    """Findings about the sections that limit spending and rates."""
    for name, budget in config.budgets.items():
        yield from find_budget(budget.parent, names, ("budgets", name, "parent"))
    yield from _check_soft_actions(config, names)
    yield from _check_circles({name: budget.parent for name, budget in config.budgets.items()}, "budgets")
    yield from _check_limits(config)
    for name, team in config.teams.items():
        path: Path = ("teams", name)
        yield from find_budget(team.budget, names, (*path, "budget"))
        yield from find_limits(team.limits, names, (*path, "limits"))
        yield from find_team(team.parent, names, (*path, "parent"))
        yield from find_models(team.models, names, (*path, "models"))
    yield from _check_circles({name: team.parent for name, team in config.teams.items()}, "teams")
    for section in ("models", "routes"):
        for name, entry in getattr(config, section).items():
            yield from find_budget(entry.budget, names, (section, name, "budget"))
            yield from find_limits(entry.limits, names, (section, name, "limits"))
    yield from _check_mirrors(config)


def _check_mirrors(config: Config) -> Iterator[Finding]:
    """Copies that nobody pays for, in a configuration that bounds what is spent otherwise."""
    for name, route in config.routes.items():
        mirror = route.mirror
        if mirror is None or not config.budgets or route.budget is not None:
            continue
        model = config.models.get(mirror.model)
        if model is not None and model.budget is None:
            message = (
                f"The copies that route '{name}' sends to '{mirror.model}' are paid from no budget: "
                "nothing bounds what they cost."
            )
            hint = f"Give the route or the model '{mirror.model}' a 'budget'; those of callers do not pay for copies."
            yield Finding("warning", "unpaid-mirror", message, ("routes", name, "mirror"), hint=hint)


def find_budget(name: str | None, names: Names, path: Path) -> Iterator[Finding]:
    """What is wrong with a reference to a budget."""
    if name is not None and name not in names.budgets:
        hint = suggestion(name, names.budgets, "budgets")
        yield Finding("error", "unknown-budget", f"There is no budget '{name}'.", path, hint=hint)


def find_limits(name: str | None, names: Names, path: Path) -> Iterator[Finding]:
    """What is wrong with a reference to limits."""
    if name is not None and name not in names.limits:
        hint = suggestion(name, names.limits, "limits")
        yield Finding("error", "unknown-limits", f"There are no limits '{name}'.", path, hint=hint)


def find_team(name: str | None, names: Names, path: Path) -> Iterator[Finding]:
    """What is wrong with a reference to a team."""
    if name is not None and name not in names.teams:
        hint = suggestion(name, names.teams, "teams")
        yield Finding("error", "unknown-team", f"There is no team '{name}'.", path, hint=hint)


def find_models(asked: tuple[str, ...] | None, names: Names, path: Path) -> Iterator[Finding]:
    """What is wrong with a list of models and routes."""
    for position, model in enumerate(asked or ()):
        if not names.can_be_asked(model):
            message = f"There is no model or route '{model}'."
            hint = suggestion(model, names.callable, "models")
            yield Finding("error", "unknown-model", message, (*path, position), hint=hint)


def _check_soft_actions(config: Config, names: Names) -> Iterator[Finding]:
    for name, budget in config.budgets.items():
        action = budget.on_soft
        if action is None or action.route is None or action.to is None:
            continue
        path: Path = ("budgets", name, "on_soft")
        if action.route not in names.routes:
            message = f"There is no route '{action.route}'."
            hint = suggestion(action.route, names.routes, "routes")
            yield Finding("error", "unknown-route", message, (*path, "route"), hint=hint)
        if not names.can_be_asked(action.to):
            message = f"There is no route or model '{action.to}'."
            hint = suggestion(action.to, names.callable, "models")
            yield Finding("error", "unknown-model", message, (*path, "to"), hint=hint)
        elif action.to == action.route:
            message = f"'on_soft' moves the route '{action.route}' to itself."
            yield Finding("error", "circle", message, (*path, "to"), hint="Name a cheaper route.")


def _check_circles(parents: Mapping[str, str | None], section: str) -> Iterator[Finding]:
    known = {name: parent for name, parent in parents.items() if parent is not None}
    for circle in _circles(known):
        chain = " -> ".join([*circle, circle[0]])
        message = f"The parents of these {section} form a circle: {chain}."
        yield Finding("error", "circle", message, (section, circle[0], "parent"), hint="Remove one 'parent'.")


def _circles(parents: Mapping[str, str]) -> Iterator[list[str]]:
    """Every circle once, starting where the file has it first."""
    done: set[str] = set()
    for start in parents:
        chain: list[str] = []
        name: str | None = start
        while name is not None and name not in done and name not in chain:
            chain.append(name)
            name = parents.get(name)
        if name is not None and name in chain:
            yield chain[chain.index(name) :]
        done.update(chain)


def _check_limits(config: Config) -> Iterator[Finding]:
    for name, limit in config.limits.items():
        if not limit.model_dump(exclude_none=True, exclude={"count_cached", "wait_s"}):
            message = f"limits.{name} limits nothing."
            hint = "Give requests_per_minute, tokens_per_minute or concurrency."
            yield Finding("warning", "empty-limit", message, ("limits", name), "key", hint=hint)
