"""What Google's errors mean: google.rpc.Status as an answer, or inside a stream.

https://ai.google.dev/gemini-api/docs/troubleshooting and https://cloud.google.com/apis/design/errors
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from providers.base import Cause, ErrorKind, ProviderError
from providers.redact import Redactor
from providers.retry_hints import duration_s, retry_after_s

_MESSAGE_LIMIT = 4000
_BY_STATUS = {
    "INVALID_ARGUMENT": ErrorKind.CALLER,
    "FAILED_PRECONDITION": ErrorKind.CALLER,
    "OUT_OF_RANGE": ErrorKind.CALLER,
    "NOT_FOUND": ErrorKind.CALLER,
    "ALREADY_EXISTS": ErrorKind.CALLER,
    "UNIMPLEMENTED": ErrorKind.CALLER,
    "UNAUTHENTICATED": ErrorKind.CREDENTIALS,
    "PERMISSION_DENIED": ErrorKind.CREDENTIALS,
    "RESOURCE_EXHAUSTED": ErrorKind.THROTTLED,
    "UNAVAILABLE": ErrorKind.OVERLOADED,
    "DEADLINE_EXCEEDED": ErrorKind.BROKEN,
    "CANCELLED": ErrorKind.BROKEN,
    "ABORTED": ErrorKind.BROKEN,
    "INTERNAL": ErrorKind.BROKEN,
    "UNKNOWN": ErrorKind.BROKEN,
    "DATA_LOSS": ErrorKind.BROKEN,
}
_BY_CODE = {
    401: ErrorKind.CREDENTIALS,
    402: ErrorKind.MONEY,
    403: ErrorKind.CREDENTIALS,
    408: ErrorKind.OVERLOADED,
    429: ErrorKind.THROTTLED,
    499: ErrorKind.BROKEN,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}
# `reason` of google.rpc.ErrorInfo: https://cloud.google.com/apis/docs/error-reasons or the enum google.api.ErrorReason
_BY_REASON = {
    "API_KEY_INVALID": ErrorKind.CREDENTIALS,
    "API_KEY_EXPIRED": ErrorKind.CREDENTIALS,
    "API_KEY_SERVICE_BLOCKED": ErrorKind.CREDENTIALS,
    "CONSUMER_SUSPENDED": ErrorKind.CREDENTIALS,
    "SERVICE_DISABLED": ErrorKind.CREDENTIALS,
    "BILLING_DISABLED": ErrorKind.MONEY,
}
_TEXTS: tuple[tuple[re.Pattern[str], ErrorKind], ...] = (
    (
        # "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576)."
        re.compile(r"token count\b.*\bexceeds|exceeds the maximum number of tokens|context (?:length|window)", re.I),
        ErrorKind.CONTEXT_LENGTH,
    ),
    (
        re.compile(
            r"api key (?:not valid|not found|expired)|key was reported as leaked|location is not supported for the api",
            re.I,
        ),
        ErrorKind.CREDENTIALS,
    ),
    (re.compile(r"enable billing|billing (?:account|to be enabled)|depleted|spend(?:ing)? cap", re.I), ErrorKind.MONEY),
    (
        re.compile(r"safety (?:policy|filters?)|prohibited (?:use|content)|usage guidelines", re.I),
        ErrorKind.CONTENT_FILTER,
    ),
)
_REFINABLE = frozenset({ErrorKind.CALLER, ErrorKind.CREDENTIALS})
# "Quota exceeded for metric: ..., limit: 0": the plan has none of this model, so waiting does not help.
_NO_ALLOWANCE = re.compile(r"\blimit: 0\b|credits? (?:are|is) depleted|spend(?:ing)? cap|enable billing", re.I)
_SPENT = "exceeded your current quota"
_HINTED = frozenset({ErrorKind.THROTTLED, ErrorKind.OVERLOADED, ErrorKind.BROKEN})
_CODES = {
    ErrorKind.CONTEXT_LENGTH: ("invalid_request_error", "context_length_exceeded"),
    ErrorKind.CONTENT_FILTER: ("invalid_request_error", "content_filter"),
    ErrorKind.CALLER: ("invalid_request_error", None),
    ErrorKind.CREDENTIALS: ("authentication_error", "invalid_api_key"),
    ErrorKind.MONEY: ("insufficient_quota", "insufficient_quota"),
    ErrorKind.THROTTLED: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.OVERLOADED: ("server_error", "overloaded"),
    ErrorKind.BROKEN: ("server_error", None),
}


def from_response(status: int, headers: Mapping[str, str], body: bytes, redactor: Redactor) -> ProviderError:
    """Classify an answer that is no 2xx. `headers` has lower-case names."""
    error = _error_in(body)
    return _classified(error, status, Cause.STATUS, headers, redactor)


def in_band(payload: Mapping[str, Any], redactor: Redactor) -> ProviderError:
    """An error object that came inside a 200 answer; `payload` is the object it stood in."""
    error = payload["error"] if isinstance(payload.get("error"), dict) else {"message": str(payload.get("error"))}
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    return _classified(error, status, Cause.IN_BAND, {}, redactor)


def broken(message: str, cause: Cause) -> ProviderError:
    """The answer cannot be used: garbage, cut, too large."""
    return ProviderError(ErrorKind.BROKEN, message, cause=cause)


def _classified(
    error: Mapping[str, Any], status: int | None, cause: Cause, headers: Mapping[str, str], redactor: Redactor
) -> ProviderError:
    message = error.get("message")
    message = message[:_MESSAGE_LIMIT] if isinstance(message, str) and message else ""
    details = _objects(error.get("details"))
    name = str(error.get("status") or "")
    kind = _kind(name, status, message, details)
    type_, code = _CODES[kind]
    if kind is ErrorKind.CALLER and (name == "NOT_FOUND" or status == 404):
        code = "model_not_found"
    elif kind is ErrorKind.CREDENTIALS and name in ("PERMISSION_DENIED", "FAILED_PRECONDITION"):
        type_, code = "permission_error", "permission_denied"
    said = redactor.text(message or f"The provider answered with status {status or name or 'unknown'}.")
    shaped: dict[str, Any] = {"message": said, "type": type_, "param": None, "code": code}
    if name:
        shaped["status"] = name  # Google's own word, more exact than the type
    hint = _hint(details, headers, message) if kind in _HINTED else None
    return ProviderError(kind, said, cause=cause, status=status, error=shaped, retry_after_s=hint)


def _kind(name: str, status: int | None, message: str, details: list[dict[str, Any]]) -> ErrorKind:
    kind = _BY_STATUS.get(name)
    if kind is None:
        kind = _BY_CODE.get(status or 0)
    if kind is None:
        kind = ErrorKind.CALLER if status is not None and 400 <= status < 500 else ErrorKind.BROKEN
    if kind is ErrorKind.THROTTLED:
        return ErrorKind.MONEY if _is_used_up(message, details) else kind
    if kind not in _REFINABLE:
        return kind
    for item in details:
        by_reason = _BY_REASON.get(str(item.get("reason")))
        if by_reason is not None:
            return by_reason
    return next((found for pattern, found in _TEXTS if pattern.search(message)), kind)


def _is_used_up(message: str, details: list[dict[str, Any]]) -> bool:
    """Whether a RESOURCE_EXHAUSTED is about a day's quota or money, not about a rate.

    All of them say "please check your plan and billing details"; the violated quota's id tells them apart:
    GenerateRequestsPerDayPerProjectPerModel-FreeTier against ...PerMinute....
    """
    if _NO_ALLOWANCE.search(message):
        return True
    quotas = list(_violated(details))
    if quotas:
        return any("PerDay" in quota for quota in quotas)
    has_way_back = any("retryDelay" in item for item in details) or retry_after_s({}, message) is not None
    return _SPENT in message and not has_way_back


def _violated(details: list[dict[str, Any]]) -> Iterator[str]:
    for item in details:
        for violation in _objects(item.get("violations")):
            if violation.get("quotaId"):
                yield str(violation["quotaId"])


def _objects(found: Any) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _hint(details: list[dict[str, Any]], headers: Mapping[str, str], message: str) -> float | None:
    """Seconds; google.rpc.RetryInfo comes first because it is about this very refusal."""
    for item in details:
        if isinstance(item.get("retryDelay"), str):
            return duration_s(item["retryDelay"])
    return retry_after_s(headers, message)


def _error_in(body: bytes) -> Mapping[str, Any]:
    try:
        payload = orjson.loads(body[5:] if body.startswith(b"data:") else body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(payload, list) and payload:
        payload = payload[0]  # what a stream would have been, had it begun
    error = payload.get("error") if isinstance(payload, dict) else None
    if isinstance(error, str):
        return {"message": payload.get("error_description") or error}  # Google's OAuth gateway
    return error if isinstance(error, dict) else {}
