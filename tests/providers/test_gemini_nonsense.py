"""Whatever a caller or Google sends, the translation answers or refuses; it never fails in another way."""

import contextlib
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import Call, Operation, ProviderError, ProviderOptions, Reply, Request, Target
from providers.gemini import build

PROVIDER = build(ProviderOptions("google", "gemini", api_key="AIzaSyA-0123456789"))
MODELS = ("gemini-3-pro-preview", "gemini-2.5-flash", "gemini-2.0-flash", "gemma-3-27b-it", "gemini-flash-latest")
ASKED = (
    "messages", "tools", "tool_choice", "functions", "function_call", "response_format", "reasoning_effort",
    "reasoning", "thinking", "modalities", "stop", "n", "max_tokens", "logprobs", "top_logprobs", "service_tier",
    "generationConfig", "extra_body", "google", "user", "web_search_options", "metadata",
)  # fmt: skip
NAMES = (
    "role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "tool_call_id", "images",
    "extra_content", "google", "thought_signature", "code_execution", "image_url", "url", "file", "file_data",
    "file_id", "format", "json_schema", "schema", "properties", "$ref", "$defs", "anyOf", "allOf", "const", "enum",
    "allowed_tools", "tools", "mode", "effort", "max_tokens", "thinking_config", "refusal", "audio", "input_audio",
)  # fmt: skip
ANSWERED = (
    "candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "partialArgs", "jsonPath",
    "stringValue", "willContinue", "inlineData", "mimeType", "data", "finishReason", "index", "usageMetadata",
    "promptTokenCount", "promptTokensDetails", "modality", "tokenCount", "promptFeedback", "blockReason", "error",
    "code", "message", "status", "details", "retryDelay", "violations", "groundingMetadata", "groundingSupports",
    "groundingChunkIndices", "groundingChunks", "segment", "startIndex", "endIndex", "web", "uri", "logprobsResult",
    "chosenCandidates", "topCandidates", "token", "logProbability", "responseId", "embeddings", "values", "predictions",
)  # fmt: skip
WORDS = (
    "user", "assistant", "tool", "system", "text", "function", "image_url", "file", "json_schema", "auto", "required",
    "low", "none", "STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "$.a[0].b", "$['x']", "data:x,", "",
    "data:image/png;base64,AA==", "#/$defs/a", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "3.5s", "AUDIO",
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-3, 5000) | st.floats(0, 3) | st.sampled_from(WORDS)


def json_of(names: tuple[str, ...]) -> Any:
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5),
        max_leaves=15,
    )


def request(body: dict[str, Any], operation: Operation = "chat") -> Request:
    return Request(operation, body, b"", "m", False, True, "r")


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(ASKED), json_of(NAMES), max_size=6), st.sampled_from(MODELS))
def test_parameters(members: dict[str, Any], model: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], **members}
    try:
        assert isinstance(PROVIDER.call(request(body), Target(model)), Call)
    except ProviderError as error:
        assert error.error["type"] == "invalid_request_error"


@settings(max_examples=100)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), json_of(NAMES), max_size=5), max_size=4),
    st.sampled_from(["user", "assistant", "tool", "system"]),
)
def test_messages(messages: list[dict[str, Any]], role: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}, *({"role": role, **message} for message in messages)]}
    try:
        assert isinstance(PROVIDER.call(request(body), Target("gemini-3-flash")), Call)
    except ProviderError as error:
        assert error.error["type"] == "invalid_request_error"


@settings(max_examples=100)
@given(json_of(ANSWERED))
def test_answers(answer: Any) -> None:
    body = orjson.dumps(answer)
    for operation in ("chat", "embeddings"):
        with contextlib.suppress(ProviderError):
            assert isinstance(PROVIDER.reply(request({"input": "x"}, operation), Target("m"), body), Reply)
    assert isinstance(PROVIDER.error(429, {}, body), ProviderError)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(st.sampled_from(ANSWERED), json_of(ANSWERED), max_size=4), max_size=4), st.binary())
def test_candidates_and_streams(candidates: list[Any], noise: bytes) -> None:
    body = orjson.dumps({"candidates": candidates})
    with contextlib.suppress(ProviderError):
        PROVIDER.reply(request({}), Target("m"), body)
    decoder = PROVIDER.decoder(request({}), Target("m"))
    out = decoder.feed(b"data: " + body + b"\r\n\r\n") + decoder.feed(noise) + decoder.close()
    assert out.endswith(b"data: [DONE]\n\n") != (decoder.error is not None)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(st.sampled_from(ANSWERED), json_of(ANSWERED), max_size=4), max_size=4))
def test_parts(parts: list[Any]) -> None:
    body = orjson.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
    with contextlib.suppress(ProviderError):
        PROVIDER.reply(request({}), Target("m"), body)
    decoder = PROVIDER.decoder(request({}), Target("m"))
    out = decoder.feed(b"data: " + body + b"\n\n") + decoder.close()
    assert out.endswith(b"data: [DONE]\n\n") != (decoder.error is not None)
