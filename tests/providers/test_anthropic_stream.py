"""Anthropic's event stream as OpenAI's, also where it is incomplete, broken or another vendor's idea of it."""

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from providers._anthropic_stream import Decoder
from providers.anthropic import AnthropicProvider
from providers.base import Cause, ErrorKind, ProviderOptions, Request, Target, Usage
from providers.sse import MAX_EVENT_BYTES

Json = dict[str, Any]
KEY = "sk-ant-api03-verysecret0123456789"
PROVIDER = AnthropicProvider(ProviderOptions("claude", "anthropic", api_key=KEY), clock=lambda: 1234.9)
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "number", "schema": {"type": "object"}}}


def event(type_: str, **members: Any) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, **members})}\n\n".encode()


def started(**usage: int) -> bytes:
    counts = {"input_tokens": 5, "output_tokens": 1, **usage}
    return event("message_start", message={"id": "msg_1", "model": "claude-x", "content": [], "usage": counts})


def block(index: int, *deltas: Json, **content: Any) -> bytes:
    pieces = b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    return (
        event("content_block_start", index=index, content_block=content)
        + pieces
        + event("content_block_stop", index=index)
    )


def text(index: int, *pieces: str) -> bytes:
    return block(index, *({"type": "text_delta", "text": piece} for piece in pieces), type="text", text="")


def tool(index: int, id: str, name: str, *pieces: str, **content: Any) -> bytes:
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return block(index, *deltas, type="tool_use", id=id, name=name, **{"input": {}, **content})


def thinking(index: int, *pieces: str, signature: str = "sig") -> bytes:
    deltas: list[Json] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    deltas.append({"type": "signature_delta", "signature": signature})
    return block(index, *deltas, type="thinking", thinking="", signature="")


def ended(reason: str | None = "end_turn", **members: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None, **members}
    return event("message_delta", delta=delta, usage={"output_tokens": 9}) + event("message_stop")


def decoder_for(*, include_usage: bool = False, model: str = "claude-sonnet-4-5", **body: Any) -> Decoder:
    return PROVIDER.decoder(Request("chat", body, b"", "m", True, include_usage, "r-1"), Target(model))


def decode(stream: bytes, **options: Any) -> tuple[list[Json], Decoder]:
    decoder = decoder_for(**options)
    frames = (decoder.feed(stream) + decoder.close()).decode().split("\n\n")[:-1]
    return [json.loads(f.removeprefix("data: ")) if f != "data: [DONE]" else {"done": True} for f in frames], decoder


def deltas(stream: bytes, **options: Any) -> list[Json]:
    chunks, _ = decode(stream, **options)
    return [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]


ROLE = {"role": "assistant", "content": "", "refusal": None}


