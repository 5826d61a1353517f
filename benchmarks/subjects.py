"""What is measured: how each subject is started in front of an upstream, and which model name reaches it how.

One server may appear as several subjects, which differ in the model they ask for, that is in the path through it.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.payloads import CLIENT_KEY, MODEL, UPSTREAM_KEY, UPSTREAM_MODEL
from benchmarks.processes import Server, free_port, start

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".cache" / "peers"
_LITELLM = PEERS / "litellm" / "bin" / "litellm"
_PORTKEY = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


@dataclass(slots=True, frozen=True)
class Place:
    """Where a server is started: the upstream's base URL (ending in /v1) and CA file, and a scratch folder."""

    upstream: str
    ca_file: Path | None
    folder: Path


@dataclass(slots=True, frozen=True)
class Subject:
    """One line of the table, served by the process `server`. `share` of the rounds suffices for slow peers.

    Of the scenarios only `scenarios`, where its answers are not those of the upstream to the byte.
    """

    name: str
    server: str
    model: str
    note: str
    headers: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    is_peer: bool = False
    scenarios: frozenset[str] | None = None  # None: all


def start_bare(place: Place) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port), f"{place.upstream}/chat/completions"]
    if place.ca_file is not None:
        command.append(str(place.ca_file))
    return start(command, port, "/readyz", environ=own_environ(), within_s=15, folder=place.folder)


def start_gateway(place: Place) -> Server:
    return _start_signalbox([str(Path(sys.executable).parent / "signalbox")], _environ(), place)


def start_gateway_budgets(place: Place) -> Server:
    """The gateway whose client pays from three budgets and is under two limits, all of them in memory."""
    return _start_signalbox([str(Path(sys.executable).parent / "signalbox")], _environ(), place, has_budgets=True)


def start_gateway_money(place: Place) -> Server:
    """The same with budgets and ledger on disk."""
    environ = _environ() | {"SIGNALBOX_STATE_DIR": str(place.folder / "state")}
    return _start_signalbox([str(Path(sys.executable).parent / "signalbox")], environ, place, has_budgets=True)


def start_gateway_cached(place: Place) -> Server:
    """The gateway that keeps answers: as every request is the same, all but the first are answered by itself."""
    return _start_signalbox([str(Path(sys.executable).parent / "signalbox")], _environ(), place, has_cache=True)


def start_other_checkout(checkout: Path, place: Place) -> Server:
    """The gateway as it is in another folder, with this one's dependencies: to tell what a change costs."""
    command = [sys.executable, "-c", "from gateway.cli.main import main; main()"]
    return _start_signalbox(command, _environ() | {"PYTHONPATH": str(checkout.resolve())}, place)


def _start_signalbox(
    command: list[str], environ: dict[str, str], place: Place, *, has_budgets: bool = False, has_cache: bool = False
) -> Server:
    port = free_port()
    config = place.folder / f"signalbox-{port}.yaml"
    config.write_text(gateway_config(place.upstream, place.ca_file, has_budgets=has_budgets, has_cache=has_cache))
    command = [*command, "serve", "--port", str(port), "--config", str(config)]
    return start(command, port, "/readyz", environ=environ | GATEWAY_ENVIRON, within_s=20, folder=place.folder)


# What the configuration below refers to; and nobody has to forget this gateway before it ends.
GATEWAY_ENVIRON = {"BENCH_UPSTREAM_KEY": UPSTREAM_KEY, "SIGNALBOX_LAME_DUCK_S": "0"}


def gateway_config(upstream: str, ca_file: Path | None, *, has_budgets: bool = False, has_cache: bool = False) -> str:
    """One key, a plain model, a normalised one and a route that chooses. JSON, which is YAML as well.

    With `has_budgets` every request pays from the budgets of its key, of what is above it and of its team, and is under
    two limits; none of them is ever reached.
    """
    where: dict[str, object] = {"api_key": "$BENCH_UPSTREAM_KEY", "base_url": upstream}
    if ca_file is not None:
        where["ca_file"] = str(ca_file)
    key: dict[str, object] = {"name": "bench", "sha256": hashlib.sha256(CLIENT_KEY.encode()).hexdigest()}
    config: dict[str, object] = {
        "providers": {
            "upstream": {"kind": "openai", **where},
            "vendor": {"kind": "openai_compatible", **where},
        },
        "models": {
            MODEL: {"deployments": [{"provider": "upstream", "model": UPSTREAM_MODEL}]},
            "small": {"deployments": [{"provider": "upstream", "model": "gpt-5-nano"}]},
            "large": {"deployments": [{"provider": "upstream", "model": "gpt-5"}]},
            "normalised": {"deployments": [{"provider": "vendor", "model": UPSTREAM_MODEL}]},
        },
        "routes": {
            "auto": {
                "strategy": "complexity",
                "tiers": {"simple": ["small"], "medium": [MODEL], "complex": ["large", MODEL]},
                "default_tier": "medium",
                "fallbacks": ["small"],
            }
        },
        "keys": [key],
    }
    if has_budgets:
        key.update(budget="own", team="team", limits="own")
        config["teams"] = {"team": {"budget": "team"}}
        config["budgets"] = {
            "own": {"limit_usd": 1e6, "parent": "company"},
            "company": {"limit_usd": 1e6},
            "team": {"limit_usd": 1e6},
        }
        config["limits"] = {"own": {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}}
    if has_cache:
        config["policies"] = {"cache": {"exact": {"enabled": True}}}
    return json.dumps(config, indent=1)


