"""One request, from the parsed body to the finished Outcome: decide, attempt, settle, record.

It knows nothing of HTTP: an endpoint gives it a Sink for streamed bytes, and code in this process may call it as well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Literal

from gateway.asking import NO_HEADERS, NobodyNowError, ask_of, decide, detour, remember, retry_after_s
from gateway.attempt_run import InterruptedStreamError, Limits, Sink
from gateway.attempts import AttemptEngine
from gateway.availability import size_of
from gateway.continuation import Continuer
from gateway.counted import plus
from gateway.explain import header_value
from gateway.mirror import Mirrors
from gateway.money.desk import Desk
from gateway.money.tab import Tab
from gateway.pacing import Pacing
from gateway.runtime import Caller, Runtime
from gateway.telemetry.recorder import Recorder
from gateway.wire import answers
from policies.outcome import CachedCall, CacheUse, Outcome
from policies.verdicts import VERDICTS
from providers.base import ProviderError, Request
from routing.ask import Ask
from routing.decision import Decision

# What the server cancels a request with when its time to finish is over; without it the client has left.
SHUTDOWN = "shutdown"
_LAST_WORDS_S = 0.2
_EXPLAIN = b"x-signalbox-explain"
_BYPASS, _MISS = CacheUse.BYPASS, CacheUse.MISS  # to look into an enumeration takes ten times as long


class Pipeline:
    """Handles requests against one Runtime snapshot."""

    def __init__(
        self,
        runtime: Runtime,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        mirrors: Mirrors | None = None,
        desk: Desk | None = None,
    ) -> None:
        self.runtime = runtime
        self._desk = desk
        self._wall_clock = wall_clock
        self._mirrors = mirrors
        self._recorder = recorder
        self._loop = loop
        self._clock = clock
        self._engine = AttemptEngine(runtime, loop, clock)
        self._pacing = Pacing(loop)
        self.answer: Callable[..., Awaitable[Outcome]] = self.run  # what endpoints call; the cache puts itself in front

    async def run(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        timeout_s: float | None = None,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
        call: CachedCall | None = None,
    ) -> Outcome:
        """Answer `request`. `started` is when its head arrived (`clock` seconds); `timeout_s` can only shorten the
        configured limit. Of `headers` (lower-case names) only those are read that routing is told by. `call` is what
        the cache has to do with it.

        The Outcome carries a reply or a refusal; a stream went to `sink` meanwhile. Raises RefusedError where the
        request never reached routing, CancelledError when the client left (recorded all the same) before the answer was
        complete.
        """
        runtime, desk = self.runtime, self._desk
        ask = ask_of(request, caller, headers, self._wall_clock())
        payer = caller if desk is None or not desk.soft.reached else desk.moved(runtime, caller, ask)
        paused_s = 0.0 if call is None else call.waited_s
        try:
            decision = decide(runtime, request, ask, payer)
        except NobodyNowError as nobody:
            outcome = Outcome(request, caller.name, started, nobody.decision, call=call, paused_s=paused_s)
            later = await self._later(nobody, outcome, ask, caller, payer, timeout_s)
            if later is None:
                return outcome
            decision, paused_s = later, outcome.paused_s
        tab, lines = None, b""
        limits = self._limits(decision, ask, started, timeout_s, call)
        is_limited = caller.scopes or runtime.scopes.has_more
        if is_limited and desk is not None and (scopes := desk.scopes_of(runtime, caller, ask, decision)):
            opened = desk.open_at_once(runtime, scopes, request, ask, decision, headers)
            tab, decision, lines = opened or await desk.open(
                runtime, scopes, request, ask, decision, headers, limits.total_at
            )
        outcome = Outcome(request, caller.name, started, decision, head_lines=lines, paused_s=paused_s, call=call)
        outcome.cache = _BYPASS if call is None else _MISS
        limits.tab = tab
        try:
            if headers.get(_EXPLAIN) == b"1":
                outcome.explanation = header_value(runtime.router, ask, decision)
            if runtime.continues is not None and request.stream and runtime.continues.has(decision.route):
                await Continuer(runtime, self._engine, self._loop, self._clock).run(decision, outcome, sink, limits)
            else:
                await self._engine.run(decision, outcome, sink, limits)
        except ProviderError as error:
            self._fail(outcome, error, limits)
        except InterruptedStreamError as interrupted:
            outcome.ending = "interrupted"
            await _last_words(sink, answers.error_frame(interrupted.error))
        except asyncio.CancelledError as cancelled:
            _stop_early(outcome, cancelled)
        except Exception:
            outcome.ending = "internal_error"
            raise
        finally:
            self._settle(outcome, ask, caller, tab)
        return outcome

    async def _later(
        self, nobody: NobodyNowError, outcome: Outcome, ask: Ask, caller: Caller, payer: Caller, timeout_s: float | None
    ) -> Decision | None:
        """The decision when a short pause of a provider is over. Where there is none to wait for, None, and `outcome`
        has an answer of before; raises NobodyNowError where none is kept.
        """
        began, began_s = self._loop.time(), self._clock() - outcome.paused_s
        try:
            while nobody.paused:
                deployment, pause_s = min(nobody.paused.items(), key=itemgetter(1))
                candidate = replace(nobody.decision, candidates=(deployment,))
                limits = self._limits(candidate, ask, outcome.started, timeout_s, outcome.call)
                if not await self._pacing.wait(deployment.id, pause_s, began, limits.total_at):
                    break
                outcome.paused_s = self._clock() - began_s
                try:
                    return decide(self.runtime, outcome.request, ask, payer)
                except NobodyNowError as still:
                    nobody, outcome.decision = still, still.decision
        except asyncio.CancelledError as cancelled:
            outcome.paused_s = self._clock() - began_s
            outcome.ending = early_ending(cancelled)
            self._settle(outcome, ask, caller, None)
            raise
        if not self._has_kept(outcome):
            raise nobody
        self._settle(outcome, ask, caller, None)
        return None

    def _has_kept(self, outcome: Outcome) -> bool:
        """Whether an answer of before is the reply now."""
        if not outcome.request.stream and self.runtime.last_resort.answer(outcome):
            outcome.cache = CacheUse.STALE
        return outcome.is_stale

    def _fail(self, outcome: Outcome, error: ProviderError, limits: Limits) -> None:
        """Nobody answered: an answer of before where one is kept and the provider is at fault, else the error."""
        is_callers = VERDICTS[error.kind].is_callers
        if not is_callers and self._has_kept(outcome):
            return
        outcome.ending = "caller_error" if is_callers else "upstream_error"
        wait_s = None if is_callers else retry_after_s(self.runtime.guard, outcome, self._clock(), limits.size)
        outcome.refusal = answers.failure(outcome, error, wait_s)

    def _limits(
        self, decision: Decision, ask: Ask, started: float, timeout_s: float | None, call: CachedCall | None
    ) -> Limits:
        runtime, route = self.runtime, decision.route
        candidates = decision.candidates
        total_s = 0.0
        if candidates:
            provider = candidates[0].provider
            own = runtime.upstreams[provider].timeouts
            if runtime.route_timeouts:
                own = runtime.timeouts_of(route, provider)
            total_s = own.total_s
        is_shortened = timeout_s is not None and timeout_s < total_s
        if timeout_s is not None and is_shortened:
            total_s = timeout_s
        if call is not None:
            call.decision = decision
            started += call.waited_s
        # What the body took to arrive counts as well; deadlines are kept by the loop's own clock.
        total_at = self._loop.time() + total_s - (self._clock() - started)
        retry = runtime.retries[route if route is not None else decision.asked]
        has_detours = runtime.detours and route is not None
        return Limits(
            total_at,
            total_s,
            retry.rules.max_attempts,
            ask.preferences.require_parameters,
            retry,
            is_shortened,
            partial(detour, runtime, ask, decision) if has_detours else None,
            None,
            partial(size_of, ask),
        )

    def _settle(self, outcome: Outcome, ask: Ask, caller: Caller, tab: Tab | None) -> None:
        """Close the books: synchronous, so that a cancellation cannot come between the facts and their record."""
        told_by = outcome.answered_by or (outcome.attempts[-1] if outcome.attempts else None)
        if told_by is not None:
            outcome.usage = told_by.usage
        if outcome.joined is not None:
            outcome.usage = plus(outcome.joined.usage, outcome.usage)
        for attempt in outcome.attempts:
            if attempt.cost_nusd is not None:
                outcome.cost_nusd = (outcome.cost_nusd or 0) + attempt.cost_nusd
        if outcome.call is not None:
            outcome.call.settle(outcome)
        outcome.close(self._clock())
        if self._desk is not None and (tab is not None or self._desk.keeps_ledger):
            self._desk.settle(outcome, tab, caller, ask)
        remember(self.runtime.router.world, ask, outcome)
        self._recorder.record(outcome)
        if outcome.decision.mirror is not None and self._mirrors is not None:
            self._mirrors.send(self.runtime, self._engine, ask, outcome)
        feedback = self.runtime.feedback
        if feedback is not None:
            # Later, when the answer is on its way to the caller.
            self._loop.call_soon(feedback.note, outcome, ask.application())


async def _last_words(sink: Sink, frame: bytes) -> None:
    """Hand over the last event. Somebody who does not read cannot hold us here: no limit of an attempt is left."""
    waiting = sink.write(frame)
    if waiting is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await waiting


def _stop_early(outcome: Outcome, cancelled: asyncio.CancelledError) -> None:
    """Goes on where all of the answer is here, which is recorded as given: whoever still listens gets it. A client that
    closes its connection right after the last byte has got its answer. Raises `cancelled` everywhere else.
    """
    answered_by = outcome.answered_by
    if answered_by is None or not answered_by.is_complete:
        outcome.ending = early_ending(cancelled)
        raise cancelled


def early_ending(cancelled: asyncio.CancelledError) -> Literal["client_gone", "shutdown"]:
    """How a request ends that is cancelled."""
    return "shutdown" if SHUTDOWN in cancelled.args else "client_gone"
