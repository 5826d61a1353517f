"""Requests that wait for a call of somebody else: they get what it brings, as it comes where they can."""

import asyncio
from collections.abc import Callable

from gateway.caching.flight import Flight, Flights, end_call
from gateway.caching.giving import Giver, write
from gateway.caching.question import Question
from policies.cache.shelf import Shelf
from policies.outcome import CacheUse, Outcome

# Who asks twice in vain asks for itself: errors are nobody else's.
_MOST_FLIGHTS = 2


class Following:
    """Finds calls under way, and goes along."""

    def __init__(self, flights: Flights, shelf: Shelf, giver: Giver, clock: Callable[[], float]) -> None:
        self._flights = flights
        self._shelf = shelf
        self._giver = giver
        self._clock = clock

    async def join(self, question: Question) -> Outcome | None:
        """The answer that is under way for an equal request, if one is."""
        form = question.form
        for _ in range(_MOST_FLIGHTS):
            flight = self._flights.by_form.get(form) or self._flights.by_key.get(form[0])
            if flight is None or not flight.is_joinable or flight.epoch != self._shelf.epoch:
                break
            is_same = self._flights.by_form.get(form) is flight
            outcome = await self._follow(question, flight, is_same=is_same)
            if outcome is not None:
                return outcome
        return None

    async def _follow(self, question: Question, flight: Flight, *, is_same: bool) -> Outcome | None:
        """The answer of a call that is under way; None where it brings none that fits."""
        number, joined = flight.join(), self._clock()
        try:
            outcome = None
            if is_same and question.request.stream:
                outcome = await self._stream_along(question, flight, number)
            else:
                while not flight.is_over:
                    await flight.news()
        except BaseException as error:  # who is not there any more must not hold up the others
            is_last = flight.leave(number)
            if is_last and flight.task is not None and isinstance(error, asyncio.CancelledError):
                await end_call(flight.task, error)
            raise
        flight.leave(number)
        if outcome is not None:
            return outcome
        if flight.entry is not None:
            return await self._giver.give(question, flight.entry, CacheUse.SHARED, self._clock() - joined)
        first = flight.outcome
        if first is None or first.ending != "caller_error" or first.refusal is None:
            return None
        outcome = Outcome(
            question.request, question.caller.name, question.started, first.decision, cache=CacheUse.SHARED
        )
        outcome.ending, outcome.refusal, outcome.paused_s = first.ending, first.refusal, self._clock() - joined
        self._giver.record(outcome, None)
        return outcome

    async def _stream_along(self, question: Question, flight: Flight, number: int) -> Outcome | None:
        outcome: Outcome | None = None
        joined = self._clock()
        try:
            while True:
                is_last, data = flight.is_over, flight.take(number)
                if data and flight.begun is not None:
                    if outcome is None:
                        outcome = _beside(question, flight.begun)
                        outcome.paused_s = self._clock() - joined
                        question.sink.start(outcome)
                    await write(question.sink, data)
                elif is_last:
                    break
                else:
                    await flight.news()
        except asyncio.CancelledError:
            if outcome is not None:
                outcome.ending = "client_gone"
            raise
        finally:
            if outcome is not None:
                outcome.paused_s = self._clock() - joined
                self._landed(outcome, flight)
        return outcome

    def _landed(self, outcome: Outcome, flight: Flight) -> None:
        saved_nusd = None
        if outcome.ending == "ok":
            first = flight.outcome
            if first is None:  # cut by us at the end of the process, or a fault of ours
                outcome.ending = "shutdown"
            else:
                outcome.ending, outcome.finish_reason, saved_nusd = first.ending, first.finish_reason, first.cost_nusd
        self._giver.record(outcome, saved_nusd)


def _beside(question: Question, first: Outcome) -> Outcome:
    """What a request that joins is told in its head: the same, but that it costs nothing."""
    outcome = Outcome(question.request, question.caller.name, question.started, first.decision, cache=CacheUse.SHARED)
    outcome.dropped = first.dropped
    if first.answered_by is not None:
        outcome.head_lines = b"x-signalbox-model: %b\r\n" % first.answered_by.deployment.header
    return outcome
