"""Which call comes after one that failed: the next candidate, the same one once more, or none.

Pure but for the outcome it notes things in; the caller waits as it is told.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from policies.breaker import Repute
from policies.outcome import Outcome
from policies.retry import LONGEST_HINT_S, Retry
from policies.verdicts import VERDICTS, falls_back, may_repeat
from providers.base import Cause, ErrorKind, ProviderError
from routing.decision import Deployment

# How long is waited before one looks again how the calls of others ended.
_LOOK_S = (0.02, 0.04, 0.08, 0.16, 0.25)
# Timers may fire a little before the time by another clock.
_CLOCKS_APART_S = 0.005
# What is waited in all before one call; a little more than one pause, for the clock that was behind.
_MOST_WAITED_S = LONGEST_HINT_S + 0.1
# The models that a route has for one kind of error, as far as they can take the request.
Detour = Callable[[ErrorKind], Iterable[Deployment]]


@dataclass(slots=True, frozen=True)
class Step:
    """The next call: where, after how many seconds, and whether over a new connection.

    `is_last`: nobody new follows it. `is_repeat`: the deployment was asked before, and failed. `is_look`: no call yet;
    after the wait, `Walk.look` says what comes.
    """

    deployment: Deployment
    wait_s: float = 0.0
    is_fresh: bool = False
    is_last: bool = False
    is_repeat: bool = False
    is_look: bool = False


class _Fare(Enum):
    """What was paid for the next call."""

    NOTHING = auto()
    WAIVED = auto()  # for somebody who answers well, once in a request
    UNTRIED = auto()
    TOKEN = auto()


@dataclass(slots=True)
class _Standing:
    """Somebody who had a turn. `times` are its failures, `until_s` is when the provider wants to be asked again, None
    where it did not say. `refused_s` is when it could not be called at its turn, None where it has been since.
    """

    times: int = 0
    error: ProviderError | None = None
    may_ask: bool = True
    until_s: float | None = None
    refused_s: float | None = None


class Walk:
    """The calls of one request after its first. `candidates` are those not asked yet, in order.

    `ready_in` gives the seconds for which a deployment may not be called, `repute` how its calls ended lately, and
    `is_tried` whether calls of others are under way there that may show it to be well.
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
        repute: Callable[[Deployment], Repute],
        is_tried: Callable[[Deployment], bool],
        detour: Detour | None = None,
    ) -> None:
        self._queue = deque(candidates)
        self._max_attempts = max_attempts
        self._retry = retry
        self._outcome = outcome
        self._rng = rng
        self._detour = detour
        self._ready_in = ready_in
        self._repute = repute
        self._is_tried = is_tried
        self._known: dict[Deployment, _Standing] = {}
        self._calls = 0
        self._stale: ProviderError | None = None  # its free repeat is on the way
        self._is_free = True  # the first call to somebody takes no token
        self._fare = _Fare.NOTHING
        self._may_waive = True
        self._waited_s = 0.0  # since the last call, for somebody who could not be called
        self._looks = 0

    def after(self, deployment: Deployment, error: ProviderError, now_s: float, until_s: float) -> Step | None:
        """What follows `error` of `deployment`. Nothing is started at or after `until_s`. None: that was the end.

        A reused connection that dies before any byte says nothing about the provider: once more, at once, for free.
        """
        self._waited_s = 0.0
        if VERDICTS[error.kind].retries_fresh and self._stale is None:
            self._stale = error
            self._outcome.stale_retries += 1
            return Step(deployment, is_fresh=True, is_last=self._is_last())
        self._stale = None
        return self._go_on(deployment, error, now_s, until_s)

    def instead(self, deployment: Deployment, now_s: float, until_s: float) -> Step | None:
        """What comes in the place of a call that may not be made now; None where nothing is left.

        Whoever could not be called has another turn when all others had theirs. What was paid is given back, and
        paid anew for whoever is called in its place.
        """
        if self._stale is not None:
            stale, self._stale = self._stale, None
            self._outcome.stale_retries -= 1
            return self._go_on(deployment, stale, now_s, until_s)
        self._known.setdefault(deployment, _Standing()).refused_s = now_s
        return self._next_paid(now_s, until_s)

    def look(self, now_s: float, until_s: float) -> Step | None:
        """What comes after a wait for the calls of others; None where nothing is left."""
        return self._next_paid(now_s, until_s)

    def errors(self) -> list[ProviderError]:
        """The latest failure of everybody who was asked."""
        return [standing.error for standing in self._known.values() if standing.error is not None]

    def give_up(self) -> None:
        """Whoever asked is gone before the next call began."""
        self._refund()

    def beside(self, deployment: Deployment, admit: Callable[[Deployment], int]) -> tuple[Deployment, int] | None:
        """Who is asked while `deployment` lets wait, with the ticket that `admit` gave. It is of another provider: one
        that is slow is often slow for all of its models. It counts as asked; who could not be called keeps its turn.
        """
        if self._calls + 2 > self._max_attempts:
            return None
        for other in self._queue:
            ticket = admit(other) if other.provider != deployment.provider else 0
            if ticket:
                self._queue.remove(other)
                return other, ticket
        return None

    def failed(self, deployment: Deployment, error: ProviderError, now_s: float) -> None:
        """One of two calls failed at `now_s`, and so did the other after it, with which the request goes on."""
        if error.cause is not Cause.UNSUPPORTED:
            self._calls += 1
            self._note(deployment, error, now_s)

    def _go_on(self, deployment: Deployment, error: ProviderError, now_s: float, until_s: float) -> Step | None:
        if error.cause is not Cause.UNSUPPORTED:
            self._calls += 1
            self._note(deployment, error, now_s)
            self._is_free = not VERDICTS[error.kind].is_budgeted
            self._may_waive = self._may_waive and self._fare is not _Fare.WAIVED
            self._fare = _Fare.NOTHING
        elif deployment in self._known:  # nothing was sent, nor will it be; what was paid for is still to come
            self._known[deployment].may_ask = False
        is_detour = self._turn_aside(error)
        if not (is_detour or falls_back(error)) or self._calls >= self._max_attempts:
            self._refund()
            return None
        return self._next_paid(now_s, until_s)

    def _note(self, deployment: Deployment, error: ProviderError, now_s: float) -> None:
        standing = self._known.setdefault(deployment, _Standing())
        standing.times += 1
        standing.error = error
        standing.may_ask = may_repeat(error)
        standing.refused_s = None
        hint_s = error.retry_after_s
        standing.until_s = None if hint_s is None else now_s + hint_s

    def _turn_aside(self, error: ProviderError) -> bool:
        """Take the models that the route has for this kind of error, if any, in the place of all who were not asked."""
        if self._detour is None or not VERDICTS[error.kind].has_detour:
            return False
        asked = {deployment: standing for deployment, standing in self._known.items() if standing.times}
        found = [deployment for deployment in self._detour(error.kind) if deployment not in asked]
        if found:
            self._queue, self._known = deque(found), asked
        return bool(found)

    def _next_paid(self, now_s: float, until_s: float) -> Step | None:
        """The first step that can be paid for where it has to be. What was paid for nothing is given back.

        A deployment that failed of late must not get all the calls of the others in addition. One that answers well
        may, and one of which nothing is known some: they are who the fallback is there for. How those turn out is
        waited for by the rest of a burst, which is more than can be risked.
        """
        self._refund()
        unpaid: list[Step] = []
        while (step := self._next(now_s, until_s)) is not None:
            repute = Repute.BAD if step.is_repeat else self._repute(step.deployment)
            if (self._is_free and not step.is_repeat) or self._pay(repute):
                self._queue.extend(before.deployment for before in unpaid)  # tokens may be there at its next turn
                return step
            unpaid.append(step)
            if not self._queue:
                break
        new = [step.deployment for step in unpaid if step.deployment not in self._known]
        tried = next(filter(self._is_tried, new), None)
        if tried is None:
            self._outcome.is_budget_empty = self._outcome.is_budget_empty or bool(unpaid)
            return None
        wait_s = _LOOK_S[min(self._looks, len(_LOOK_S) - 1)]
        if now_s + wait_s >= until_s:
            self._outcome.is_budget_empty = True
            return None
        self._looks += 1
        self._queue.extend(new)
        return Step(tried, wait_s, is_look=True)

    def _pay(self, repute: Repute) -> bool:
        """Whether the next call, to somebody of that repute, could be paid for."""
        budget = self._retry.budget
        if repute is Repute.GOOD and self._may_waive:
            self._fare = _Fare.WAIVED
        elif repute is not Repute.BAD and budget.take_untried():
            self._fare = _Fare.UNTRIED
        elif budget.take():
            self._fare = _Fare.TOKEN
        return self._fare is not _Fare.NOTHING

    def _refund(self) -> None:
        """Take back what was paid for a call that is not made."""
        if self._fare is _Fare.TOKEN:
            self._retry.budget.give_back()
        elif self._fare is _Fare.UNTRIED:
            self._retry.budget.give_back_untried()
        self._fare = _Fare.NOTHING

    def _next(self, now_s: float, until_s: float) -> Step | None:
        """Somebody who had no turn yet, at once; else one of those who had, whoever can be called first."""
        if self._queue and now_s < until_s:
            deployment = self._queue.popleft()
            return Step(deployment, is_last=self._is_last())
        best: tuple[float, int, float, Deployment] | None = None
        for deployment, standing in self._known.items():
            if not standing.may_ask:
                continue
            hint_s = self._hint_s(deployment, standing, now_s)
            wait_s = self._retry.rules.pause_s(standing.times - 1, hint_s, self._rng)
            if wait_s is None or now_s + wait_s >= until_s:
                continue
            found = (hint_s or 0.0, standing.times, wait_s)
            if self._waited_s + found[0] <= _MOST_WAITED_S and (best is None or found < best[:3]):
                best = (*found, deployment)
        if best is None:
            return None
        must_s, times, wait_s, deployment = best
        self._waited_s += must_s
        return Step(deployment, wait_s, is_last=True, is_repeat=times > 0)

    def _hint_s(self, deployment: Deployment, standing: _Standing, now_s: float) -> float | None:
        """Seconds for which it cannot, or does not want to, be called; None where nothing is known of that."""
        hints = []
        if standing.until_s is not None:
            hints.append(standing.until_s - now_s)
        if standing.refused_s is not None:  # never again in the same moment
            hints.append(standing.refused_s + _CLOCKS_APART_S - now_s)
        blocked_s = self._ready_in(deployment)
        if blocked_s > 0:
            hints.append(max(blocked_s, *hints, 0.0) + _CLOCKS_APART_S)
        return max(0.0, *hints) if hints else None

    def _is_last(self) -> bool:
        """Whether the call that is about to be made is the last to somebody new."""
        return not self._queue or self._calls + 1 >= self._max_attempts
