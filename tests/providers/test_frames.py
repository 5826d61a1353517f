"""Built answers have OpenAI's shape to the letter."""

import json

import pytest

from providers import frames
from providers.base import Cause, ErrorKind, ProviderError, Usage
from providers.frames import Frames
from tests.providers.openai_schema import deviations

USAGE = Usage(input=5, cache_read=3, cache_write_5m=1, cache_write_1h=2, output=7, reasoning=4)


def chunk(frame: bytes) -> dict[str, object]:
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    found: dict[str, object] = json.loads(frame[6:])
    return found


def every_frame(built: Frames) -> list[bytes]:
    return [
        built.role(),
        built.text('quote " and \u2028 and é'),
        built.reasoning("hm"),
        built.refusal("no"),
        built.tool_start(0, "call_1", "f"),
        built.tool_arguments(0, '{"a":'),
        built.delta({"annotations": []}, index=1),
        built.finish("stop"),
    ]


def test_every_frame_is_valid_and_alike() -> None:
    for wants_usage in (False, True):
        built = Frames("id-1", "m", 7, include_usage=wants_usage)
        for frame in every_frame(built):
            found = chunk(frame)
            assert (found["id"], found["model"], found["created"]) == ("id-1", "m", 7)
            assert ("usage" in found) is wants_usage
            if b"annotations" not in frame:
                assert deviations("CreateChatCompletionStreamResponse", found) == []


def test_deltas_say_what_they_were_told() -> None:
    built = Frames("i", "m", 1, include_usage=False)

    def delta(frame: bytes) -> object:
        return chunk(frame)["choices"][0]["delta"]  # type: ignore[index]

    assert delta(built.role()) == {"role": "assistant", "content": "", "refusal": None}
    assert delta(built.text('"\u2028é')) == {"content": '"\u2028é'}
    assert delta(built.tool_start(2, "c", "f", "{}")) == {
        "tool_calls": [{"index": 2, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    }
    assert delta(built.tool_arguments(2, "x")) == {"tool_calls": [{"index": 2, "function": {"arguments": "x"}}]}
    assert chunk(built.finish("length", index=3))["choices"] == [
        {"index": 3, "delta": {}, "logprobs": None, "finish_reason": "length"}
    ]


def test_the_usage_chunk_is_for_those_who_asked() -> None:
    assert Frames("i", "m", 1, include_usage=False).usage(USAGE) == b""
    assert Frames("i", "m", 1, include_usage=True).usage(None) == b""
    found = chunk(Frames("i", "m", 1, include_usage=True).usage(USAGE))
    assert found["choices"] == []
    assert found["usage"] == frames.usage_object(USAGE)
    assert deviations("CreateChatCompletionStreamResponse", found) == []


def test_usage_totals_include_every_class() -> None:
    shown = frames.usage_object(USAGE)
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["total_tokens"]) == (11, 11, 22)
    assert shown["prompt_tokens_details"]["cached_tokens"] == 3
    assert shown["prompt_tokens_details"]["cache_write_tokens"] == 3
    assert shown["completion_tokens_details"]["reasoning_tokens"] == 4


@pytest.mark.parametrize("content", ["hi", None])
def test_a_whole_completion_is_valid(content: str | None) -> None:
    message = frames.message(content, tool_calls=[frames.tool_call("c", "f", "{}")], reasoning_content="")
    body = frames.completion("i", "m", 1, [frames.choice(message, "tool_calls")], USAGE, service_tier=None)
    answer = json.loads(body)
    assert deviations("CreateChatCompletionResponse", answer) == []
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": content,
        "refusal": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_an_error_frame_has_the_error_object() -> None:
    error = ProviderError(ErrorKind.BROKEN, "gone", cause=Cause.CUT)
    assert chunk(frames.error_frame(error)) == {
        "error": {"message": "gone", "type": "upstream_error", "param": None, "code": None}
    }
