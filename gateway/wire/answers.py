"""Headers and bodies of every answer, made from a finished or committed Outcome."""

from typing import Any

from gateway.wire.http import Headers
from gateway.wire.retry_after import whole_seconds
from policies.outcome import Attempt, CacheUse, Outcome, Refusal
from policies.verdicts import VERDICTS, client_status
from providers import lenient_json
from providers.base import ErrorKind, ProviderError, error_object
from routing.decision import Reason, header_text

JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_SHOULD_NOT_RETRY = (b"x-should-retry", b"false")
# nginx buffers streams unless told.
_BYPASS = b"x-signalbox-cache: bypass"
_BYPASSED = CacheUse.BYPASS  # to look into an enumeration takes ten times as long as a name of the module
_COMMON_LINES = b"cache-control: no-store\r\n" + _BYPASS + b"\r\n"
_WHOLE_LINES = b"content-type: application/json\r\n" + _COMMON_LINES
_STREAM_LINES = b"content-type: text/event-stream; charset=utf-8\r\nx-accel-buffering: no\r\n" + _COMMON_LINES
# Some of these names are the caller's own.
_DROPPED_SHOWN, _DROPPED_CHARS = 32, 64


def refusal_headers(refusal: Refusal, request_id: str) -> Headers:
    """Headers of our own "no"."""
    return [JSON, (b"x-request-id", request_id.encode()), _NO_STORE, *refusal.headers]


def refusal_body(refusal: Refusal) -> bytes:
    """The error object as JSON."""
    return lenient_json.dumps({"error": refusal.error})


def answer_head(outcome: Outcome, now: float, length: int | None) -> bytes:
    """Finished header lines of an answer at its commit point; `now` is a reading of the clock.

    `length` is the body's, None for a stream. The cost is there when it is known by then. One formatted text instead of
    a list of pairs: the server would check and join them one by one, at a tenth of a plain request's cost.
    """
    request = outcome.request
    lines = (
        b"%bx-request-id: %b\r\nx-signalbox-attempts: %d\r\n"
        b"x-signalbox-overhead-ms: %.2f\r\nx-signalbox-decision: %b\r\n"
    ) % (
        _STREAM_LINES if request.stream and length is None else _WHOLE_LINES,
        request.request_id.encode(),
        len(outcome.attempts),
        _overhead_ms(outcome, now),
        outcome.decision.summary.encode(),
    )
    answered_by = outcome.answered_by
    if answered_by is not None:
        lines += b"x-signalbox-model: %b\r\n" % answered_by.deployment.header
        if answered_by.cost_nusd is not None:
            lines += b"x-signalbox-cost-usd: %b\r\n" % usd(answered_by.cost_nusd).encode()
    if outcome.dropped:
        lines += b"x-signalbox-dropped-params: %b\r\n" % header_text(
            ", ".join(name[:_DROPPED_CHARS] for name in outcome.dropped[:_DROPPED_SHOWN])
        )
    if outcome.cache is not _BYPASSED:
        lines = lines.replace(_BYPASS, b"x-signalbox-cache: %b" % outcome.cache.encode(), 1)
    if outcome.explanation:
        lines += b"x-signalbox-explanation: %b\r\n" % outcome.explanation
    if outcome.head_lines:
        lines += outcome.head_lines
    if length is not None:
        lines += b"content-length: %d\r\n" % length
    return lines


def failure(outcome: Outcome, error: ProviderError, wait_s: float | None) -> Refusal:
    """The one error a caller gets when no candidate answered: every attempt listed, the right status, retry advice.

    `wait_s`: until the first candidate may be called again; None where waiting does not help.
    """
    verdict = VERDICTS[error.kind]
    status = client_status(error) if outcome.attempts else 503  # nobody could even be asked
    if verdict.is_callers:
        shown: dict[str, Any] = dict(error.error)
    else:
        code = error.error.get("code") if error.kind is ErrorKind.THROTTLED else None
        message = f"No provider could answer: {error.message}" if len(outcome.attempts) > 1 else error.message
        shown = error_object(message, verdict.error_type, None, code or f"provider_{error.kind.value}")
        shown["hint"] = _hint(outcome, error)
    if outcome.attempts:
        shown["attempts"] = [_attempt_view(attempt) for attempt in outcome.attempts]
    headers: Headers = []
    if wait_s is not None and status in (429, 503):
        headers.append((b"retry-after", b"%d" % whole_seconds(wait_s)))
    if not (headers and (_is_paced(outcome) or not outcome.attempts)):
        # Every candidate was tried here, so a client's own retries would only multiply the load. A pause that a
        # provider asks for is the exception: waiting that long helps.
        headers.append(_SHOULD_NOT_RETRY)
    return Refusal(status, shown, headers)


def _is_paced(outcome: Outcome) -> bool:
    """Whether somebody asked for a pause, in this request or before it."""
    return any(attempt.kind is ErrorKind.THROTTLED for attempt in outcome.attempts) or any(
        rejected.reason is Reason.THROTTLED for rejected in outcome.decision.rejections
    )


def failure_head(outcome: Outcome, refusal: Refusal, now: float, length: int) -> bytes:
    """Header lines of a failure after routing: what was tried is worth as much as for an answer."""
    return answer_head(outcome, now, length) + b"".join(b"%b: %b\r\n" % header for header in refusal.headers)


def error_frame(error: ProviderError) -> bytes:
    """The terminal event of a stream that broke after its first byte."""
    shown = error_object(error.message, "upstream_error", None, "stream_interrupted")
    return b"data: " + lenient_json.dumps({"error": shown}) + b"\n\n"


def usd(nusd: int) -> str:
    """Nano-dollars as a plain decimal number of dollars, exact to the last digit."""
    whole, rest = divmod(abs(nusd), 1_000_000_000)
    sign = "-" if nusd < 0 else ""
    return f"{sign}{whole}.{rest:09d}".rstrip("0") if rest else f"{sign}{whole}"


_HINTS = {
    ErrorKind.THROTTLED: "The provider limits the rate; wait as Retry-After says.",
    ErrorKind.MONEY: "The operator's account at the provider has no credit left; tell the operator.",
    ErrorKind.CREDENTIALS: "The operator's key at the provider was refused; tell the operator.",
}


def _hint(outcome: Outcome, error: ProviderError) -> str:
    if not outcome.attempts:
        return "GET /readyz says what stands against the providers of this model."
    return _HINTS.get(error.kind, "Try again later; 'attempts' lists what was tried.")


def _overhead_ms(outcome: Outcome, now: float) -> float:
    added_s = now - outcome.started - outcome.paused_s
    busy_until = 0.0
    for attempt in outcome.attempts:
        began, ended = attempt.started, attempt.ended or now
        began = max(began, busy_until)
        if ended > began:
            added_s -= ended - began
            busy_until = ended
    return max(0.0, added_s * 1000)


def _attempt_view(attempt: Attempt) -> dict[str, Any]:
    return {
        "model": attempt.deployment.id,
        "status": attempt.status,
        "kind": attempt.kind,
        "cause": attempt.cause,
        "message": attempt.message,
        "duration_ms": round((attempt.ended - attempt.started) * 1000, 1),
    }
