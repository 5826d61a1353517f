"""What Anthropic's errors mean, as an error status or as an event inside a stream.

https://platform.claude.com/docs/en/api/errors
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from providers.base import Cause, ErrorKind, ProviderError, error_object
from providers.redact import Redactor
from providers.retry_hints import retry_after_s

_MESSAGE_LIMIT = 4000
_TYPES: dict[str, ErrorKind] = {
    "invalid_request_error": ErrorKind.CALLER,
    "not_found_error": ErrorKind.CALLER,
    "request_too_large": ErrorKind.CALLER,
    "authentication_error": ErrorKind.CREDENTIALS,
    "permission_error": ErrorKind.CREDENTIALS,
    "billing_error": ErrorKind.MONEY,
    "rate_limit_error": ErrorKind.THROTTLED,
    "api_error": ErrorKind.BROKEN,
    "timeout_error": ErrorKind.BROKEN,
    "overloaded_error": ErrorKind.OVERLOADED,
}
_STATUSES: dict[int, ErrorKind] = {
    401: ErrorKind.CREDENTIALS,
    402: ErrorKind.MONEY,
    403: ErrorKind.CREDENTIALS,
    408: ErrorKind.OVERLOADED,
    425: ErrorKind.OVERLOADED,
    429: ErrorKind.THROTTLED,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}
# One type, invalid_request_error, covers matters that need different answers; only the words tell them apart.
_TEXTS: tuple[tuple[re.Pattern[str], ErrorKind], ...] = (
    (
        re.compile(
            r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:model's )?(?:maximum )?context (?:limit|window|length)",
            re.IGNORECASE,
        ),
        ErrorKind.CONTEXT_LENGTH,
    ),
    (
        re.compile(r"credit balance is too low|reached your specified (?:workspace )?API usage limits", re.IGNORECASE),
        ErrorKind.MONEY,
    ),
    (re.compile(r"blocked by (?:our )?content filter", re.IGNORECASE), ErrorKind.CONTENT_FILTER),
)
_CODES: dict[ErrorKind, str] = {
    ErrorKind.CONTEXT_LENGTH: "context_length_exceeded",
    ErrorKind.CONTENT_FILTER: "content_filter",
    ErrorKind.MONEY: "insufficient_quota",
    ErrorKind.CREDENTIALS: "invalid_api_key",
    ErrorKind.THROTTLED: "rate_limit_exceeded",
    ErrorKind.OVERLOADED: "overloaded",
}
_HINTED = frozenset({ErrorKind.THROTTLED, ErrorKind.OVERLOADED, ErrorKind.BROKEN})


def from_response(status: int, headers: Mapping[str, str], body: bytes, redactor: Redactor) -> ProviderError:
    """Classify an answer that is no 2xx. `headers` has lower-case names."""
    type_, message = _said(body)
    kind = _kind(type_, message, status)
    hint = retry_after_s(headers, message) if kind in _HINTED else None
    if kind is ErrorKind.THROTTLED and hint is None and not _is_used_up(headers):
        # A rate limit at Anthropic always says when it ends; a 429 without that is a spend limit.
        kind = ErrorKind.MONEY
    error = _openai_error(kind, type_, redactor.text(message or f"The provider answered with status {status}."))
    return ProviderError(kind, error["message"], status=status, error=error, retry_after_s=hint)


def in_band(payload: Mapping[str, Any], redactor: Redactor) -> ProviderError:
    """An `error` event of a stream, or an error object in a 200 answer."""
    type_, message = _fields(payload)
    kind = _kind(type_, message, None)
    error = _openai_error(kind, type_, redactor.text(message or "The provider reported an error without saying which."))
    return ProviderError(kind, error["message"], cause=Cause.IN_BAND, error=error)


def broken(message: str, cause: Cause) -> ProviderError:
    """The answer cannot be used: garbage, cut, too large."""
    return ProviderError(ErrorKind.BROKEN, message, cause=cause)


def _openai_error(kind: ErrorKind, type_: str, message: str) -> dict[str, Any]:
    code = _CODES.get(kind)
    if type_ == "not_found_error" and message.startswith("model:"):
        code = "model_not_found"
    elif type_ == "permission_error":
        code = "permission_denied"
    return error_object(message, type_ or "upstream_error", code=code)


def _kind(type_: str, message: str, status: int | None) -> ErrorKind:
    kind = _TYPES.get(type_)
    if status is not None and (kind is None or kind is ErrorKind.CALLER):
        kind = _STATUSES.get(status, ErrorKind.CALLER if 400 <= status < 500 else ErrorKind.BROKEN)
    if kind is ErrorKind.CALLER:
        kind = next((found for pattern, found in _TEXTS if pattern.search(message)), kind)
    return kind or ErrorKind.BROKEN


def _is_used_up(headers: Mapping[str, str]) -> bool:
    """Whether one of the `anthropic-ratelimit-*` allowances stands at zero."""
    return any(
        value.strip() == "0"
        for name, value in headers.items()
        if name.startswith("anthropic-ratelimit-") and name.endswith("-remaining")
    )


def _said(body: bytes) -> tuple[str, str]:
    """(type, message); both empty where the body is no JSON object (a load balancer's page)."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    return _fields(payload) if isinstance(payload, dict) else ("", "")


def _fields(payload: Mapping[str, Any]) -> tuple[str, str]:
    error = payload.get("error")
    if isinstance(error, str):
        return "", error[:_MESSAGE_LIMIT]
    if not isinstance(error, dict):
        error = payload
    type_, message = error.get("type"), error.get("message")
    return (
        type_ if isinstance(type_, str) and type_ != "error" else "",
        message[:_MESSAGE_LIMIT] if isinstance(message, str) else "",
    )
