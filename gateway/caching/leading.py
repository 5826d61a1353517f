"""Calls that others may join and that leave their answers behind."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.caching.flight import Flight, Flights, end_call
from gateway.caching.kept import Given
from gateway.caching.question import Question
from gateway.memory import Pressure
from gateway.pipeline import early_ending
from gateway.telemetry.cache_metrics import CacheMetrics
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CachedCall, CacheUse, Outcome


class Leading:
    """Makes calls in tasks of their own. `wall_clock` gives Unix seconds."""

    def __init__(
        self,
        flights: Flights,
        shelf: Shelf,
        metrics: CacheMetrics,
        loop: asyncio.AbstractEventLoop,
        pressure: Pressure,
        wall_clock: Callable[[], float],
    ) -> None:
        self._flights = flights
        self._shelf = shelf
        self._metrics = metrics
        self._loop = loop
        self._pressure = pressure
        self._wall_clock = wall_clock

    def flight(
        self, question: Question, kept_under: bytes, complete: Callable[[Outcome], None] | None = None
    ) -> Flight:
        """What a new call writes to. See CachedCall for the rest."""
        call = CachedCall(kept_under, question.waited_s, complete)
        return Flight(self._loop, question.sink, call, self._shelf.epoch, self._wall_clock(), self._flights.room)

    def put(self, flight: Flight, entry: Entry) -> bool:
        """Keep an answer in memory. False where it may not be kept: memory is short, it is from before a purge, or
        older than the one that is there.
        """
        if not (self._pressure.allows_cache_fills and flight.epoch == self._shelf.epoch):
            return False
        return self._shelf.put(entry)

    async def lead(
        self,
        question: Question,
        flight: Flight,
        run: Callable[[], Coroutine[Any, Any, Outcome]],
        keep: Callable[[Outcome], Given | None],
    ) -> Outcome:
        """A call of its own, which others may join unless it has less time than they have. `keep` makes of its outcome
        what those who wait are given.
        """
        task = flight.task = self._task(run())
        task.add_done_callback(partial(self._landed, question, flight, keep))
        if question.timeout_s is None:
            self._flights.add(question.form, flight)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if flight.leave_lead(early_ending(cancelled)):
                await end_call(task, cancelled)
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result()  # it was complete, and is recorded as given
            raise

    def _task(self, run: Coroutine[Any, Any, Outcome]) -> "asyncio.Task[Outcome]":
        try:
            return self._loop.create_task(run)
        except BaseException:
            run.close()  # it will never begin
            raise

    def _landed(
        self,
        question: Question,
        flight: Flight,
        keep: Callable[[Outcome], Given | None],
        task: "asyncio.Task[Outcome]",
    ) -> None:
        """The call is over: keep its answer, and tell those who wait."""
        self._flights.remove(question.form, flight)
        outcome = None if task.cancelled() or task.exception() is not None else task.result()
        given = None
        try:
            self._metrics.note(question.request.operation, CacheUse.MISS if outcome is None else outcome.cache)
            if outcome is not None:
                given = keep(outcome)
        finally:  # whatever an answer looks like: nobody waits for ever
            flight.close(outcome, given)