def start_litellm(place: Place) -> Server:
    return _start_litellm(place, litellm_config(place.upstream))


def start_litellm_budgets(place: Place) -> Server:
    """LiteLLM with what it can limit without a database: budgets of a provider and a deployment, requests, tokens."""
    return _start_litellm(place, litellm_config(place.upstream, has_budgets=True))


def litellm_config(upstream: str, *, has_budgets: bool = False) -> str:
    """One model and one key. JSON, which is YAML as well.

    With `has_budgets` two budgets and two limits hold, none of which is ever reached. Budgets of keys and teams, as our
    own gateway has in this comparison, need a Postgres database there.
    """
    model: dict[str, object] = {"model": f"openai/{UPSTREAM_MODEL}", "api_base": upstream, "api_key": UPSTREAM_KEY}
    config: dict[str, object] = {
        "model_list": [{"model_name": MODEL, "litellm_params": model}],
        "general_settings": {"master_key": CLIENT_KEY},
        "litellm_settings": {"telemetry": False, "callbacks": ["prometheus"]},
    }
    if has_budgets:
        model.update(max_budget=1e6, budget_duration="30d", rpm=10**9, tpm=10**12)
        config["router_settings"] = {
            "provider_budget_config": {"openai": {"budget_limit": 1e6, "time_period": "30d"}},
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
        }
    return json.dumps(config)


def _start_litellm(place: Place, text: str) -> Server:
    port = free_port()
    config = place.folder / f"litellm-{port}.yaml"
    config.write_text(text)
    environ = _environ() | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "DISABLE_ADMIN_UI": "True"}
    if place.ca_file is not None:
        environ["SSL_CERT_FILE"] = str(place.ca_file)
    command = [str(_LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return start(command, port, "/health/readiness", environ=environ, within_s=120, folder=place.folder)


def start_portkey(place: Place) -> Server:
    port = free_port()
    environ = _environ() | {"NODE_ENV": "production"}
    if place.ca_file is not None:
        environ["NODE_EXTRA_CA_CERTS"] = str(place.ca_file)
    node = shutil.which("node")
    assert node is not None
    command = [node, str(_PORTKEY), f"--port={port}", "--headless"]
    return start(command, port, "/", environ=environ, within_s=30, folder=place.folder)


STARTERS: dict[str, Callable[[Place], Server]] = {
    "bare": start_bare,
    "gateway": start_gateway,
    "gateway-budgets": start_gateway_budgets,
    "gateway-cached": start_gateway_cached,
    "gateway-money": start_gateway_money,
    "litellm": start_litellm,
    "litellm-budgets": start_litellm_budgets,
    "portkey": start_portkey,
}


def money_subjects() -> list[Subject]:
    """Whoever limits what is spent, beside ours where it is installed."""
    found = [
        Subject("gateway-budgets", "gateway-budgets", MODEL, "a key with three budgets and two limits, in memory"),
        Subject("gateway-money", "gateway-money", MODEL, "the same on disk, with the ledger"),
    ]
    if _LITELLM.is_file():
        note = "LiteLLM proxy, budgets of provider and deployment and two limits, in memory"
        found.append(Subject("litellm-budgets", "litellm-budgets", MODEL, note, share=0.4, is_peer=True))
    return found


def subjects(upstream: str, *, has_other: bool = False) -> list[Subject]:
    """Everything that can be measured here: peers only where they are installed."""
    found = [
        Subject("bare", "bare", UPSTREAM_MODEL, "uvicorn + pyreqwest, no features"),
        Subject("gateway", "gateway", MODEL, "a model at an OpenAI upstream"),
        Subject("gateway-auto", "gateway", "auto", "a route that chooses by complexity"),
        Subject("gateway-compat", "gateway", "normalised", "an OpenAI-compatible vendor: answers are normalised"),
    ]
    note = "the same answer again, from the cache"
    found.append(Subject("gateway-cached", "gateway-cached", MODEL, note, scenarios=frozenset({"plain"})))
    if has_other:
        found.insert(2, Subject("other", "other", MODEL, "the gateway of another checkout"))
    if _PORTKEY.is_file() and shutil.which("node") is not None:
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": upstream,
            "authorization": f"Bearer {UPSTREAM_KEY}",
        }
        found.append(
            Subject("portkey", "portkey", UPSTREAM_MODEL, "Portkey gateway (Node)", headers, share=0.4, is_peer=True)
        )
    if _LITELLM.is_file():
        found.append(
            Subject(
                "litellm",
                "litellm",
                MODEL,
                "LiteLLM proxy (Python), with its Prometheus metrics on",
                share=0.4,
                is_peer=True,
            )
        )
    return found


def peer_versions() -> dict[str, str]:
    """Versions of the installed peers, from their own metadata."""
    versions = {}
    for path in (PEERS / "litellm").glob("lib/python*/site-packages/litellm-*.dist-info"):
        versions["litellm"] = path.name.removeprefix("litellm-").removesuffix(".dist-info")
    package = _PORTKEY.parent.parent / "package.json"
    if package.is_file():
        versions["portkey"] = json.loads(package.read_text())["version"]
    return versions


def own_environ() -> dict[str, str]:
    """For the benchmark's own processes: they are modules of this repository, started from elsewhere."""
    return _environ() | {"PYTHONPATH": str(ROOT)}


def _environ() -> dict[str, str]:
    """Our environment without what would change a subject."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("SIGNALBOX_", "PYTHON"))
    }
