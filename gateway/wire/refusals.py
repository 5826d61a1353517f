"""Our own "no", in OpenAI's error shape: what is wrong, where, and what to do next."""

from collections.abc import Sequence

from policies.outcome import Refusal
from providers.base import error_object

_RETRY = (b"x-should-retry", b"false")


class RefusedError(Exception):
    """Ends a request with a Refusal. `reason` is a closed-set label."""

    def __init__(self, reason: str, refusal: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


def _refused(
    reason: str,
    status: int,
    message: str,
    *,
    type_: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    hint: str | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> RefusedError:
    # The advice is in the message as well: most SDKs show a person nothing else.
    error = error_object(message if hint is None else f"{message} {hint}", type_, param, code or reason)
    if hint is not None:
        error["hint"] = hint
    return RefusedError(reason, Refusal(status, error, [*headers, _RETRY]))


def missing_key() -> RefusedError:
    """401: no credentials at all."""
    return _refused(
        "missing_api_key",
        401,
        "No API key was sent.",
        hint="Send a virtual key as 'Authorization: Bearer <key>' or 'x-api-key: <key>'.",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def invalid_key() -> RefusedError:
    """401: credentials that no key matches."""
    return _refused(
        "invalid_api_key",
        401,
        "The API key is not known to this gateway.",
        hint="Use a virtual key of this gateway, not a provider's key.",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def admin_key_needed() -> RefusedError:
    """401: the metrics page is behind the admin key."""
    return _refused(
        "admin_key_needed",
        401,
        "This page needs the admin key.",
        hint="Send it as 'Authorization: Bearer <key>', or open the page with SIGNALBOX_METRICS_OPEN=true.",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def model_not_allowed(model: str) -> RefusedError:
    """403: the key's allow-list lacks the model."""
    return _refused(
        "model_not_allowed",
        403,
        f"This key may not use the model '{model}'.",
        param="model",
        hint="GET /v1/models lists what this key may use.",
    )


def unknown_model(model: str, near: Sequence[str]) -> RefusedError:
    """404: no such model or route."""
    hint = "GET /v1/models lists the names; 'provider/model' reaches any model of a configured provider."
    if near:
        hint = f"Did you mean {' or '.join(repr(name) for name in near)}? " + hint
    shown = model if len(model) <= 128 else model[:128] + "..."
    return _refused("model_not_found", 404, f"The model '{shown}' does not exist.", param="model", hint=hint)


def bad_json(reason: str) -> RefusedError:
    """400: the body is not a JSON object."""
    return _refused("invalid_json", 400, f"The request body is not a JSON object: {reason}")


def invalid_field(param: str, message: str, *, missing: bool = False) -> RefusedError:
    """400: one field is absent or has the wrong type."""
    return _refused("missing_required_parameter" if missing else "invalid_type", 400, message, param=param)


def invalid_header(name: str, message: str) -> RefusedError:
    """400: a header of ours that cannot be understood."""
    return _refused("invalid_header", 400, f"The header '{name}' {message}")


def body_too_large(limit: int) -> RefusedError:
    """413: the body is over the limit; the connection is closed because the rest of it is not read."""
    return _refused(
        "request_too_large",
        413,
        f"The request body is larger than {limit} bytes.",
        hint="SIGNALBOX_MAX_BODY_BYTES sets the limit.",
        headers=((b"connection", b"close"),),
    )


def too_slow(what: str, limit_s: float) -> RefusedError:
    """408: the request did not arrive in time; the connection is closed."""
    return _refused(
        "request_timeout",
        408,
        f"The request's {what} did not arrive within {limit_s:g} s.",
        headers=((b"connection", b"close"),),
    )


def wrong_content_type(content_type: str) -> RefusedError:
    """415: not JSON."""
    return _refused(
        "unsupported_content_type",
        415,
        f"The content type '{content_type[:128]}' is not supported here.",
        hint="Send 'Content-Type: application/json'.",
    )


def wrong_content_encoding(encoding: str) -> RefusedError:
    """415: a body encoding other than gzip."""
    return _refused("unsupported_content_encoding", 415, f"The content encoding '{encoding[:64]}' is not supported.")


def method_not_allowed(method: str, allowed: Sequence[str]) -> RefusedError:
    """405."""
    allow = ", ".join(allowed)
    return _refused(
        "method_not_allowed",
        405,
        f"The method {method} is not allowed here; use {allow}.",
        headers=((b"allow", allow.encode()),),
    )


def not_found(path: str) -> RefusedError:
    """404: no such endpoint."""
    return _refused(
        "unknown_url",
        404,
        f"There is nothing at {path[:256]}.",
        hint="The base URL of this API ends in /v1, for example /v1/chat/completions.",
    )


def head_too_large(reason: str, status: int) -> RefusedError:
    """414 or 431: the request line or the header fields are over the limit."""
    return _refused("request_head_too_large", status, reason, headers=((b"connection", b"close"),))


def malformed_http() -> RefusedError:
    """400: not HTTP/1.1 as the RFC has it."""
    return _refused("malformed_http", 400, "The request is not well-formed HTTP.", headers=((b"connection", b"close"),))


def shutting_down() -> RefusedError:
    """503: the process is about to end; another replica can answer."""
    return RefusedError(
        "shutting_down",
        Refusal(
            503,
            error_object("The gateway is shutting down.", "overloaded_error", None, "shutting_down"),
            [(b"connection", b"close"), (b"x-should-retry", b"true"), (b"retry-after", b"1")],
        ),
    )


def internal(error_id: str) -> RefusedError:
    """500: a fault of ours; the id finds it in the log."""
    return _refused(
        "internal_error",
        500,
        f"The gateway failed to handle this request. Its log has the details under {error_id}.",
        type_="internal_error",
    )
