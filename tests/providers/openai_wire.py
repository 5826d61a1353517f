"""Builders for requests, streams and answers in OpenAI's dialect."""

import json
from collections.abc import Iterable
from typing import Any

import orjson

from providers import registry
from providers.base import Operation, Provider, ProviderOptions, Request, StreamDecoder, Target

KEY = "sk-ours-0123456789abcdef"
TARGET = Target("up-model")


def provider(kind: str = "openai", **options: Any) -> Provider:
    options.setdefault("api_key", KEY)
    if kind == "openai_compatible":
        options.setdefault("base_url", "http://up.example/v1")
    return registry.build(ProviderOptions(name="up", kind=kind, **options))


def request(operation: Operation = "chat", *, include_usage: bool = False, **members: Any) -> Request:
    body = {"model": "asked", **members}
    raw = json.dumps(body).encode()
    return Request(operation, orjson.loads(raw), raw, "asked", bool(members.get("stream")), include_usage, "r1")


def raw_request(raw: bytes, operation: Operation = "chat") -> Request:
    body = orjson.loads(raw)
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    return Request(operation, body, raw, str(body.get("model")), bool(body.get("stream")), usage, "r1")


def chunk(delta: dict[str, Any] | None, finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    """One frame; `delta` None means no choices."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices, **members}
    return frame(body)


def frame(body: Any) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
REPORT = chunk(None, usage=USAGE)
DONE = b"data: [DONE]\n\n"


def run(
    pieces: Iterable[bytes], kind: str = "openai", asked: Request | None = None, **members: Any
) -> tuple[bytes, StreamDecoder]:
    decoder = provider(kind).decoder(asked or request(stream=True, **members), TARGET)
    sent = b"".join([*(decoder.feed(piece) for piece in pieces), decoder.close()])
    return sent, decoder


def parsed(stream: bytes) -> list[Any]:
    return [json.loads(part[6:]) for part in stream.split(b"\n\n") if part and part != b"data: [DONE]"]
