"""The gateway of the fault matrix: lanes with a provider behind the chaos proxy, and a healthy one to fall back to."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.setup import KEY, UPSTREAM_SECRET, key_row
from tests.fakes.gateway import Gateway
from tests.fakes.http import Answer, connect, head_of

AUTH = {"authorization": f"Bearer {KEY}"}
DIALECTS = ("openai", "anthropic", "gemini")
CONNECT_S = 0.4
TTFT_S = 0.6
IDLE_S = 0.5
TOTAL_S = 3.0
PROMPT = "alpha beta gamma delta epsilon"
WHOLE_TEXT = f"You said: {PROMPT}"
# The fake provider streams seven characters at a time: behind these bytes an event is torn, the one before it is whole.
MID_EVENT = b"a beta"
TEXT_BEFORE = "You said: alph"
_QUICK = {"connect_s": CONNECT_S, "ttft_s": TTFT_S, "idle_s": IDLE_S, "total_s": TOTAL_S}
_PATIENT = {"connect_s": 20, "ttft_s": 20, "idle_s": 20, "total_s": 60}
_PATHS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
_COUNTS = {"openai": 110, "anthropic": 40, "gemini": 40, "patient-openai": 60, "patient-anthropic": 30,
           "patient-gemini": 30, "refused": 8, "dropped": 8, "pair": 20}  # fmt: skip


@dataclass(frozen=True)
class Lane:
    """A deployment that no other test touches, so that its breaker, its budget and its figures belong to one test.

    `upstream_model` is the name that the proxy and the provider see, `sole` the model without and `route` the one with
    a healthy fallback. In a lane of the kind "pair" the fallback is no better: the names of both candidates begin with
    `upstream_model`.
    """

    upstream_model: str
    sole: str
    route: str
    deployment: str
    provider: str


def lanes() -> dict[str, Iterator[Lane]]:
    """Unused lanes by the kind of their provider."""
    return {kind: iter([_lane(kind, number) for number in range(count)]) for kind, count in _COUNTS.items()}


def _lane(kind: str, number: int) -> Lane:
    name = f"{kind}-{number:03}"
    provider = "patient-openai" if kind == "pair" else kind
    return Lane(f"up-{name}", f"sole-{name}", f"route-{name}", f"{provider}/up-{name}", provider)


def matrix_config(upstream_url: str, chaos_url: str, refused_url: str, dropped_url: str) -> dict[str, Any]:
    """All lanes in one file. Limits are short where faults are awaited, and long where an answer is only slow."""
    providers: dict[str, Any] = {
        "good": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{upstream_url}/v1", "timeouts": _PATIENT},
        "refused": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{refused_url}/v1", "timeouts": _QUICK},
        "dropped": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{dropped_url}/v1", "timeouts": _QUICK},
    }
    for dialect in DIALECTS:
        row = {"kind": dialect, "api_key": UPSTREAM_SECRET, "base_url": chaos_url + _PATHS[dialect]}
        providers[dialect] = row | {"timeouts": _QUICK}
        providers[f"patient-{dialect}"] = row | {"timeouts": _PATIENT}
    models: dict[str, Any] = {"good": {"deployments": [{"provider": "good", "model": "good"}]}}
    routes: dict[str, Any] = {}
    for kind, free in lanes().items():
        for lane in free:
            second = "good"
            models[lane.sole] = {"deployments": [{"provider": lane.provider, "model": lane.upstream_model}]}
            if kind == "pair":
                second = f"{lane.sole}-b"
                models[second] = {"deployments": [{"provider": lane.provider, "model": f"{lane.upstream_model}-b"}]}
            routes[lane.route] = {"strategy": "ordered", "pool": [lane.sole, second]}
    return {
        "providers": providers,
        "models": models,
        "routes": routes,
        "keys": [key_row("tester", KEY)],
        "policies": {"timeouts": _PATIENT},
    }


def timed(gateway: Gateway, model: str, *, stream: bool, **more: Any) -> tuple[Answer, float]:
    """One chat call with the common prompt, and how long it took."""
    began = time.monotonic()
    answer = gateway.chat(model, PROMPT, headers=AUTH | more.pop("headers", {}), stream=stream, **more)
    return answer, time.monotonic() - began


def request_bytes(model: str, *, stream: bool, text: str = PROMPT) -> bytes:
    """A chat call as it goes over the wire; the connection is not kept."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    head = head_of(
        "POST",
        "/v1/chat/completions",
        authorization=f"Bearer {KEY}",
        content_type="application/json",
        content_length=str(len(body)),
        connection="close",
    )
    return head + body


def begin(gateway: Gateway, model: str, *, stream: bool) -> socket.socket:
    """Ask, and leave the connection open."""
    sock = connect(gateway.root_url)
    sock.sendall(request_bytes(model, stream=stream))
    return sock


def check_answered(answer: Answer, by: str, text: str = WHOLE_TEXT) -> None:
    """A complete answer from the deployment `by`."""
    assert answer.status == 200, answer.body
    assert answer.text == text
    assert answer.headers["x-signalbox-model"] == by
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.frames[-1] == "data: [DONE]"


def check_interrupted(answer: Answer, text: str = TEXT_BEFORE) -> None:
    """Part of an answer, an error event, and a body that ends in good order without pretending to be whole."""
    assert answer.status == 200, answer.body
    assert answer.text == text
    error = answer.events[-1]["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "stream_interrupted")
    assert {"message", "type", "param", "code"} <= set(error)
    assert "data: [DONE]" not in answer.frames
    assert not [c for event in answer.events for c in event.get("choices", []) if c.get("finish_reason")]


def check_failed(answer: Answer, status: int) -> dict[str, Any]:
    """An error of its own status with OpenAI's object, never a stream. Returns the object."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.error["message"]
    return answer.error
