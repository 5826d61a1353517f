"""Checks of the answer cache: what the semantic tier stands on is there."""

from collections.abc import Iterator

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config

_TURN_ON = "Set policies.cache.exact.enabled to true as well."


def check_cache(config: Config, names: Names) -> Iterator[Finding]:
    """Findings about `policies.cache` and what routes say of it."""
    cache = config.policies.cache
    section: Path = ("policies", "cache", "semantic")
    places: list[Path] = [(*section, "enabled")] if cache.semantic.enabled else []
    places += [
        ("routes", name, "semantic_cache", "enabled")
        for name, route in config.routes.items()
        if route.semantic_cache is not None and route.semantic_cache.enabled
    ]
    if places and not cache.exact.enabled:
        message = "The semantic cache gives answers that the exact one keeps, and that is off."
        yield Finding("error", "needs-exact-cache", message, places[0], hint=_TURN_ON)
    embedding = cache.semantic.embedding
    if embedding is not None and embedding.provider is not None and embedding.provider not in names.providers:
        message = f"There is no provider '{embedding.provider}'."
        hint = suggestion(embedding.provider, names.providers, "providers")
        yield Finding("error", "unknown-provider", message, (*section, "embedding", "provider"), hint=hint)
