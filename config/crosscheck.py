"""Checks between sections: every name that is referred to exists, is of the right sort, and leads to no circle."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from config.crosscheck_constraints import check_constraints
from config.crosscheck_experiments import check_experiments
from config.crosscheck_routes import check_routes
from config.crosscheck_rules import check_rules
from config.findings import Finding, Path, nearest, suggestion
from config.schema import Config, ProviderConfig


@dataclass(slots=True, frozen=True)
class Names:
    """Every name the file declares, also of entries that are wrong in themselves: one mistake gives one message."""

    providers: frozenset[str]
    models: frozenset[str]
    routes: frozenset[str]
    budgets: frozenset[str]
    limits: frozenset[str]
    keys: frozenset[str]
    provider_keys: Mapping[str, tuple[str, ...]]  # as written, also where the value is an unset variable

    @property
    def callable(self) -> frozenset[str]:
        """What a client can ask for by name."""
        return self.models | self.routes

    def can_be_asked(self, name: str) -> bool:
        """Whether a request for this name can be served; `provider/model` needs no entry."""
        provider, slash, model = name.partition("/")
        return name in self.callable or (bool(slash and model) and provider in self.providers)


def check(
    config: Config,
    names: Names,
    *,
    disabled: Collection[str],
    known_kinds: Collection[str],
) -> Iterator[Finding]:
    """All findings between sections."""
    yield from _check_providers(config, disabled, known_kinds)
    yield from _check_provider_keys(names)
    yield from _check_models(config, names)
    yield from _check_disabled(config, disabled)
    yield from check_routes(config, names)
    yield from check_constraints(config, names)
    yield from check_experiments(config, names)
    yield from check_rules(config, names)
    yield from _check_budgets(config, names)
    yield from _check_limits(config)
    yield from _check_keys(config, names)


def _check_providers(config: Config, disabled: Collection[str], known_kinds: Collection[str]) -> Iterator[Finding]:
    used = {deployment.provider for model in config.models.values() for deployment in model.deployments}
    for name, provider in config.providers.items():
        path: Path = ("providers", name)
        if provider.kind not in known_kinds:
            hint = suggestion(provider.kind, list(known_kinds))
            hint = hint or "A vendor with an OpenAI-compatible API is kind 'openai_compatible' with a base_url."
            message = f"There is no provider kind '{provider.kind}'."
            yield Finding("error", "unknown-kind", message, (*path, "kind"), hint=hint)
        if name not in used and name not in disabled:
            message = f"No model uses provider '{name}'; it is called for names like '{name}/<model>' only."
            yield Finding("info", "unused-provider", message, path, "key")


def _check_provider_keys(names: Names) -> Iterator[Finding]:
    """Kinds have keys of their own, so only what is nearly one of ours is called a mistake."""
    ours = list(ProviderConfig.model_fields)
    for name, keys in names.provider_keys.items():
        for key in keys:
            near = nearest(key, ours) if key not in ours else None
            if near is not None and _is_typo(key, near):
                path: Path = ("providers", name, key)
                message = f"providers.{name} has no key '{key}'."
                yield Finding("error", "unknown-key", message, path, "key", hint=f"Did you mean '{near}'?")


def _is_typo(word: str, intended: str) -> bool:
    """Whether two words differ by one letter left out, added, changed or swapped, or by case and separators."""
    a, b = (text.lower().replace("-", "").replace("_", "") for text in (word, intended))
    if a == b or (len(a) == len(b) and sorted(a) == sorted(b)):
        return True
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[start + (len(a) >= len(b)) :] == b[start + (len(b) >= len(a)) :]


def _check_models(config: Config, names: Names) -> Iterator[Finding]:
    for name, model in config.models.items():
        seen: set[tuple[str, str]] = set()
        for index, deployment in enumerate(model.deployments):
            path: Path = ("models", name, "deployments", index)
            if deployment.provider not in names.providers:
                message = f"There is no provider '{deployment.provider}'."
                hint = suggestion(deployment.provider, names.providers, "providers")
                yield Finding("error", "unknown-provider", message, (*path, "provider"), hint=hint)
            identity = (deployment.provider, deployment.model)
            if identity in seen:
                message = f"Model '{name}' has the deployment '{'/'.join(identity)}' twice."
                yield Finding(
                    "error", "duplicate-deployment", message, path, hint="Keep one and give it a higher weight."
                )
            seen.add(identity)
    for name in sorted(names.models & names.routes):
        message = f"'{name}' is a model and a route; a request for it would be ambiguous."
        yield Finding("error", "name-collision", message, ("routes", name), "key", hint="Rename one of them.")
    if not names.callable:
        message = "There are no models and no routes, so there is nothing to ask for by name."
        yield Finding("warning", "no-models", message, hint="Add a model under 'models'.")


def _check_disabled(config: Config, disabled: Collection[str]) -> Iterator[Finding]:
    off = set()
    for name, model in config.models.items():
        providers = list(dict.fromkeys(deployment.provider for deployment in model.deployments))
        if all(provider in disabled for provider in providers):
            off.add(name)
            message = f"Model '{name}' cannot be called: {_all_disabled(providers)}."
            yield Finding("warning", "model-disabled", message, ("models", name), "key")
    for name, route in config.routes.items():
        candidates = {*route.pool, *route.fallbacks, *(model for tier in route.tiers.values() for model in tier)}
        if candidates and candidates <= off:
            message = f"Route '{name}' cannot answer: none of its models can be called."
            yield Finding("warning", "route-disabled", message, ("routes", name), "key")


def _all_disabled(providers: list[str]) -> str:
    if len(providers) == 1:
        return f"its provider '{providers[0]}' is disabled"
    quoted = " and ".join(f"'{provider}'" for provider in providers)
    return f"its providers {quoted} are disabled"


def _check_budgets(config: Config, names: Names) -> Iterator[Finding]:
    for name, budget in config.budgets.items():
        path: Path = ("budgets", name)
        if budget.parent is not None and budget.parent not in names.budgets:
            message = f"There is no budget '{budget.parent}'."
            hint = suggestion(budget.parent, names.budgets, "budgets")
            yield Finding("error", "unknown-budget", message, (*path, "parent"), hint=hint)
        if budget.on_soft is None:
            continue
        if budget.on_soft.route not in names.routes:
            message = f"There is no route '{budget.on_soft.route}'."
            hint = suggestion(budget.on_soft.route, names.routes, "routes")
            yield Finding("error", "unknown-route", message, (*path, "on_soft", "route"), hint=hint)
        if not names.can_be_asked(budget.on_soft.to):
            message = f"There is no route or model '{budget.on_soft.to}'."
            hint = suggestion(budget.on_soft.to, names.callable, "models")
            yield Finding("error", "unknown-model", message, (*path, "on_soft", "to"), hint=hint)
        elif budget.on_soft.to == budget.on_soft.route:
            message = f"'on_soft' moves the route '{budget.on_soft.route}' to itself."
            yield Finding("error", "circle", message, (*path, "on_soft", "to"), hint="Name a cheaper route.")
    parents = {name: budget.parent for name, budget in config.budgets.items() if budget.parent is not None}
    for circle in _circles(parents):
        chain = " -> ".join([*circle, circle[0]])
        message = f"The parents of these budgets form a circle: {chain}."
        yield Finding("error", "circle", message, ("budgets", circle[0], "parent"), hint="Remove one 'parent'.")


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
        if not limit.model_dump(exclude_none=True):
            message = f"limits.{name} limits nothing."
            hint = "Give requests_per_minute, tokens_per_minute or concurrency."
            yield Finding("warning", "empty-limit", message, ("limits", name), "key", hint=hint)


def _check_keys(config: Config, names: Names) -> Iterator[Finding]:
    yield from _duplicates(((key.name, ("keys", i, "name")) for i, key in enumerate(config.keys)), "name")
    yield from _duplicates(((key.sha256, ("keys", i, "sha256")) for i, key in enumerate(config.keys)), "secret")
    for index, key in enumerate(config.keys):
        path: Path = ("keys", index)
        if key.budget is not None and key.budget not in names.budgets:
            hint = suggestion(key.budget, names.budgets, "budgets")
            yield Finding(
                "error", "unknown-budget", f"There is no budget '{key.budget}'.", (*path, "budget"), hint=hint
            )
        if key.limits is not None and key.limits not in names.limits:
            message = f"There are no limits '{key.limits}'."
            yield Finding(
                "error",
                "unknown-limits",
                message,
                (*path, "limits"),
                hint=suggestion(key.limits, names.limits, "limits"),
            )
        for position, model in enumerate(key.models or ()):
            if not names.can_be_asked(model):
                message = f"There is no model or route '{model}'."
                hint = suggestion(model, names.callable, "models")
                yield Finding("error", "unknown-model", message, (*path, "models", position), hint=hint)


def _duplicates(values: Iterable[tuple[str, Path]], what: str) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for value, path in values:
        if value not in seen:
            seen[value] = path
            continue
        message = f"Two keys have the same {what}; the first one is keys[{seen[value][1]}]."
        yield Finding("error", "duplicate-key-entry", message, path, hint=f"Give each key its own {what}.")
