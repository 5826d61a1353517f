"""Bad input gets a clear error in OpenAI's shape, costs nothing upstream, and leaves no trace."""

import gzip
import json

import pytest

from tests.e2e.setup import KEY
from tests.fakes.http import connect, head_of, raw, read_all, send

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
AUTH = {"authorization": f"Bearer {KEY}"}
GOOD = {"model": "chat-openai", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def url(gateway):
    return f"{gateway.base_url}/chat/completions"


def nested(depth, opening="[", closing="]"):
    head = '{"model":"chat-openai","messages":[{"role":"user","content":"x"}],"deep":'
    return f"{head}{opening * depth}{closing * depth}}}"


BROKEN = {
    "empty": b"",
    "not JSON": b"{model:",
    "cut": b'{"model":"chat-openai","messages":[',
    "array": b'[{"model":"chat-openai"}]',
    "string": b'"hello"',
    "null": b"null",
    "number": b"17",
    "bad UTF-8": b'{"model":"chat-openai","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "lone surrogate": b'{"model":"chat-openai","messages":[{"role":"user","content":"\\ud800"}]}',
    "NaN": b'{"model":"chat-openai","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    "trailing": b'{"model":"chat-openai","messages":[{"role":"user","content":"x"}]} more',
    "100,000 brackets": b"[" * 100_000,
    "deep array": nested(5000).encode(),
    "deep object": nested(5000, '{"a":', "}").replace(":}", ":1}").encode(),
    "model is null": b'{"model":null,"messages":[{"role":"user","content":"x"}]}',
    "model is long": json.dumps(GOOD | {"model": "m" * 5000}).encode(),
    "stream is a string": json.dumps(GOOD | {"stream": "yes"}).encode(),
    "message is a string": json.dumps(GOOD | {"messages": ["hello"]}).encode(),
}


@only("name", BROKEN)
def test_broken_bodies(url, upstream, gateway, name):
    answer = send(url, BROKEN[name], headers=AUTH)
    assert answer.status == 400, answer.body[:300]
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["message"]
    assert len(answer.body) < 2000
    assert answer.headers["x-request-id"]
    assert upstream.requests() == []
    assert send(url, GOOD, headers=AUTH).status == 200


@only("depth", [10, 30])
def test_honest_depth_is_fine(url, depth):
    assert send(url, nested(depth).encode(), headers=AUTH).status == 200


@only(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"x-api-key": "wrong"}, 401),
        ({"authorization": "Bearer \xff\xfe"}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
        ({"x-api-key": KEY}, 200),
    ],
)
def test_keys(url, upstream, headers, status):
    answer = send(url, GOOD, headers=headers)
    assert answer.status == status
    if status == 401:
        assert answer.error["code"] in ("invalid_api_key", "missing_api_key")
        assert answer.headers["x-request-id"]
        assert "wrong" not in answer.error["message"]
        assert upstream.requests() == []


def test_models_need_a_key_too(gateway):
    assert send(f"{gateway.base_url}/models").status == 401
    assert send(f"{gateway.base_url}/models/chat-openai").status == 401


def test_unknown_model(url):
    answer = send(url, GOOD | {"model": "chat-opena1"}, headers=AUTH)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "chat-openai" in answer.error["message"] + answer.error.get("hint", "")


