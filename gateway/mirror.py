"""Copies of requests to another model, after the caller's answer was decided. Their answers are thrown away.

A copy is paid for by the operator: it appears in its own series and in no caller's cost, log line or feedback.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from gateway.attempt_run import InterruptedStreamError, Limits
from gateway.attempts import AttemptEngine
from gateway.money.desk import Desk
from gateway.runtime import Runtime
from gateway.telemetry.recorder import Recorder
from gateway.wire.refusals import RefusedError
from policies.outcome import Outcome
from providers.base import ProviderError
from routing.ask import Ask
from routing.constraints import NoCandidateError
from routing.decision import Decision
from routing.router import UnknownModelError


class Mirrors:
    """Starts copies and counts them. `start` runs work beside the requests, as `Background.start`."""

    def __init__(
        self,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        start: Callable[[Coroutine[Any, Any, object], str], None],
    ) -> None:
        self._recorder = recorder
        self._loop = loop
        self._clock = clock
        self._start = start
        self._running: dict[str, int] = {}
        self.desk: Desk | None = None  # who pays; nobody keeps books where it is None

    def send(self, runtime: Runtime, engine: AttemptEngine, ask: Ask, outcome: Outcome) -> None:
        """Send a copy of the request behind `outcome`, if its decision names a mirror and there is room for one."""
        decision = outcome.decision
        route = decision.mirror_route
        if decision.mirror is None or route is None or outcome.answered_by is None:
            return
        experiments = runtime.router.find(route).experiments
        running = self._running.get(route, 0)
        if experiments is None or running >= experiments.max_mirrors:
            return
        copied = _decided(runtime, ask, decision)
        if copied is None or copied.candidates[0] is outcome.answered_by.deployment:
            return
        self._running[route] = running + 1
        self._start(self._run(runtime, engine, route, copied, outcome, ask), "mirror")

    async def _run(
        self, runtime: Runtime, engine: AttemptEngine, route: str, decision: Decision, original: Outcome, ask: Ask
    ) -> None:
        request = original.request
        outcome = Outcome(request, original.caller, self._clock(), decision)
        total_s = runtime.timeouts_of(route, decision.candidates[0].provider).total_s
        limits = Limits(self._loop.time() + total_s, total_s, 1)
        try:
            if self.desk is not None and runtime.scopes.has_more:
                limits.tab, decision = await self.desk.open_copy(
                    runtime, route, request, ask, decision, limits.total_at
                )
                outcome.decision = decision
            await engine.run(decision, outcome, Nowhere(), limits)
        except ProviderError:
            outcome.ending = "upstream_error"
        except InterruptedStreamError:
            outcome.ending = "interrupted"
        except RefusedError:
            outcome.ending = "caller_error"  # the budget of the route or the model is used up
        except asyncio.CancelledError:
            outcome.ending = "shutdown"
            raise
        finally:
            self._running[route] -= 1
            if self.desk is not None:
                self.desk.settle_copy(outcome, limits.tab)
            for attempt in outcome.attempts:
                if attempt.cost_nusd is not None:
                    outcome.cost_nusd = (outcome.cost_nusd or 0) + attempt.cost_nusd
            self._recorder.metrics.routing.record_mirror(route, outcome)


def _decided(runtime: Runtime, ask: Ask, decision: Decision) -> Decision | None:
    """The mirror's model with every constraint of the routes and of the request; None where it may not or cannot."""
    assert decision.mirror is not None
    copy = Ask(
        decision.mirror,
        ask.body,
        ask.body_bytes,
        ask.operation,
        ask.is_stream,
        ask.key,
        ask.allowed,
        ask.headers,
        ask.arrived_s,
        # Whom the caller would not have answer gets no copy; the order of those who would means nothing here.
        replace(ask.preferences, models=(), order=(), sort=None),
    )
    routes = [name for name in (decision.asked, decision.mirror_route) if name and name in runtime.router.plans]
    try:
        return runtime.router.decide_within(copy, routes)
    except (NoCandidateError, UnknownModelError):
        return None


class Nowhere:
    """A caller who does not listen."""

    def start(self, outcome: Outcome) -> None:
        """Nothing to begin."""

    def write(self, data: bytes) -> None:
        """Nobody waits for it."""

    def end(self) -> None:
        """Nothing to end."""
