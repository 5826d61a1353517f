"""Whatever a caller or a provider sends, the translation answers or refuses; it never fails in another way."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.anthropic import build
from providers.base import Call, ProviderError, ProviderOptions, Reply, Request, Target

PROVIDER = build(ProviderOptions("claude", "anthropic", api_key="sk-ant-0123456789"))
MODELS = ("claude-sonnet-4-5", "claude-sonnet-4-20250514", "claude-opus-4-6", "claude-opus-5-5", "other")
NAMES = (
    "role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "id", "tool_call_id", "index",
    "thinking_blocks", "signature", "thinking", "file", "file_data", "image_url", "url", "json_schema", "schema",
    "properties", "$defs", "$ref", "anyOf", "items", "allowed_tools", "tools", "mode", "effort", "user_id", "format",
)  # fmt: skip
WORDS = (
    "user", "assistant", "tool", "system", "text", "function", "image_url", "file", "thinking", "json_schema", "object",
    "allowed_tools", "required", "auto", "none", "low", "#/$defs/a", "data:image/png;base64,AA==", "data:x,",
    "tool_use", "content_block_start", "content_block_delta", "message_start", "message_delta", "error", "",
)  # fmt: skip
MEMBERS = (
    "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "reasoning",
    "temperature", "top_p", "top_k", "max_tokens", "stop", "user", "metadata", "service_tier", "thinking", "n",
    "output_config", "functions", "logit_bias", "modalities", "safety_identifier",
)  # fmt: skip

LEAVES = st.none() | st.booleans() | st.integers(-3, 5000) | st.floats(0, 3) | st.sampled_from(WORDS)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
MESSAGES = st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), max_size=4)
USER = {"role": "user", "content": "hi"}


def request(body: dict[str, Any]) -> Request:
    return Request("chat", body, b"", "m", False, True, "r")


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=6), st.sampled_from(MODELS))
def test_parameters(members: dict[str, Any], model: str) -> None:
    body = {"messages": [USER], **members}
    try:
        assert isinstance(PROVIDER.call(request(body), Target(model)), Call)
    except ProviderError as error:
        assert error.error["type"] == "invalid_request_error"


@given(MESSAGES, st.sampled_from(["user", "assistant", "tool", "system"]))
def test_messages(messages: list[dict[str, Any]], role: str) -> None:
    body = {"messages": [USER, *({"role": role, **message} for message in messages)], "reasoning_effort": "low"}
    try:
        assert isinstance(PROVIDER.call(request(body), Target("claude-sonnet-4-5")), Call)
    except ProviderError as error:
        assert error.error["type"] == "invalid_request_error"


@given(JSON | st.dictionaries(st.sampled_from(["content", "usage", "error", "id", "stop_reason"]), JSON))
def test_answers(answer: Any) -> None:
    with contextlib.suppress(ProviderError):
        assert isinstance(PROVIDER.reply(request({}), Target("claude"), orjson.dumps(answer)), Reply)
    PROVIDER.error(400, {}, orjson.dumps(answer))


EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(
        ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
         "message_stop", "error", "ping"])},
    optional={"index": st.integers(0, 2), "message": JSON, "content_block": JSON, "delta": JSON, "usage": JSON},
)  # fmt: skip


@given(st.lists(EVENTS, max_size=6))
def test_streams(events: list[dict[str, Any]]) -> None:
    decoder = PROVIDER.decoder(request({}), Target("claude"))
    for event in events:
        decoder.feed(b"data: %b\n\n" % orjson.dumps(event))
    decoder.close()


@pytest.mark.parametrize("value", [{}, [], 5, "x", True])
@pytest.mark.parametrize("member", MEMBERS)
def test_each_member_with_each_type(member: str, value: Any) -> None:
    try:
        PROVIDER.call(request({"messages": [USER], member: value}), Target("claude-opus-4-6"))
    except ProviderError as error:
        assert error.error["param"] is not None
