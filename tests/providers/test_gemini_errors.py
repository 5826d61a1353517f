"""What Google's refusals mean, and embeddings."""

import base64
import json
import struct
from typing import Any

import orjson
import pytest

from providers.base import Cause, ErrorKind, ProviderError, Target, Usage
from tests.providers.gemini_wire import KEY, provider, request

QUOTA = "You exceeded your current quota, please check your plan and billing details."
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}


def violated(*quotas: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": q} for q in quotas]}


def classified(code: int, status: str, message: str = "Something.", *details: dict[str, Any], **headers: str) -> Any:
    body = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    return provider().error(code, headers, orjson.dumps(body))


@pytest.mark.parametrize(
    ("code", "status", "message", "kind", "said"),
    [
        (400, "INVALID_ARGUMENT", "Bad.", ErrorKind.CALLER, None),
        (400, "INVALID_ARGUMENT", "API key not valid.", ErrorKind.CREDENTIALS, "invalid_api_key"),
        (400, "INVALID_ARGUMENT", "API key expired. Please renew.", ErrorKind.CREDENTIALS, "invalid_api_key"),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            ErrorKind.CONTEXT_LENGTH,
            "context_length_exceeded",
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            ErrorKind.CREDENTIALS,
            "permission_denied",
        ),
        (400, "FAILED_PRECONDITION", "Please enable billing on your project.", ErrorKind.MONEY, "insufficient_quota"),
        (
            400,
            "INVALID_ARGUMENT",
            "The image violates our usage guidelines.",
            ErrorKind.CONTENT_FILTER,
            "content_filter",
        ),
        (401, "UNAUTHENTICATED", "Who?", ErrorKind.CREDENTIALS, "invalid_api_key"),
        (403, "PERMISSION_DENIED", "No.", ErrorKind.CREDENTIALS, "permission_denied"),
        (404, "NOT_FOUND", "models/x is not found", ErrorKind.CALLER, "model_not_found"),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later.",
            ErrorKind.THROTTLED,
            "rate_limit_exceeded",
        ),
        (429, "RESOURCE_EXHAUSTED", QUOTA, ErrorKind.MONEY, "insufficient_quota"),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", ErrorKind.MONEY, "insufficient_quota"),
        (429, "RESOURCE_EXHAUSTED", f"{QUOTA} limit: 0, Please retry in 20.0s.", ErrorKind.MONEY, "insufficient_quota"),
        (499, "CANCELLED", "Gone.", ErrorKind.BROKEN, None),
        (500, "INTERNAL", "Oops.", ErrorKind.BROKEN, None),
        (503, "UNAVAILABLE", "The model is overloaded.", ErrorKind.OVERLOADED, "overloaded"),
        (504, "DEADLINE_EXCEEDED", "Late.", ErrorKind.BROKEN, None),
        (418, "", "Tea.", ErrorKind.CALLER, None),
        (502, "", "Gateway.", ErrorKind.BROKEN, None),
    ],
)
def test_kinds(code: int, status: str, message: str, kind: ErrorKind, said: str | None) -> None:
    error = classified(code, status, message)
    assert (error.kind, error.status, error.cause) == (kind, code, Cause.STATUS)
    assert error.error["code"] == said
    assert error.error["message"] == message
    assert error.error["param"] is None
    assert error.error.get("status", "") == status


def test_reasons_win_over_the_status() -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BILLING_DISABLED"}
    assert classified(403, "PERMISSION_DENIED", "No.", reason).kind is ErrorKind.MONEY
    assert classified(400, "INVALID_ARGUMENT", "No.", {"reason": "API_KEY_INVALID"}).kind is ErrorKind.CREDENTIALS


