"""What providers say in heads and errors: always a named failure, in time that grows with its length alone."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.throttle import allowance
from providers import registry
from providers.base import Provider, ProviderError, ProviderOptions
from providers.redact import Redactor
from providers.retry_hints import retry_after_s
from tests.fuzz.setup import damaged, fuzz, soon

SECRET = "sk-proj-0123456789abcdef"
KINDS = ("anthropic", "gemini", "openai")
PROVIDERS: dict[str, Provider] = {kind: registry.build(ProviderOptions("up", kind, api_key=SECRET)) for kind in KINDS}
ERRORS = [
    b'{"error":{"message":"Rate limit reached, try again in 6m0.5s","type":"tokens","param":null,"code":"x"}}',
    b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}',
    b'[{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"3.5s"}]}}]',
    b'{"detail":[{"loc":["body"],"msg":"bad"}],"object":"error"}',
    b"<html><title>502 Bad Gateway</title><body>nginx</body></html>",
]
WHAT = ("limit", "remaining", "reset")
NAMES = [
    "retry-after", "retry-after-ms", "date", "x-should-retry", "content-type",
    *(f"x-ratelimit-{what}-{unit}" for what in WHAT for unit in ("requests", "tokens")),
    *(f"anthropic-ratelimit-{unit}-{what}" for what in WHAT for unit in ("requests", "tokens")),
]  # fmt: skip
VALUES = st.text(max_size=20) | st.sampled_from(
    ["0", "-1", "nan", "inf", "1e400", "9" * 400, "6m0s", "17ms", "1d" * 30, "Wed, 21 Oct 2026 07:28:00 GMT",
     "2026-11-21T16:00:00Z", "Thu, 01 Jan 0000 00:00:00 +9999", "1700000000", "1700000000000",
     "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]
)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
LONG = 64 * 1024


@pytest.mark.parametrize("kind", KINDS)
@fuzz(60)
@given(st.integers(300, 599), HEADERS, st.binary(max_size=80) | damaged(ERRORS))
def test_any_answer_is_a_failure_with_a_name(kind: str, status: int, headers: dict[str, str], body: bytes) -> None:
    error = PROVIDERS[kind].error(status, headers, body)
    assert isinstance(error, ProviderError)
    assert {"message", "type", "param", "code"} <= error.error.keys()
    assert error.retry_after_s is None or 0 <= error.retry_after_s <= 7 * 86400


@fuzz(200)
@given(HEADERS, st.text(max_size=30) | st.text("0123456789.smhd in retry", max_size=40))
def test_any_hint_is_seconds_or_nothing(headers: dict[str, str], message: str) -> None:
    hint_s = retry_after_s(headers, message)
    assert hint_s is None or (math.isfinite(hint_s) and 0 <= hint_s <= 7 * 86400)
    allowance(headers)


@pytest.mark.parametrize("value", ["1" * LONG, "1" * LONG + "x", "1." * LONG, "1d" * LONG, " " * LONG, "1:" * LONG])
def test_long_hints_are_read_in_time(value: str) -> None:
    with soon():
        for name in NAMES:
            retry_after_s({name: value, "date": value}, f"try again in {value}")
            allowance({name: value, "date": value})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    ["sk-aaaaaaaaaaaaaaaaaaaaa.", "sk-", "eyJaaaaaaaaa-", "eyJaaaaaaaaa.", "AIza-", "api key = ", "api_key:", "bearer ",
     "<", "<script>", "<title ", "retry in 1", "exceeds the ", "1", "1h", ". ", "\\u0000", "`"],
)  # fmt: skip
def test_errors_of_one_pattern_are_read_in_time(kind: str, text: str) -> None:
    said = (text * (256 * 1024 // len(text)))[: 256 * 1024].rstrip("\\")
    bodies = [said.encode(), json.dumps({"error": {"message": "x", "raw": said, "type": "y"}}).encode()]
    with soon():
        for body in [*bodies, json.dumps({"error": {"message": said}}).encode()]:
            assert isinstance(PROVIDERS[kind].error(400, {}, body), ProviderError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [30, 100, 500, 1000, 100_000])
def test_deep_errors_are_errors(kind: str, depth: int) -> None:
    for opening, ending in ((b"[", b"]"), (b'{"error":', b"}"), (b'{"a":', b"}")):
        for inner in (b"%s1%s", b'{"error":{"message":"m","a":%s1%s}}'):
            body = inner % (opening * depth, ending * depth)
            assert isinstance(PROVIDERS[kind].error(500, {}, body), ProviderError)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just(f"key {SECRET}!"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just(SECRET), inner, max_size=3)
    ),
    max_leaves=12,
)  # fmt: skip


@fuzz(100)
@given(ANY)
def test_no_shape_hides_a_secret(value: Any) -> None:
    assert SECRET not in json.dumps(Redactor([SECRET]).value(value))


BODIES = {"sk-proj-": 20, "gsk_": 20, "AIza": 30, "hf_": 20, "ghp_": 20, "AKIA": 16}
CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789"
AROUND = st.text(" .,:;'\"()<>*-_=/é\n", max_size=4)


@fuzz(200)
@given(st.sampled_from(sorted(BODIES)), st.data(), AROUND, AROUND)
def test_keys_of_others_are_found_by_their_shape(prefix: str, data: st.DataObject, before: str, after: str) -> None:
    key = prefix + data.draw(st.text(CHARS, min_size=BODIES[prefix], max_size=60)) + "7"
    if before[-1:].isalnum() or before.endswith("_"):
        before += " "  # a shape is one at the beginning of a word
    assert key not in Redactor([]).text(f"so {before}{key}{after} it is")


@fuzz(50)
@given(*[st.text(CHARS + "-_", min_size=9, max_size=40)] * 3, AROUND)
def test_tokens_are_found_by_their_shape(head: str, claims: str, signature: str, around: str) -> None:
    token = f"eyJ{head}.{claims}.{signature}"
    assert claims not in Redactor([]).text(f"so {around.rstrip('_')} {token}{around}")