def called(number: int, id: str, name: str) -> Json:
    return {
        "tool_calls": [{"index": number, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]
    }


def arguments(number: int, piece: str) -> Json:
    return {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def test_text() -> None:
    chunks, decoder = decode(started() + event("ping") + text(0, "Hel", "", "lo\u2028") + ended())
    assert [chunk.get("choices", [{}])[0].get("delta") for chunk in chunks[:-1]] == [
        ROLE,
        {"content": "Hel"},
        {"content": "lo\u2028"},
        {},
    ]
    assert chunks[-1] == {"done": True}
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks[:-1]} == {("msg_1", "claude-x", 1234)}
    assert (decoder.error, decoder.finish_reason, decoder.is_finished) == (None, "stop", True)
    assert decoder.usage == Usage(input=5, output=9)
    assert decoder.output_bytes == len("Hello\u2028".encode())


def test_the_usage_chunk_is_for_those_who_asked() -> None:
    stream = started(cache_read_input_tokens=3) + text(0, "a") + ended()
    chunks, _ = decode(stream, include_usage=True)
    assert [chunk.get("usage", "none") for chunk in chunks[:-2]] == [None] * (len(chunks) - 2)
    assert chunks[-2]["choices"] == []
    assert (chunks[-2]["usage"]["prompt_tokens"], chunks[-2]["usage"]["completion_tokens"]) == (8, 9)
    assert not any("usage" in chunk for chunk in decode(stream)[0])


def test_parallel_calls() -> None:
    stream = started() + text(0, "a") + tool(1, "c1", "f", "", '{"x"', ":1}") + tool(2, "c2", "g") + ended("tool_use")
    assert deltas(stream) == [
        ROLE,
        {"content": "a"},
        called(0, "c1", "f"),
        arguments(0, '{"x"'),
        arguments(0, ":1}"),
        called(1, "c2", "g"),
        arguments(1, "{}"),
        {},
    ]
    assert decode(stream)[1].finish_reason == "tool_calls"


def test_arguments_that_were_there_from_the_start() -> None:
    stream = started() + tool(0, "c", "f", input={"x": 1}) + ended("tool_use")
    assert deltas(stream)[2] == arguments(0, '{"x":1}')


def test_thinking_is_shown_and_signed() -> None:
    hidden = block(1, type="redacted_thinking", data="xx")
    stream = started() + thinking(0, "h", "m") + hidden + text(2, "a") + thinking(3, signature="s2") + ended()
    assert deltas(stream) == [
        ROLE,
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig", "index": 0}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "xx", "index": 1}]},
        {"content": "a"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s2", "index": 3}]},
        {},
    ]


def test_the_openai_client_adds_it_all_up() -> None:
    stream = (
        started()
        + thinking(0, "h", "m")
        + text(1, "a", "b")
        + thinking(2, "so", signature="s2")
        + tool(3, "c1", "f", '{"x"', ":1}")
        + tool(4, "c2", "g")
        + ended("tool_use")
    )
    state = ChatCompletionStreamState()
    for chunk in decode(stream, include_usage=True)[0][:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    completion = state.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "ab"
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()] == [
        ("c1", "f", '{"x":1}'),
        ("c2", "g", "{}"),
    ]
    extra = message.model_extra or {}
    assert extra["reasoning_content"] == "hmso"
    assert [b["signature"] for b in extra["thinking_blocks"]] == ["sig", "s2"]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage is not None


def test_the_providers_own_tools_are_not_the_clients() -> None:
    own = block(
        0,
        {"type": "input_json_delta", "partial_json": '{"q":1}'},
        type="server_tool_use",
        id="s",
        name="web_search",
        input={},
    )
    found = block(1, type="web_search_tool_result", tool_use_id="s", content=[])
    assert deltas(started() + own + found + text(2, "a") + ended()) == [ROLE, {"content": "a"}, {}]


def test_citations_follow_their_text() -> None:
    citation = {"type": "web_search_result_location", "url": "https://x.example", "title": "X"}
    cited = block(
        1,
        {"type": "text_delta", "text": "bc"},
        {"type": "citations_delta", "citation": citation},
        type="text",
        text="",
        citations=[],
    )
    where = {"start_index": 1, "end_index": 3, "url": "https://x.example", "title": "X"}
    assert deltas(started() + text(0, "a") + cited + ended())[3] == {
        "annotations": [{"type": "url_citation", "url_citation": where}]
    }


def test_a_refusal() -> None:
    stream = started() + ended("refusal", stop_details={"type": "refusal", "explanation": "Not this."})
    chunks, decoder = decode(stream)
    assert [c["delta"] for chunk in chunks[:-1] for c in chunk["choices"]] == [ROLE, {"refusal": "Not this."}, {}]
    assert (decoder.finish_reason, decoder.has_content) == ("content_filter", True)


def test_the_tool_that_stands_for_a_schema_is_the_answer() -> None:
    stream = started() + tool(0, "c", "number", '{"n":', "1}") + ended("tool_use")
    chunks, decoder = decode(stream, model="claude-sonnet-4-20250514", response_format=SCHEMA_FORMAT)
    assert [c["delta"] for chunk in chunks[:-1] for c in chunk["choices"]] == [
        ROLE,
        {"content": '{"n":'},
        {"content": "1}"},
        {},
    ]
    assert decoder.finish_reason == "stop"


def test_content_begins_when_there_is_some() -> None:
    decoder = decoder_for()
    for quiet in (started(), event("ping"), event("content_block_start", index=0, content_block={"type": "text"})):
        decoder.feed(quiet)
        assert not decoder.has_content
    decoder.feed(event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}))
    assert decoder.has_content
    assert not decoder.is_finished


def test_a_stream_without_starts_and_stops() -> None:
    first = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})
    lost = event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{}"})
    stop = event("message_stop")
    chunks, decoder = decode(first + lost + stop)
    assert [c["delta"] for chunk in chunks[:-1] for c in chunk["choices"]] == [ROLE, {"content": "a"}, {}]
    assert {chunk["id"] for chunk in chunks[:-1]} == {"chatcmpl-r-1"}
    assert (decoder.error, decoder.finish_reason, decoder.usage) == (None, "stop", None)


