"""The one table that says what a failed attempt means for the next step and for the caller.

Rows follow the error classes of docs/reference/errors.md; every behaviour test walks this table.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from policies.breaker import BreakerVerdict
from providers.base import Cause, ErrorKind, ProviderError


@dataclass(slots=True, frozen=True)
class Verdict:
    """What follows from one kind of failure.

    `falls_back`: try the next candidate while nothing was committed. `retries_fresh`: repeat on the same candidate
    once, at once, over a new connection. `is_callers`: the upstream's status and error object are the caller's
    answer. `status` and `error_type` are used otherwise, when no candidate is left. `blames`: it counts against the
    deployment when the next request chooses. `is_budgeted`: the call that follows it costs a token of the retry budget,
    and may go to the same deployment when nobody else is left. `has_detour`: a route may name models for this case.
    `breaker` is what the deployment's breaker makes of it.
    """

    falls_back: bool
    status: int
    error_type: str
    is_callers: bool = False
    retries_fresh: bool = False
    blames: bool = False
    is_budgeted: bool = False
    has_detour: bool = False
    breaker: BreakerVerdict = BreakerVerdict.NEUTRAL


_CALLERS = "invalid_request_error"
_OURS = "upstream_error"

# That a provider refuses a wrong request shows that it is alive.
VERDICTS: dict[ErrorKind, Verdict] = {
    ErrorKind.CALLER: Verdict(False, 400, _CALLERS, is_callers=True, breaker=BreakerVerdict.OK),
    ErrorKind.CONTEXT_LENGTH: Verdict(
        False, 400, _CALLERS, is_callers=True, has_detour=True, breaker=BreakerVerdict.OK
    ),
    ErrorKind.CONTENT_FILTER: Verdict(
        False, 400, _CALLERS, is_callers=True, has_detour=True, breaker=BreakerVerdict.OK
    ),
    ErrorKind.THROTTLED: Verdict(
        True, 429, "rate_limit_error", blames=True, is_budgeted=True, breaker=BreakerVerdict.THROTTLED
    ),
    ErrorKind.MONEY: Verdict(True, 503, _OURS, blames=True, breaker=BreakerVerdict.OPEN),
    ErrorKind.CREDENTIALS: Verdict(True, 502, _OURS, blames=True, breaker=BreakerVerdict.OPEN),
    ErrorKind.OVERLOADED: Verdict(True, 503, _OURS, blames=True, is_budgeted=True, breaker=BreakerVerdict.FAIL),
    ErrorKind.BROKEN: Verdict(True, 502, _OURS, blames=True, is_budgeted=True, breaker=BreakerVerdict.FAIL),
    ErrorKind.STALE: Verdict(True, 502, _OURS, retries_fresh=True, is_budgeted=True),
    ErrorKind.LOCAL: Verdict(False, 500, "internal_error"),
}

# The limits of ours that end a call which the provider has taken.
TIMEOUTS = frozenset({Cause.TTFT, Cause.IDLE, Cause.TOTAL})
# Who was waited for in vain is not waited for again, and an answer that is too large stays so.
_FINAL_CAUSES = TIMEOUTS | {Cause.TOO_LARGE}


def client_status(error: ProviderError) -> int:
    """The HTTP status the caller gets when `error` ends the request."""
    verdict = VERDICTS[error.kind]
    if verdict.is_callers:
        return error.status if error.status is not None else verdict.status
    return 504 if error.cause in TIMEOUTS else verdict.status


def summed_up(errors: Sequence[ProviderError], left_out: Collection[ErrorKind]) -> ProviderError:
    """The one error for a request whose candidates all failed, whatever their order. `errors` are the latest of each,
    at least one, all of kinds that fall back; `left_out` says the same of those that were not asked.

    What passes by itself goes before what a person has to mend. 429 means that nothing but pauses is in the way; with
    any other failure beside a pause, or an overload, it is 503. Both say when to come back.
    """
    passing = [error for error in errors if VERDICTS[error.kind].breaker is not BreakerVerdict.OPEN]
    kinds = {error.kind for error in passing} | set(left_out)
    if not kinds:
        return _latest(errors, ErrorKind.CREDENTIALS) or errors[-1]
    if kinds == {ErrorKind.THROTTLED}:
        wanted = ErrorKind.THROTTLED
    elif kinds & {ErrorKind.THROTTLED, ErrorKind.OVERLOADED}:
        wanted = ErrorKind.OVERLOADED
    else:
        answered = [error for error in passing if error.cause not in TIMEOUTS]
        return (answered or passing)[-1]
    return _latest(passing, wanted) or ProviderError(wanted, errors[-1].message)


def _latest(errors: Sequence[ProviderError], kind: ErrorKind) -> ProviderError | None:
    return next((error for error in reversed(errors) if error.kind is kind), None)


def falls_back(error: ProviderError) -> bool:
    """Whether the next candidate may be tried. What one dialect cannot say another may."""
    if error.cause is Cause.TOTAL:
        return False  # the request's own time is over
    return VERDICTS[error.kind].falls_back or error.cause is Cause.UNSUPPORTED


def may_repeat(error: ProviderError) -> bool:
    """Whether the same deployment may be asked once more, when nobody else is left."""
    return VERDICTS[error.kind].is_budgeted and error.cause not in _FINAL_CAUSES


def breaker_verdict(error: ProviderError, *, is_own_time: bool = True) -> BreakerVerdict:
    """What the breaker of the deployment is told.

    A dialect that cannot say something was never asked. Where the request's time is over, the deployment is blamed for
    it only with `is_own_time`: it had as long as it may take, and sent nothing.
    """
    if error.cause is Cause.UNSUPPORTED or (error.cause is Cause.TOTAL and not is_own_time):
        return BreakerVerdict.NEUTRAL
    return VERDICTS[error.kind].breaker
