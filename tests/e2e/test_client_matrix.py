"""Every client does the whole list against every dialect, and gets what it would get from the provider itself."""

import base64

import pytest

from tests.e2e.setup import Target
from tests.fakes.dialects.openai import vector

pytestmark = pytest.mark.e2e

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
CITY_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "City",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
            "required": ["city", "population"],
            "additionalProperties": False,
        },
    },
}
CITY = {"city": "Paris", "population": 7}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 62).decode()
# U+2028 and U+0085 end a line for some readers of event streams; the rest is what JSON and UTF-8 get wrong.
AWKWARD = 'né\u2028x\u2029y\u0085z 世界 👩‍👩‍👧 "quoted" \\ \t </s> \x7f'

only = pytest.mark.parametrize


def usage_of(target: Target) -> dict[str, int]:
    # Anthropic counts thinking into its output and gives no number of its own.
    reasoning = 0 if target.name == "anthropic" else 2
    return {"prompt": 20, "completion": 10, "total": 30, "cached": 8, "reasoning": reasoning}


def weather_call(city: str) -> dict[str, object]:
    return {"name": "get_weather", "arguments": {"city": city}, "has_id": True}


def test_plain(ask, target):
    result = ask("create", AWKWARD)
    assert result["text"] == f"You said: {AWKWARD}"
    assert (result["finish"], result["object"], result["indexes"]) == ("stop", "chat.completion", [0])
    assert result["message"]["role"] == "assistant"
    assert result["refusal"] is None
    assert result["usage"] == usage_of(target)
    assert result["request_id"]


def test_system_and_history(ask, upstream, target):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
    ]
    assert ask("create", messages=messages)["text"] == "You said: two"
    sent = upstream.last.body.decode()
    assert all(text in sent for text in ("Be brief.", "Be kind.", "one", "ok"))


def test_stream_with_usage(ask, target):
    result = ask("stream", AWKWARD, stream_options={"include_usage": True})
    assert result["text"] == f"You said: {AWKWARD}"
    assert (result["finish"], result["finish_counts"]) == ("stop", [1])
    assert result["ids"] == 1
    assert result["roles"][0] == "assistant"
    assert result["usages"] == [usage_of(target)]
    assert result["usage_choices"] == [0]


