"""Builders for requests and answers in Gemini's dialect."""

import json
from typing import Any

import orjson

from providers.base import Operation, ProviderOptions, Request, StreamDecoder, Target
from providers.gemini import GeminiProvider

KEY = "AIzaSyA-0123456789abcdef"
FLASH = "gemini-2.5-flash"
THIRD = "gemini-3-flash-preview"
USER = {"role": "user", "content": "hi"}


def provider(**options: Any) -> GeminiProvider:
    options.setdefault("api_key", KEY)
    return GeminiProvider(ProviderOptions("google", "gemini", **options), clock=lambda: 1000.0)


def request(
    operation: Operation = "chat", *, stream: bool = False, include_usage: bool = True, **members: Any
) -> Request:
    body = {"model": "asked", **({"messages": [USER]} if operation == "chat" else {}), **members}
    return Request(operation, body, orjson.dumps(body), "asked", stream, include_usage, "r-1")


def said(model: str = FLASH, **members: Any) -> dict[str, Any]:
    """The body we would send."""
    body: dict[str, Any] = json.loads(provider().call(request(**members), Target(model)).body)
    return body


def config(model: str = FLASH, **members: Any) -> dict[str, Any]:
    """The generationConfig we would send; empty where there is none."""
    found: dict[str, Any] = said(model, **members).get("generationConfig", {})
    return found


def dropped(model: str = FLASH, **members: Any) -> tuple[str, ...]:
    return provider().call(request(**members), Target(model)).dropped


def candidate(*parts: dict[str, Any], finish: str | None = "STOP", **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, **members}
    return {**found, "finishReason": finish} if finish else found


def answer(*candidates: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), "modelVersion": "gemini-2.5-flash-001", "responseId": "abc", **members}


def replied(body: dict[str, Any]) -> dict[str, Any]:
    """The caller's view of a whole answer."""
    found: dict[str, Any] = json.loads(provider().reply(request(), Target(FLASH), orjson.dumps(body)).body)
    return found


def message(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = replied(answer(candidate(*parts, **members)))["choices"][0]["message"]
    return found


def event(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\r\n\r\n"


def streamed(*bodies: Any, include_usage: bool = True) -> tuple[list[dict[str, Any]], StreamDecoder, bytes]:
    """(chunks, decoder, raw bytes) of a stream of these events."""
    decoder = provider().decoder(request(stream=True, include_usage=include_usage), Target(FLASH))
    raw = b"".join([*(decoder.feed(event(body)) for body in bodies), decoder.close()])
    frames = [frame for frame in raw.split(b"\n\n") if frame and frame != b"data: [DONE]"]
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames], decoder, raw
