"""What crosses the gateway in a head: a closed list in each direction, on every path and with every outcome."""

import json
from itertools import product

import pytest

from gateway.api.endpoint import endpoints
from tests.e2e.setup import KEY, UPSTREAM_SECRET, key_row
from tests.fakes.gateway import ADMIN_KEY, Gateway, GatewayPool
from tests.fakes.http import raw, send
from tests.fakes.script import Script
from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.e2e
AUTH = {"authorization": f"Bearer {KEY}"}
FRAMING = {"connection", "content-length", "transfer-encoding", "date", "retry-after", "allow", "www-authenticate"}
OURS = {"content-type", "cache-control", "x-request-id", "x-should-retry", "x-accel-buffering"}
# Framing belongs to the connection, the rest is what a call needs and nothing more.
SENT = {"host", "accept-encoding", "content-length", "content-type", "accept", "authorization", "user-agent",
        "x-api-key", "x-goog-api-key", "anthropic-version", "x-request-id"}  # fmt: skip
CANARY = "canary-header-94c1"
CALLERS = ("cookie", "x-real-ip", "x-forwarded-for", "forwarded", "referer", "origin", "x-custom", "via", "baggage",
           "traceparent", "openai-organization", "openai-beta", "anthropic-beta", "api-key", "proxy-authorization",
           "x-goog-user-project", "accept-language", "x-signalbox-tags", "x-signalbox-session")  # fmt: skip
PROVIDERS = ("server", "set-cookie", "location", "www-authenticate", "alt-svc", "via", "x-upstream-host", "refresh",
             "access-control-allow-origin", "strict-transport-security", "openai-organization", "cf-ray", "link",
             "clear-site-data", "x-powered-by", "proxy-authenticate")  # fmt: skip


@pytest.fixture
def gateway(gateways: GatewayPool, upstream: FakeUpstream) -> Gateway:
    """A key, and a provider of each dialect."""
    url = upstream.base_url
    addresses = {"openai": f"{url}/v1", "anthropic": url, "gemini": f"{url}/v1beta"}
    return gateways.get(
        {
            "providers": {
                kind: {"kind": kind, "api_key": UPSTREAM_SECRET, "base_url": at} for kind, at in addresses.items()
            },
            "models": {kind: {"deployments": [{"provider": kind, "model": f"up-{kind}"}]} for kind in addresses},
            "keys": [key_row("tester", KEY)],
            "policies": {"retry": {"max_attempts": 1}},
        }
    )


def is_expected(name: str) -> bool:
    return name in FRAMING | OURS or name.startswith("x-signalbox-")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["openai", "anthropic", "gemini"])
def test_nothing_of_a_callers_head_reaches_a_provider(
    gateway: Gateway, upstream: FakeUpstream, model: str, stream: bool
) -> None:
    headers = AUTH | dict.fromkeys(CALLERS, CANARY) | {"user-agent": CANARY, "x-request-id": CANARY}
    assert gateway.chat(model, headers=headers, stream=stream).status == 200
    (call,) = upstream.requests()
    names = [name for name, _ in call.headers]
    assert set(names) <= SENT
    assert len(names) == len(set(names))
    # The caller's request id alone is carried on, where the dialect has a place for it.
    assert not [name for name, value in call.headers if CANARY in value and name != "x-request-id"]
    assert CANARY not in call.target
    assert UPSTREAM_SECRET not in call.target, "a key in an address ends in the logs of whoever is in between"
    assert KEY not in str(call.headers) + call.body.decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 302, 400, 429, 500])
def test_nothing_of_a_providers_head_reaches_a_caller(
    gateway: Gateway, upstream: FakeUpstream, status: int, stream: bool
) -> None:
    body = {"error": {"message": "no", "type": "server_error", "code": None, "param": None}}
    kind = "application/json"
    payload = json.dumps(body).encode()
    if status == 200:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        payload = json.dumps(whole).encode()
        if stream:
            kind = "text/event-stream"
            delta = {"index": 0, "finish_reason": "stop", "delta": {"content": "hi"}}
            piece = whole | {"object": "chat.completion.chunk", "choices": [delta]}
            payload = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(piece).encode()
    heads = (("content-type", kind), ("x-request-id", CANARY), *((name, CANARY) for name in PROVIDERS))
    upstream.always("up-openai", Script(status, heads, (payload,)))
    answer = gateway.chat("openai", headers=AUTH, stream=stream)
    assert (answer.status == 200) == (status == 200), answer.body
    assert not [name for name in answer.headers if not is_expected(name)]
    assert CANARY not in json.dumps(answer.headers)


_PATHS = sorted({path.replace("/*", "/some/name") for endpoint in endpoints() for path in endpoint.paths})


@pytest.mark.parametrize("path", [*_PATHS, "/", "/nothing", "/docs", "/openapi.json", "/admin/reload", "/admin/x"])
def test_every_answer_is_uncached_and_says_nothing_of_the_server(gateway: Gateway, path: str) -> None:
    for method, secret in product(("GET", "POST", "OPTIONS", "DELETE"), (None, KEY, ADMIN_KEY)):
        headers = {"origin": "https://elsewhere.example"} | ({"authorization": f"Bearer {secret}"} if secret else {})
        answer = send(gateway.root_url + path, {} if method == "POST" else None, method=method, headers=headers)
        assert answer.headers.get("cache-control") == "no-store"
        assert not [name for name in answer.headers if not is_expected(name)], "no server, no cookie, no CORS"


@pytest.mark.parametrize(
    "request_bytes",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\nhost: x\n\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_request_gets_no_more(gateway: Gateway, request_bytes: bytes) -> None:
    head = raw(gateway.root_url, request_bytes, timeout_s=2).split(b"\r\n\r\n", 1)[0].decode().lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert fields["cache-control"] == "no-store"
    assert not [name for name in fields if not is_expected(name)]


@pytest.mark.parametrize("given", [CANARY, "é" * 10, "a b", "x" * 300, 'q"q', "<script>"])
def test_a_request_id_of_the_callers_is_kept_only_where_it_is_harmless(gateway: Gateway, given: str) -> None:
    headers = AUTH | {"x-request-id": given.encode().decode("latin-1")}
    told = gateway.chat("openai", headers=headers).headers["x-request-id"]
    assert (told == given) == (given == CANARY)
    assert told.isascii()
    assert len(told) <= 128
