"""Two calls for one request: whichever has content first answers, and the other is given up at once."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gateway.attempt_run import AttemptRun
from policies.outcome import Outcome
from providers.base import ProviderError, Request, Usage
from providers.tokens import estimate_prompt
from routing.decision import Deployment


class Failure(NamedTuple):
    """A call that failed, and when it did (loop time)."""

    deployment: Deployment
    error: ProviderError
    at_s: float


def may_race(request: Request) -> bool:
    """Whether a second call of it does no harm: not where the provider keeps something of it, or makes several
    answers, which would all be paid for twice.
    """
    body = request.body
    return not (body.get("store") or body.get("background") or body.get("n") not in (None, 1))


def least_cost_nusd(request: Request, deployment: Deployment) -> int:
    """What a call costs that is given up: its prompt."""
    price = deployment.price
    return 0 if price is None else price.cost_nusd(Usage(input=estimate_prompt(request.body)))


class Race:
    """The first call, and after `delay_s` (None: never) a second one if `second` finds and may start one.

    `take_back` is told of a call that was given up before it began: nothing of it was sent.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, outcome: Outcome, take_back: Callable[[AttemptRun], None]
    ) -> None:
        self._loop = loop
        self._outcome = outcome
        self._take_back = take_back
        self._tasks: dict[asyncio.Task[None], AttemptRun] = {}
        self._begun: list[AttemptRun] = []

    async def run(
        self, first: AttemptRun, delay_s: float | None, second: Callable[[], AttemptRun | None]
    ) -> list[Failure]:
        """The failures in the order in which they came; empty where the request was answered.

        Raises what ends the request: InterruptedStreamError after the commit point, faults of ours.
        """
        try:
            self._start(first)
            done, _ = await asyncio.wait(self._tasks, timeout=delay_s)
            # A piece of an answer that is on its way already is worth more than another call.
            if delay_s is not None and not done and self._outcome.answered_by is None:
                other = second()
                if other is not None:
                    self._start(other)
            return await self._finished()
        finally:
            await self._end()

    def _start(self, run: AttemptRun) -> None:
        run.on_commit = self._give_up_others
        self._tasks[self._loop.create_task(self._attempt(run))] = run

    async def _attempt(self, run: AttemptRun) -> None:
        self._begun.append(run)
        await run.attempt()

    async def _finished(self) -> list[Failure]:
        failures: list[Failure] = []
        pending = set(self._tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._tasks if task in done]:
                if task.cancelled():
                    continue
                error = task.exception()
                if error is None:
                    return []
                if not isinstance(error, ProviderError):
                    raise error
                failures.append(Failure(self._tasks[task].record.deployment, error, self._loop.time()))
        return failures

    def _give_up_others(self, winner: AttemptRun) -> None:
        for task, run in self._tasks.items():
            if run is not winner and not task.done():
                run.record.is_outrun = True
                task.cancel()

    async def _end(self) -> None:
        """Whatever happens, no call outlives its request."""
        running = [task for task in self._tasks if not task.done()]  # in the order in which they began
        for task in running:
            task.cancel()
        try:
            if running:
                await asyncio.wait(running)
        finally:
            for task, run in self._tasks.items():
                if run not in self._begun:  # a task that is cancelled before its first step does nothing at all
                    self._take_back(run)
                elif task.done() and not task.cancelled():
                    task.exception()  # looked at, so that nobody reports it as lost
