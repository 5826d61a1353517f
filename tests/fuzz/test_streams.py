"""Event streams of every dialect: torn anywhere they say the same, damaged anywhere they end with a name."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import registry
from providers.base import ProviderError, ProviderOptions, Request, StreamDecoder, Target
from providers.sse import Framer
from tests.fuzz.setup import damaged, fuzz, soon

REQUEST = Request("chat", {"model": "m", "stream": True}, b"{}", "m", stream=True, include_usage=True, request_id="r")
CALL = {"name": "f", "args": {"a": "é\u2028"}}
USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}


def chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": delta, "finish_reason": None}]}  # fmt: skip


def block(kind: str, index: int, **more: Any) -> dict[str, Any]:
    return {"type": f"content_block_{kind}", "index": index} | more


TOOL = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
STREAMS: dict[str, list[Any]] = {
    "openai": [
        chunk(role="assistant", content=""),
        chunk(content="one é\u2028"),
        chunk(reasoning_content="because"),
        chunk(tool_calls=[TOOL]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        chunk() | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        chunk() | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
        "[DONE]",
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 3}}},
        {"type": "ping"},
        block("start", 0, content_block={"type": "thinking", "thinking": ""}),
        block("delta", 0, delta={"type": "thinking_delta", "thinking": "because"}),
        block("delta", 0, delta={"type": "signature_delta", "signature": "abc"}),
        block("stop", 0),
        block("start", 1, content_block={"type": "text", "text": ""}),
        block("delta", 1, delta={"type": "text_delta", "text": "one é\u2028"}),
        block("stop", 1),
        block("start", 2, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        block("delta", 2, delta={"type": "input_json_delta", "partial_json": '{"a":1}'}),
        block("stop", 2),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
    "gemini": [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "why", "thought": True}]}}]},
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "one é\u2028"}]}}]},
        {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": CALL}]}, "finishReason": "STOP"}],
         "usageMetadata": USAGE, "responseId": "r"},
    ],
}  # fmt: skip
KINDS = sorted(STREAMS)


def encoded(events: list[Any], line_end: str = "\n") -> bytes:
    texts = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    named = [json.loads(text).get("type") if text.startswith('{"type') else None for text in texts]
    lines = [([f"event: {name}"] if name else []) + [f"data: {text}"] for name, text in zip(named, texts, strict=True)]
    return "".join(line_end.join([*event, "", ""]) for event in lines).encode()


WHOLE = {kind: encoded(events) for kind, events in STREAMS.items()}
PROVIDERS = {
    kind: registry.build(ProviderOptions("up", kind, api_key="sk-0123456789abcdef"))
    for kind in STREAMS
}  # fmt: skip


def decoder_of(kind: str) -> StreamDecoder:
    return PROVIDERS[kind].decoder(REQUEST, Target("m"))


def said(kind: str, pieces: list[bytes]) -> tuple[Any, ...]:
    """Everything that a caller and the gateway learn from a stream that comes in these pieces."""
    decoder = decoder_of(kind)
    sent = b"".join([*(decoder.feed(piece) for piece in pieces), decoder.close()])
    error = decoder.error
    assert error is None or isinstance(error, ProviderError)
    what = None if error is None else (error.kind, error.cause, error.message, error.status)
    frames = [_timeless(frame) for frame in sent.split(b"\n\n")]
    return frames, what, decoder.finish_reason, decoder.usage, decoder.has_content, decoder.output_bytes


def _timeless(frame: bytes) -> Any:
    if not frame.startswith(b"data: {"):
        return frame
    return {name: value for name, value in json.loads(frame[6:]).items() if name != "created"}


def torn(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_the_samples_are_whole_answers() -> None:
    for kind, data in WHOLE.items():
        frames, error, finish, usage, has_content, _ = said(kind, [data])
        assert (error, finish, has_content) == (None, "tool_calls", True)
        assert usage is not None
        assert b"data: [DONE]" in frames


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_to_tear_a_stream_is_as_good(kind: str) -> None:
    data = WHOLE[kind]
    expected = said(kind, [data])
    assert said(kind, [data[at : at + 1] for at in range(len(data))]) == expected
    for at in range(1, len(data), 3):
        assert said(kind, [data[:at], data[at:]]) == expected
    for line_end in ("\r\n", "\r"):
        assert said(kind, [encoded(STREAMS[kind], line_end)]) == expected


@pytest.mark.parametrize("kind", KINDS)
@fuzz(60)
@given(st.data(), st.lists(st.integers(0, 5000), max_size=10))
def test_a_damaged_stream_is_the_same_however_it_is_torn(kind: str, data: st.DataObject, places: list[int]) -> None:
    stream = data.draw(damaged([WHOLE[kind]]))
    assert said(kind, torn(stream, places)) == said(kind, [stream])


@pytest.mark.parametrize("kind", KINDS)
@fuzz(60)
@given(st.lists(st.binary(max_size=30) | st.binary(max_size=30).map(lambda data: b"data: " + data + b"\n\n")))
def test_any_bytes_end_with_a_name(kind: str, pieces: list[bytes]) -> None:
    decoder = decoder_of(kind)
    for piece in pieces:
        decoder.feed(piece)
    decoder.close()
    assert isinstance(decoder.error, ProviderError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"[" * 65530, b"\r" * 65535 + b"x", b":\n" * 32768])
def test_what_never_ends_is_given_up_in_time(kind: str, piece: bytes) -> None:
    """An event without an end is an error at its limit; lines that are no event are no memory."""
    decoder = decoder_of(kind)
    with soon():
        for _ in range(18):
            decoder.feed(piece)
            if decoder.error is not None:
                break
        decoder.close()
    assert isinstance(decoder.error, ProviderError)


@fuzz(100)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"data: x\n\n", b"\r", b"\n", b"\n\n"])), st.integers(1, 50))
def test_what_waits_is_bounded(pieces: list[bytes], limit: int) -> None:
    framer = Framer(limit)
    for piece in pieces:
        framer.feed(piece)
        assert framer.pending_bytes <= limit + 2
