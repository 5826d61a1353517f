"""What a provider's refusal means, what is kept of it, and what never leaves us."""

import json
from typing import Any

import pytest

from providers.base import ErrorKind
from providers.retry_hints import duration_s, retry_after_s
from tests.providers.openai_wire import KEY, provider

K = ErrorKind


def classify(status: int, body: Any, headers: dict[str, str] | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return provider().error(status, headers or {}, raw)


def error(message: str = "m", **members: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **members}}


CASES = [
    (400, error(), K.CALLER),
    (404, error(code="model_not_found"), K.CALLER),
    (404, error(code="DeploymentNotFound"), K.CALLER),
    (409, error(), K.CALLER),
    (413, b"", K.CALLER),
    (422, {"detail": [{"loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]}, K.CALLER),
    (400, error(code="context_length_exceeded"), K.CONTEXT_LENGTH),
    (400, error("This endpoint's maximum context length is 200000 tokens.", code=400), K.CONTEXT_LENGTH),
    (400, error("prompt too long; exceeded max context length by 9 tokens"), K.CONTEXT_LENGTH),
    (413, error("Request too large for model `x`: tokens per minute", code="rate_limit_exceeded"), K.CONTEXT_LENGTH),
    (400, error(code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), K.CONTENT_FILTER),
    (400, error(code="content_policy_violation"), K.CONTENT_FILTER),
    (403, {"error": {"code": 403, "message": "flagged", "metadata": {"flagged_input": "x"}}}, K.CONTENT_FILTER),
    (429, error(code="rate_limit_exceeded", type="requests"), K.THROTTLED),
    (429, {"error": {"code": 429, "message": "Provider returned error"}}, K.THROTTLED),
    (429, error(code="insufficient_quota", type="insufficient_quota"), K.MONEY),
    (429, error("You exceeded your current quota, please check your plan and billing details."), K.MONEY),
    (400, error(code="insufficient_quota"), K.MONEY),
    (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, K.MONEY),
    (401, error(code="invalid_api_key"), K.CREDENTIALS),
    (403, error(type="permission_denied"), K.CREDENTIALS),
    (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xx."}, K.CREDENTIALS),
    (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], K.CREDENTIALS),
    (408, b"", K.OVERLOADED),
    (425, b"", K.OVERLOADED),
    (498, error("Flex tier capacity exceeded"), K.OVERLOADED),
    (503, b"<html><title>503 Service Unavailable</title></html>", K.OVERLOADED),
    (529, error(type="overloaded_error"), K.OVERLOADED),
    (500, error(type="server_error"), K.BROKEN),
    (500, error("The context window is fine, we are not"), K.BROKEN),
    (500, error("invalid", code="invalid_value"), K.BROKEN),
    (502, b"<html><body>Bad gateway</body></html>", K.BROKEN),
    (504, b"", K.BROKEN),
    (302, b"", K.BROKEN),
    (418, error(), K.CALLER),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_kind(status: int, body: Any, kind: ErrorKind) -> None:
    found = classify(status, body)
    assert found.kind is kind
    assert found.status == status
    assert {"message", "type", "param", "code"} <= found.error.keys()
    assert found.message
    assert isinstance(found.error["code"], str | None)


def test_the_providers_own_words_are_kept() -> None:
    found = classify(400, error("No.", param="stop", code="unsupported_parameter", vendor={"n": [1]}))
    assert found.error == {"message": "No.", "type": "invalid_request_error", "param": "stop",
                           "code": "unsupported_parameter", "vendor": {"n": [1]}}  # fmt: skip


def test_a_page_is_said_in_one_line() -> None:
    page = b"<html><head><title>Access  denied</title><script>x</script></head><body>" + b"y" * 9000
    assert classify(502, page).message == "The provider answered with something else than JSON: Access denied"
    assert len(classify(502, b"z" * 9000).message) < 400
    assert classify(502, b"\xff\xfe").message


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}. You can find it elsewhere.",
        "Incorrect API key provided: sk-proj-****************************abcd. See",
        "Invalid API key: 'my-weird-key-without-shape'",
        "header Authorization: Bearer abcdefgh.ijklmnop was refused",
        "gsk_0123456789abcdefABCDEF is over its limit",
        "key AIzaSyA0123456789abcdefg is not allowed",
    ],
)
def test_no_key_is_ever_quoted(text: str) -> None:
    found = classify(401, {"error": {"message": text, "details": {text: [text]}}})
    said = json.dumps(found.error) + found.message
    for secret in (KEY, "abcd.", "my-weird-key", "abcdefgh.ijklmnop", "gsk_0123", "AIzaSy"):
        assert secret not in said
    assert "[redacted]" in said


def test_a_key_in_a_configured_header_is_a_secret_too() -> None:
    up = provider(headers={"x-gateway-key": "averylongsecretvalue"})
    assert "averylong" not in up.error(401, {}, error("no averylongsecretvalue").__str__().encode()).message


def test_ordinary_words_are_not_keys() -> None:
    text = "The model `gpt-5-mini-2025-08-07` is not available at task-force-alpha-beta; use sk-learn or key-value."
    assert classify(404, error(text)).message == text


HINTS = [
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after": "20"}, 20.0),
    ({"retry-after": "Sat, 21 Nov 2026 08:00:30 GMT", "date": "Sat, 21 Nov 2026 08:00:00 GMT"}, 30.0),
    ({"retry-after": "Sat, 21 Nov 2026 08:00:30 GMT"}, None),
    ({"x-ratelimit-reset-requests": "17ms", "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-remaining-tokens": "900"}, 0.017),
    ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "7.66s"}, 7.66),
    ({"x-ratelimit-reset": "1795248010000", "date": "Sat, 21 Nov 2026 08:00:00 GMT"}, 10.0),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "soon"}, None),
    ({}, None),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "seconds"), HINTS)
def test_retry_hints(headers: dict[str, str], seconds: float | None) -> None:
    assert classify(429, error(code="rate_limit_exceeded"), headers).retry_after_s == pytest.approx(seconds)
    assert classify(400, error(), headers).retry_after_s is None


def test_a_hint_in_words() -> None:
    assert retry_after_s({}, "Rate limit reached. Please try again in 1m2.5s. Visit x") == 62.5
    assert retry_after_s({}, "Please try again in 120ms.") == pytest.approx(0.12)
    assert duration_s("1h2m3s") == 3723
    assert duration_s("never") is None