@only("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
def test_stream_without_usage(ask, target, options):
    result = ask("stream", "hello", **options)
    assert (result["text"], result["finish"]) == ("You said: hello", "stop")
    assert result["usages"] == []


def test_long_stream(ask):
    text = "".join(chr(0x4E00 + i % 2000) for i in range(5000))
    assert ask("stream", text)["text"] == f"You said: {text}"


def test_tool_call(ask, target):
    result = ask("create", "weather?", tools=[WEATHER], tool_choice="auto")
    assert (result["finish"], result["calls"]) == ("tool_calls", [weather_call("Paris")])
    assert not result["text"]


def test_tool_call_without_arguments(ask):
    result = ask("create", "time?", tools=[CLOCK])
    assert result["calls"] == [{"name": "get_time", "arguments": {}, "has_id": True}]


def test_parallel_tool_calls(ask):
    result = ask("create", "both cities", tools=[WEATHER], parallel_tool_calls=True)
    assert result["calls"] == [weather_call("Paris"), weather_call("Rome")]
    assert len(set(result["call_ids"])) == 2


def test_streamed_parallel_tool_calls(ask):
    result = ask("stream", "both cities", tools=[WEATHER], stream_options={"include_usage": True})
    assert result["calls"] == [weather_call("Paris"), weather_call("Rome")]
    assert len(set(result["call_ids"])) == 2
    assert (result["finish"], result["finish_counts"]) == ("tool_calls", [1])
    assert len(result["usages"]) == 1


def test_streamed_tool_call_without_arguments(ask):
    assert ask("stream", "time?", tools=[CLOCK])["calls"] == [{"name": "get_time", "arguments": {}, "has_id": True}]


@only(
    "choice",
    ["required", {"type": "function", "function": {"name": "get_time"}}],
    ids=["required", "named"],
)
def test_tool_choice(ask, choice):
    result = ask("create", "weather?", tools=[WEATHER, CLOCK], tool_choice=choice)
    assert result["calls"][0]["name"] == ("get_weather" if choice == "required" else "get_time")


def test_tool_choice_none(ask):
    assert ask("create", "weather?", tools=[WEATHER], tool_choice="none")["text"] == "You said: weather?"


def test_tool_round_trip(ask):
    calls = [
        # An id in another provider's style: what a conversation brings along after a change of model.
        {
            "id": "functions.x:0",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": ""}},
    ]
    messages = [
        {"role": "user", "content": "weather and time?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.x:0", "content": "21 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
    ]
    assert ask("create", messages=messages, tools=[WEATHER, CLOCK])["text"] == "The tools said: 21 degrees; noon"


def test_structured_output(ask):
    import json

    result = ask("create", "a city", response_format=CITY_FORMAT)
    assert json.loads(result["text"]) == CITY
    assert result["finish"] == "stop"


@only("op", ["parse", "parse_beta"])
def test_structured_output_parsed(ask, op):
    assert ask(op, "a city") == {"parsed": CITY, "refusal": None}


def test_structured_output_streamed_and_parsed(ask):
    assert ask("parse_stream", "a city") == {"parsed": CITY, "has_delta_events": True}


def test_tool_arguments_parsed(ask):
    assert ask("parse_tools", "a city") == {"parsed": CITY, "name": "save_city"}


@only("op", ["create", "stream"])
def test_vision(ask, op):
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
    ]
    assert ask(op, messages=[{"role": "user", "content": content}])["text"] == "I see image/png (70)"


def test_vision_by_url(ask, target):
    if target.name == "gemini":
        pytest.skip("Gemini takes no foreign addresses")
    content = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    result = ask("create", messages=[{"role": "user", "content": content}])
    assert result["text"] == "I see https://example.com/a.png (-1)"


@only("target", ["direct", "openai", "gemini"], indirect=True)
def test_n(ask):
    result = ask("create", "hello", n=2)
    assert result["texts"] == ["You said: hello"] * 2
    assert (result["indexes"], result["finishes"]) == ([0, 1], ["stop", "stop"])


@only("target", ["direct", "openai", "gemini"], indirect=True)
def test_n_streamed(ask):
    result = ask("stream", "hello", n=2)
    assert (result["texts"], result["finish_counts"]) == (["You said: hello"] * 2, [1, 1])


@only("op", ["create", "stream"])
@only("stop", ["END", ["STOP", "END"]], ids=["string", "list"])
def test_stop(ask, op, stop):
    result = ask(op, "count", stop=stop)
    assert (result["text"], result["finish"]) == ("one two three ", "stop")


@only("op", ["create", "stream"])
@only("field", ["max_tokens", "max_completion_tokens"])
def test_length(ask, op, field):
    result = ask(op, "hello", **{field: 2})
    assert (result["text"], result["finish"]) == ("You", "length")


@only("target", ["direct", "openai"], indirect=True)
def test_seed(ask, client_name, upstream):
    # JavaScript has no larger whole number of its own.
    seed = 2**53 - 1 if client_name == "node" else 2**63 - 1
    assert ask("create", "hello", seed=seed)["fingerprint"] == f"fp_{seed}"
    assert f'"seed":{seed}'.encode() in upstream.last.body.replace(b" ", b"")


@only("target", ["anthropic"], indirect=True)
def test_what_a_dialect_cannot_say_is_dropped_and_listed(ask):
    result = ask("create", "hello", seed=7, logit_bias={"1": 2})
    assert result["text"] == "You said: hello"
    dropped = {name.strip() for name in result["headers"]["x-signalbox-dropped-params"].split(",")}
    assert {"seed", "logit_bias"} <= dropped


@only("target", ["direct", "openai", "gemini"], indirect=True)
def test_logprobs(ask):
    result = ask("create", "hi", logprobs=True, top_logprobs=2)
    assert result["logprobs"] == [
        ["You sai", -0.25, ["You sai0", "You sai1"]],
        ["d: hi", -0.25, ["d: hi0", "d: hi1"]],
    ]


@only("target", ["direct", "openai"], indirect=True)
def test_logprobs_streamed(ask):
    assert [t[0] for t in ask("stream", "hi", logprobs=True, top_logprobs=2)["logprobs"]] == ["You sai", "d: hi"]


@only("target", ["direct", "openai", "gemini"], indirect=True)
@only("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=["default", "float", "base64"])
def test_embeddings(ask, encoding, client_name):
    texts = ["one", "two\u2028", "three"]
    result = ask("embed", input=texts, **encoding)
    vectors = result["vectors"]
    if encoding.get("encoding_format") == "base64" and isinstance(vectors[0], str):
        vectors = [decoded(v) for v in vectors]
    assert vectors == [vector(text, 8) for text in texts]
    assert (result["indexes"], result["object"]) == ([0, 1, 2], "list")


@only("target", ["direct", "openai", "gemini"], indirect=True)
def test_embedding_of_one_text_with_dimensions(ask):
    assert ask("embed", input="one", dimensions=3)["vectors"] == [vector("one", 3)]


@only("target", ["direct", "openai"], indirect=True)
def test_embedding_of_tokens(ask):
    assert ask("embed", input=[[1, 2], [3]])["vectors"] == [vector([1, 2], 8), vector([3], 8)]


@only("target", ["direct", "openai"], indirect=True)
def test_legacy_completions(ask):
    result = ask("complete", prompt=["a", "b"])
    assert (result["texts"], result["object"]) == (["You wrote: a", "You wrote: b"], "text_completion")
    assert result["usage"]["total"] == 30


@only("target", ["direct", "openai"], indirect=True)
@only("options", [{}, {"stream_options": {"include_usage": True}}], ids=["plain", "usage"])
def test_legacy_completions_streamed(ask, options):
    result = ask("complete_stream", prompt=["a", "b"], **options)
    assert result["texts"] == ["You wrote: a", "You wrote: b"]
    assert len(result["usages"]) == len(options)


def decoded(text: str) -> list[float]:
    import struct

    raw = base64.b64decode(text)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))