@only("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_methods(url, method):
    answer = send(url, method=method, headers=AUTH)
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
    if method != "HEAD":
        assert answer.error["code"] == "method_not_allowed"
    else:
        assert answer.body == b""


@only("path", ["/v1/chat/completions", "/v1/models", "/v1/embeddings"])
def test_options_is_answered(gateway, path):
    answer = send(f"{gateway.root_url}{path}", method="OPTIONS")
    assert answer.status in (200, 204, 405)
    if answer.status == 405:
        assert answer.headers["allow"]


def test_head_of_what_can_be_read(gateway):
    answer = send(f"{gateway.base_url}/models", method="HEAD", headers=AUTH)
    assert (answer.status in (200, 405), answer.body) == (True, b"")


@only(
    "path", ["/v1/nothing", "/v2/chat/completions", "/", "/v1", "/v1/chat/completions/x", "/v1/models/", "//v1/models"]
)
def test_unknown_paths(gateway, path):
    answer = send(f"{gateway.root_url}{path}", headers=AUTH)
    if answer.status != 200:  # a start page is welcome
        assert answer.status == 404
        assert answer.error["message"]
        assert answer.headers["x-request-id"]


@only(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
)
def test_content_types(url, upstream, content_type):
    answer = send(url, GOOD, headers=AUTH | {"content-type": content_type})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_type")
    assert upstream.requests() == []


@only("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
def test_content_types_that_are_json(url, content_type):
    assert send(url, GOOD, headers=AUTH | {"content-type": content_type}).status == 200


def test_path_without_version(gateway):
    assert send(f"{gateway.root_url}/chat/completions", GOOD, headers=AUTH).text == "You said: hello"
    assert send(f"{gateway.root_url}/models", headers=AUTH).json["object"] == "list"


def test_query_strings_are_ignored(url):
    assert send(f"{url}?api-version=2026-01-01&beta=true", GOOD, headers=AUTH).status == 200


def test_chunked_body(url, upstream):
    text = "x" * 200_000
    data = json.dumps(GOOD | {"messages": [{"role": "user", "content": text}]}).encode()
    pieces = iter([data[i : i + 10_000] for i in range(0, len(data), 10_000)])
    assert send(url, pieces, headers=AUTH).text == f"You said: {text}"
    assert len(upstream.last.body) > 200_000


def test_expect_100_continue(gateway):
    body = json.dumps(GOOD).encode()
    head = head_of(
        "POST",
        "/v1/chat/completions",
        authorization=f"Bearer {KEY}",
        content_type="application/json",
        content_length=str(len(body)),
        expect="100-continue",
        connection="close",
    )
    with connect(gateway.root_url) as sock:
        sock.sendall(head)
        assert sock.recv(1000).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert b"You said: hello" in read_all(sock)


def test_gzip_body(url):
    packed = gzip.compress(json.dumps(GOOD).encode())
    assert send(url, packed, headers=AUTH | {"content-encoding": "gzip"}).text == "You said: hello"
    assert send(url, packed[:-9], headers=AUTH | {"content-encoding": "gzip"}).status == 400
    assert send(url, packed, headers=AUTH | {"content-encoding": "br"}).status == 415


def test_gzip_bomb(url):
    bomb = gzip.compress(b'{"model":"' + b"x" * 60_000_000, 9)
    answer = send(url, bomb, headers=AUTH | {"content-encoding": "gzip"})
    assert answer.status == 413


def test_body_over_the_limit_with_and_without_a_length(gateway, upstream):
    limit = 10 * 1024 * 1024
    head = {"authorization": f"Bearer {KEY}", "content_type": "application/json"}
    announced = head_of("POST", "/v1/chat/completions", content_length=str(limit + 1), **head)
    # Refused by its announcement: nothing of the body has to be sent.
    assert raw(gateway.root_url, announced, timeout_s=30).startswith(b"HTTP/1.1 413")
    with connect(gateway.root_url) as sock:
        sock.sendall(head_of("POST", "/v1/chat/completions", transfer_encoding="chunked", **head))
        piece = b"x" * 65_536
        try:
            for _ in range(limit // len(piece) + 50):
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        except ConnectionError:
            pass  # the gateway has said no and does not read on
        else:
            assert sock.recv(4096).startswith(b"HTTP/1.1 413")
    assert upstream.requests() == []


def test_a_large_body_is_fine(url, upstream):
    text = "word " * 600_000
    assert send(url, GOOD | {"messages": [{"role": "user", "content": text}]}, headers=AUTH).status == 200
    assert len(upstream.last.body) > 3_000_000


@only(
    ("head", "status"),
    [
        (head_of("GET", "/v1/models?" + "q" * 20_000), b"414"),
        (head_of("GET", "/v1/models", x_long="x" * 60_000), b"431"),
        (head_of("GET", "/v1/models", **{f"x_{i}": "1" for i in range(500)}), b"431"),
        (b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 100_000, b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", b"400"),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n"
            b"transfer-encoding: chunked\r\n\r\nzzz",
            b"400",
        ),
    ],
    ids=["target", "header", "headers", "endless", "nonsense", "negative", "two lengths", "length and chunked"],
)
def test_heads(gateway, head, status):
    received = raw(gateway.root_url, head, timeout_s=30)
    assert received.split(b" ", 2)[1] == status, received[:200]
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    assert {"message", "type", "param", "code"} <= set(body["error"])


def test_keep_alive_after_an_error(gateway):
    body = json.dumps(GOOD).encode()
    head = {"authorization": f"Bearer {KEY}", "content_type": "application/json"}
    bad = head_of("POST", "/v1/chat/completions", content_length="2", **head) + b"[]"
    good = head_of("POST", "/v1/chat/completions", content_length=str(len(body)), **head) + body
    with connect(gateway.root_url) as sock:
        for request, status in [(bad, b"400"), (good, b"200"), (bad, b"400"), (good, b"200")]:
            sock.sendall(request)
            received = sock.recv(1 << 16)
            assert received.split(b" ", 2)[1] == status
            while len(received.partition(b"\r\n\r\n")[2]) < length_of(received):
                received += sock.recv(1 << 16)


def length_of(received):
    lines = received.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return int(next(line for line in lines if line.startswith(b"content-length:")).partition(b":")[2])


@only("value", ["abc", "-1", "0", "1.5", "", "9" * 30])
def test_a_timeout_header_that_is_none(url, value):
    answer = send(url, GOOD, headers=AUTH | {"x-signalbox-timeout-ms": value})
    assert answer.status == (200 if value == "9" * 30 else 400)


def test_a_timeout_header_shortens(url, upstream):
    from tests.fakes.script import silent

    upstream.script("up-openai", silent())
    answer = send(url, GOOD, headers=AUTH | {"x-signalbox-timeout-ms": "200"})
    assert answer.status == 504
    assert answer.headers["x-request-id"]
    upstream.last.wait_closed()
