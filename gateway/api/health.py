"""GET /healthz and /readyz: alive, and ready for requests with the state of each dependency."""

from typing import Any

import orjson

from gateway.api.endpoint import Endpoint
from gateway.availability import Trouble
from gateway.money.watch import describe
from gateway.service import Service
from gateway.wire import answers, http
from gateway.wire.http import Receive, Scope, Send

# Of callers' own model names there may be thousands.
_SHOWN = 100


async def _handle(service: Service, scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["path"] == "/healthz":
        await _answer(send, 200, {"status": "alive"})
        return
    health = service.health
    runtime = service.runtime
    state: dict[str, Any] = {
        "status": "draining" if health.is_draining else "ready",
        "config": {"version": runtime.version, "state": "current" if health.reload_error is None else "reload refused"},
        "in_flight": service.in_flight,
    }
    if health.reload_error is not None:
        state["config"]["error"] = health.reload_error
    troubles = runtime.guard.troubles()
    if troubles:
        state["deployments"] = [_described(trouble) for trouble in troubles[:_SHOWN]]
    if service.keys.is_worth_telling:
        state["keys"] = service.keys.describe()
    store = describe(service.books) if service.books is not None else None
    if store is not None:
        state["store"] = store
    if runtime.notices:
        state["notices"] = runtime.notices
    await _answer(send, 503 if health.is_draining else 200, state)


def _described(trouble: Trouble) -> dict[str, Any]:
    """What a person wants to know of it; seconds are rounded, and left out where there are none."""
    seconds = {"open_s": trouble.open_s, "throttled_s": trouble.throttled_s}
    described: dict[str, Any] = {"deployment": trouble.label, "breaker": trouble.state.value}
    return described | {name: round(value, 1) for name, value in seconds.items() if value}


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    await http.send_whole(send, status, [answers.JSON, (b"cache-control", b"no-store")], orjson.dumps(body))


ENDPOINT = Endpoint(
    ("/healthz", "/readyz"), ("GET", "HEAD"), "open", "Alive, and ready with every dependency.", _handle
)
