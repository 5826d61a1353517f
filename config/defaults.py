"""The configuration without a file: whoever has a key in the environment, and a mock provider that needs none."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.load import Loaded
from config.schema import Config

MOCK_PROVIDER = "sim"
MOCK_MODEL = "mock-model"
ROUTE = "auto"
_DEFAULT_TIER = "medium"
# The built-in mock is a dialect like any other; only its kind is known here.
_MOCK_KIND = "mock"


def default_config(
    environ: Mapping[str, str], *, env_keys: Mapping[str, str], base_urls: Mapping[str, str] | None = None
) -> Loaded:
    """Providers whose key is in `environ`, the mock provider `sim`, well-known models, and a route `auto` that
    chooses between them by difficulty.

    `env_keys` maps a kind to the variable that usually holds its key. `base_urls` maps a kind to its usual address;
    where it is given, kinds without an address of their own are left out, because a key alone does not reach them.
    """
    table = tomllib.loads((Path(__file__).parent / "defaults.toml").read_text(encoding="utf-8"))
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for kind, variable in sorted(env_keys.items()):
        key = next(
            (environ[name] for name in [variable, *table["environment"].get(kind, [])] if environ.get(name)), None
        )
        if key is None or kind == _MOCK_KIND or not _has_address(kind, base_urls):
            continue
        providers[kind] = {"kind": kind, "api_key": key}
        for model in table["models"].get(kind, []):
            models.setdefault(model, {"deployments": [{"provider": kind, "model": model}]})
    # Made-up answers never stand in for real ones, so the mock is in the route only while there is nobody else.
    tiers = {
        tier: [model for model in order if model in models] or [MOCK_MODEL]
        for tier, order in table["route"]["tiers"].items()
    }
    providers[MOCK_PROVIDER] = {"kind": _MOCK_KIND}
    models[MOCK_MODEL] = {"deployments": [{"provider": MOCK_PROVIDER, "model": MOCK_MODEL}]}
    routes = {ROUTE: {"strategy": "complexity", "tiers": tiers, "default_tier": _DEFAULT_TIER}}
    return Loaded(Config.model_validate({"providers": providers, "models": models, "routes": routes}))


def _has_address(kind: str, base_urls: Mapping[str, str] | None) -> bool:
    return base_urls is None or "{" not in base_urls.get(kind, "{")
