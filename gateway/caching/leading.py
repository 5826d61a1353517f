"""Calls that others may join and that leave their answers behind."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.attempt_run import Sink
from gateway.caching.flight import Flight, Flights, end_call
from gateway.caching.question import Form
from gateway.memory import Pressure
from gateway.telemetry.cache_metrics import CacheMetrics
from policies.cache.shelf import Entry, Shelf
from policies.outcome import Outcome


class Leading:
    """Makes calls in tasks of their own."""

    def __init__(
        self,
        flights: Flights,
        shelf: Shelf,
        metrics: CacheMetrics,
        loop: asyncio.AbstractEventLoop,
        pressure: Pressure,
    ) -> None:
        self._flights = flights
        self._shelf = shelf
        self._metrics = metrics
        self._loop = loop
        self._pressure = pressure

    def flight(self, sink: Sink) -> Flight:
        """What a new call writes to."""
        return Flight(self._loop, sink, self._shelf.epoch, self._flights.room)

    def put(self, flight: Flight, entry: Entry) -> bool:
        """Keep an answer in memory. False where it may not be kept: memory is short, or it is from before a purge."""
        if not (self._pressure.allows_cache_fills and flight.epoch == self._shelf.epoch):
            return False
        self._shelf.put(entry)
        return True

    async def lead(
        self,
        flight: Flight,
        form: Form,
        run: Coroutine[Any, Any, Outcome],
        keep: Callable[[Outcome], Entry | None],
    ) -> Outcome:
        """A call of its own, which others may join. `keep` makes of its outcome what those who wait are given."""
        task = flight.task = self._loop.create_task(run)
        task.add_done_callback(partial(self._landed, flight, form, keep))
        self._flights.add(form, flight)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if flight.leave_lead():
                await end_call(task, cancelled)
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result()  # it was complete, and is recorded as given
            raise

    def _landed(
        self,
        flight: Flight,
        form: Form,
        keep: Callable[[Outcome], Entry | None],
        task: "asyncio.Task[Outcome]",
    ) -> None:
        """The call is over: keep its answer, and tell those who wait."""
        self._flights.remove(form, flight)
        outcome = None if task.cancelled() or task.exception() is not None else task.result()
        entry = None
        try:
            if outcome is not None:
                self._metrics.note(outcome.request.operation, outcome.cache)
                entry = keep(outcome)
        finally:  # whatever an answer looks like: nobody waits for ever
            flight.close(outcome, entry)
