"""Canaries: what is private turns up nowhere but where it has to, whatever is asked and whatever goes wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET, key_row
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import Answer, send
from tests.fakes.script import error, reply
from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.e2e
PROMPT, ANSWER, TOOL, END_USER = "canary-prompt-1f", "canary-answer-2e", "canary-tool-3d", "canary-user-4c"
AUTH = {"authorization": f"Bearer {KEY}"}
SECRETS = (UPSTREAM_SECRET, KEY, ADMIN_KEY)


@pytest.fixture(params=["json", "text"])
def gateway(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Iterator[Gateway]:
    """Everything is logged that can be; a second provider has no key, and feedback is not configured."""
    url = upstream.base_url
    config = {
        "providers": {
            "up": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{url}/v1"},
            "off": {"kind": "anthropic", "api_key": "${NOT_SET_ANYWHERE:-}", "base_url": url},
        },
        "models": {name: {"deployments": [{"provider": "up", "model": f"up-{name}"}]} for name in ("small", "large")},
        "routes": {"auto": {"pool": ["small", "large"]}},
        "keys": [key_row("tester", KEY)],
        "policies": {"retry": {"max_attempts": 1}},
    }
    env = {"SIGNALBOX_LOG_LEVEL": "debug", "SIGNALBOX_LOG_FORMAT": request.param}
    with Gateway(config, env=env, is_fresh=True) as running:  # its own command line is looked at
        yield running


def everything_said(answers: list[Answer]) -> str:
    return "\n".join(json.dumps(a.headers) + a.body.decode("utf-8", "replace") for a in answers)


def kept_files(gateway: Gateway) -> str:
    """What the process has written to disk, but for the file that the test wrote and its captured output."""
    ours = {gateway.config_path, gateway.folder / "stdout", gateway.folder / "stderr"}
    files = [path for path in gateway.folder.rglob("*") if path.is_file() and path not in ours]
    return "\n".join(f"{path}: {path.read_bytes()!r}" for path in files)


def talk(gateway: Gateway, upstream: FakeUpstream) -> tuple[list[Answer], list[Answer]]:
    """Requests of every ending. Returns the answers that may hold the answer's text, and those that may not."""
    said = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "finish_reason": "stop", "message": said}
    upstream.always("up-small", reply({"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]}))
    upstream.script(
        "up-large",
        error(400, f"Incorrect API key provided: {UPSTREAM_SECRET}", type_="invalid_request_error", code="bad"),
        error(500, f"at https://{UPSTREAM_SECRET}@host/v1", type_="server_error", code="bad"),
        error(401, f"{UPSTREAM_SECRET[:12]} {UPSTREAM_SECRET}", type_="invalid_request_error", code="bad"),
        reply(f"{ANSWER} <html>{UPSTREAM_SECRET}".encode()),
    )
    more = {
        "user": END_USER,
        "tools": [{"type": "function", "function": {"name": "look_up", "description": TOOL, "parameters": {}}}],
    }
    explain = {"x-signalbox-explain": "1"}
    open_ = [gateway.chat("small", PROMPT, headers=AUTH | explain, **more)]
    open_ += [gateway.chat("auto", PROMPT, headers=AUTH | explain, **more)]
    closed = [gateway.chat("large", PROMPT, headers=AUTH, **more) for _ in range(4)]
    closed.append(gateway.chat("small", PROMPT, headers={"authorization": f"Bearer {KEY}-wrong"}))
    closed.append(gateway.chat("unknown-model", PROMPT, headers=AUTH))
    url = f"{gateway.base_url}/chat/completions"
    broken = (f'{{"model":"small","messages":[{{"role":"user","content":"{PROMPT}"', f'"{PROMPT}"', f"[{PROMPT}]")
    closed += [send(url, body.encode(), headers=AUTH) for body in broken]
    closed.append(send(url, {"model": "small", "messages": PROMPT}, headers=AUTH))
    closed.append(send(url, {"model": "small", "messages": [{"role": PROMPT, "content": PROMPT}]}, headers=AUTH))
    closed.append(send(f"{gateway.base_url}/feedback", {"request_id": "x", "score": PROMPT}, headers=AUTH))
    return open_, closed


def test_canaries(gateway: Gateway, upstream: FakeUpstream) -> None:
    open_, closed = talk(gateway, upstream)
    assert [answer.status for answer in open_] == [200, 200]
    request = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
    operators = [
        gateway.admin("explain", {"request": request}),
        gateway.admin("explain", request),
        send(f"{gateway.root_url}/readyz"),
        send(f"{gateway.root_url}/openapi.json"),
        send(f"{gateway.root_url}/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"}),
        gateway.reload(),
    ]
    gateway.write(f"providers: {{up: {{kind: openai, api_key: '{UPSTREAM_SECRET}', base_url: [{UPSTREAM_SECRET}]}}}}\n")
    operators += [gateway.reload(), send(f"{gateway.root_url}/readyz")]
    assert operators[-2].status == 409, operators[-2].body
    heads = [Answer(answer.status, answer.headers, b"") for answer in open_]
    assert gateway.stop() == 0, "so that every line is written"
    places = {
        "log": gateway.output(),
        "errors": everything_said(closed),
        "heads": everything_said(heads),
        "operators": everything_said(operators),
        "files": kept_files(gateway),
    }
    assert '"request"' in places["log"] or " request " in places["log"]
    for place, text in places.items():
        found = [secret for secret in (*SECRETS, UPSTREAM_SECRET[:12]) if secret in text]
        assert not found, (place, text[max(0, text.index(found[0]) - 200) :][:400])
        private = [canary for canary in (PROMPT, ANSWER, TOOL, END_USER) if canary in text]
        # A caller's own mistake, and what a provider made of its request, may be quoted to that caller alone.
        assert set(private) <= ({PROMPT, ANSWER} if place == "errors" else set()), (place, private)
    assert upstream.base_url.removeprefix("http://") not in places["errors"] + places["heads"]


def test_secrets_are_on_no_command_line_and_keys_in_no_file(gateway: Gateway) -> None:
    """What other users of the machine can read, and what the file has to hold: digests."""
    assert gateway.chat("auto", headers=AUTH).status == 200
    command = Path(f"/proc/{gateway.pid}/cmdline").read_bytes().decode()
    assert not [secret for secret in SECRETS if secret in command]
    assert KEY not in gateway.config_path.read_text()
