"""Walks the candidates of a decision until one answers.

The commit rule: until the first content is in hand nothing is sent to the caller, and another candidate may still
answer. After it, a failure ends the stream with an error event. The verdict table says what each failure means.
"""

import asyncio
from collections.abc import Callable

from gateway.attempt_run import AttemptRun, Limits, Sink
from gateway.race import Race, least_cost_nusd, may_race
from gateway.runtime import Runtime
from gateway.walk import Step, Walk
from policies.hedging import HedgeRules, Hedges
from policies.outcome import Outcome
from policies.retry import CAP_TOKENS, CAP_UNTRIED, UNTRIED_SHARE
from policies.verdicts import VERDICTS, falls_back, summed_up
from providers.base import Cause, ErrorKind, ProviderError
from routing.decision import Decision, Deployment, Reason


class AttemptEngine:
    """Runs the attempts of one request against one Runtime. One instance per Runtime serves all requests.

    `clock` measures (monotonic seconds): uvloop's own time has a resolution of a millisecond.
    """

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._runtime = runtime
        self._loop = loop
        self._clock = clock

    async def run(self, decision: Decision, outcome: Outcome, sink: Sink, limits: Limits) -> None:
        """Fill `outcome` with the answer. Raises ProviderError when every candidate failed, InterruptedStreamError."""
        candidates = decision.candidates
        if not candidates:
            raise ProviderError(ErrorKind.LOCAL, "No candidate is available for this model.", cause=Cause.UNSUPPORTED)
        deployment, is_last = candidates[0], len(candidates) == 1 or limits.max_attempts == 1
        guard, budget = self._runtime.guard, limits.retry.budget
        walk: Walk | None = None
        run: AttemptRun | None = None
        error: ProviderError | None = None
        hedge = self._runtime.hedge
        is_fresh = False
        try:
            while True:
                ticket = guard.admit(deployment, limits.size)
                if ticket:
                    run = AttemptRun(
                        self._runtime,
                        self._loop,
                        self._clock,
                        deployment,
                        outcome,
                        sink,
                        limits,
                        ticket,
                        is_last=is_last,
                    )
                    if hedge is not None and walk is None:
                        walk = self._walk(decision, outcome, limits)
                        deployment, error = await self._hedged(hedge, run, ticket, walk, outcome, sink, limits)
                    else:
                        try:
                            error = None
                            await run.attempt(fresh=is_fresh)
                        except ProviderError as failed:
                            error = failed
                    if error is None:
                        return
                walk = walk or self._walk(decision, outcome, limits)
                step = await self._step(walk, deployment, error if ticket else None, outcome, limits)
                if step is None:
                    raise self._told(decision, walk, error if ticket else None)
                deployment, is_fresh, is_last = step.deployment, step.is_fresh, step.is_last
        finally:  # also where whoever asked leaves with the last byte
            if walk is not None and not _is_made(run, outcome):
                walk.give_up()
            answer = outcome.answered_by
            if answer is not None and answer.is_complete:
                ratio = limits.retry.rules.budget_ratio
                budget.tokens += ratio if budget.tokens < CAP_TOKENS else 0.0  # at most a part above the cap
                budget.untried += ratio * UNTRIED_SHARE if budget.untried < CAP_UNTRIED else 0.0

    async def _hedged(
        self,
        rules: HedgeRules,
        first: AttemptRun,
        ticket: int,
        walk: Walk,
        outcome: Outcome,
        sink: Sink,
        limits: Limits,
    ) -> tuple[Deployment, ProviderError | None]:
        """The first call of a request, with another one beside it when it is unusually slow.

        Returns the failure that the request goes on with, None in its place where it was answered.
        """
        decision, request, hedges = outcome.decision, outcome.request, self._runtime.hedges
        name = decision.route if decision.route is not None else decision.asked
        delay_s = None
        if may_race(request):
            delay_s = hedges.delay_s(name, rules, is_stream=request.stream)
        deployment, budget, guard = first.record.deployment, limits.retry.budget, self._runtime.guard
        tickets = {first: ticket}
        reserved: list[int] = []

        def second() -> AttemptRun | None:
            # Whichever of the two is given up is paid for: its prompt.
            extra_nusd = max(least_cost_nusd(request, candidate) for candidate in decision.candidates)
            if budget.tokens < 1 or not hedges.has_room(name, extra_nusd):
                return None
            beside = walk.beside(deployment, lambda candidate: guard.admit(candidate, limits.size))
            if beside is None:
                return None
            other, ticket = beside
            run = AttemptRun(self._runtime, self._loop, self._clock, other, outcome, sink, limits, ticket, is_last=True)
            run.record.is_hedge = True
            tickets[run] = ticket
            budget.take()
            hedges.take(name, extra_nusd)
            reserved.append(extra_nusd)
            return run

        def take_back(run: AttemptRun) -> None:
            record = run.record
            outcome.attempts[:] = [attempt for attempt in outcome.attempts if attempt is not record]
            guard.release(record.deployment, tickets[run])

        try:
            failures = await Race(self._loop, outcome, take_back).run(first, delay_s, second)
        finally:
            if any(run is not first and not _is_made(run, outcome) for run in tickets):
                budget.give_back()
            _note(hedges, name, outcome)
            for extra_nusd in reserved:
                hedges.settle(name, extra_nusd)
        for failure in failures[:-1]:
            walk.failed(*failure)
        return failures[-1][:2] if failures else (deployment, None)

    def _walk(self, decision: Decision, outcome: Outcome, limits: Limits) -> Walk:
        return Walk(
            decision.candidates[1:],
            limits.max_attempts,
            limits.retry,
            outcome,
            self._runtime.router.world.rng,
            ready_in=lambda deployment: self._runtime.guard.earliest_s((deployment,), limits.size) or 0.0,
            repute=self._runtime.guard.repute,
            is_tried=self._runtime.guard.may_turn_out_good,
            detour=limits.detour,
        )

    async def _step(
        self, walk: Walk, deployment: Deployment, error: ProviderError | None, outcome: Outcome, limits: Limits
    ) -> Step | None:
        """What follows a failed call, or one that may not be made where `error` is None, when its time has come. It may
        depend on how calls of others end: that is waited for as well.
        """
        now = self._loop.time()
        if error is None:
            step = walk.instead(deployment, now, limits.total_at)
        else:
            step = walk.after(deployment, error, now, limits.total_at)
        if step is not None and step.is_look:
            with self._runtime.guard.watched():
                while step is not None and step.is_look:
                    await self._wait(step.wait_s, outcome, walk)
                    step = walk.look(self._loop.time(), limits.total_at)
        if step is not None and step.wait_s > 0:
            await self._wait(step.wait_s, outcome, walk)
        return step

    def _told(self, decision: Decision, walk: Walk, last: ProviderError | None) -> ProviderError:
        """What the caller is told in the end. `last` is what the last call failed with, None where it was not made."""
        if last is not None and not falls_back(last):
            return last
        errors = walk.errors()
        failed = [error for error in errors if VERDICTS[error.kind].falls_back]
        if failed:
            return summed_up(failed, self._left_out(decision))
        if errors:
            return errors[-1]
        # Where nobody could be asked at all: what stands against that.
        message = "Every provider of this model failed a moment ago, or asked for a pause."
        return last or ProviderError(ErrorKind.OVERLOADED, message)

    def _left_out(self, decision: Decision) -> set[ErrorKind]:
        """What stood against those that could have been asked a moment before or later."""
        found = set()
        for rejected in decision.rejections:
            if rejected.reason is Reason.THROTTLED:
                found.add(ErrorKind.THROTTLED)
            elif rejected.reason is Reason.BREAKER_OPEN and not self._runtime.guard.needs_person(rejected.deployment):
                found.add(ErrorKind.OVERLOADED)
        return found

    async def _wait(self, wait_s: float, outcome: Outcome, walk: Walk) -> None:
        """A pause before a call; no fault of the gateway's speed."""
        began = self._clock()
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            walk.give_up()
            raise
        finally:
            outcome.paused_s += self._clock() - began


def _is_made(run: AttemptRun | None, outcome: Outcome) -> bool:
    """Whether a call came to its provider: not where a budget did not pay, or was still asked when the caller left."""
    if run is None or run.record.cause is Cause.UNSUPPORTED:
        return False
    return any(run.record is attempt for attempt in outcome.attempts)


def _note(hedges: Hedges, name: str, outcome: Outcome) -> None:
    """What the calls of a request tell for the next ones."""
    if not outcome.attempts:
        return  # whoever asked left before the first one began
    first = outcome.attempts[0]
    taken_s = first.ttft_s
    if taken_s is None and first.is_outrun:
        taken_s = first.ended - first.started  # it would have taken longer
    all_nusd = extra_nusd = 0
    for attempt in outcome.attempts:
        cost_nusd = attempt.cost_nusd or 0
        all_nusd += cost_nusd
        if attempt.is_outrun or (attempt.is_hedge and attempt is not outcome.answered_by):
            extra_nusd += cost_nusd
    hedges.note(name, taken_s, all_nusd, extra_nusd, is_stream=outcome.request.stream)
