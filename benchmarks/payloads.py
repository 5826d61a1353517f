"""The requests the benchmark sends and the answers its upstream gives, shaped and sized like real OpenAI traffic.

A request tells the upstream how to pace a stream through the `user` field, because every gateway passes it on.
"""

import json
import re
from functools import lru_cache

CLIENT_KEY = "sk-signalbox-bench-client"
UPSTREAM_KEY = "sk-bench-upstream-0123456789abcdefghijklmnopqrstuvwxyz"
# The public name differs from the upstream's, as in production: the gateway has to replace it in the body.
MODEL = "gpt-5-mini"
UPSTREAM_MODEL = "gpt-5-mini-2025-08-07"
ANSWER_MARK = b"Paris has been the capital of France"
_PLAN = re.compile(rb"bench-c(\d+)-p(\d+)")
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_WORD = re.compile(rb'"content"\s*:\s*"( w\d+)"')
_ID = "chatcmpl-CoDWxLsl1kVbpr74j0IN577ELqIIt"
_CREATED = 1765998731
_FILLER = (
    "The committee met again in the spring and went through the open points one by one; "
    "where the figures did not agree, the older ledger was taken as the true one.\n"
)


def chat_request(
    model: str, *, chunks: int = 0, pause_ms: int = 0, asks_usage: bool = False, min_bytes: int = 0
) -> bytes:
    """A chat completion request: streamed when `chunks` > 0, padded with earlier turns to at least `min_bytes`."""
    messages = [{"role": "system", "content": "You are a helpful assistant. Answer in one short paragraph."}]
    turn = _FILLER * 12
    turns = min_bytes // len(turn) + 1 if min_bytes else 0
    messages += [{"role": "assistant" if index % 2 else "user", "content": turn} for index in range(turns)]
    messages.append({"role": "user", "content": "What is the capital of France, and since when has it been that?"})
    body: dict[str, object] = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": 400,
        "user": f"bench-c{chunks}-p{pause_ms}",
    }
    if chunks:
        body["stream"] = True
        if asks_usage:
            body["stream_options"] = {"include_usage": True}
    return json.dumps(body, separators=(",", ":")).encode()


def plan_of(body: bytes) -> tuple[int, float]:
    """What a request asks of the upstream: chunks (0: a whole answer) and seconds between them."""
    if _STREAM.search(body) is None:
        return 0, 0.0
    plan = _PLAN.search(body)
    return (int(plan[1]), int(plan[2]) / 1000) if plan is not None else (100, 0.002)


def wants_usage(body: bytes) -> bool:
    return _USAGE.search(body) is not None


@lru_cache
def whole_answer() -> bytes:
    """The body of a chat completion."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": f"{ANSWER_MARK.decode()} since the late tenth century, when Hugh Capet held his court there.",
        "refusal": None,
        "annotations": [],
    }
    return json.dumps(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": _CREATED,
            "model": UPSTREAM_MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(31),
            "service_tier": "default",
            "system_fingerprint": None,
        },
        indent=2,
    ).encode()


@lru_cache
def stream_frames(chunks: int, *, has_usage: bool) -> tuple[bytes, ...]:
    """The events of a stream: role, `chunks` pieces of content, finish, the usage if asked for, and [DONE]."""
    frames = [_frame({"role": "assistant", "content": "", "refusal": None}, None, has_usage=has_usage)]
    frames += [_frame({"content": _word(number)}, None, has_usage=has_usage) for number in range(chunks)]
    last = _frame({}, "stop", has_usage=has_usage)
    if has_usage:
        last += _event({**_head(), "choices": [], "usage": _usage(chunks)})
    return (*frames, last + b"data: [DONE]\n\n")


def is_whole(body: bytes) -> bool:
    """Whether a plain answer arrived as it was sent."""
    return ANSWER_MARK in body and body.rstrip().endswith(b"}")


def is_unbroken(stream: bytes, chunks: int) -> bool:
    """Whether a stream arrived with every piece of content, once, in order, and with its end."""
    words = _WORD.findall(stream)
    return words == _expected(chunks) and stream.rstrip().endswith(b"data: [DONE]") and stream.count(b"[DONE]") == 1


@lru_cache
def _expected(chunks: int) -> list[bytes]:
    return [_word(number).encode() for number in range(chunks)]


def _word(number: int) -> str:
    return f" w{number:04d}"


def _head() -> dict[str, object]:
    return {
        "id": _ID,
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": UPSTREAM_MODEL,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _frame(delta: dict[str, object], finish_reason: str | None, *, has_usage: bool) -> bytes:
    event = {**_head(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    if has_usage:
        event["usage"] = None
    return _event(event)


def _event(event: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _usage(completion_tokens: int) -> dict[str, object]:
    return {
        "prompt_tokens": 34,
        "completion_tokens": completion_tokens,
        "total_tokens": 34 + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
