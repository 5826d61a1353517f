"""Anthropic's Messages API behind OpenAI's chat completions.

What cannot be said there is dropped and listed in `Call.dropped`, or refused where the answer would be another one than
the caller asked for. Thinking comes back as `reasoning_content` and, signed, as `thinking_blocks`; a client that sends
these back keeps a tool loop with thinking going. https://platform.claude.com/docs/en/api/messages
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from providers import _anthropic_errors, _anthropic_reply
from providers._anthropic_messages import translate
from providers._anthropic_params import add_parameters, json_tool
from providers._anthropic_stream import Decoder
from providers.base import Call, Cause, ErrorKind, ProviderError, ProviderOptions, Reply, Request, Target, error_object
from providers.redact import Redactor

KIND = "anthropic"
ENV_KEY = "ANTHROPIC_API_KEY"
BASE_URL = "https://api.anthropic.com/v1"

# Of the two versions, 2026-10-21 refuses sampling parameters even at their defaults.
# https://platform.claude.com/docs/en/api/versioning
_VERSION = "2023-06-01"
_FILES_BETA = "files-api-2025-04-14"  # https://platform.claude.com/docs/en/build-with-claude/files


class AnthropicProvider:
    """One account at Anthropic, or at a vendor with the same dialect. `clock` gives Unix seconds."""

    kind = KIND

    def __init__(self, options: ProviderOptions, clock: Callable[[], float] = time.time) -> None:
        self.name = options.name
        self._clock = clock
        self._url = _messages_url(options.base_url or BASE_URL)
        given = {name.lower(): value for name, value in options.headers.items()}
        self._betas = given.pop("anthropic-beta", "")
        self._redactor = Redactor([options.api_key, *given.values()])
        headers = {"content-type": "application/json", "anthropic-version": _VERSION}
        if options.api_key:
            headers["x-api-key"] = options.api_key
        self._headers = list({**headers, **given}.items())

    def call(self, request: Request, target: Target) -> Call:
        if request.operation != "chat":
            message = f"Anthropic models have no '{request.operation}' operation. Use chat completions."
            error = error_object(message, "invalid_request_error", code="unsupported_operation")
            raise ProviderError(ErrorKind.CALLER, message, cause=Cause.UNSUPPORTED, error=error)
        system, messages = translate(request.body.get("messages"))
        out: dict[str, Any] = {"model": target.model, "messages": messages}
        if system:
            out["system"] = system
        dropped = add_parameters(request.body, target, out)
        if request.stream:
            out["stream"] = True
        headers = list(self._headers)
        headers.append(("accept", "text/event-stream" if request.stream else "application/json"))
        if betas := self._betas_for(messages):
            headers.append(("anthropic-beta", betas))
        return Call(self._url, headers, orjson.dumps(out), tuple(sorted(dropped)))

    def reply(self, request: Request, target: Target, body: bytes) -> Reply:
        tool = json_tool(request.body, target)
        created = int(self._clock())
        return _anthropic_reply.translate(body, created, tool, _fallback_id(request), self._redactor)

    def decoder(self, request: Request, target: Target) -> Decoder:
        return Decoder(
            created=int(self._clock()),
            model=target.model,
            fallback_id=_fallback_id(request),
            include_usage=request.include_usage,
            json_tool=json_tool(request.body, target),
            redactor=self._redactor,
        )

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return _anthropic_errors.from_response(status, headers, body, self._redactor)

    def _betas_for(self, messages: list[dict[str, Any]]) -> str:
        """The operator's betas, and that of the Files API where the conversation refers to an uploaded file."""
        has_file = any(
            isinstance(block.get("source"), dict) and block["source"].get("type") == "file"
            for turn in messages
            for block in turn["content"]
        )
        if not has_file or _FILES_BETA in self._betas:
            return self._betas
        return f"{self._betas},{_FILES_BETA}" if self._betas else _FILES_BETA


def build(options: ProviderOptions) -> AnthropicProvider:
    """A provider from its row in the configuration."""
    return AnthropicProvider(options)


def _messages_url(base_url: str) -> str:
    """The address with or without its version: SDKs of Anthropic leave `/v1` out, those of OpenAI write it."""
    base = base_url.rstrip("/")
    return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"


def _fallback_id(request: Request) -> str:
    return f"chatcmpl-{request.request_id}"
