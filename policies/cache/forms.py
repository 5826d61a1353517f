"""One answer in two forms: whole, and as the events of a stream. Each can be made from the other.

An answer is kept whole. What cannot be told in both forms without loss is not kept at all.
Shapes: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from providers import lenient_json
from providers.base import Usage
from providers.frames import DONE, usage_object
from providers.sse import events

# An answer that ended otherwise is cut, or was held back by somebody: the next one may be better.
_GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call"})
_OF_ONE_CHUNK = frozenset({"choices", "usage", "obfuscation", "p"})
_OBJECTS = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
# What a choice may say beside its message, whatever it is a part of: why it ended and what filters found, in words of
# Azure, OpenRouter, and vLLM. In a stream the last word counts.
_VERDICTS = ("content_filter_results", "native_finish_reason", "stop_reason")
_PIECE = 48  # characters of a replayed chunk


class UnfitError(ValueError):
    """The answer cannot be kept."""


def is_good(body: Mapping[str, Any]) -> bool:
    """Whether a whole answer is one to give again: complete, not refused, and with something in it."""
    choices = body.get("choices")
    if not choices:
        return False
    for choice in choices:
        if choice.get("finish_reason") not in _GOOD_ENDS:
            return False
        message = choice.get("message")
        if message is None:
            if not choice.get("text"):
                return False
        elif message.get("refusal") or message.get("audio") or not _says_something(message):
            return False
    return True


def _says_something(message: Mapping[str, Any]) -> bool:
    return bool(message.get("content") or message.get("tool_calls") or message.get("function_call"))


def marked(body: dict[str, Any], usage: Usage | None) -> bytes:
    """The JSON text of a kept answer: its usage says that nobody was asked this time."""
    told = body.get("usage") or (usage_object(usage) if usage is not None else None)
    return tight(lenient_json.dumps(body | {"usage": None if told is None else {**told, "is_cached": True}}))


def tight(data: bytes) -> bytes:
    """The same in a place of its size, to be kept for long: that of what orjson returns has 4 KB and more."""
    return bytes(memoryview(data))


def whole_of(stream: bytes) -> dict[str, Any]:
    """The whole answer that the events of a complete stream add up to. Raises UnfitError."""
    shared: dict[str, Any] = {}
    usage: dict[str, Any] | None = None
    choices: dict[int, dict[str, Any]] = {}
    is_over = False
    try:
        for event in events(stream):
            if event.data == b"[DONE]":
                is_over = True
                continue
            chunk = lenient_json.loads(event.data)
            # Not all of it comes with the first chunk: Azure's says nothing but how the prompt was filtered.
            for name, value in chunk.items():
                if name not in _OF_ONE_CHUNK and not shared.get(name):
                    shared[name] = value
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                _add(choices.setdefault(choice["index"], {"index": choice["index"]}), choice)
        shared["object"] = _OBJECTS[shared["object"]]
    except UnfitError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UnfitError("these are no chunks as we know them") from error
    if not is_over:
        raise UnfitError("the stream has no end")
    whole = shared | {"choices": [choices[index] for index in sorted(choices)]}
    return whole if usage is None else whole | {"usage": usage}


def _add(choice: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "delta":
            _add_delta(choice.setdefault("message", {"role": "assistant", "content": None, "refusal": None}), value)
        elif name == "text":
            choice["text"] = choice.get("text", "") + value
        elif name == "logprobs":
            _add_logprobs(choice, value)
        elif name == "finish_reason":
            choice["finish_reason"] = value or choice.get("finish_reason")
        elif name in _VERDICTS:
            if value is not None and value != {}:
                choice[name] = {**choice.get(name, {}), **value} if type(value) is dict else value
        elif name != "index" and value is not None:
            raise UnfitError(f"a choice with {name}")


def _add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name in _TEXTS:
            if value is not None:
                message[name] = (message.get(name) or "") + value
        elif name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", []), call)
        elif name == "annotations":
            message.setdefault(name, []).extend(value or ())
        elif name != "role" and value not in (None, "", [], {}):
            raise UnfitError(f"a delta with {name}")


def _add_call(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    number = piece["index"]
    if number == len(calls):
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[number]
    for name, value in piece.items():
        if name == "function":
            if value.get("name") and call["function"]["name"]:
                raise UnfitError("a name in pieces, or once more")
            for part, text in value.items():
                call["function"][part] = (call["function"].get(part) or "") + (text or "")
        elif name != "index" and value is not None:
            call[name] = value


def _add_logprobs(choice: dict[str, Any], value: Mapping[str, Any] | None) -> None:
    if value is None:
        choice.setdefault("logprobs", None)
        return
    kept = choice.get("logprobs") or {}
    for name, tokens in value.items():
        if tokens is None:
            kept.setdefault(name, None)
        else:
            kept[name] = [*(kept.get(name) or ()), *tokens]
    choice["logprobs"] = kept


def stream_of(whole: Mapping[str, Any], *, include_usage: bool) -> bytes:
    """The events of a stream that says the same as `whole`, with its end. Raises UnfitError."""
    try:
        return _stream_of(whole, include_usage=include_usage)
    except UnfitError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UnfitError("this is no answer as we know them") from error


def _stream_of(whole: Mapping[str, Any], *, include_usage: bool) -> bytes:
    is_chat = whole.get("object") == "chat.completion"
    shared = {name: value for name, value in whole.items() if name not in _OF_ONE_CHUNK}
    shared["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    end = {"usage": None} if include_usage else {}
    frames = []
    for choice in whole["choices"]:
        parts = _chat_parts(choice) if is_chat else _text_parts(choice)
        frames += [_frame(shared | {"choices": [part]} | end) for part in parts]
    if include_usage:
        frames.append(_frame(shared | {"choices": [], "usage": whole.get("usage")}))
    return b"".join([*frames, DONE])


def _frame(chunk: Mapping[str, Any]) -> bytes:
    try:
        return b"data: %b\n\n" % orjson.dumps(chunk)
    except TypeError as error:
        raise UnfitError("a text that is half of a character") from error


def _chat_parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    message, index = choice["message"], choice["index"]

    def part(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}

    # What is neither text nor a call has no pieces: it comes with the role.
    more = {name: value for name, value in message.items() if name not in (*_TEXTS, "role", "tool_calls")}
    yield part({"role": "assistant", "content": "" if message.get("content") is not None else None} | more)
    for name in ("reasoning_content", "reasoning"):
        for text in _pieces(message.get(name)):
            yield part({name: text})
    content, logprobs = message.get("content"), choice.get("logprobs")
    if logprobs is not None:
        yield part({"content": content}) | {"logprobs": logprobs}
    else:
        for text in _pieces(content):
            yield part({"content": text})
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function")
        if function is None:
            raise UnfitError("a call of another kind than a function")
        head = call | {"index": number, "function": function | {"arguments": ""}}
        yield part({"tool_calls": [head]})
        yield part({"tool_calls": [{"index": number, "function": {"arguments": function.get("arguments", "")}}]})
    for text in _pieces(message.get("refusal")):
        yield part({"refusal": text})
    yield part({}, choice["finish_reason"]) | _verdicts(choice)


def _text_parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    index, logprobs = choice["index"], choice.get("logprobs")
    for text in [choice["text"]] if logprobs is not None else _pieces(choice["text"]):
        yield {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}
    yield {"index": index, "text": "", "logprobs": None, "finish_reason": choice["finish_reason"]} | _verdicts(choice)


def _verdicts(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {name: choice[name] for name in _VERDICTS if choice.get(name) is not None}


def _pieces(text: str | None) -> Iterator[str]:
    if text is None:
        return
    if type(text) is not str:
        raise TypeError("some say it in parts of their own")
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
