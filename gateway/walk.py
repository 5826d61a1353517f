"""Which call comes after one that failed: the next candidate, the same one once more, or none.

Pure but for the outcome it notes things in; the caller waits as it is told.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from policies.outcome import Outcome
from policies.retry import Retry
from policies.verdicts import VERDICTS, falls_back, may_repeat
from providers.base import Cause, ErrorKind, ProviderError
from routing.decision import Deployment

# Timers may fire a little before the time by another clock.
_CLOCKS_APART_S = 0.005
# The models that a route has for one kind of error, as far as they can take the request.
Detour = Callable[[ErrorKind], Iterable[Deployment]]


@dataclass(slots=True, frozen=True)
class Step:
    """The next call: where, after how many seconds, and whether over a new connection.

    `is_last`: nobody new follows it. `is_repeat`: the deployment was asked before, and failed.
    """

    deployment: Deployment
    wait_s: float = 0.0
    is_fresh: bool = False
    is_last: bool = False
    is_repeat: bool = False


@dataclass(slots=True)
class _Failure:
    """`until_s` is when the provider wants to be asked again, None where it did not say."""

    times: int = 0
    may_repeat: bool = False
    until_s: float | None = None


class Walk:
    """The calls of one request after its first. `candidates` are those not asked yet, in order.

    `ready_in` gives the seconds for which a deployment may not be called.
    """

    def __init__(
        self,
        candidates: Iterable[Deployment],
        max_attempts: int,
        retry: Retry,
        outcome: Outcome,
        rng: Random,
        *,
        ready_in: Callable[[Deployment], float],
        detour: Detour | None = None,
    ) -> None:
        self._queue = deque(candidates)
        self._max_attempts = max_attempts
        self._retry = retry
        self._outcome = outcome
        self._rng = rng
        self._detour = detour
        self._ready_in = ready_in
        self._failures: dict[Deployment, _Failure] = {}
        self._calls = 0
        self._is_fresh = False

    def after(self, deployment: Deployment, error: ProviderError, now_s: float, until_s: float) -> Step | None:
        """What follows `error` of `deployment`. Nothing is started at or after `until_s`. None: that was the end.

        A reused connection that dies before any byte says nothing about the provider: once more, at once, for free.
        """
        verdict = VERDICTS[error.kind]
        if verdict.retries_fresh and not self._is_fresh:
            self._is_fresh = True
            self._outcome.stale_retries += 1
            return Step(deployment, is_fresh=True, is_last=self._is_last())
        self._is_fresh = False
        if error.cause is not Cause.UNSUPPORTED:  # else nothing was sent
            self._calls += 1
            self._note(deployment, error, now_s)
        is_detour = self._turn_aside(error)
        if not (is_detour or falls_back(error)) or self._calls >= self._max_attempts:
            return None
        step = self._next(now_s, until_s)
        if step is None:
            return None
        is_free = not step.is_repeat and (not verdict.is_budgeted or error.cause is Cause.UNSUPPORTED)
        if not is_free and not self._retry.budget.take():
            self._outcome.is_budget_empty = True
            return None
        return step

    def instead(self, deployment: Deployment, now_s: float, until_s: float) -> Step | None:
        """What comes in the place of a call that may not be made now; None where nothing is left."""
        if deployment in self._failures:
            self._failures[deployment].may_repeat = False
        return self._next(now_s, until_s)

    def beside(self, deployment: Deployment) -> Deployment | None:
        """Who could be asked while `deployment` lets wait: of another provider if there is one. It counts as asked."""
        others = [other for other in self._queue if other.provider != deployment.provider] or list(self._queue)
        if not others or self._calls + 2 > self._max_attempts:
            return None
        self._queue.remove(others[0])
        return others[0]

    def failed(self, deployment: Deployment, error: ProviderError, now_s: float) -> None:
        """One of two calls failed, and so did the other, with which the request goes on."""
        self._calls += 1
        self._note(deployment, error, now_s)

    def _note(self, deployment: Deployment, error: ProviderError, now_s: float) -> None:
        failure = self._failures.setdefault(deployment, _Failure())
        failure.times += 1
        failure.may_repeat = may_repeat(error)
        hint_s = error.retry_after_s
        failure.until_s = None if hint_s is None else now_s + hint_s

    def _turn_aside(self, error: ProviderError) -> bool:
        """Take the models that the route has for this kind of error, if any."""
        if self._detour is None or not VERDICTS[error.kind].has_detour:
            return False
        found = [deployment for deployment in self._detour(error.kind) if deployment not in self._failures]
        if found:
            self._queue = deque(found)
        return bool(found)

    def _next(self, now_s: float, until_s: float) -> Step | None:
        """Somebody who was not asked yet, at once; else one of those who were, after a pause."""
        if self._queue:
            deployment = self._queue.popleft()
            return Step(deployment, is_last=self._is_last())
        best: tuple[int, float, Deployment] | None = None
        for deployment, failure in self._failures.items():
            if not failure.may_repeat:
                continue
            wait_s = self._pause_s(deployment, failure, now_s)
            if wait_s is None or now_s + wait_s >= until_s:
                continue
            if best is None or (failure.times, wait_s) < best[:2]:
                best = (failure.times, wait_s, deployment)
        return None if best is None else Step(best[2], best[1], is_last=True, is_repeat=True)

    def _pause_s(self, deployment: Deployment, failure: _Failure, now_s: float) -> float | None:
        hint_s = None if failure.until_s is None else failure.until_s - now_s
        blocked_s = self._ready_in(deployment)
        if blocked_s > 0:
            hint_s = max(blocked_s, hint_s or 0.0) + _CLOCKS_APART_S
        return self._retry.rules.pause_s(failure.times - 1, hint_s, self._rng)

    def _is_last(self) -> bool:
        """Whether the call that is about to be made is the last to somebody new."""
        return not self._queue or self._calls + 1 >= self._max_attempts
