"""Whatever a request holds, the mock answers or refuses it; whatever it sends, the dialect's decoder can tell."""

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Call, Cause, ProviderError, ProviderOptions, Request, StreamDecoder, Target
from providers.mock import Mock, build

MOCK: Mock = build(ProviderOptions("sim", "mock", extra={"pace": False}))

MEMBERS = [
    *("messages", "role", "content", "text", "type", "name", "tools", "function", "parameters", "properties", "items"),
    *("tool_choice", "tool_calls", "id", "arguments", "response_format", "json_schema", "schema", "enum", "anyOf"),
    *("n", "stop", "max_tokens", "logprobs", "top_logprobs", "stream_options", "include_usage", "seed", "prompt"),
    *("input", "dimensions", "encoding_format", "image_url", "reasoning_effort", "required", "minimum", "pattern"),
]
WORDS = ["user", "assistant", "tool", "function", "object", "array", "string", "integer", "json_schema", "weather", "#"]
scalars = st.none() | st.booleans() | st.integers(-5, 200) | st.sampled_from(WORDS) | st.floats(allow_nan=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=15,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(WORDS[:3])}, optional={"content": values, "tool_calls": values, "name": values}
    ),
    min_size=1,
    max_size=3,
)
tools = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "function": st.fixed_dictionaries({"name": scalars, "parameters": values})}
    ),
    max_size=2,
)
bodies = st.one_of(
    st.dictionaries(st.sampled_from(MEMBERS), values, max_size=5),
    st.builds(
        lambda rest, said, given_tools: {**rest, "messages": said, "tools": given_tools, "tool_choice": "required"},
        st.dictionaries(st.sampled_from(MEMBERS), values, max_size=4),
        messages,
        tools,
    ),
)


@given(bodies, st.sampled_from(["chat/completions", "completions", "embeddings"]), st.booleans())
def test_any_request_is_answered_or_refused(body: dict[str, Any], path: str, stream: bool) -> None:
    async def ask() -> tuple[int, bytes]:
        sent = orjson.dumps({"model": "gpt", **body, "stream": stream})
        async with MOCK.transport.open(Call(f"http://mock.invalid/v1/{path}", [], sent)) as exchange:
            return exchange.status, await exchange.read(100_000_000)

    status, answer = asyncio.run(ask())
    assert status in (200, 400)
    if status == 400:
        assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}
    elif stream and path != "embeddings":
        assert answer.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(answer)["usage"]


def decoded(model: str, **body: Any) -> StreamDecoder:
    async def run() -> StreamDecoder:
        sent = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], "stream": True, **body}
        request = Request("chat", sent, orjson.dumps(sent), "auto", True, False, "id")
        target = Target(model)
        decoder = MOCK.decoder(request, target)
        async with MOCK.transport.open(MOCK.call(request, target)) as exchange:
            while (piece := await exchange.chunk()) is not None:
                decoder.feed(piece)
        decoder.close()
        return decoder

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("model", "cause", "has_content"),
    [
        ("cut-stream", Cause.CUT, True),
        ("empty", Cause.CUT, False),
        ("garbage", Cause.GARBAGE, False),
        ("error-frame", Cause.IN_BAND, True),
    ],
)
def test_the_decoder_sees_what_went_wrong(model: str, cause: Cause, has_content: bool) -> None:
    decoder = decoded(model)
    assert decoder.error is not None
    assert decoder.error.cause is cause
    assert decoder.has_content is has_content


@pytest.mark.parametrize("model", ["gpt-5-mini", "refuse", "json", "tools", "blank"])
def test_a_good_stream_tells_its_usage_to_the_gateway(model: str) -> None:
    decoder = decoded(model)
    assert decoder.error is None
    assert decoder.is_finished
    assert decoder.usage is not None
    assert decoder.usage.input > 0


def test_a_whole_answer_that_is_garbage_is_told_apart() -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    request, target = Request("chat", body, orjson.dumps(body), "auto", False, False, "id"), Target("garbage")

    async def ask() -> bytes:
        async with MOCK.transport.open(MOCK.call(request, target)) as exchange:
            return await exchange.read(1_000_000)

    with pytest.raises(ProviderError) as caught:
        MOCK.reply(request, target, asyncio.run(ask()))
    assert caught.value.cause is Cause.GARBAGE
