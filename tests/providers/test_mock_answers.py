"""What the well-behaved mock answers: reproducible, valid by the specification, true to the request's parameters."""

import asyncio
import base64
import json
import math
import struct
from typing import Any

import jsonschema
import openai.types.chat
import pytest

from providers.base import Call, ProviderOptions, Request, Target
from providers.mock import Mock, build
from tests.providers.openai_schema import deviations

PARIS = [{"role": "user", "content": "What's the weather like in Paris today?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The local clock of a place",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def mock(**extra: Any) -> Mock:
    return build(
        ProviderOptions(name="sim", kind="mock", extra={"pace": False, **extra}), clock=lambda: 1_760_000_000.5
    )


def call(operation: str, body: dict[str, Any]) -> Call:
    path = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}[operation]
    return Call(f"http://mock.invalid/v1{path}", [], json.dumps(body).encode())


def whole(operation: str = "chat", provider: Mock | None = None, **body: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with (provider or mock()).transport.open(call(operation, {"model": "gpt-5-mini", **body})) as exchange:
            answer = json.loads(await exchange.read(10_000_000))
            assert exchange.status == 200, answer
            return answer

    return asyncio.run(ask())


def refused(operation: str = "chat", **body: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with mock().transport.open(call(operation, {"model": "gpt-5-mini", **body})) as exchange:
            assert exchange.status == 400
            return json.loads(await exchange.read(10_000_000))["error"]

    return asyncio.run(ask())


def streamed(operation: str = "chat", provider: Mock | None = None, **body: Any) -> list[dict[str, Any]]:
    async def ask() -> bytes:
        pieces = []
        asked = call(operation, {"model": "gpt-5-mini", "stream": True, **body})
        async with (provider or mock()).transport.open(asked) as exchange:
            while (piece := await exchange.chunk()) is not None:
                pieces.append(piece)
        return b"".join(pieces)

    events = asyncio.run(ask()).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def arguments_of(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    calls = answer["choices"][0]["message"].get("tool_calls", [])
    return [(made["function"]["name"], json.loads(made["function"]["arguments"])) for made in calls]


BODIES: list[dict[str, Any]] = [
    {"messages": PARIS},
    {"messages": PARIS, "n": 3, "max_tokens": 7},
    {"messages": PARIS, "logprobs": True, "top_logprobs": 3},
    {"messages": PARIS, "tools": [WEATHER]},
    {"messages": PARIS, "tools": [WEATHER], "tool_choice": "required", "n": 2},
    {"messages": PARIS, "response_format": {"type": "json_object"}},
    {"messages": PARIS, "reasoning_effort": "low"},
    {"messages": PARIS, "model": "mock/refuse"},
    {"messages": PARIS, "model": "tools"},
    {"messages": PARIS, "model": "json"},
    {"messages": PARIS, "model": "blank"},
]


@pytest.mark.parametrize("body", BODIES)
def test_chat_answers_are_valid_by_the_specification(body: dict[str, Any]) -> None:
    answer = whole(**body)
    assert deviations("CreateChatCompletionResponse", answer) == []
    openai.types.chat.ChatCompletion.model_validate(answer, strict=True)


@pytest.mark.parametrize("body", BODIES)
def test_chat_streams_are_valid_by_the_specification(body: dict[str, Any]) -> None:
    for chunk in streamed(**body, stream_options={"include_usage": True}):
        assert deviations("CreateChatCompletionStreamResponse", chunk) == []
        openai.types.chat.ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("body", BODIES)
def test_a_stream_says_what_the_whole_answer_says(body: dict[str, Any]) -> None:
    answer = whole(**body)
    chunks = streamed(**body, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == answer["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert {chunk["id"] for chunk in chunks} == {answer["id"]}
    for choice in answer["choices"]:
        mine = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert mine[0]["delta"]["role"] == "assistant"
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [choice["finish_reason"]]
        assert text_of(chunks, choice["index"]) == (choice["message"]["content"] or "")
        refusal = "".join(c["delta"].get("refusal") or "" for c in mine)
        assert refusal == (choice["message"]["refusal"] or "")
        parts = [part for c in mine for part in c["delta"].get("tool_calls", [])]
        for index, made in enumerate(choice["message"].get("tool_calls", [])):
            own = [part for part in parts if part["index"] == index]
            assert own[0]["id"] == made["id"]
            assert "".join(part["function"].get("arguments", "") for part in own) == made["function"]["arguments"]


def test_usage_chunk_comes_only_when_asked() -> None:
    assert all("usage" not in chunk for chunk in streamed(messages=PARIS))


def test_answers_are_reproducible_and_depend_on_content_and_seed() -> None:
    assert whole(messages=PARIS) == whole(messages=PARIS)
    texts = {whole(messages=PARIS, seed=seed)["choices"][0]["message"]["content"] for seed in range(10)}
    assert len(texts) > 5
    assert whole(messages=PARIS)["id"] != whole(messages=[{"role": "user", "content": "Hi"}])["id"]


def test_text_refers_to_the_prompt() -> None:
    answer = whole(messages=[{"role": "user", "content": "Explain photosynthesis please"}])
    assert "photosynthesis" in answer["choices"][0]["message"]["content"]


def test_choices_differ() -> None:
    choices = whole(messages=PARIS, n=4)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert len({choice["message"]["content"] for choice in choices}) > 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_token_limit_is_kept_and_said(name: str) -> None:
    answer = whole(messages=PARIS, **{name: 5})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_reasoning_counts_within_the_limit() -> None:
    answer = whole(messages=PARIS, reasoning_effort="high", max_completion_tokens=20)
    assert answer["usage"]["completion_tokens"] == 20
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 20
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"
    thinking = whole(messages=PARIS, reasoning_effort="high")["usage"]
    assert thinking["completion_tokens_details"]["reasoning_tokens"] % 64 == 0 < thinking["completion_tokens"]


@pytest.mark.parametrize("stop", ["the", ["nothing like it", "the"]])
def test_stop_sequence_ends_the_text(stop: object) -> None:
    full = whole(messages=PARIS)["choices"][0]["message"]["content"]
    assert "the" in full
    cut = whole(messages=PARIS, stop=stop)["choices"][0]
    assert cut["message"]["content"] == full[: full.index("the")]
    assert cut["finish_reason"] == "stop"


def test_fixed_length() -> None:
    chunks = streamed(provider=mock(length=100), messages=PARIS)
    assert sum(1 for chunk in chunks if chunk["choices"][0]["delta"].get("content")) == 100


def test_logprobs_cover_every_token() -> None:
    choice = whole(messages=PARIS, logprobs=True, top_logprobs=2)["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in content)


def test_repeated_long_prefix_counts_as_cached() -> None:
    system = {"role": "system", "content": "You know everything about trains. " * 200}
    first = [system, *PARIS]
    later = [*first, {"role": "assistant", "content": "Rain."}, {"role": "user", "content": "And tomorrow?"}]
    assert whole(messages=first)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    usage = whole(messages=later)["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached >= 1024
    assert cached % 128 == 0
    assert cached < usage["prompt_tokens"]


def test_image_is_seen_and_counted() -> None:
    def message(*parts: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]

    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}
    plain, seen = whole(messages=message()), whole(messages=message(image))
    assert seen["usage"]["prompt_tokens"] - plain["usage"]["prompt_tokens"] == 765
    assert "image" in seen["choices"][0]["message"]["content"]


# --- tools


def test_tool_named_by_the_message_is_called_with_what_it_names() -> None:
    answer = whole(messages=PARIS, tools=[TIME, WEATHER])
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"]["content"] is None
    ((name, arguments),) = arguments_of(answer)
    assert (name, arguments["city"]) == ("get_weather", "Paris")
    jsonschema.validate(arguments, WEATHER["function"]["parameters"])


def test_unrelated_message_is_answered_in_text() -> None:
    answer = whole(messages=[{"role": "user", "content": "Tell me a joke"}], tools=[WEATHER])
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["message"]["content"]


def test_several_things_make_parallel_calls() -> None:
    asked = [{"role": "user", "content": "What is the weather in Paris, Oslo and New York?"}]
    assert [made["city"] for _, made in arguments_of(whole(messages=asked, tools=[WEATHER]))] == [
        "Paris",
        "Oslo",
        "New York",
    ]
    assert len(arguments_of(whole(messages=asked, tools=[WEATHER], parallel_tool_calls=False))) == 1
    both = [{"role": "user", "content": "Give me the weather and the time in Oslo"}]
    assert [name for name, _ in arguments_of(whole(messages=both, tools=[WEATHER, TIME]))] == [
        "get_weather",
        "get_time",
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME]}},
            ["get_time"],
        ),
    ],
)
def test_tool_choice_is_obeyed(choice: object, expected: list[str]) -> None:
    joke = [{"role": "user", "content": "Tell me a joke"}]
    answer = whole(messages=joke, tools=[WEATHER, TIME], tool_choice=choice)
    assert [name for name, _ in arguments_of(answer)] == expected


def test_unknown_tool_choice_is_refused() -> None:
    error = refused(messages=PARIS, tools=[TIME], tool_choice={"type": "function", "function": {"name": "nope"}})
    assert "nope" in error["message"]


def test_tool_results_are_answered_in_text() -> None:
    first = whole(messages=PARIS, tools=[WEATHER])["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": '{"temp": 21}'}
    answer = whole(messages=[*PARIS, first, result], tools=[WEATHER])["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert 'get_weather says {"temp": 21}' in answer["message"]["content"]


# --- structured output


def test_json_schema_is_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 18, "maximum": 99},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
    answer = whole(messages=PARIS, response_format=wanted)
    jsonschema.validate(json.loads(answer["choices"][0]["message"]["content"]), schema)
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_json_object() -> None:
    content = whole(messages=PARIS, response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    assert isinstance(json.loads(content), dict)


# --- other operations


def test_completion() -> None:
    answer = whole("completions", prompt="Once upon a time", max_tokens=9, n=2, logprobs=1)
    assert deviations("CreateCompletionResponse", answer) == []
    assert answer["usage"]["completion_tokens"] == 18
    chunks = streamed("completions", prompt="Once upon a time", max_tokens=9, stream_options={"include_usage": True})
    assert "".join(c["text"] for chunk in chunks for c in chunk["choices"]) == answer["choices"][0]["text"]
    assert chunks[-1]["usage"]["completion_tokens"] == 9


def test_completion_of_several_prompts_and_echo() -> None:
    answer = whole("completions", prompt=["One two three", "Four five six"], n=2, max_tokens=3, echo=True)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    starts = [choice["text"][:3] for choice in answer["choices"]]
    assert starts == ["One", "One", "Fou", "Fou"]


def floats(encoded: str) -> list[float]:
    data = base64.b64decode(encoded)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def cosine(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_embeddings_are_unit_vectors_near_for_near_texts() -> None:
    texts = ["How do I route requests?", "how to route a request", "Bake a chocolate cake"]
    answer = whole("embeddings", model="text-embedding-3-small", input=texts)
    assert deviations("CreateEmbeddingResponse", answer) == []
    vectors = [item["embedding"] for item in answer["data"]]
    assert all(len(vector) == 1536 and math.isclose(cosine(vector, vector), 1, abs_tol=1e-5) for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > 0.4 > cosine(vectors[0], vectors[2])


def test_embeddings_base64_dimensions_and_tokens() -> None:
    asked: dict[str, Any] = {"input": "hello world", "dimensions": 256}
    plain = whole("embeddings", **asked)["data"][0]["embedding"]
    packed = whole("embeddings", **asked, encoding_format="base64")["data"][0]["embedding"]
    assert floats(packed) == plain
    assert len(plain) == 256
    assert len(whole("embeddings", input=[[1, 2], [3]])["data"]) == 2
    assert len(whole("embeddings", input=[1, 2, 3])["data"]) == 1


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("chat", {}),
        ("chat", {"messages": []}),
        ("chat", {"messages": ["hello"]}),
        ("chat", {"messages": PARIS, "n": 0}),
        ("chat", {"messages": PARIS, "max_tokens": "many"}),
        ("chat", {"messages": PARIS, "stop": 5}),
        ("chat", {"messages": [{"role": "assistant", "tool_calls": 3}, {"role": "tool"}]}),
        ("chat", {"messages": PARIS, "tools": [{"function": {"name": "weather", "parameters": 3}}]}),
        ("completions", {}),
        ("embeddings", {"input": []}),
        ("embeddings", {"input": [{"a": 1}]}),
        ("embeddings", {"input": "x", "dimensions": 10**9}),
    ],
)
def test_bad_requests_are_refused_as_the_real_api_does(operation: str, body: dict[str, Any]) -> None:
    error = refused(operation, **body)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


def test_provider_translates_as_the_openai_dialect() -> None:
    async def ask() -> None:
        provider = mock()
        body = {"model": "auto", "messages": PARIS}
        request = Request("chat", body, json.dumps(body).encode(), "auto", False, False, "id")
        target = Target("mock/gpt-5-mini")
        async with provider.transport.open(provider.call(request, target)) as exchange:
            reply = provider.reply(request, target, await exchange.read(1_000_000))
        assert reply.finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.output > 0

    asyncio.run(ask())
