"""Our own "no", in OpenAI's error shape: what is wrong, where, and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.wire.retry_after import whole_seconds
from policies.outcome import Refusal
from providers.base import error_object
from routing.constraints import NoCandidateError
from routing.decision import Reason

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


def key_expired(name: str) -> RefusedError:
    """401: the secret was a key's until its end, or until the end of a rotation."""
    return _refused(
        "key_expired",
        401,
        f"This secret of the key '{name}' has expired.",
        hint="Ask the operator of this gateway for a new one.",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def key_disabled(name: str) -> RefusedError:
    """401: an operator has disabled the key."""
    return _refused(
        "key_disabled",
        401,
        f"The key '{name}' is disabled.",
        hint="Ask the operator of this gateway to enable it.",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def key_unusable(name: str, detail: str) -> RefusedError:
    """503: the key is known, but the configuration lacks what limits it."""
    return _refused(
        "key_unusable",
        503,
        f"The key '{name}' cannot be used now. {detail}",
        type_="server_error",
        hint="Tell the operator of this gateway.",
    )


def keys_unavailable() -> RefusedError:
    """503: the store of keys cannot be read, so nobody knows whether this is one."""
    return _refused(
        "keys_unavailable",
        503,
        "The keys of this gateway cannot be read now, and this one is not among those it remembers.",
        type_="server_error",
        hint="Try again in a moment.",
        headers=((b"retry-after", b"1"),),
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


def admin_key_in_traffic() -> RefusedError:
    """401: a credential of the control plane on the data plane."""
    return _refused(
        "admin_key_in_traffic",
        401,
        "This is an admin key: it calls no model.",
        hint="Send no key, because this gateway has none for callers, and keep this one for /admin.",
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
    return _refused("model_not_found", 404, f"The model '{_shown(model)}' does not exist.", param="model", hint=hint)


@dataclass(slots=True, frozen=True)
class _Nothing:
    """What is said where every candidate fell to one reason, mainly."""

    code: str
    message: str
    hint: str
    status: int = 400
    param: str | None = None


_ASK_LESS = "Ask for a model or route whose candidates can, or leave it out."
_OPERATOR = "The operator of this gateway set the limit; GET /v1/models lists other names to ask for."
_LATER = "Try again in a moment."
_NOTHING: Mapping[Reason, _Nothing] = {
    Reason.DISABLED: _Nothing(
        "no_candidate", "every provider of it is off", "Tell the operator: GET /readyz says why.", 503
    ),
    Reason.NOT_ALLOWED: _Nothing(
        "model_not_allowed",
        "this key may use none of its models",
        "GET /v1/models lists what it may use.",
        403,
        "model",
    ),
    Reason.EXCLUDED: _Nothing(
        "no_candidate",
        "the request itself excludes every provider of it",
        "'provider.only', 'provider.ignore' and 'provider.order' take the names of this gateway's providers.",
        param="provider",
    ),
    # OpenAI's code and words: libraries look for them before they shorten a conversation.
    Reason.CONTEXT_WINDOW: _Nothing(
        "context_length_exceeded",
        "input and output together are longer than its maximum context length",
        "Shorten the conversation, or ask for less output.",
        param="messages",
    ),
    Reason.OUTPUT_LIMIT: _Nothing(
        "output_limit_exceeded", "it cannot write that much", "Ask for less output.", param="max_tokens"
    ),
    Reason.NO_TEXT: _Nothing("unsupported_text", "it does not answer with text", _ASK_LESS, param="model"),
    Reason.NO_TOOLS: _Nothing("unsupported_tools", "it cannot call tools", _ASK_LESS, param="tools"),
    Reason.NO_VISION: _Nothing("unsupported_vision", "it cannot see images", _ASK_LESS, param="messages"),
    Reason.NO_AUDIO: _Nothing("unsupported_audio", "it cannot hear or speak", _ASK_LESS, param="messages"),
    Reason.NO_PDF: _Nothing("unsupported_pdf", "it cannot read PDF files", _ASK_LESS, param="messages"),
    Reason.NO_JSON_SCHEMA: _Nothing(
        "unsupported_json_schema", "it cannot keep to a JSON schema", _ASK_LESS, param="response_format"
    ),
    Reason.NO_REASONING: _Nothing("unsupported_reasoning", "it does not reason", _ASK_LESS, param="reasoning_effort"),
    Reason.NO_STREAMING: _Nothing("unsupported_streaming", "it cannot stream", _ASK_LESS, param="stream"),
    Reason.NO_EMBEDDINGS: _Nothing("unsupported_embeddings", "it makes no embeddings", _ASK_LESS, param="model"),
    Reason.RESIDENCY: _Nothing("no_candidate", "it runs nowhere where the data may go", _OPERATOR),
    Reason.TIER_FLOOR: _Nothing("no_candidate", "all of it is below the lowest tier that may answer", _OPERATOR),
    Reason.UNPRICED: _Nothing(
        "no_candidate", "a limit on cost holds, and its price is not known", "Tell the operator: 'price' declares it."
    ),
    Reason.MAX_COST: _Nothing(
        "no_candidate", "the request is expected to cost more than it may", "Shorten it, or raise the limit on cost."
    ),
    Reason.MAX_PRICE: _Nothing("no_candidate", "its price per token is above the limit", "Raise the limit on price."),
    Reason.MAX_TTFT: _Nothing("no_candidate", "it is expected to answer too late", _LATER, 503),
    Reason.BREAKER_OPEN: _Nothing("no_candidate", "all that could answer failed lately", _LATER, 503),
    Reason.THROTTLED: _Nothing("no_candidate", "its providers asked for a pause", _LATER, 429),
    Reason.BUDGET: _Nothing(
        "insufficient_quota", "the budget that would pay is used up", "Tell the operator of this gateway.", 429
    ),
}
_FOR_A_PERSON = _Nothing(
    "no_candidate",
    "its providers refuse the operator's key or account",
    "Tell the operator: GET /readyz says who.",
    503,
)
_PASSING = frozenset({Reason.MAX_TTFT, Reason.BREAKER_OPEN, Reason.THROTTLED})


def no_candidate(
    name: str, error: NoCandidateError, wait_s: float | None = None, *, is_for_a_person: bool = False
) -> RefusedError:
    """400, 403, 429 or 503: nothing that `name` stands for can take the request. `constraint` in the error names what
    stands against it, `rejected` counts all reasons. `wait_s` is when the first candidate may be called again.
    """
    said = _FOR_A_PERSON if is_for_a_person else _NOTHING[error.main]
    shown = error_object(
        f"'{_shown(name)}' cannot take this request: {said.message}. {said.hint}",
        "overloaded_error" if error.main in _PASSING else "invalid_request_error",
        said.param,
        said.code,
    )
    shown |= {"hint": said.hint, "constraint": error.main.value}
    shown["rejected"] = {reason.value: count for reason, count in sorted(error.reasons.items())}
    headers = [_RETRY]
    if error.main in _PASSING and not is_for_a_person:
        headers = [(b"x-should-retry", b"true"), (b"retry-after", b"%d" % whole_seconds(wait_s or 0))]
    return RefusedError(said.code, Refusal(said.status, shown, headers))


def _shown(name: str) -> str:
    return name if len(name) <= 128 else name[:128] + "..."


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


def overloaded(retry_after_ms: int) -> RefusedError:
    """429: more requests than the gateway can serve now; nobody was asked yet, so trying again is safe."""
    error = error_object(
        "The gateway has more requests than it can serve now. Try again as Retry-After says.",
        "overloaded_error",
        None,
        "overloaded",
    )
    headers = [
        (b"x-should-retry", b"true"),
        (b"retry-after-ms", b"%d" % retry_after_ms),
        (b"retry-after", b"%d" % -(-retry_after_ms // 1000)),
    ]
    return RefusedError("overloaded", Refusal(429, error, headers))


def feedback_off() -> RefusedError:
    """404: nothing is recorded here."""
    return _refused(
        "feedback_off",
        404,
        "This gateway keeps no feedback.",
        hint="The section 'feedback: {file: ./feedback.jsonl}' of its configuration switches it on.",
    )


def unknown_request(request_id: str) -> RefusedError:
    """404: no request of this key, or one from too long ago."""
    return _refused(
        "request_not_found",
        404,
        f"There is no answered request '{request_id[:128]}' of this key that can be scored.",
        param="request_id",
        hint="Take the x-request-id of the answer, with the same key, at the same gateway process.",
    )


def feedback_lost() -> RefusedError:
    """500: the file of the feedback cannot be written."""
    return _refused(
        "feedback_not_written",
        500,
        "The score could not be written. The gateway's log says why.",
        type_="internal_error",
    )


def internal(error_id: str) -> RefusedError:
    """500: a fault of ours; the id finds it in the log."""
    return _refused(
        "internal_error",
        500,
        f"The gateway failed to handle this request. Its log has the details under {error_id}.",
        type_="internal_error",
    )
