"""Rows 23, 24, 34, 36 and 37: requests that mean harm. They get one clear refusal, and nobody else notices them."""

import json
import re
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.setup import UPSTREAM_SECRET
from tests.fakes.http import connect, head_of, raw, read_all, send
from tests.fakes.script import Script
from tests.faults.other_apis import CROWD, of_crowd
from tests.faults.setup import AUTH, PROMPT, WHOLE_TEXT, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
MIB = 1024 * 1024
CHAT = "/v1/chat/completions"
POSTED = {"authorization": AUTH["authorization"], "content_type": "application/json"}
BODY = {"model": "good", "messages": [{"role": "user", "content": PROMPT}]}


def still_fine(gateway, stream=False):
    answer, _ = timed(gateway, "good", stream=stream)
    assert (answer.status, answer.text) == (200, WHOLE_TEXT)


def flood(gateway, head, piece, pieces):
    """What the gateway answers to a head and as much as it takes of an endless rest."""
    with connect(gateway.root_url) as sock:
        try:
            sock.sendall(head)
            for _ in range(pieces):
                sock.sendall(piece)
        except ConnectionError:
            pass  # it has said no, and does not read on
        sock.settimeout(20)
        try:
            return sock.recv(4096)
        except ConnectionError:
            return b""


BOMBS = {
    "one huge field": (b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ", b"a" * 65_536, 300, b"431"),
    "a million fields": (b"GET /healthz HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n" * 10_000, 100, b"431"),
    "an endless target": (b"GET /", b"a" * 65_536, 300, b"431"),
    "a huge announced body": (head_of("POST", CHAT, content_length=str(1 << 40), **POSTED), b"", 0, b"413"),
    "an endless chunked body": (
        head_of("POST", CHAT, transfer_encoding="chunked", **POSTED), b"10000\r\n" + b"x" * 65_536 + b"\r\n", 300,
        b"413",
    ),
    "an endless input": (
        head_of("POST", "/v1/embeddings", transfer_encoding="chunked", **POSTED),
        b"10000\r\n" + b"x" * 65_536 + b"\r\n", 300, b"413",
    ),
}  # fmt: skip


@only("name", BOMBS)
def test_row_23_header_bomb_huge_body(gateway, upstream, name):
    head, piece, pieces, status = BOMBS[name]
    still_fine(gateway)
    before = gateway.memory_bytes()
    refused = gateway.metric("signalbox_refusals_total")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: flood(gateway, head, piece, pieces), range(8)))
    # A client that goes on sending may lose the answer to the reset of its own bytes; not all of them do.
    told = [answer for answer in answers if answer]
    assert all(answer.startswith(b"HTTP/1.1 " + status) for answer in told), told
    gateway.wait_metric("signalbox_refusals_total", refused + len(answers))
    assert gateway.memory_bytes() - before < 25 * MIB
    assert len(upstream.requests()) == 1
    still_fine(gateway)


def as_much_as_it_takes(socks, data):
    """Send to each for as long as anybody takes something."""
    left = dict.fromkeys(socks, data)
    for sock in socks:
        sock.setblocking(False)
    while left:
        _, willing, _ = select.select([], left, [], 0.3)
        if not willing:
            return
        for sock in willing:
            left[sock] = left[sock][sock.send(left[sock]) :]
            if not left[sock]:
                del left[sock]


def test_row_23_huge_bodies_that_do_not_end(gateway, upstream):
    """Each of them is within the limit of a single body: what counts is what they take together."""
    still_fine(gateway)
    before = gateway.memory_bytes()
    head = head_of("POST", CHAT, transfer_encoding="chunked", **POSTED)
    socks = [connect(gateway.root_url) for _ in range(8)]
    as_much_as_it_takes(socks, head + b"900000\r\n" + b"x" * 0x900000)
    assert gateway.memory_bytes() - before < 25 * MIB
    still_fine(gateway)
    for sock in socks:
        sock.close()


def nested(body, depth, opening="[", closing="]"):
    return body[:-1] + f',"deep":{opening * depth}1{closing * depth}}}'.encode()


