"""Our own "no" where money or rates are at stake: the arithmetic, and when it makes sense to come back."""

from datetime import UTC, datetime
from math import ceil, isfinite

from gateway.wire.answers import usd
from gateway.wire.refusals import RefusedError
from policies.outcome import Refusal
from policies.scopes import Scope
from policies.stores.base import Denied, Unit
from providers.base import error_object

_NO_RETRY = (b"x-should-retry", b"false")
_WHAT = {
    Unit.REQUESTS: "requests per minute",
    Unit.TOKENS: "tokens per minute",
    Unit.INPUT_TOKENS: "input tokens per minute",
    Unit.OUTPUT_TOKENS: "output tokens per minute",
    Unit.SLOTS: "requests at the same time",
}
_LATER_S = 1  # where nobody knows when a place comes free


def budget_exhausted(scope: Scope, denied: Denied, now_s: float) -> RefusedError:
    """429 `insufficient_quota`: the rest of a budget does not pay for the request. `now_s` is Unix time."""
    name = scope.name
    parts = (
        f"limit ${usd(denied.limit)}, spent ${usd(denied.spent)}, held by requests under way ${usd(denied.held)}, "
        f"at most ${usd(denied.asked)} for this one"
    )
    headers = [_NO_RETRY]
    if denied.asked > denied.limit:
        hint = "Ask for a shorter answer (max_tokens), send less, or ask for a cheaper model."
    elif not isfinite(denied.reset_s):
        hint = "It does not start again by itself; tell the operator of this gateway."
    else:
        at = datetime.fromtimestamp(denied.reset_s, UTC)
        hint = f"It starts again at {at:%Y-%m-%dT%H:%M:%SZ}; a shorter answer (max_tokens) or a cheaper model may fit."
        headers.append((b"retry-after", b"%d" % max(1, ceil(denied.reset_s - now_s))))
    message = f"The budget '{name}' does not pay for this request: {parts}. {hint}"
    error = error_object(message, "insufficient_quota", None, "insufficient_quota")
    error |= {
        "hint": hint,
        "budget": {
            "name": name,
            "limit_usd": usd(denied.limit),
            "spent_usd": usd(denied.spent),
            "held_usd": usd(denied.held),
            "asked_usd": usd(denied.asked),
            "reset": None if not isfinite(denied.reset_s) else ceil(denied.reset_s),
        },
    }
    return RefusedError("budget_exhausted", Refusal(429, error, headers))


def request_too_expensive(scope: Scope, least_nusd: int) -> RefusedError:
    """400: more than one request of this budget may cost; waiting does not help."""
    hint = "Ask for a shorter answer (max_tokens), send less, or ask for a cheaper model."
    message = (
        f"This request may cost ${usd(least_nusd)}, and the budget '{scope.name}' allows "
        f"${usd(scope.max_request_nusd or 0)} for one request. {hint}"
    )
    error = error_object(message, "invalid_request_error", None, "request_too_expensive") | {"hint": hint}
    return RefusedError("request_too_expensive", Refusal(400, error, [_NO_RETRY]))


def unpriced(model: str, scope: Scope) -> RefusedError:
    """403: a budget holds, and nobody knows what the model costs."""
    hint = "The operator can give the model a 'price' in the configuration (zeros where it costs nothing)."
    message = f"Nobody knows the price of '{model}', so the budget '{scope.name}' cannot pay for it. {hint}"
    error = error_object(message, "invalid_request_error", "model", "model_unpriced") | {"hint": hint}
    return RefusedError("model_unpriced", Refusal(403, error, [_NO_RETRY]))


def rate_limited(scope: Scope, denied: Denied) -> RefusedError:
    """429 `rate_limit_exceeded`, as OpenAI says it: a rate limit is reached, and there is no time to wait."""
    unit = denied.meter.unit
    if denied.asked > denied.limit:
        hint = "Send less, or ask for a shorter answer: waiting does not help."
        headers = [_NO_RETRY]
    else:
        wait_s = _LATER_S if denied.retry_s is None else denied.retry_s
        hint = f"Try again in {max(0.001, wait_s):.3f} s."
        headers = [
            (b"x-should-retry", b"true"),
            (b"retry-after-ms", b"%d" % max(1, ceil(wait_s * 1000))),
            (b"retry-after", b"%d" % max(1, ceil(wait_s))),
        ]
    message = (
        f"The limit '{scope.name}' of {denied.limit} {_WHAT[unit]} is reached: used {denied.spent}, "
        f"under way {denied.held}, asked {denied.asked}. {hint}"
    )
    kind = "requests" if unit in (Unit.REQUESTS, Unit.SLOTS) else "tokens"
    if unit in (Unit.REQUESTS, Unit.TOKENS):
        left = max(0, denied.limit - denied.spent - denied.held)
        headers += [
            (f"x-ratelimit-{what}-{kind}".encode(), b"%d" % amount)
            for what, amount in (("limit", denied.limit), ("remaining", left))
        ]
    error = error_object(message, kind, None, "rate_limit_exceeded") | {"hint": hint}
    return RefusedError("rate_limited", Refusal(429, error, headers))


def store_unavailable(scope: Scope) -> RefusedError:
    """503: nobody can say what is left of a budget, and it was not to be exceeded."""
    hint = "Try again in a moment; GET /readyz shows the operator what is wrong."
    message = f"The spending of the budget '{scope.name}' cannot be looked up now. {hint}"
    error = error_object(message, "server_error", None, "budget_store_unavailable") | {"hint": hint}
    headers = [(b"x-should-retry", b"true"), (b"retry-after", b"1")]
    return RefusedError("budget_store_unavailable", Refusal(503, error, headers))
