"""Budgets and limits without sockets: a Runtime from a real configuration, and a till over a store in memory."""

import asyncio
import hashlib
from collections.abc import Mapping
from itertools import count
from math import inf
from typing import Any

import orjson

from config.load import load_bytes
from config.settings import Settings
from gateway.asking import NO_HEADERS, ask_of, decide
from gateway.assemble import Assembler
from gateway.money.desk import Desk
from gateway.money.soft import SoftLimits
from gateway.money.tab import Tab
from gateway.money.till import Till
from gateway.runtime import Caller, Runtime
from gateway.telemetry.logs import Logger
from policies.outcome import Attempt, Outcome
from policies.stores.base import Store
from policies.stores.memory import MemoryStore
from providers import registry
from providers.base import Request, Usage
from routing.ask import Ask
from routing.decision import Decision, Deployment
from tests.gateway.scripted import Lines

PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 10}  # 1,000 and 10,000 nano-dollars a token
MODELS: dict[str, Any] = {
    "cheap": {"deployments": [{"provider": "one", "model": "cheap"}], "price": PRICE},
    "dear": {
        "deployments": [{"provider": "two", "model": "dear"}],
        "price": {"input_usd_per_mtok": 10, "output_usd_per_mtok": 100},
    },
    "unpriced": {"deployments": [{"provider": "two", "model": "nobody-knows"}]},
}


def runtime_of(**sections: Any) -> Runtime:
    """Two vendors and three models; one key `k` unless the sections say otherwise. Nobody's tokens are counted closely:
    that takes a thread, for which no virtual clock waits.
    """
    config = {
        "providers": {
            "one": {"kind": "openai_compatible", "api_key": "x", "base_url": "http://127.0.0.1:9/v1"},
            "two": {"kind": "openai_compatible", "api_key": "x", "base_url": "http://127.0.0.1:9/v1"},
        },
        "models": MODELS,
        "keys": [key("k", **({"budget": "own"} if "own" in sections.get("budgets", {}) else {}))],
    } | sections
    loaded = load_bytes(orjson.dumps(config), file="signalbox.yaml", environ={}, known_kinds=registry.kinds())
    assert loaded.config is not None, loaded.diagnostics
    return Assembler(Settings()).build(loaded.config, loaded, "1")


def key(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **more}


def request_of(model: str, text: str = "hello", operation: Any = "chat", **more: Any) -> Request:
    if operation == "chat":
        more = {"messages": [{"role": "user", "content": text}]} | more
    elif operation == "embeddings":
        more = {"input": text} | more
    else:
        more = {"prompt": text} | more
    body = {"model": model, **more}
    return Request(operation, body, orjson.dumps(body), model, stream=False, include_usage=False, request_id="r")


class Scene:
    """A desk over one store; `now` is the loop's clock."""

    def __init__(self, runtime: Runtime, store: Store | None = None) -> None:
        loop = self.loop = asyncio.get_running_loop()
        self.runtime = runtime
        self.store: Any = store or MemoryStore(loop.time)
        numbers = count(1)
        self.till = Till(self.store, loop, loop.time, lambda: f"h{next(numbers)}")
        self.log = Lines()
        self.soft = SoftLimits(loop.time, self._start, Logger(self.log, "info"))
        self.desk = Desk(self.till, self.soft, loop.time, keeps_ledger=False)
        self.started: list[asyncio.Task[object]] = []

    def caller(self, name: str = "k") -> Caller:
        return next(caller for caller in self.runtime.keys.values() if caller.name == name)

    async def open(
        self,
        request: Request,
        caller: str = "k",
        until: float = inf,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> "Opened":
        """What the pipeline does before the first call. Raises RefusedError."""
        who = self.caller(caller)
        ask = ask_of(request, who, headers, self.loop.time())
        decision = decide(self.runtime, request, ask, who)
        scopes = self.desk.scopes_of(self.runtime, who, ask, decision)
        at_once = self.desk.open_at_once(self.runtime, scopes, request, ask, decision, headers)
        tab, decision, lines = at_once or await self.desk.open(
            self.runtime, scopes, request, ask, decision, headers, until
        )
        return Opened(self, request, who, ask, tab, decision, lines)

    def balance(self, name: str) -> Any:
        return next(
            balance
            for balance in self.store.balances([scope.meter for scope in self.runtime.scopes.all(())])
            if balance.meter_id.split("/")[1] == name
        )

    def deployment(self, model: str) -> Deployment:
        return next(iter(self.runtime.router.plans[model].deployments()))

    def _start(self, work: Any, _: str) -> None:
        self.started.append(self.loop.create_task(work))


class Opened:
    """A request whose tab is open."""

    def __init__(
        self, scene: Scene, request: Request, caller: Caller, ask: Ask, tab: Tab, decision: Decision, lines: bytes
    ) -> None:
        self.tab, self.decision, self.lines = tab, decision, lines
        self.outcome = Outcome(request, caller.name, scene.loop.time(), decision)
        self._scene, self._caller, self._ask = scene, caller, ask

    def call(self, deployment: Deployment | None = None, usage: Usage | None = None) -> Attempt:
        """A call that is over; one without usage cost nothing."""
        deployment = deployment or self.decision.candidates[0]
        price = deployment.price
        cost = None if usage is None or price is None else price.cost_nusd(usage)
        attempt = Attempt(deployment, 1.0, 2.0, usage=usage, cost_nusd=cost, is_complete=usage is not None)
        self.outcome.attempts.append(attempt)
        return attempt

    async def covers(self, model: str) -> bool:
        """Whether the tab pays for one more call, of this model."""
        return await self.tab.covers(self._scene.deployment(model), self.outcome.attempts)

    def settle(self) -> None:
        self._scene.desk.settle(self.outcome, self.tab, self._caller, self._ask)
