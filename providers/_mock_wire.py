"""The mock provider's answers as bytes of OpenAI's dialect, whole and streamed."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

import orjson

from providers import tokens
from providers._mock_answer import Answer, Choice
from providers._mock_embed import vector

_FINGERPRINT = "fp_mock"
_DONE = b"data: [DONE]\n\n"


def chat(answer: Answer, body: Mapping[str, Any], created: int) -> bytes:
    """A `chat.completion` object."""
    return orjson.dumps(
        {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion",
            "created": created,
            "model": answer.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(choice),
                    "logprobs": _logprobs(choice.pieces, body),
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(answer.choices)
            ],
            "usage": _usage(answer),
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }
    )


def _message(choice: Choice) -> dict[str, Any]:
    text = "".join(choice.pieces)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.is_refusal or choice.tool_calls else text,
        "refusal": text if choice.is_refusal else None,
        "annotations": [],
    }
    if choice.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.tool_calls
        ]
    return message


def chat_frames(answer: Answer, body: Mapping[str, Any], created: int) -> Iterator[tuple[bool, bytes]]:
    """The same as `chat.completion.chunk` events, ending with [DONE]. True marks a frame that took a token to make."""
    has_usage = _wants_usage(body)
    envelope = {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    head = b"data: " + orjson.dumps(envelope)[:-1] + b',"choices":['
    tail = b'],"usage":null}\n\n' if has_usage else b"]}\n\n"
    for index, choice in enumerate(answer.choices):
        opening = b'{"index":%d,"delta":' % index
        role = b'{"role":"assistant","content":%b,"refusal":null}' % (b"null" if choice.tool_calls else b'""')
        yield False, head + opening + role + b',"logprobs":null,"finish_reason":null}' + tail
    for index, delta, logprobs in _interleaved(answer.choices, body):
        opening = b'{"index":%d,"delta":' % index
        yield True, head + opening + delta + b',"logprobs":' + logprobs + b',"finish_reason":null}' + tail
    for index, choice in enumerate(answer.choices):
        opening = b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":"' % index
        yield False, head + opening + choice.finish_reason.encode() + b'"}' + tail
    if has_usage:
        yield False, head + b'],"usage":' + orjson.dumps(_usage(answer)) + b"}\n\n"
    yield False, _DONE


def _interleaved(choices: list[Choice], body: Mapping[str, Any]) -> Iterator[tuple[int, bytes, bytes]]:
    """Deltas of all choices in turn, as several samples of one prompt arrive."""
    streams = [(index, _deltas(choice, body)) for index, choice in enumerate(choices)]
    while streams:
        for index, deltas in list(streams):
            delta = next(deltas, None)
            if delta is None:
                streams = [stream for stream in streams if stream[0] != index]
            else:
                yield index, *delta


def _deltas(choice: Choice, body: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    key = b'{"refusal":' if choice.is_refusal else b'{"content":'
    wants_logprobs = bool(body.get("logprobs")) and not choice.is_refusal
    for piece in choice.pieces:
        logprobs = orjson.dumps(_logprobs([piece], body)) if wants_logprobs else b"null"
        yield key + orjson.dumps(piece) + b"}", logprobs
    for at, call in enumerate(choice.tool_calls):
        first = {"index": at, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield orjson.dumps({"tool_calls": [first]}), b"null"
        for start in range(0, len(call.arguments), 6):
            part = {"index": at, "function": {"arguments": call.arguments[start : start + 6]}}
            yield orjson.dumps({"tool_calls": [part]}), b"null"


def completion(answer: Answer, body: Mapping[str, Any], created: int) -> bytes:
    """A legacy `text_completion` object."""
    return orjson.dumps(
        {
            "id": f"cmpl-{answer.id}",
            "object": "text_completion",
            "created": created,
            "model": answer.model,
            "choices": [_completion_choice(index, choice, body) for index, choice in enumerate(answer.choices)],
            "usage": _usage(answer),
            "system_fingerprint": _FINGERPRINT,
        }
    )


def completion_frames(answer: Answer, body: Mapping[str, Any], created: int) -> Iterator[tuple[bool, bytes]]:
    """The same as events, ending with [DONE]. True marks a frame that took a token to make."""
    has_usage = _wants_usage(body)
    envelope: dict[str, Any] = {
        "id": f"cmpl-{answer.id}",
        "object": "text_completion",
        "created": created,
        "model": answer.model,
        "system_fingerprint": _FINGERPRINT,
    }
    rest = {"usage": None} if has_usage else {}
    for index, choice in enumerate(answer.choices):
        for piece in choice.pieces:
            part = _completion_choice(index, Choice([piece]), body)
            yield True, _event({**envelope, "choices": [{**part, "finish_reason": None}], **rest})
        last = _completion_choice(index, Choice([], finish_reason=choice.finish_reason), {})
        yield False, _event({**envelope, "choices": [last], **rest})
    if has_usage:
        yield False, _event({**envelope, "choices": [], "usage": _usage(answer)})
    yield False, _DONE


def _completion_choice(index: int, choice: Choice, body: Mapping[str, Any]) -> dict[str, Any]:
    logprobs = None
    if isinstance(body.get("logprobs"), int):
        ends = [0]
        for piece in choice.pieces:
            ends.append(ends[-1] + len(piece))
        logprobs = {
            "tokens": choice.pieces,
            "token_logprobs": [_logprob(piece) for piece in choice.pieces],
            "top_logprobs": [{piece: _logprob(piece)} for piece in choice.pieces],
            "text_offset": ends[:-1],
        }
    text = "".join(choice.pieces)
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": choice.finish_reason}


def embeddings(body: Mapping[str, Any]) -> bytes:
    """A list of embeddings. Raises ValueError for a request the real API would refuse."""
    model = str(body.get("model", ""))
    dimensions = body.get("dimensions") or (3072 if "large" in model else 1536)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= 4096:
        raise ValueError("'dimensions' must be an integer from 1 to 4096.")
    inputs = _inputs(body.get("input"))
    is_base64 = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(inputs):
        values = vector(text, dimensions)
        encoded = base64.b64encode(values.tobytes()).decode() if is_base64 else values.tolist()
        data.append({"object": "embedding", "index": index, "embedding": encoded})
    used = tokens.estimate_prompt(body)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def _inputs(value: object) -> list[str]:
    """Texts to embed; token numbers become words of their own, so that equal tokens mean equal text."""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        value = [value]
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(items) > 2048:
        raise ValueError("'input' must be a text, or a list of up to 2048 texts or token lists, and not empty.")
    return [item if isinstance(item, str) else _token_words(item) for item in items]


def _token_words(item: object) -> str:
    if not isinstance(item, list) or not item:
        raise ValueError("'input' may hold texts and lists of token numbers only.")
    return " ".join(f"t{number}" for number in item)


def _usage(answer: Answer) -> dict[str, Any]:
    completion_tokens = answer.completion_tokens
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": answer.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens * len(answer.choices),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def _logprob(piece: str) -> float:
    """Made up, but always the same for the same token."""
    return -(crc32(piece.encode()) % 2_000) / 1_000


def _logprobs(pieces: list[str], body: Mapping[str, Any]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    wanted = body.get("top_logprobs") or 0
    content = []
    for piece in pieces:
        entry = {"token": piece, "logprob": _logprob(piece), "bytes": list(piece.encode())}
        others = [(piece, _logprob(piece)), *((f"{piece}{rank}", _logprob(piece) - rank) for rank in range(1, wanted))]
        top = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in others[:wanted]]
        content.append({**entry, "top_logprobs": top})
    return {"content": content, "refusal": None}


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"
