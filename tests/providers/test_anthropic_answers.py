"""Anthropic's whole answers and errors in OpenAI's shape, rule by rule."""

import json
from typing import Any

import pytest

from providers.anthropic import AnthropicProvider
from providers.base import Cause, ErrorKind, ProviderError, ProviderOptions, Reply, Request, Target, Usage
from tests.providers.openai_schema import deviations

Json = dict[str, Any]
KEY = "sk-ant-api03-verysecret0123456789"
PROVIDER = AnthropicProvider(ProviderOptions("claude", "anthropic", api_key=KEY), clock=lambda: 1234.9)
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "number", "schema": {"type": "object"}}}


def reply_to(answer: Any, model: str = "claude-sonnet-4-5", **body: Any) -> Reply:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return PROVIDER.reply(Request("chat", body, b"", "m", False, False, "r-1"), Target(model), raw)


def answer(*content: Json, stop: str | None = "end_turn", **members: Any) -> Json:
    usage = {"input_tokens": 3, "output_tokens": 4}
    return {"type": "message", "id": "msg_1", "model": "claude-x", "role": "assistant", "content": list(content),
            "stop_reason": stop, "usage": usage, **members}  # fmt: skip


def message_of(reply: Reply) -> Json:
    body = json.loads(reply.body)
    assert deviations("CreateChatCompletionResponse", body) == []
    found: Json = body["choices"][0]["message"]
    return found


TEXT = {"type": "text", "text": "Hi"}


def test_the_envelope() -> None:
    body = json.loads(reply_to(answer(TEXT)).body)
    assert body == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 1234,
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": body["usage"],
    }
    assert body["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(stop: str | None, expected: str) -> None:
    assert reply_to(answer(TEXT, stop=stop)).finish_reason == expected


def test_text_calls_and_thinking() -> None:
    reply = reply_to(
        answer(
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "xx"},
            TEXT,
            {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
            {"type": "text", "text": " you"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": "é"}},
            {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
            stop="tool_use",
        )
    )
    assert message_of(reply) == {
        "role": "assistant",
        "content": "Hi you",
        "refusal": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
        "reasoning_content": "hm",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "hm", "signature": "s", "index": 0},
            {"type": "redacted_thinking", "data": "xx", "index": 1},
        ],
    }
    assert reply.finish_reason == "tool_calls"


def test_content_is_null_only_beside_calls() -> None:
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    assert message_of(reply_to(answer(call, stop="tool_use")))["content"] is None
    assert message_of(reply_to(answer()))["content"] == ""


def test_what_a_client_sends_back_is_what_the_model_said() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        TEXT,
        {"type": "thinking", "thinking": "", "signature": "s2"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}},
    ]
    message = message_of(reply_to(answer(*content, stop="tool_use")))
    messages = [{"role": "user", "content": "q"}, message, {"role": "tool", "tool_call_id": "c", "content": "r"}]
    request = Request("chat", {"messages": messages}, b"", "m", False, False, "r")
    sent = json.loads(PROVIDER.call(request, Target("claude-sonnet-4-5")).body)
    assert sent["messages"][1]["content"] == content


def test_web_citations_are_annotations_of_their_text() -> None:
    found = {"type": "web_search_result_location", "url": "https://x.example/a", "title": "A", "cited_text": "..."}
    document = {"type": "char_location", "document_index": 0, "cited_text": "..."}
    message = message_of(
        reply_to(answer({**TEXT, "citations": None}, {"type": "text", "text": "you", "citations": [found, document]}))
    )
    assert message["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 2, "end_index": 5, "url": "https://x.example/a", "title": "A"},
        }
    ]


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    reply = reply_to(answer(stop="refusal", stop_details=details))
    assert (message_of(reply)["refusal"], reply.finish_reason) == ("Not this.", "content_filter")


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"input_tokens": 5, "output_tokens": 7}, Usage(input=5, output=7)),
        ({"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3, "output_tokens": 7},
         Usage(input=5, cache_read=2, cache_write_5m=3, output=7)),
        ({"input_tokens": 5, "cache_creation_input_tokens": 9, "output_tokens": 0,
          "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}},
         Usage(input=5, cache_write_5m=4, cache_write_1h=5)),
        ({"input_tokens": None, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 6}},
         Usage(output=1, reasoning=6)),
        ({"input_tokens": 1, "output_tokens": 2, "output_tokens_details": None, "cache_creation": None,
          "cache_read_input_tokens": None, "service_tier": "standard"},
         Usage(input=1, output=2, service_tier="default")),
        ({"input_tokens": 1, "output_tokens": 2, "service_tier": "priority", "speed": "fast", "inference_geo": "us",
          "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 2}},
         Usage(input=1, output=2, searches=3, service_tier="fast+us")),
    ],
)  # fmt: skip
def test_usage_is_counted_once_per_class(reported: Json, expected: Usage) -> None:
    reply = reply_to(answer(TEXT, usage=reported))
    assert reply.usage == expected
    shown = json.loads(reply.body)["usage"]
    assert shown["prompt_tokens"] == expected.prompt_tokens
    assert shown["completion_tokens"] == expected.completion_tokens
    assert shown["prompt_tokens_details"]["cached_tokens"] == expected.cache_read


