"""OpenAI itself, and the base of everything that speaks its dialect.

A request is the caller's own bytes with the model replaced and, in a stream, the usage report asked for; an answer is
the provider's own bytes wherever they are valid. https://platform.openai.com/docs/api-reference
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from providers import embeddings, errors, lenient_json, normalise
from providers.base import (
    Call,
    Cause,
    ErrorKind,
    Operation,
    ProviderError,
    ProviderOptions,
    Reply,
    Request,
    StreamDecoder,
    Target,
)
from providers.bodyedit import edit
from providers.normalise import Envelope
from providers.openai_stream import OpenAIDecoder
from providers.openai_usage import usage_of
from providers.redact import Redactor

KIND = "openai"
ENV_KEY = "OPENAI_API_KEY"
BASE_URL = "https://api.openai.com/v1"
OPTIONS = ("organization", "project")

Clock = Callable[[], float]

_PATHS: dict[Operation, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
_ID_PREFIX: dict[Operation, str] = {"chat": "chatcmpl-", "completions": "cmpl-", "embeddings": "embd-"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def build(options: ProviderOptions) -> "OpenAI":
    """The provider for one row of the configuration; `organization` and `project` may be given beside the key."""
    headers = {
        header: str(options.extra[name])
        for name, header in (("organization", "openai-organization"), ("project", "openai-project"))
        if options.extra.get(name)
    }
    return OpenAI(options, base_url=options.base_url or BASE_URL, headers={**bearer(options), **headers})


def bearer(options: ProviderOptions) -> dict[str, str]:
    """How most of this family authenticates; empty without a key."""
    return {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}


class OpenAI:
    """A Provider. `headers` are the ones this upstream needs; those of the configuration win over them.

    `now` (seconds since the epoch) only dates answers that carry no date.
    """

    def __init__(
        self, options: ProviderOptions, *, base_url: str, headers: Mapping[str, str], now: Clock = time.time
    ) -> None:
        self.name = options.name
        self.kind = options.kind
        self._now = now
        self._redactor = Redactor([options.api_key, *_secrets_in(options.headers)])
        self._headers = outbound_headers({**headers, **{k.lower(): v for k, v in options.headers.items()}})
        self._urls = {operation: base_url.rstrip("/") + path for operation, path in _PATHS.items()}

    def call(self, request: Request, target: Target) -> Call:
        changes = {"model": orjson.dumps(target.model)}
        if request.stream and not request.include_usage:
            changes["stream_options"] = with_usage(request.body.get("stream_options"))
        return Call(self._urls[request.operation], self._headers, edit(request.raw, request.body, changes))

    def reply(self, request: Request, target: Target, body: bytes) -> Reply:
        try:
            answer = lenient_json.loads(body)
            if not isinstance(answer, dict):
                raise _garbage("The provider's answer is not a JSON object.")
            if errors.is_error(answer):
                raise errors.in_band(answer, self._redactor)
            changed = self._mend(request, target, answer)
        except (ValueError, TypeError, AttributeError):
            # TypeError and AttributeError: a member of another type than any dialect has, met while mending.
            raise _garbage("The provider's answer is not in OpenAI's format.") from None
        choices = answer.get("choices")
        return Reply(
            lenient_json.dumps(answer) if changed else body,
            usage_of(answer.get("usage"), answer.get("service_tier")),
            choices[0]["finish_reason"] if choices else None,
        )

    def decoder(self, request: Request, target: Target) -> StreamDecoder:
        return OpenAIDecoder(request, self._envelope(request, target), self._redactor)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return errors.from_response(status, headers, body, self._redactor)

    def _mend(self, request: Request, target: Target, answer: dict[str, Any]) -> bool:
        if request.operation == "embeddings":
            return embeddings.mend(answer, request.body.get("encoding_format") == "base64", target.model)
        mend = normalise.chat_reply if request.operation == "chat" else normalise.completion_reply
        changed = mend(answer, self._envelope(request, target))
        if not answer["choices"]:
            raise ValueError("there is no choice")
        return changed

    def _envelope(self, request: Request, target: Target) -> Envelope:
        return Envelope(_ID_PREFIX[request.operation] + request.request_id, target.model, self._now)


def with_usage(options: Any) -> bytes:
    """`stream_options` as the caller gave them, plus the usage report."""
    return orjson.dumps({**(options if isinstance(options, dict) else {}), "include_usage": True})


def outbound_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """All request headers, built once: nothing of a caller's request is ever copied. Raises ValueError.

    One list is shared by all calls; whoever sends them must not change it.
    """
    whole = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "user-agent": f"signalbox/{_own_version()}",
        **headers,
    }
    for name, value in whole.items():
        if not _TOKEN.fullmatch(name) or not value.isascii() or not value.isprintable():
            raise ValueError(
                f"The header '{name}' cannot be sent: a name is letters, digits and dashes, a value printable ASCII."
            )
    return list(whole.items())


@cache
def _own_version() -> str:
    try:
        return version("signalbox-gateway")
    except PackageNotFoundError:
        return "0"


def _secrets_in(headers: Mapping[str, str]) -> list[str]:
    """Configured headers may hold keys, such as a gateway's own; their values are kept out of messages too."""
    return [value.removeprefix("Bearer ") for value in headers.values() if len(value) >= 16]


def _garbage(message: str) -> ProviderError:
    return ProviderError(ErrorKind.BROKEN, message, cause=Cause.GARBAGE)
