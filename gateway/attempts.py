"""Walks the candidates of a decision until one answers.

The commit rule: until the first content is in hand nothing is sent to the caller, and another candidate may still
answer. After it, a failure ends the stream with an error event. The verdict table says what each failure means.
"""

import asyncio
from collections.abc import Callable

from gateway.attempt_run import AttemptRun, Limits, Sink
from gateway.runtime import Runtime
from gateway.walk import Step, Walk
from policies.outcome import Outcome
from policies.retry import CAP_TOKENS
from providers.base import Cause, ErrorKind, ProviderError
from routing.decision import Decision


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
        walk: Walk | None = None
        is_fresh = False
        while True:
            upstream = self._runtime.upstreams[deployment.provider]
            timeouts = upstream.timeouts
            if decision.route is not None:
                timeouts = self._runtime.timeouts_of(decision.route, deployment.provider)
            first_s = timeouts.ttft_s
            if not outcome.request.stream:
                first_s = self._whole_s(limits, first_s, is_last=is_last)
            run = AttemptRun(
                self._runtime, self._loop, self._clock, upstream, first_s, timeouts.idle_s, deployment, outcome, sink
            )
            try:
                await run.attempt(limits, fresh=is_fresh)
            except ProviderError as error:
                if walk is None:
                    walk = self._walk(decision, outcome, limits)
                step = walk.after(deployment, error, self._loop.time(), limits.total_at)
                await self._wait(step, outcome)
                deployment, is_fresh, is_last = step.deployment, step.is_fresh, step.is_last
                continue
            budget = limits.retry.budget
            if budget.tokens < CAP_TOKENS:
                budget.earn(limits.retry.rules.budget_ratio)
            return

    def _walk(self, decision: Decision, outcome: Outcome, limits: Limits) -> Walk:
        rng = self._runtime.router.world.rng
        return Walk(decision.candidates[1:], limits.max_attempts, limits.retry, outcome, rng)

    async def _wait(self, step: Step, outcome: Outcome) -> None:
        """The pause before a call that is repeated at the same deployment; no fault of the gateway's speed."""
        if step.wait_s > 0:
            began = self._clock()
            try:
                await asyncio.sleep(step.wait_s)
            finally:
                outcome.paused_s += self._clock() - began

    def _whole_s(self, limits: Limits, ttft_s: float, *, is_last: bool) -> float:
        """How long an attempt for a whole answer may take, in seconds.

        Such an answer has no first content to wait for: it comes when all of it is generated. While another candidate
        remains it may take half of what is left, so that there is time for that one; the last may take it all.
        """
        left = limits.total_at - self._loop.time()
        return left if is_last else max(ttft_s, left / 2)