def test_a_call_whose_stop_never_came() -> None:
    start = event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "c", "name": "f", "input": {}}
    )
    assert deltas(started() + start + ended("tool_use")) == [ROLE, called(0, "c", "f"), arguments(0, "{}"), {}]


def test_an_answer_that_is_whole_in_its_first_event() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]
    message = {"id": "m", "model": "x", "content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 1}}
    stream = event("message_start", message=message) + event("message_stop")
    assert deltas(stream) == [ROLE, {"content": "a"}, called(0, "c", "f"), arguments(0, '{"x":1}'), {}]
    assert decode(stream)[1].finish_reason == "tool_calls"


def test_counts_that_come_late_or_as_zero() -> None:
    late = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 70, "output_tokens": 3})
    assert decode(started(input_tokens=0) + late + event("message_stop"))[1].usage == Usage(input=70, output=3)
    zero = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 0, "output_tokens": 3})
    assert decode(started() + zero + event("message_stop"))[1].usage == Usage(input=5, output=3)


def test_several_message_deltas_finish_once() -> None:
    more = event("message_delta", delta={}, usage={"output_tokens": 4})
    chunks, _ = decode(started() + text(0, "a") + more + more + ended("max_tokens") + b"")
    assert [c["finish_reason"] for chunk in chunks[:-1] for c in chunk["choices"] if c["finish_reason"]] == ["length"]


def test_a_cut_stream_is_no_answer() -> None:
    chunks, decoder = decode(
        started() + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})
    )
    assert decoder.error is not None
    assert (decoder.error.kind, decoder.error.cause) == (ErrorKind.BROKEN, Cause.CUT)
    assert {"done": True} not in chunks
    assert decoder.usage == Usage(input=5, output=1)
    assert not decoder.is_finished


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("overloaded_error", ErrorKind.OVERLOADED),
        ("api_error", ErrorKind.BROKEN),
        ("rate_limit_error", ErrorKind.THROTTLED),
        ("invalid_request_error", ErrorKind.CALLER),
        ("new_error", ErrorKind.BROKEN),
    ],
)
def test_an_error_in_the_stream(type_: str, kind: ErrorKind) -> None:
    bad = event("error", error={"type": type_, "message": f"No: {KEY}"})
    chunks, decoder = decode(started() + text(0, "a") + bad + text(1, "b") + ended())
    assert decoder.error is not None
    assert (decoder.error.kind, decoder.error.cause) == (kind, Cause.IN_BAND)
    assert KEY not in str(decoder.error.error)
    assert [c["delta"] for chunk in chunks for c in chunk["choices"]] == [ROLE, {"content": "a"}]
    assert decoder.feed(ended()) == b""


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {broken\n\n",
        b"data: 5\n\n",
        b"data: []\n\n",
        b'data: {"a": 1}\n\n',
        event("content_block_delta", index=0, delta={"type": "text_delta"}),
        event("message_start", message=None),
        event("content_block_start", index=0),
        event("content_block_start", index=0, content_block={"type": "tool_use"}),
    ],
)
def test_garbage_in_the_stream(bad: bytes) -> None:
    _, decoder = decode(event("ping") + bad)
    assert decoder.error is not None
    assert decoder.error.cause is Cause.GARBAGE


def test_unknown_events_and_comments_are_passed_over() -> None:
    stream = b": hello\n\n" + started() + event("weather", sunny=True) + text(0, "a") + ended()
    odd = block(1, {"type": "odd_delta", "x": 1}, type="odd_block")
    assert deltas(stream) == [ROLE, {"content": "a"}, {}]
    assert deltas(started() + odd + ended()) == [ROLE, {}]


def test_an_event_without_end_is_given_up() -> None:
    decoder = decoder_for()
    decoder.feed(started())
    decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 10))
    assert decoder.error is not None
    assert decoder.error.cause is Cause.TOO_LARGE


def test_a_second_answer_inside_the_first_is_a_cut() -> None:
    _, decoder = decode(started() + text(0, "a") + started() + text(0, "b") + ended())
    assert decoder.error is not None
    assert decoder.error.cause is Cause.CUT
    assert decode(started() + started() + text(0, "b") + ended())[1].error is None


def test_nothing_follows_the_end() -> None:
    decoder = decoder_for()
    assert decoder.feed(started() + text(0, "a") + ended()).endswith(b"data: [DONE]\n\n")
    assert decoder.feed(text(1, "b")) == b""
    assert decoder.close() == b""
    assert decoder.error is None
