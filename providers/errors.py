"""What an OpenAI-style error answer means: status, headers and body in, one ProviderError out.

The provider's own error object is kept, vendor members included, with keys redacted; the four members that SDKs read
unguarded are always there. The kind decides what the gateway does next, so codes win over statuses: providers agree on
neither, but a code says more.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from providers.base import Cause, ErrorKind, ProviderError, error_object
from providers.redact import Redactor
from providers.retry_hints import retry_after_s

_MESSAGE_LIMIT = 4000

# OpenAI: https://platform.openai.com/docs/guides/error-codes/api-errors
# Azure: https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
# Groq: https://console.groq.com/docs/errors  DashScope: https://help.aliyun.com/zh/model-studio/error-code
_CODES: dict[str, ErrorKind] = {
    **dict.fromkeys(
        (
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "credit_balance_exhausted",
            "enforced_spend_limit_reached",
            "insufficient_balance",
            "insufficient_credits",
            "insufficient_user_quota",
            "arrearage",
            "exceeded_current_quota_error",
        ),
        ErrorKind.MONEY,
    ),
    **dict.fromkeys(
        ("context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded", "context_too_long"),
        ErrorKind.CONTEXT_LENGTH,
    ),
    **dict.fromkeys(
        (
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "moderation_blocked",
            "data_inspection_failed",
            "datainspectionfailed",
            "content_filtered",
        ),
        ErrorKind.CONTENT_FILTER,
    ),
    **dict.fromkeys(
        ("invalid_api_key", "invalid_authentication_error", "authentication_error", "api_key_invalid",
         "permission_denied_error", "account_deactivated", "invalid_organization"),
        ErrorKind.CREDENTIALS,
    ),
    **dict.fromkeys(
        ("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "too_many_requests", "requests",
         "tokens", "throttling", "throttled"),
        ErrorKind.THROTTLED,
    ),
    **dict.fromkeys(
        ("overloaded_error", "engine_overloaded_error", "service_unavailable", "server_overloaded", "overloaded",
         "capacity_exceeded", "no_capacity"),
        ErrorKind.OVERLOADED,
    ),
    **dict.fromkeys(("server_error", "api_error", "internal_error", "internal_server_error"), ErrorKind.BROKEN),
    **dict.fromkeys(
        ("invalid_request_error", "invalid_value", "model_not_found", "unsupported_parameter", "bad_request"),
        ErrorKind.CALLER,
    ),
}  # fmt: skip
LISTED_CODES = frozenset(_CODES)

# 498: https://console.groq.com/docs/errors ("Flex Tier Capacity Exceeded"). 529: overloaded, as Anthropic began it.
_STATUSES: dict[int, ErrorKind] = {
    401: ErrorKind.CREDENTIALS,
    402: ErrorKind.MONEY,
    403: ErrorKind.CREDENTIALS,
    408: ErrorKind.OVERLOADED,
    425: ErrorKind.OVERLOADED,
    429: ErrorKind.THROTTLED,
    498: ErrorKind.OVERLOADED,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}

# Vendors that send only words. Each pattern is taken from a recorded or documented answer.
_TEXTS: tuple[tuple[re.Pattern[str], ErrorKind], ...] = (
    (
        re.compile(
            r"context (?:length|window)|exceed\w* (?:the |this model's )?(?:maximum |max )?context"
            r"|(?:prompt|input)(?: is)? too long|too many (?:input )?tokens|reduce (?:the|your) (?:length|prompt)"
            r"|request too large for model",
            re.IGNORECASE,
        ),
        ErrorKind.CONTEXT_LENGTH,
    ),
    (
        re.compile(
            r"exceeded your current quota|insufficient (?:account )?(?:balance|credit|quota|funds)|credit balance"
            r"|more credits|out of credits|payment required|billing",
            re.IGNORECASE,
        ),
        ErrorKind.MONEY,
    ),
    (
        re.compile(r"(?:incorrect|invalid|missing|expired) api[ _-]?key|api key not valid", re.IGNORECASE),
        ErrorKind.CREDENTIALS,
    ),
    (
        re.compile(r"content (?:management )?policy|content filter|flagged|moderation|safety system", re.IGNORECASE),
        ErrorKind.CONTENT_FILTER,
    ),
)
# A text may only refine a kind that says little; statuses such as 5xx or 429 know better (429: money only).
_REFINABLE: dict[ErrorKind, frozenset[ErrorKind]] = {
    ErrorKind.CALLER: frozenset(
        {ErrorKind.CONTEXT_LENGTH, ErrorKind.MONEY, ErrorKind.CREDENTIALS, ErrorKind.CONTENT_FILTER}
    ),
    ErrorKind.CREDENTIALS: frozenset({ErrorKind.CONTENT_FILTER, ErrorKind.MONEY}),
    ErrorKind.THROTTLED: frozenset({ErrorKind.MONEY}),
}


def from_response(status: int, headers: Mapping[str, str], body: bytes, redactor: Redactor) -> ProviderError:
    """Classify an answer that is no 2xx. `headers` has lower-case names."""
    error = redactor.value(_error_in(body, status))
    kind = _kind(error, status)
    hint = retry_after_s(headers, str(error["message"])) if kind in _HINTED else None
    return ProviderError(kind, str(error["message"]), status=status, error=error, retry_after_s=hint)


def in_band(payload: Mapping[str, Any], redactor: Redactor) -> ProviderError:
    """An error that came inside a 200 answer: `payload` is the whole JSON object it stood in."""
    error = redactor.value(_from_json(payload) or error_object("The provider reported an error without saying which."))
    code = str(error.get("code") or "")
    status = int(code) if code.isdigit() and 400 <= int(code) < 600 else None
    return ProviderError(_kind(error, status), str(error["message"]), cause=Cause.IN_BAND, status=status, error=error)


def is_error(payload: Mapping[str, Any]) -> bool:
    """Whether a 2xx body or stream event is an error in disguise."""
    return bool(payload.get("error")) or (payload.get("object") == "error" or payload.get("type") == "error")


_HINTED = frozenset({ErrorKind.THROTTLED, ErrorKind.OVERLOADED, ErrorKind.BROKEN})


def _kind(error: Mapping[str, Any], status: int | None) -> ErrorKind:
    inner = error.get("innererror")
    inner_code = inner.get("code") if isinstance(inner, dict) else None
    by_code = None
    for code in (inner_code, error.get("code"), error.get("type")):
        by_code = _CODES.get(str(code).lower()) if code else None
        if by_code is not None and (by_code is not ErrorKind.CALLER or status is None):
            break
    kind = _by_status(status, by_code)
    if isinstance(error.get("metadata"), dict) and "flagged_input" in error["metadata"]:
        # https://openrouter.ai/docs/api-reference/errors: 403 with `flagged_input` is moderation, not our key.
        return ErrorKind.CONTENT_FILTER
    refinements = _REFINABLE.get(kind)
    if refinements:
        text = f"{error.get('message')} {error.get('type')}"
        kind = next((k for pattern, k in _TEXTS if k in refinements and pattern.search(text)), kind)
    return kind


def _by_status(status: int | None, by_code: ErrorKind | None) -> ErrorKind:
    if status is None:
        return by_code or ErrorKind.BROKEN
    if status == 403 and by_code is ErrorKind.CALLER:
        # The generic `invalid_request_error` does not say whose fault a refusal is: it is our key's.
        by_code = None
    if status in (400, 403, 404, 409, 413, 422, 429) and by_code is not None:
        # A 413 that names a rate limit is a request no minute has room for: only a larger allowance helps.
        return ErrorKind.CONTEXT_LENGTH if status == 413 and by_code is ErrorKind.THROTTLED else by_code
    if status >= 500 and by_code is ErrorKind.OVERLOADED:
        return by_code
    listed = _STATUSES.get(status)
    if listed is not None:
        return listed
    return ErrorKind.CALLER if 400 <= status < 500 else ErrorKind.BROKEN


def _error_in(body: bytes, status: int) -> dict[str, Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return error_object(_words(body) or f"The provider answered with status {status}.")
    if isinstance(payload, list) and payload:
        payload = payload[0]  # https://ai.google.dev/gemini-api/docs/openai wraps its errors in a list
    found = _from_json(payload) if isinstance(payload, dict) else None
    return found or error_object(f"The provider answered with status {status}.")


def _from_json(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error object in the shapes vendors use: `error` (object or text), `detail`, or bare members."""
    error = payload.get("error")
    if isinstance(error, dict):
        return _complete(error, error.get("message"))
    if isinstance(error, str) and error:
        return _complete({key: payload[key] for key in ("code", "type", "param") if key in payload}, error)
    detail = payload.get("detail", payload.get("message"))
    if detail:
        return _complete({k: v for k, v in payload.items() if k not in ("object", "detail")}, detail)
    return None


def _complete(error: Mapping[str, Any], message: Any) -> dict[str, Any]:
    """All four members, as text or null, and whatever else the vendor said."""
    if not isinstance(message, str):
        message = orjson.dumps(message).decode() if message else "The provider gave no reason."
    code = error.get("code")
    param = error.get("param")
    return {
        **error,
        "message": message[:_MESSAGE_LIMIT],
        "type": str(error.get("type") or "upstream_error"),
        "param": None if param is None else str(param),
        "code": None if code is None else str(code),
    }


def _words(body: bytes) -> str:
    """What a body that is no JSON says: the title of a page, or its beginning without markup."""
    text = body[:_MESSAGE_LIMIT].decode("utf-8", "replace")
    if "<" in text:
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        text = title[1] if title else re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    text = " ".join(text.split())[:300]
    return f"The provider answered with something else than JSON: {text}" if text else ""