def test_the_tier_that_served() -> None:
    tiers = {"standard": "default", "priority": "priority", "batch": None}
    for theirs, ours in tiers.items():
        usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": theirs}
        assert json.loads(reply_to(answer(TEXT, usage=usage)).body).get("service_tier") == ours


def test_the_tool_that_stands_for_a_schema_is_the_answer() -> None:
    call = {"type": "tool_use", "id": "c", "name": "number", "input": {"n": 1}}
    reply = reply_to(answer(call, stop="tool_use"), "claude-sonnet-4-20250514", response_format=SCHEMA_FORMAT)
    message = message_of(reply)
    assert (json.loads(message["content"]), "tool_calls" in message) == ({"n": 1}, False)
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"content": "hi"}'])
def test_garbage(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        reply_to(body)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.GARBAGE)


def test_an_error_in_a_good_answer() -> None:
    with pytest.raises(ProviderError) as caught:
        reply_to({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.OVERLOADED, Cause.IN_BAND)


def failure(status: int, type_: str, message: str = "x", **headers: str) -> ProviderError:
    body = {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PROVIDER.error(status, named, json.dumps(body).encode())


LONG = "prompt is too long: 208310 tokens > 200000 maximum"
LONG_WITH_OUTPUT = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"
POOR = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
SPENT = "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."


@pytest.mark.parametrize(
    ("status", "type_", "message", "kind", "code"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", ErrorKind.CALLER, None),
        (400, "invalid_request_error", LONG, ErrorKind.CONTEXT_LENGTH, "context_length_exceeded"),
        (400, "invalid_request_error", LONG_WITH_OUTPUT, ErrorKind.CONTEXT_LENGTH, "context_length_exceeded"),
        (400, "invalid_request_error", POOR, ErrorKind.MONEY, "insufficient_quota"),
        (400, "invalid_request_error", SPENT, ErrorKind.MONEY, "insufficient_quota"),
        (400, "invalid_request_error", "Output blocked by content filtering policy", ErrorKind.CONTENT_FILTER,
         "content_filter"),
        (401, "authentication_error", "invalid x-api-key", ErrorKind.CREDENTIALS, "invalid_api_key"),
        (402, "billing_error", "Payment needed", ErrorKind.MONEY, "insufficient_quota"),
        (403, "permission_error", "No access to this model", ErrorKind.CREDENTIALS, "permission_denied"),
        (404, "not_found_error", "model: claude-9", ErrorKind.CALLER, "model_not_found"),
        (413, "request_too_large", "Request exceeds the maximum size", ErrorKind.CALLER, None),
        (409, "conflict_error", "x", ErrorKind.CALLER, None),
        (500, "api_error", "Internal server error", ErrorKind.BROKEN, None),
        (504, "timeout_error", "x", ErrorKind.BROKEN, None),
        (503, "service_unavailable", "x", ErrorKind.OVERLOADED, "overloaded"),
        (529, "overloaded_error", "Overloaded", ErrorKind.OVERLOADED, "overloaded"),
        (408, "odd", "x", ErrorKind.OVERLOADED, "overloaded"),
    ],
)  # fmt: skip
def test_failures(status: int, type_: str, message: str, kind: ErrorKind, code: str | None) -> None:
    error = failure(status, type_, message)
    assert (error.kind, error.status, error.cause) == (kind, status, Cause.STATUS)
    assert error.error == {"message": message, "type": type_, "param": None, "code": code}


def test_a_rate_limit_says_when_it_ends_a_spend_limit_does_not() -> None:
    limited = failure(429, "rate_limit_error", retry_after="7")
    assert (limited.kind, limited.retry_after_s) == (ErrorKind.THROTTLED, 7.0)
    assert limited.error["code"] == "rate_limit_exceeded"
    assert failure(429, "rate_limit_error", anthropic_ratelimit_requests_remaining="0").kind is ErrorKind.THROTTLED
    spent = failure(429, "rate_limit_error", anthropic_ratelimit_requests_remaining="12")
    assert (spent.kind, spent.error["code"]) == (ErrorKind.MONEY, "insufficient_quota")


def test_overload_hints_are_kept() -> None:
    assert failure(529, "overloaded_error", retry_after="3").retry_after_s == 3.0


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b'{"error": "down"}', b'{"error": null}'])
def test_failures_without_an_error_object(body: bytes) -> None:
    error = PROVIDER.error(502, {}, body)
    assert error.kind is ErrorKind.BROKEN
    assert error.message
    assert set(error.error) == {"message", "type", "param", "code"}


def test_a_key_that_the_provider_quotes_is_not_repeated() -> None:
    error = failure(401, "authentication_error", f"bad key {KEY}, not sk-ant-other-9876543210abcdef")
    assert KEY not in json.dumps(error.error) + str(error) + error.message
    assert "9876543210" not in str(error)
    with pytest.raises(ProviderError) as caught:
        reply_to({"type": "error", "error": {"type": "api_error", "message": f"key {KEY}"}})
    assert KEY not in json.dumps(caught.value.error) + str(caught.value)
