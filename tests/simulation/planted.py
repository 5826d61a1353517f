"""Gateways with one safeguard switched off each. The simulation has to find every one of them."""

import asyncio
from dataclasses import replace
from typing import Any

from gateway.attempt_run import InterruptedStreamError
from gateway.attempts import AttemptEngine
from gateway.availability import Guard
from gateway.caching.front import CacheFront
from gateway.caching.keeper import CacheKeeper
from gateway.money.tab import Tab
from gateway.pipeline import Pipeline
from gateway.runtime import Caller
from policies.cache.rules import CacheRules
from policies.outcome import Outcome
from policies.retry import RetryBudget
from policies.stores.base import Granted, Line, Settlement, Verdict
from policies.stores.memory import MemoryStore
from policies.stores.redis import RedisStore
from routing.ask import Ask
from routing.decision import Deployment
from tests.simulation.world import Parts


class _Spliced:
    """A sink that lets another candidate go on where the first one stopped."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.write = sink.write
        self._is_started = False

    def start(self, outcome: Outcome) -> None:
        if not self._is_started:
            self._is_started = True
            self._sink.start(outcome)

    def end(self) -> None:
        self._sink.end()


class _UncommittedEngine(AttemptEngine):
    """Falls back after the commit as well."""

    async def run(self, decision: Any, outcome: Any, sink: Any, limits: Any) -> None:
        spliced = _Spliced(sink)
        while True:
            try:
                await super().run(decision, outcome, spliced, limits)
            except InterruptedStreamError:
                decision = replace(decision, candidates=decision.candidates[1:])
                if not decision.candidates:
                    raise
            else:
                return


class _WithoutCommitRule(Pipeline):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._engine = _UncommittedEngine(self.runtime, self._loop, self._clock)


class _WithoutShieldedSettle(Pipeline):
    """Its books are closed after one more turn of the loop: whoever leaves meanwhile skips that."""

    def _settle(self, outcome: Outcome, ask: Ask, caller: Caller, tab: Tab | None) -> None:
        self._unsettled = (outcome, ask, caller, tab)

    async def run(self, *args: Any, **more: Any) -> Outcome:
        outcome = await super().run(*args, **more)
        unsettled = self._unsettled
        await asyncio.sleep(0)
        super()._settle(*unsettled)
        return outcome


class _EndlessBudget(RetryBudget):
    """Says yes for ever."""

    def take(self) -> bool:
        self.tokens = max(0.0, self.tokens - 1)
        return True


class _WithoutSingleProbe(Guard):
    """Lets everybody through once the open time is over."""

    def admit(self, deployment: Deployment, size: Any = None) -> int:
        breaker = self._breakers.get(deployment.id)
        if breaker is not None and not breaker.is_closed:
            breaker._probes = 0
        return super().admit(deployment, size)


class _CheckThenAdd(MemoryStore):
    """Looks, and takes what it saw a moment later."""

    is_remote = True  # a store that one has to wait for

    async def hold(self, hold_id: str, lines: Any, lease_s: float, *, is_dispatched: bool = False) -> Verdict:  # type: ignore[override]
        verdict = super().hold("look", lines, lease_s)
        if not isinstance(verdict, Granted):
            return verdict
        self.settle(Settlement("look", [0] * len(lines)))
        await asyncio.sleep(0)
        unlimited = [Line(replace(meter, limit=10**18), amount) for meter, amount in lines]
        return super().hold(hold_id, unlimited, lease_s, is_dispatched=is_dispatched)


class _NeverGivesUp(RedisStore):
    """Forgets about holds whose answer it did not wait for."""

    def _give_up(self, hold_id: str) -> None:
        pass


class _OnePartition(CacheRules):
    """Everybody may have everybody's answers."""

    __slots__ = ()

    def partition(self, caller: str) -> str:
        return "key:one"


_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class _KeepsWhatWasCut(CacheKeeper):
    """Takes what came of a stream for all of it."""

    def stand_before(self, pipeline: Pipeline, *args: Any, **more: Any) -> None:
        super().stand_before(pipeline, *args, **more)
        front: Any = getattr(pipeline.answer, "__self__", None)
        if not isinstance(front, CacheFront):
            return
        keep = front._keep

        def keep_anyway(flight: Any, question: Any, looks: Any, outcome: Any) -> Any:
            if flight.call.ending == "interrupted" and outcome.answered_by is not None:
                *said, _error = flight.whole_stream().split(b"\n\n")[:-1]
                flight.frames = [*(event + b"\n\n" for event in said), _END]
                flight.call.ending, outcome.answered_by.is_complete = "ok", True
            return keep(flight, question, looks, outcome)

        front._keep = keep_anyway  # type: ignore[method-assign]


class _EverybodyCalls(CacheKeeper):
    """Nobody goes along with a call that is under way."""

    def stand_before(self, pipeline: Pipeline, *args: Any, **more: Any) -> None:
        super().stand_before(pipeline, *args, **more)
        front: Any = getattr(pipeline.answer, "__self__", None)
        if isinstance(front, CacheFront):
            front._following.join = self._never  # type: ignore[method-assign]

    async def _never(self, question: Any) -> None:
        return None


PLANTED = {
    "commit rule": Parts(pipeline=_WithoutCommitRule),
    "shielded settle": Parts(pipeline=_WithoutShieldedSettle),
    "retry budget": Parts(budget=_EndlessBudget),
    "single probe": Parts(guard=_WithoutSingleProbe),
    "atomic hold": Parts(store=_CheckThenAdd),
    "given-up holds": Parts(remote=_NeverGivesUp),
    "partition": Parts(rules=_OnePartition),
    "whole answers": Parts(keeper=_KeepsWhatWasCut),
    "single flight": Parts(keeper=_EverybodyCalls),
}
