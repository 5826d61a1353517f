"""Providers that quote requests in their errors: the caller sees what was said, and nobody else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.setup import KEY, key_row, providers
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import Answer, send
from tests.fakes.script import Script, reply, sse
from tests.fakes.upstream import FakeUpstream
from tests.security.test_leaks import kept_files

pytestmark = pytest.mark.e2e
AUTH = {"authorization": f"Bearer {KEY}"}
CANARIES = {name: f"canary-{name}-9b1e" for name in ("prompt", "system", "call", "tool", "image", "header")}
ECHO = "cannot read " + " ".join(CANARIES.values())
# How a stream of each dialect begins before it breaks.
OPENINGS: dict[str, list[Any]] = {
    "oa": [{"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "one"}}]}],
    "an": [
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one"}},
    ],
    "ge": [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "one"}]}}]}],
}


def told_off(status: int) -> Script:
    """An error of every dialect at once, with the request in each word that a provider may choose."""
    said = {"message": ECHO, "code": CANARIES["call"], "type": CANARIES["tool"], "status": CANARIES["image"]}
    headers = {"retry-after": CANARIES["prompt"], "x-request-id": CANARIES["header"], "server": CANARIES["system"]}
    return reply({"type": "error", "error": said | {"param": CANARIES["prompt"]}}, status=status, headers=headers)


def in_the_middle(dialect: str) -> Script:
    """A stream that breaks with an error event."""
    error = {"type": "error", "error": {"message": ECHO, "type": CANARIES["call"], "code": CANARIES["tool"]}}
    events = [*OPENINGS[dialect], error]
    if dialect == "an":
        return sse([json.dumps(event) for event in events], done=False)
    return sse(events, done=False)


# Every error status, an error in a 200, garbage, odd headers.
ODD_ANSWERS = [
    *[told_off(status) for status in (400, 401, 404, 429, 500, 503)],
    reply({"type": "error", "error": {"message": ECHO, "code": CANARIES["call"]}}),
    reply({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": ECHO}]}),
    reply(ECHO.encode()),
    reply({}, headers={"content-encoding": CANARIES["prompt"]}),
    reply(f"<title>{ECHO}</title>".encode(), status=502),
    Script(steps=(f"HTTP/1.1 {ECHO}\r\n\r\n".encode(),), framing="raw"),
]


@pytest.fixture(params=["json", "text"])
def gateway(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Iterator[Gateway]:
    """A route that falls back to a good model, and one whose copies go to a bad one; the rest goes by direct names."""
    config = {
        "providers": providers(upstream.base_url),
        "models": {
            "bad": {"deployments": [{"provider": "oa", "model": "up-bad"}]},
            "copy": {"deployments": [{"provider": "oa", "model": "up-copy"}]},
            "good": {"deployments": [{"provider": "sim", "model": "good"}]},
        },
        "routes": {
            "both": {"strategy": "ordered", "pool": ["bad", "good"], "retry": {"max_attempts": 2}},
            "mirrored": {"strategy": "ordered", "pool": ["good"], "mirror": {"model": "copy", "share": 1.0}},
        },
        "keys": [key_row("tester", KEY)],
        "policies": {"retry": {"max_attempts": 1}},
    }
    with Gateway(config, env={"SIGNALBOX_LOG_FORMAT": request.param}) as running:
        yield running


def ask(gateway: Gateway, model: str, *, stream: bool) -> Answer:
    """A request with a canary wherever a caller can put words."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps(CANARIES["call"])}}
    tool = {"type": "function", "function": {"name": "f", "description": CANARIES["tool"], "parameters": {}}}
    picture = {"type": "image_url", "image_url": {"url": f"https://example.com/{CANARIES['image']}.png"}}
    messages = [
        {"role": "system", "content": CANARIES["system"]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": CANARIES["prompt"]},
        {"role": "user", "content": [{"type": "text", "text": CANARIES["prompt"]}, picture]},
    ]
    headers = AUTH | {"x-anything": CANARIES["header"], "user-agent": CANARIES["header"]}
    return gateway.chat(model, headers=headers, messages=messages, tools=[tool], stream=stream)


def ask_everything(gateway: Gateway, upstream: FakeUpstream) -> list[Answer]:
    """Every odd answer, whole and streamed, with and without a fallback, and to a mirror."""
    said = []
    for dialect in OPENINGS:
        scripts = [(script, stream) for script in ODD_ANSWERS for stream in (False, True)]
        for number, (script, stream) in enumerate([*scripts, (in_the_middle(dialect), True)]):
            upstream.always(f"up-{number}", script)
            said.append(ask(gateway, f"{dialect}/up-{number}", stream=stream))  # a breaker for each
    for name, model in (("up-bad", "both"), ("up-copy", "mirrored")):
        upstream.always(name, told_off(500))
        answer = ask(gateway, model, stream=False)
        assert answer.status == 200, answer.body
    gateway.wait_metric("signalbox_mirror_requests_total", 1, route="mirrored")
    return said


def test_what_providers_quote_is_for_the_caller_alone(gateway: Gateway, upstream: FakeUpstream) -> None:
    said = ask_everything(gateway, upstream)
    heard = [answer for answer in said if CANARIES["prompt"] in answer.body.decode()]
    assert len(heard) > len(said) / 3, "the fault happened, and its caller is told in the provider's words"
    assert any(answer.status == 200 for answer in heard), "also in the middle of a stream"
    page = send(f"{gateway.root_url}/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"})
    ready = send(f"{gateway.root_url}/readyz")
    request = {"model": "both", "messages": [{"role": "user", "content": CANARIES["prompt"]}]}
    explained = gateway.admin("explain", request)
    assert (page.status, explained.status) == (200, 200)
    assert gateway.stop() == 0, "so that every line is written"
    places = {
        "heads": json.dumps([answer.headers for answer in said]),
        "output": gateway.output(),
        "metrics": page.body.decode(),
        "ready": ready.body.decode(),
        "explained": explained.body.decode(),
        "files": kept_files(gateway),
    }
    assert places["output"].count("caller_error") > 3
    for place, text in places.items():
        found = [canary for canary in CANARIES.values() if canary in text]
        assert not found, (place, text[max(0, text.index(found[0]) - 300) :][:600])
