"""Requests that wait for a call of somebody else: they get what it brings, as it comes where they can."""

import asyncio
from collections.abc import Callable
from math import inf

from gateway.caching.flight import Flight, Flights, end_call
from gateway.caching.giving import Giver, write
from gateway.caching.kept import Given, head_lines, source_of
from gateway.caching.question import Question
from gateway.pipeline import early_ending
from gateway.wire import answers
from policies.cache.shelf import Shelf
from policies.outcome import CacheUse, Ending, Outcome
from providers.base import ErrorKind, ProviderError
from routing.decision import Decision

# Who asks twice in vain asks for itself: errors are nobody else's.
_MOST_FLIGHTS = 2
_CUT = ProviderError(ErrorKind.LOCAL, "The call that this answer comes from was ended.")


class Following:
    """Finds calls under way, and goes along."""

    def __init__(self, flights: Flights, shelf: Shelf, giver: Giver, clock: Callable[[], float]) -> None:
        self._flights = flights
        self._shelf = shelf
        self._giver = giver
        self._clock = clock

    async def join(self, question: Question) -> Outcome | None:
        """The answer that is under way for an equal request, if one is. What was waited in vain is `waited_s` of the
        question.
        """
        form = question.form
        for _ in range(_MOST_FLIGHTS):
            flight = self._flights.by_form.get(form) or self._flights.by_key.get(form[0])
            if flight is None or not flight.is_joinable or flight.epoch != self._shelf.epoch:
                break
            is_along = question.request.stream and self._flights.by_form.get(form) is flight
            outcome = await self._follow(question, flight, is_along=is_along)
            if outcome is not None:
                return outcome
        return None

    async def _follow(self, question: Question, flight: Flight, *, is_along: bool) -> Outcome | None:
        """The answer of a call that is under way; None where it brings none that fits."""
        number, joined = flight.join(), self._clock()
        try:
            if is_along:
                outcome = await self._stream_along(question, flight, number, joined)
            else:
                outcome = None
                await self._wait(question, flight, joined)
        except BaseException as error:  # who is not there any more must not hold up the others
            is_last = flight.leave(number)
            if is_last and flight.task is not None and isinstance(error, asyncio.CancelledError):
                await end_call(flight.task, error)
            raise
        flight.leave(number)
        if outcome is not None:
            return outcome
        question.waited_s += self._clock() - joined
        given, first = flight.given, flight.outcome
        if given is not None:
            return await self._giver.give(question, given) if self._will_do(question, given) else None
        if first is None or flight.call.ending != "caller_error" or first.refusal is None:
            return None
        outcome = _beside(question, first.decision)
        outcome.ending, outcome.refusal, outcome.paused_s = "caller_error", first.refusal, question.waited_s
        self._giver.record(question, outcome)
        return outcome

    def _will_do(self, question: Question, given: Given) -> bool:
        """Whether this request may have what the other one got: also that may be an answer of before, in parts or as a
        stale one, which is no stream (as it would be without a cache).
        """
        max_age_s = question.wish.max_age_s
        if given.use is CacheUse.STALE:
            return not question.request.stream and max_age_s == inf
        return max_age_s == inf or self._giver.wall_clock() - given.entry.stored_s <= max_age_s

    async def _wait(self, question: Question, flight: Flight, joined: float) -> None:
        """Until it is over."""
        try:
            while not flight.is_over:
                await flight.news()
        except asyncio.CancelledError as cancelled:
            self._gone(question, flight, joined, early_ending(cancelled))
            raise

    async def _stream_along(self, question: Question, flight: Flight, number: int, joined: float) -> Outcome | None:
        outcome: Outcome | None = None
        waited_s = question.waited_s
        try:
            while True:
                is_last, data = flight.is_over, flight.take(number)
                if data and flight.begun is not None:
                    if outcome is None:
                        outcome = _along(question, flight.begun)
                        outcome.paused_s = waited_s + self._clock() - joined
                        question.sink.start(outcome)
                    await write(question.sink, data)
                elif is_last:
                    break
                else:
                    await flight.news()
            if outcome is not None and flight.call.ending not in ("ok", "interrupted"):
                await write(question.sink, answers.error_frame(_CUT))  # the call was ended, and had no last word
        except asyncio.CancelledError as cancelled:
            if outcome is None:
                self._gone(question, flight, joined, early_ending(cancelled))
                raise
            if not flight.has_all(number):  # else all of it is on its way to whoever still listens
                outcome.ending = early_ending(cancelled)
                raise
        finally:
            if outcome is not None:
                outcome.paused_s = waited_s + self._clock() - joined
                self._landed(question, outcome, flight)
        return outcome

    def _landed(self, question: Question, outcome: Outcome, flight: Flight) -> None:
        source, saved_nusd = None, None
        if outcome.ending == "ok":
            first = flight.outcome
            if first is None:  # cut by us at the end of the process, or a fault of ours
                outcome.ending = "ok" if flight.is_complete else "shutdown"
            else:
                outcome.ending, outcome.finish_reason = flight.call.ending, first.finish_reason
                if outcome.ending == "ok":  # half an answer saves nobody from asking again
                    source, saved_nusd = source_of(first), first.cost_nusd
        if flight.given is not None:
            flight.given.entry.uses += 1
        self._giver.record(question, outcome, source, saved_nusd)

    def _gone(self, question: Question, flight: Flight, joined: float, ending: Ending) -> None:
        """Somebody left before anything came. Where nothing was decided yet there is nothing to tell."""
        decision = flight.call.decision
        if decision is not None:
            outcome = _beside(question, decision)
            outcome.ending, outcome.paused_s = ending, question.waited_s + self._clock() - joined
            self._giver.record(question, outcome)


def _beside(question: Question, decision: Decision) -> Outcome:
    """The same was decided for a request that joins."""
    return Outcome(question.request, question.caller.name, question.started, decision, cache=CacheUse.SHARED)


def _along(question: Question, first: Outcome) -> Outcome:
    """What a request that joins is told in its head: the same, but that it costs nothing."""
    outcome = _beside(question, first.decision)
    outcome.dropped = first.dropped
    if first.answered_by is not None:
        outcome.head_lines = head_lines(first.answered_by.deployment.header)
    return outcome
