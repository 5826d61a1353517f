"""What the desk costs in this process: CPU time to hold and settle one request, without sockets and providers.

Everything is the gateway's own: the configuration of `benchmarks.money.load` (three budgets, two limits), the worst
case of a real body, headers, and the entry in the ledger.
"""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

from benchmarks.payloads import MODEL, chat_request
from benchmarks.subjects import GATEWAY_ENVIRON, gateway_config
from config.load import load_bytes
from config.settings import Settings
from gateway.asking import NO_HEADERS, ask_of, decide
from gateway.assemble import Assembler
from gateway.money.desk import Desk
from gateway.money.opening import Books, open_desk
from gateway.money.soft import SoftLimits
from gateway.runtime import Caller, Runtime
from gateway.telemetry.logs import Logger
from gateway.wire.parse import parse_request
from policies.outcome import Attempt, Outcome
from policies.stores.base import Store
from policies.stores.entries import MemoryLedger
from policies.stores.memory import MemoryStore
from policies.stores.sqlite import SqliteStore
from providers import registry
from providers.base import Usage

STORES: dict[str, Callable[[Path], Store]] = {"memory": lambda _: MemoryStore(time.time), "sqlite": SqliteStore}
_USAGE = Usage(input=34, output=31)


async def desk_us(store_name: str, requests: int) -> float:
    """CPU microseconds of the whole process per request, the time to close the store included."""
    runtime = _runtime()
    caller = next(iter(runtime.keys.values()))
    raw = chat_request(MODEL)
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder:
        store = STORES[store_name](Path(folder))
        desk = _desk(store)
        await _serve(runtime, desk, caller, raw, requests // 20)
        gc.collect()
        gc.freeze()  # as a gateway does when it starts
        began = time.process_time()
        await _serve(runtime, desk, caller, raw, requests)
        await store.close()
        with_desk = time.process_time() - began
        began = time.process_time()
        await _serve(runtime, None, caller, raw, requests)
        return (with_desk - (time.process_time() - began)) / requests * 1e6


async def _serve(runtime: Runtime, desk: Desk | None, caller: Caller, raw: bytes, requests: int) -> None:
    """What the pipeline does with a request, without calls. Without a desk: what all of that costs anyway."""
    for number in range(requests):
        request = parse_request("chat", raw, f"req_{number}")
        ask = ask_of(request, caller, NO_HEADERS, 0.0)
        decision = decide(runtime, request, ask, caller)
        tab, lines = None, b""
        if desk is not None:
            scopes = desk.scopes_of(runtime, caller, ask, decision)
            opened = desk.open_at_once(runtime, scopes, request, ask, decision, NO_HEADERS)
            if opened is None:
                opened = await desk.open(runtime, scopes, request, ask, decision, NO_HEADERS, inf)
            tab, decision, lines = opened
            tab.send()
        outcome = Outcome(request, caller.name, 0.0, decision, head_lines=lines)
        attempt = Attempt(decision.candidates[0], 0.0, 0.1, usage=_USAGE, cost_nusd=70_000, is_complete=True)
        outcome.attempts.append(attempt)
        outcome.answered_by = attempt
        if desk is not None:
            desk.settle(outcome, tab, caller, ask)


def _runtime() -> Runtime:
    environ = os.environ | GATEWAY_ENVIRON
    data = gateway_config("http://127.0.0.1:9/v1", None, has_budgets=True).encode()
    loaded = load_bytes(data, file="signalbox.yaml", environ=environ, known_kinds=registry.kinds())
    assert loaded.config is not None, loaded.diagnostics
    return Assembler(Settings()).build(loaded.config, loaded, "1")


def _desk(store: Store) -> Desk:
    class Nowhere:
        def write(self, line: bytes) -> None:
            """Nothing is logged."""

    soft = SoftLimits(time.time, lambda work, _: work.close(), Logger(Nowhere(), "error"))
    return open_desk(Books(store, MemoryLedger()), asyncio.get_running_loop(), soft)
