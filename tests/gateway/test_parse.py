"""Request bodies: what is refused says which field, and nothing else can happen."""

import gzip
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.parse import decompress, parse_request
from gateway.wire.refusals import RefusedError
from providers.tokens import estimate_prompt

USER = {"role": "user", "content": "hi"}
GOOD = {
    "chat": {"model": "m", "messages": [USER]},
    "completions": {"model": "m", "prompt": "hi"},
    "embeddings": {"model": "m", "input": ["hi"]},
}


def parse(body, operation="chat"):
    return parse_request(operation, body if isinstance(body, bytes) else orjson.dumps(body), "req_1")


def refusal(body, operation="chat"):
    with pytest.raises(RefusedError) as caught:
        parse(body, operation)
    refused = caught.value.refusal
    assert refused.status == 400
    return caught.value.reason, refused.error["param"], refused.error["message"]


def test_the_first_of_several_models_stands_for_the_model():
    body = {"models": ["a", "b"], "messages": [USER]}
    assert parse(body).model == "a"
    assert parse({**body, "model": "c"}).model == "c"
    for models in ([], [1], "a", None, [""]):
        assert refusal({**body, "models": models})[1] == "model"


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"null", b"[]", b"1", b'"x"', b"{", b'{"a":}', b"\xff\xfe", b'{"a": NaN}', b"\xef\xbb\xbf{}",
     b'{"model":"\\ud800"}', b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000],
)  # fmt: skip
def test_what_is_no_json_object(raw):
    assert refusal(raw)[0] == "invalid_json"


@pytest.mark.parametrize(
    ("change", "reason", "param"),
    [
        ({"model": None}, "invalid_type", "model"),
        ({"model": ""}, "missing_required_parameter", "model"),
        ({"model": 5}, "invalid_type", "model"),
        ({"model": "x" * 257}, "invalid_type", "model"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": []}, "invalid_type", "messages"),
        ({"messages": "hi"}, "invalid_type", "messages"),
        ({"messages": {"role": "user"}}, "invalid_type", "messages"),
        ({"messages": [USER, "hi"]}, "invalid_type", "messages[1]"),
        ({"messages": [None]}, "invalid_type", "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": 5}]}, "invalid_type", "messages[0].role"),
        ({"messages": [{"role": None}]}, "invalid_type", "messages[0].role"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream": 1}, "invalid_type", "stream"),
        ({"stream_options": []}, "invalid_type", "stream_options"),
        ({"temperature": "0.5"}, "invalid_type", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"n": 1.5}, "invalid_type", "n"),
        ({"n": True}, "invalid_type", "n"),
        ({"stop": 5}, "invalid_type", "stop"),
        ({"tools": {}}, "invalid_type", "tools"),
        ({"response_format": "json"}, "invalid_type", "response_format"),
        ({"metadata": [["a", 1]]}, "invalid_type", "metadata"),
    ],
)
def test_wrong_fields_are_named(change, reason, param):
    found_reason, found_param, message = refusal(GOOD["chat"] | change)
    assert (found_reason, found_param) == (reason, param)
    assert param in message


def test_what_is_missing():
    for operation, body in GOOD.items():
        for field in body:
            assert refusal({k: v for k, v in body.items() if k != field}, operation)[:2] == (
                "missing_required_parameter", field)  # fmt: skip
    assert refusal(GOOD["embeddings"] | {"stream": True}, "embeddings")[1] == "stream"


def test_a_number_is_called_a_number():
    assert "has to be a number or null, but it is a string" in refusal(GOOD["chat"] | {"temperature": "x"})[2]


@pytest.mark.parametrize("operation", GOOD)
def test_what_is_fine_and_what_is_not_looked_at(operation):
    extra = {"temperature": None, "n": None, "user": None, "vendor": {"deep": [1]}, "seed": 2**63 - 1, "top_p": 1}
    request = parse(GOOD[operation] | extra | {"stream_options": None}, operation)
    assert request.model == "m"
    assert not request.stream
    assert request.raw == orjson.dumps(GOOD[operation] | extra | {"stream_options": None})


def test_streams_and_their_options():
    assert parse(GOOD["chat"] | {"stream": True}).stream
    assert parse(GOOD["chat"] | {"stream_options": {"include_usage": True}}).include_usage
    assert not parse(GOOD["chat"] | {"stream_options": {"include_usage": "yes"}}).include_usage


@pytest.mark.parametrize(("depth", "is_fine"), [(61, True), (62, True), (63, False), (64, False), (500, False)])
def test_depth(depth, is_fine):
    nested = b"[" * depth + b"]" * depth
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"deep":[%b]}' % nested
    if is_fine:
        assert parse(body)
    else:
        assert "64 levels" in refusal(body)[2]


def test_brackets_in_a_text_are_no_depth():
    assert parse(GOOD["chat"] | {"user": "[{" * 5000})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "image_url", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
FIELDS = ["model", "messages", "prompt", "input", "stream", "stream_options", "tools", "n", "x"]


@given(
    operation=st.sampled_from(sorted(GOOD)),
    change=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    messages=st.none() | st.lists(st.dictionaries(st.just("role"), st.just("user"), min_size=1) | JSON, max_size=3),
    is_whole=st.booleans(),
)
def test_any_json_is_a_request_or_a_refusal(operation, change, messages, is_whole):
    body = (GOOD[operation] if is_whole else {}) | change | ({"messages": messages} if messages is not None else {})
    try:
        request = parse(body, operation)
    except RefusedError as refused:
        assert 400 <= refused.refusal.status < 500
        return
    assert estimate_prompt(request.body) >= 0


@given(raw=st.binary(max_size=60), limit=st.integers(1, 50))
def test_any_bytes(raw, limit):
    for work in (lambda: parse(raw), lambda: decompress(raw, "gzip", limit)):
        try:
            work()
        except RefusedError as refused:
            assert 400 <= refused.refusal.status < 500


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_gzip_round_trip(data, limit):
    packed = gzip.compress(data)
    if len(data) <= limit:
        assert decompress(packed, "GZIP", limit) == data
    else:
        with pytest.raises(RefusedError) as caught:
            decompress(packed, "gzip", limit)
        assert caught.value.refusal.status == 413


def test_a_gzip_bomb_is_not_blown_up():
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(RefusedError) as caught:
        decompress(bomb, "gzip", 10_000)
    assert caught.value.refusal.status == 413
    with pytest.raises(RefusedError) as caught:
        decompress(gzip.compress(b"x" * 100)[:-4], "gzip", 10_000)
    assert "cut off" in str(caught.value.refusal.error)
    for encoding in ("br", "deflate", "gzip, gzip", "x" * 500):
        with pytest.raises(RefusedError) as caught:
            decompress(zlib.compress(b"{}"), encoding, 100)
        assert caught.value.refusal.status == 415
        assert len(caught.value.refusal.error["message"]) < 200


@pytest.mark.parametrize("name", ["MAX_TOKENS", "Model", "N", "Best_Of", "\u017fervice_tier"])
def test_names_that_some_servers_read_as_others_are_refused(name):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], name: 1}
    with pytest.raises(RefusedError) as caught:
        parse_request("chat", orjson.dumps(body), "r")
    assert caught.value.refusal.status == 400
    assert f"has to be written '{name.casefold()}'" in caught.value.refusal.error["message"]


def test_other_names_go_on_as_they_are():
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "X-Vendor": 1, "topK": 2}
    assert parse_request("chat", orjson.dumps(body), "r").body["topK"] == 2
