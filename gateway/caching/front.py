"""The cache in front of the pipeline: a kept answer, the answer that is on its way to somebody else, or a new one.

Only the caller's own answers are looked at, and those of the keys that the configuration names together with it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

from gateway.asking import NO_HEADERS
from gateway.attempt_run import Sink
from gateway.caching.directives import NO_WISH
from gateway.caching.embedding import EmbeddingFront
from gateway.caching.flight import Flight, Flights
from gateway.caching.following import Following
from gateway.caching.giving import Giver
from gateway.caching.kept import Given, answer_of
from gateway.caching.leading import Leading
from gateway.caching.question import Question, allows_asking, question_of
from gateway.caching.repeats import Repeats
from gateway.caching.savings import Savings
from gateway.caching.tiers import Found, Look, Tier, VectorStore
from gateway.memory import Pressure
from gateway.pipeline import Pipeline
from gateway.runtime import Caller
from gateway.telemetry.recorder import Recorder
from gateway.wire.refusals_cache import not_kept
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse, Outcome
from providers.base import Request


class CacheFront:
    """Answers requests of one Runtime. `shelf` and `flights` outlive it. `tiers` are asked in their order for what
    memory does not have, `vectors` for embeddings. `savings` is told of what was not spent.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        rules: CacheRules,
        shelf: Shelf,
        flights: Flights,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        pressure: Pressure,
        tiers: Sequence[Tier] = (),
        vectors: VectorStore | None = None,
        savings: Savings | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._rules = rules
        self._shelf = shelf
        self._metrics = recorder.metrics.cache
        self._wall_clock = wall_clock
        self._tiers = tiers
        self._repeats = Repeats()
        self._giver = Giver(recorder, clock, wall_clock, savings)
        self._following = Following(flights, shelf, self._giver, clock)
        self._leading = Leading(flights, shelf, self._metrics, loop, pressure, wall_clock)
        self._embeddings = EmbeddingFront(
            pipeline, rules, shelf, self._following, self._leading, self._giver, vectors, self._metrics
        )

    async def run(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        timeout_s: float | None = None,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> Outcome:
        """What the pipeline's `run` does, and raises; with kept answers RefusedError (504) as well."""
        question = self._repeats.question(request, caller, sink, started, timeout_s, headers) or question_of(
            self._rules, request, caller, sink, started, timeout_s, headers
        )
        if question is None:
            return await self._pass(request, caller, sink, started, timeout_s, headers)
        if request.operation == "embeddings":
            return await self._embeddings.run(question)
        entry = self._shelf.get(question.key) if question.wish.may_use else None
        if entry is not None and question.wish is NO_WISH and not request.stream:
            if question.is_new:
                self._repeats.note(question)
            return self._giver.whole(question, entry, CacheUse.HIT, entry.head_lines(self._wall_clock()))
        outcome = await self._give(question, self._in_memory(question, entry))
        if outcome is not None:
            return outcome
        if question.is_ambiguous:
            return await self._pass(request, caller, sink, started, timeout_s, headers)
        return await self._miss(question)

    async def _pass(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        timeout_s: float | None,
        headers: Mapping[bytes, bytes],
    ) -> Outcome:
        """As if there were no cache, for those who would have an answer made."""
        if not allows_asking(headers):
            self._metrics.note(request.operation, CacheUse.MISS)
            raise not_kept()
        self._metrics.note(request.operation, CacheUse.BYPASS)
        return await self._pipeline.run(request, caller, sink, started, timeout_s, headers)

    async def _miss(self, question: Question) -> Outcome:
        """The answer that is under way, one of another tier, or a new one."""
        is_sharing = question.is_usual and self._rules.is_exact
        outcome = await self._following.join(question) if is_sharing else None
        if outcome is not None:
            return outcome
        looks: list[Look] = []
        if self._tiers and question.wish.may_use:
            outcome = await self._ask_tiers(question, looks)
            if outcome is None and is_sharing:  # while they were asked, somebody else may have
                found = self._in_memory(question, self._shelf.get(question.key))
                outcome = await self._give(question, found) or await self._following.join(question)
            if outcome is not None:
                return outcome
        elif question.wish.may_keep:
            looks = [look for tier in self._tiers if (look := tier.renewal(question)) is not None]
        if not question.wish.may_ask:
            self._metrics.note(question.request.operation, CacheUse.MISS)
            raise not_kept()
        return await self._lead(question, looks)

    def _in_memory(self, question: Question, entry: Entry | None) -> Found | None:
        """The entry of this question, or of one that says the same in other letters."""
        use = CacheUse.HIT
        if entry is None and self._rules.is_loose and question.wish.may_use:
            loose_key = question.find_loose_key()
            entry, use = None if loose_key is None else self._shelf.get_loose(loose_key), CacheUse.NORMALISED
        return None if entry is None else Found(entry, use)

    async def _give(self, question: Question, found: Found | None) -> Outcome | None:
        """The answer from what was found, if it is young enough and can be told in the form that is wanted."""
        if found is None:
            return None
        entry, wish = found.entry, question.wish
        if wish is not NO_WISH and self._wall_clock() - entry.stored_s > wish.max_age_s:
            return None
        return await self._giver.give(question, Given(entry, True, found.use), found.head_lines)

    async def _ask_tiers(self, question: Question, looks: list[Look]) -> Outcome | None:
        """The answer of the first tier that has one. `looks` gets those that have none."""
        for tier in self._tiers:
            look = await tier.look(question)
            if look is None:
                continue
            outcome = await self._give(question, look.found)
            if outcome is not None:
                return outcome
            looks.append(look)
        return None

    async def _lead(self, question: Question, looks: Sequence[Look]) -> Outcome:
        """A call of its own, whose answer is kept and told to the tiers."""
        wish = question.wish
        # Who wants it new wants none of before, even when everybody fails.
        kept_under = question.key if wish.may_use and wish.max_age_s == inf else b""
        flight = self._leading.flight(question, kept_under)
        run = partial(
            self._pipeline.run,
            question.request,
            question.caller,
            flight,
            question.started,
            question.timeout_s,
            question.headers,
            flight.call,
        )
        return await self._leading.lead(question, flight, run, partial(self._keep, flight, question, looks))

    def _keep(self, flight: Flight, question: Question, looks: Sequence[Look], outcome: Outcome) -> Given | None:
        if outcome.is_stale:
            stale = self._shelf.get(flight.call.key, is_stale_fine=True)
            return None if stale is None else Given(stale, True, CacheUse.STALE)
        origin, stream = question.origin(flight.asked_s), flight.whole_stream()
        entry, is_kept = answer_of(
            outcome, stream, origin, self._wall_clock(), self._rules, is_awaited=flight.is_awaited
        )
        if entry is None:
            return None
        is_kept = is_kept and self._leading.put(flight, entry)
        if is_kept:
            for look in looks:
                look.keep(entry)
        return Given(entry, is_kept)
