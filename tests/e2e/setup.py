"""The configuration that the end-to-end tests share, and the places a client can be pointed at."""

import hashlib
from dataclasses import dataclass
from typing import Any

from tests.fakes.gateway import Gateway
from tests.fakes.upstream import FakeUpstream

KEY = "sk-signalbox-test"
UPSTREAM_SECRET = "sk-upstream-0123456789abcdefSECRET"  # must never come out of the gateway
SLASHED = "vendor/family/model-1"


def key_row(name: str, secret: str, **more: Any) -> dict[str, Any]:
    """A virtual key as the configuration has it."""
    return {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest()} | more


def providers(url: str) -> dict[str, Any]:
    """Every dialect at one fake upstream, and the built-in mock."""
    return {
        "oa": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{url}/v1"},
        "compat": {"kind": "openai_compatible", "api_key": UPSTREAM_SECRET, "base_url": f"{url}/v1"},
        "an": {"kind": "anthropic", "api_key": UPSTREAM_SECRET, "base_url": url},
        "ge": {"kind": "gemini", "api_key": UPSTREAM_SECRET, "base_url": f"{url}/v1beta"},
        "sim": {"kind": "mock"},
    }


def standard_config(upstream: FakeUpstream) -> dict[str, Any]:
    """One key, a model per dialect, an ordered route with a fallback, short timeouts."""
    return {
        "providers": providers(upstream.base_url),
        "models": {
            "chat-openai": {"deployments": [{"provider": "oa", "model": "up-openai"}]},
            "chat-anthropic": {"deployments": [{"provider": "an", "model": "up-anthropic"}]},
            "chat-gemini": {"deployments": [{"provider": "ge", "model": "up-gemini"}]},
            "chat-mock": {"deployments": [{"provider": "sim", "model": "chat-mock"}]},
            SLASHED: {"deployments": [{"provider": "oa", "model": "up-slashed"}]},
            "first": {"deployments": [{"provider": "oa", "model": "up-first"}]},
            "second": {"deployments": [{"provider": "oa", "model": "up-second"}]},
        },
        "routes": {"both": {"strategy": "ordered", "pool": ["first", "second"]}},
        "keys": [key_row("tester", KEY), key_row("narrow", f"{KEY}-narrow", models=["chat-openai"])],
        "policies": {
            "timeouts": {"connect_s": 2, "ttft_s": 10, "idle_s": 10, "total_s": 30},
            # Many tests share a gateway, and most of them let something fail: a budget for all of them.
            "retry": {"max_attempts": 2, "backoff_base_s": 0.01, "budget_ratio": 1},
        },
    }


@dataclass(frozen=True)
class Target:
    """Where a client of the matrix is pointed. `upstream_model` is the name the fake provider sees."""

    name: str
    base_url: str
    model: str
    upstream_model: str
    gateway: Gateway | None = None
