"""Answers in OpenAI's shape, for dialects that have to build them: whole completions and the frames of a stream.

One place, because every client depends on the same details: the same id in all chunks, `finish_reason` present in every
choice, the four error keys, a usage chunk only for those who asked, exactly one `[DONE]`.
Shapes: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from providers.base import ProviderError, Usage

DONE = b"data: [DONE]\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`: totals include cached and reasoning tokens, the details name those classes again."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def tool_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    """One entry of a message's `tool_calls`; `arguments` is JSON text."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def message(content: str | None, *, refusal: str | None = None, **present: Any) -> dict[str, Any]:
    """An assistant message. `content` and `refusal` are always there; of `present` only what is not empty."""
    kept = {name: value for name, value in present.items() if value}
    return {"role": "assistant", "content": content, "refusal": refusal, **kept}


def choice(
    message: Mapping[str, Any], finish_reason: str, index: int = 0, logprobs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One entry of a whole completion's `choices`."""
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def completion(
    id: str, model: str, created: int, choices: Sequence[Mapping[str, Any]], usage: Usage | None, **present: Any
) -> bytes:
    """The JSON text of a whole chat completion. `created` is Unix seconds; None in `present` is left out."""
    built: dict[str, Any] = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        built["usage"] = usage_object(usage)
    built.update((name, value) for name, value in present.items() if value is not None)
    return orjson.dumps(built)


def error_frame(error: ProviderError) -> bytes:
    """The frame that tells a client its stream broke. No `[DONE]` follows it."""
    return b"data: %b\n\n" % orjson.dumps({"error": error.error})


class Frames:
    """Builds the server-sent events of one chat stream.

    `created` is Unix seconds. With `include_usage` every chunk carries `usage: null`, as OpenAI's do, and the caller
    ends the stream with `usage()`. Everything constant is encoded once; a delta costs one JSON string.
    """

    __slots__ = ("_finish", "_head", "_tail", "_wants_usage")

    def __init__(self, id: str, model: str, created: int, *, include_usage: bool) -> None:
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            orjson.dumps(id),
            created,
            orjson.dumps(model),
        )
        end = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._tail = b',"logprobs":null,"finish_reason":null}' + end
        self._finish = b"}" + end
        self._wants_usage = include_usage

    def role(self, index: int = 0) -> bytes:
        """The first delta of a choice."""
        return self._delta(b'{"role":"assistant","content":"","refusal":null}', index)

    def text(self, text: str, index: int = 0) -> bytes:
        return self._delta(b'{"content":%b}' % orjson.dumps(text), index)

    def refusal(self, text: str, index: int = 0) -> bytes:
        return self._delta(b'{"refusal":%b}' % orjson.dumps(text), index)

    def reasoning(self, text: str, index: int = 0) -> bytes:
        """A piece of visible reasoning; `reasoning_content` is the name clients read since DeepSeek introduced it."""
        return self._delta(b'{"reasoning_content":%b}' % orjson.dumps(text), index)

    def tool_start(self, number: int, id: str, name: str, arguments: str = "", index: int = 0) -> bytes:
        """The first delta of the tool call with this number; OpenAI calls the number `index` too."""
        call = b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":%b}}]}' % (
            number,
            orjson.dumps(id),
            orjson.dumps(name),
            orjson.dumps(arguments),
        )
        return self._delta(call, index)

    def tool_arguments(self, number: int, piece: str, index: int = 0) -> bytes:
        """More of a tool call's arguments."""
        call = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (number, orjson.dumps(piece))
        return self._delta(call, index)

    def delta(self, delta: Mapping[str, Any], index: int = 0) -> bytes:
        """Any other delta, such as vendor objects."""
        return self._delta(orjson.dumps(delta), index)

    def finish(self, reason: str, index: int = 0, logprobs: Mapping[str, Any] | None = None) -> bytes:
        """The chunk that ends a choice."""
        return b'%b{"index":%d,"delta":{},"logprobs":%b,"finish_reason":%b%b' % (
            self._head,
            index,
            orjson.dumps(logprobs),
            orjson.dumps(reason),
            self._finish,
        )

    def usage(self, usage: Usage | None) -> bytes:
        """The last chunk for those who asked for usage, nothing for the others or where usage is unknown."""
        if not self._wants_usage or usage is None:
            return b""
        return b'%b],"usage":%b}\n\n' % (self._head, orjson.dumps(usage_object(usage)))

    def _delta(self, delta: bytes, index: int) -> bytes:
        return b'%b{"index":%d,"delta":%b%b' % (self._head, index, delta, self._tail)