# What is made of the body of a good request.
HOSTILE_JSON = {
    "not JSON": lambda _: b"{model:",
    "cut": lambda body: body[:-10],
    "an array": lambda body: b"[%b]" % body,
    "null": lambda _: b"null",
    "bad UTF-8": lambda body: body.replace(b"alpha", b"\xff\xfe"),
    "a lone surrogate": lambda body: body.replace(b"alpha", b"\\ud800"),
    "NaN": lambda body: body[:-1] + b',"temperature":NaN}',
    "an integer of 5,000 digits": lambda body: body[:-1] + b',"seed":' + b"9" * 5000 + b"}",
    "100,000 brackets": lambda _: b"[" * 100_000,
    "a deep array": lambda body: nested(body, 5000),
    "a deep object": lambda body: nested(body, 5000, '{"a":', "}"),
    "a zero byte": lambda body: body.replace(b"good", b"good\x00"),
    "the model is an object": lambda body: body.replace(b'"good"', b'{"$ref":"#"}'),
}


@only("name", HOSTILE_JSON)
def test_row_24_hostile_json(gateway, upstream, name):
    refused = gateway.metric("signalbox_refusals_total")
    for api in CROWD:
        body = HOSTILE_JSON[name](json.dumps(api.body("good")).encode())
        answer = send(gateway.base_url + api.path, body, headers=AUTH)
        assert answer.status == 400, (api, answer.body[:300])
        assert answer.error["type"] == "invalid_request_error"
        assert len(answer.body) < 2000
    gateway.wait_metric("signalbox_refusals_total", refused + len(CROWD))
    assert upstream.requests() == []


@pytest.fixture
def trap():
    """A place that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TimeoutError):
            listener.accept()


FIELDS = ("base_url", "api_base", "api_key", "url", "endpoint", "azure_endpoint", "proxy", "proxies", "headers", "host",
          "extra_headers", "extra_body", "custom_llm_provider", "fallbacks", "webhook", "callback")  # fmt: skip
HEADERS = ("host", "x-forwarded-host", "x-forwarded-for", "forwarded", "x-original-url", "x-rewrite-url", "x-base-url",
           "x-host", "x-upstream", "proxy", "proxy-authorization", "openai-organization", "cookie", "api-key",
           "x-http-method-override", "referer", "origin", "via", "te")  # fmt: skip


@only("api", CROWD, ids=lambda api: api.name)
def test_row_34_ssrf_fields_and_headers(gateway, upstream, trap, api):
    """Where a call goes is the operator's to say: neither a field nor a header of the caller's has a part in it."""
    url, body = gateway.base_url + api.path, api.body("good")
    for field in FIELDS:
        answer = send(url, body | {field: trap}, headers=AUTH)
        assert answer.status in (200, 400), answer.body
    for header in HEADERS:
        value = trap.removeprefix("http://") if header == "host" else trap
        answer = send(url, body, headers=AUTH | {header: value})
        assert answer.status in (200, 400), answer.body
    calls = upstream.requests()
    assert len(calls) >= len(HEADERS) - 2
    assert {call.header("authorization") for call in calls} == {f"Bearer {UPSTREAM_SECRET}"}
    sent = {(name, value) for call in calls for name, value in call.headers}
    assert not [(name, value) for name, value in sent if trap.removeprefix("http://") in value]
    assert not {name for name, _ in sent} & set(HEADERS) - {"host"}


@only("api", CROWD, ids=lambda api: api.name)
def test_row_34_model_names(gateway, upstream, trap, api):
    for model in (f"{trap}/v1", f"good/{trap}", "good/../../admin", "../good", "good/%2e%2e/x", "file:///etc/passwd"):
        answer = send(gateway.base_url + api.path, api.body(model), headers=AUTH)
        assert answer.status in (200, 400, 404), answer.body
    assert {call.path for call in upstream.requests()} <= {f"/v1{api.path}"}, "a name is never part of an address"


def test_row_34_redirects(gateway, upstream, lane, stream, trap):
    own = lane("patient-openai")
    upstream.always(own.upstream_model, Script(302, (("location", f"{trap}{CHAT}"),), (b"",)))
    answer, _ = timed(gateway, own.sole, stream=stream)
    assert answer.status == 502


TARGETS = ("/v1/../admin/config", "/v1/%2e%2e/admin/reload", "//admin/reload", "/admin%2freload", "/./admin/reload",
           "/v1/chat/completions/../../../admin/reload", "/ADMIN/reload", "/admin/reload;x=1")  # fmt: skip


@only("target", TARGETS)
def test_row_34_path_tricks(gateway, target):
    """A caller's key opens nothing of the control plane, however its path is written."""
    loaded = gateway.metric("signalbox_reloads_total")
    for method in ("GET", "POST"):
        request = head_of(method, target, content_length="0", connection="close", **AUTH)
        status = int(raw(gateway.root_url, request).split(b" ", 2)[1])
        assert status in (400, 401, 403, 404, 405), status
    assert gateway.metric("signalbox_reloads_total") == loaded