def test_a_rate_says_when_to_come_back_and_a_day_does_not_count_as_one() -> None:
    minute = violated("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
    error = classified(429, "RESOURCE_EXHAUSTED", QUOTA, minute, RETRY)
    assert (error.kind, error.retry_after_s) == (ErrorKind.THROTTLED, 34.4)
    day = violated("GenerateRequestsPerMinute-FreeTier", "GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    error = classified(429, "RESOURCE_EXHAUSTED", QUOTA, day, RETRY)
    assert (error.kind, error.retry_after_s) == (ErrorKind.MONEY, None)
    words = classified(429, "RESOURCE_EXHAUSTED", f"{QUOTA}\nPlease retry in 39.5s.")
    assert (words.kind, words.retry_after_s) == (ErrorKind.THROTTLED, 39.5)
    header = classified(503, "UNAVAILABLE", "Busy.", **{"retry-after": "7"})
    assert header.retry_after_s == 7
    assert classified(400, "INVALID_ARGUMENT", "Bad.", RETRY).retry_after_s is None


def test_an_error_that_begins_a_stream_comes_as_a_list() -> None:
    body = orjson.dumps([{"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}])
    assert provider().error(503, {}, body).kind is ErrorKind.OVERLOADED


@pytest.mark.parametrize("body", [b"", b"<html>nope</html>", b"[]", b"[1]", b'"x"', b'{"error": 5}'])
def test_an_error_without_words(body: bytes) -> None:
    error = provider().error(503, {}, body)
    assert error.kind is ErrorKind.OVERLOADED
    assert error.message == "The provider answered with status 503."


def test_oauth_has_its_own_shape() -> None:
    body = orjson.dumps({"error": "invalid_grant", "error_description": "Expired."})
    error = provider().error(401, {}, body)
    assert (error.kind, error.message) == (ErrorKind.CREDENTIALS, "Expired.")


def test_our_key_is_never_repeated() -> None:
    error = classified(400, "INVALID_ARGUMENT", f"Bad key {KEY} and AIzaSyB-another-key-0000")
    assert KEY not in json.dumps(error.error)
    assert "AIzaSyB" not in error.message


# Embeddings


def embedded(answer: Any, **members: Any) -> tuple[dict[str, Any], Usage]:
    asked = request("embeddings", **members)
    reply = provider().reply(asked, Target("gemini-embedding-001"), orjson.dumps(answer))
    assert reply.usage is not None
    return json.loads(reply.body), reply.usage


def test_embeddings_are_asked_for_in_one_batch() -> None:
    asked = request("embeddings", input=["a", "b"], dimensions=2, task_type="RETRIEVAL_QUERY", user="u")
    call = provider().call(asked, Target("gemini-embedding-001"))
    assert call.url.endswith("/v1beta/models/gemini-embedding-001:batchEmbedContents")
    options = {"model": "models/gemini-embedding-001", "outputDimensionality": 2, "taskType": "RETRIEVAL_QUERY"}
    assert json.loads(call.body) == {
        "requests": [{**options, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }
    assert call.dropped == ("user",)


def test_embeddings_at_vertex_are_predictions() -> None:
    vertex = provider(extra={"project": "p", "location": "us-central1"})
    call = vertex.call(request("embeddings", input="a", dimensions=2, taskType="T"), Target("gemini-embedding-001"))
    assert call.url.endswith("/publishers/google/models/gemini-embedding-001:predict")
    assert json.loads(call.body) == {
        "instances": [{"content": "a", "task_type": "T"}],
        "parameters": {"outputDimensionality": 2},
    }
    answer = {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 3}}}]}
    assert embedded(answer, input="a")[1] == Usage(input=3)


def test_embeddings_have_openai_shape() -> None:
    answer = {"embeddings": [{"values": [0.5, 1]}, {"values": [2]}], "usageMetadata": {"promptTokenCount": 4}}
    found, usage = embedded(answer, input=["a", "b"])
    assert found == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, 1]},
            {"object": "embedding", "index": 1, "embedding": [2]},
        ],
        "model": "gemini-embedding-001",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert usage == Usage(input=4)
    found, usage = embedded({"embedding": {"values": [0.5, -1.0]}}, input="some text", encoding_format="base64")
    packed = base64.b64decode(found["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (0.5, -1.0)
    assert usage.is_estimated
    assert found["usage"]["prompt_tokens"] == usage.input > 0


@pytest.mark.parametrize("wanted", [None, [], [1, 2], [[1, 2]], {"a": 1}])
def test_inputs_that_are_no_text_are_refused(wanted: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        provider().call(request("embeddings", input=wanted), Target("e"))
    assert caught.value.kind is ErrorKind.CALLER
    assert caught.value.error["param"] == "input"


@pytest.mark.parametrize(
    "answer", [{}, [], {"embeddings": []}, {"embeddings": [{"values": [1]}] * 2}, {"embeddings": 3}]
)
def test_embeddings_that_do_not_fit_are_garbage(answer: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        embedded(answer, input="a")
    assert caught.value.cause is Cause.GARBAGE


def test_an_error_inside_an_answer() -> None:
    with pytest.raises(ProviderError) as caught:
        embedded({"error": {"code": 429, "message": "Slow.", "status": "RESOURCE_EXHAUSTED"}}, input="a")
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.THROTTLED, Cause.IN_BAND)
