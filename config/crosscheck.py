"""Checks between sections: every name that is referred to exists, is of the right sort, and leads to no circle."""

from collections.abc import Collection, Iterator

from config.crosscheck_cache import check_cache
from config.crosscheck_constraints import check_constraints
from config.crosscheck_experiments import check_experiments
from config.crosscheck_keys import check_keys
from config.crosscheck_money import check_money
from config.crosscheck_routes import check_routes
from config.crosscheck_rules import check_rules
from config.findings import Finding, Path, nearest, suggestion
from config.names import Names
from config.schema import Config, ProviderConfig


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
    yield from check_money(config, names)
    yield from check_keys(config, names)
    yield from check_cache(config, names)


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