def test_row_34_another_host_in_the_target(gateway, upstream, trap):
    request = head_of("POST", f"{trap}{CHAT}", content_length="2", connection="close", **POSTED) + b"{}"
    assert raw(gateway.root_url, request).split(b" ", 2)[1] in (b"400", b"404")
    connecting = b"CONNECT " + trap.removeprefix("http://").encode() + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    assert raw(gateway.root_url, connecting).split(b" ", 2)[1] in (b"400", b"405")


def test_row_36_hostile_label_values(gateway, upstream):
    for api in CROWD:  # each has series of its own, for good answers and for refusals
        for model in ("good", "good/known"):
            send(gateway.base_url + api.path, api.body(model), headers=AUTH)
    before = sum(map(len, gateway.metrics().values()))
    body = {"messages": BODY["messages"]}
    for number in range(100):
        noise = f'x{number}"}}\n{{é'
        headers = AUTH | {"x-signalbox-tags": f"t{number},application=a{number}", "user-agent": f"agent-{number}"}
        send(f"{gateway.base_url}/chat/completions", body | {"model": noise}, headers=headers)
        api = of_crowd(number)
        send(gateway.base_url + api.path, api.body(f"good/m{number}"), headers=headers)
        send(f"{gateway.root_url}/v1/{number}", headers=AUTH | {"x-signalbox-session": f"s{number}"})
        send(f"{gateway.root_url}/v1/models", method=f"M{number}", headers={"authorization": f"Bearer k{number}"})
    # 400 is what is promised; one series for each value would already be a hundred.
    assert sum(map(len, gateway.metrics().values())) - before < 100


SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: smuggled\r\n\r\n"
_HEAD = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
AMBIGUOUS = {
    "length and chunks": _HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": _HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": _HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a signed length": _HEAD + b"content-length: +2\r\n\r\n{}",
    "a huge length": _HEAD + b"content-length: 99999999999999999999\r\n\r\n{}",
    "an unknown coding": _HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding after chunks": _HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a blank before the colon": _HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded field": _HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "line feeds alone": b"GET /healthz HTTP/1.1\nhost: x\n\n",
    "a bad chunk size": _HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": _HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a zero byte": b"GET /healthz HTTP/1.1\r\nhost: x\0y\r\n\r\n",
    "a carriage return in a field": b"GET /healthz HTTP/1.1\r\nhost: x\ry\r\n\r\n",
}


@only("name", AMBIGUOUS)
def test_row_37_ambiguous_framing(gateway, upstream, name):
    """One answer at most, and the connection ends: no second reading of the same bytes is possible."""
    refused = gateway.metric("signalbox_refusals_total", reason="malformed_http")
    with connect(gateway.root_url) as sock:
        sock.sendall(AMBIGUOUS[name] + SMUGGLED)
        received = read_all(sock)
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
    assert statuses == [b"400"], received
    gateway.wait_metric("signalbox_refusals_total", refused + 1, reason="malformed_http")
    assert upstream.requests() == []
