"""The cache in front of the pipeline: a kept answer, the answer that is on its way to somebody else, or a new one.

Only the caller's own answers are looked at, and those of the keys that the configuration names together with it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from math import inf
from typing import Any

from gateway.asking import NO_HEADERS
from gateway.attempt_run import Sink
from gateway.caching.directives import MAX_COST, NO_WISH, TAGS, Wish, beside_the_body, tags_beside, wish_of
from gateway.caching.flight import Flight, Room
from gateway.caching.kept import Origin, decision_of, entry_of, reply_of, stream_from
from gateway.caching.vectors import Batch, as_one, batch_of, entries_of, reply_from, rest_of
from gateway.memory import Pressure
from gateway.pipeline import Pipeline
from gateway.runtime import Caller
from gateway.telemetry.recorder import Recorder
from gateway.wire.refusals_cache import not_kept
from policies.cache.forms import UnfitError
from policies.cache.keying import key_of, loose_key_of, unfit
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse, Outcome
from providers.base import Request

_CACHE_CONTROL, _CACHE, _EXPLAIN = b"cache-control", b"x-signalbox-cache", b"x-signalbox-explain"
_ROUTE = b"x-signalbox-route"
_NOTHING: Mapping[str, Any] = {}
# Who asks twice in vain asks for itself: errors are nobody else's.
_MOST_FLIGHTS = 2
# Whole or streamed, and if streamed with or without its usage: what can be passed on as it comes.
_Form = tuple[bytes, bool, bool]


class Flights:
    """The calls under way, by what they bring. One for all Runtimes."""

    def __init__(self) -> None:
        self.by_form: dict[_Form, Flight] = {}
        self.by_key: dict[bytes, Flight] = {}
        self.room = Room()

    def add(self, form: _Form, flight: Flight) -> None:
        self.by_form[form] = self.by_key[form[0]] = flight

    def remove(self, form: _Form, flight: Flight) -> None:
        if self.by_form.get(form) is flight:
            del self.by_form[form]
        if self.by_key.get(form[0]) is flight:
            del self.by_key[form[0]]


class CacheFront:
    """Answers requests of one Runtime. `shelf` and `flights` outlive it."""

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
    ) -> None:
        self._pipeline = pipeline
        self._rules = rules
        self._shelf = shelf
        self._flights = flights
        self._recorder = recorder
        self._metrics = recorder.metrics.cache
        self._loop = loop
        self._clock = clock
        self._wall_clock = wall_clock
        self._pressure = pressure

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
        wish = wish_of(headers) if _CACHE_CONTROL in headers or _CACHE in headers else NO_WISH
        name = request.model if _ROUTE not in headers else headers[_ROUTE].decode("latin-1").strip()
        is_fit = (wish.may_use or wish.may_keep) and _EXPLAIN not in headers and _may_use(caller, name, request)
        if not is_fit or unfit(request.operation, request.body) is not None:
            self._metrics.note(request.operation, CacheUse.BYPASS)
            return await self._pipeline.run(request, caller, sink, started, timeout_s, headers)
        is_plain = not (caller.tags or caller.candidates is not None or TAGS in headers or MAX_COST in headers)
        more = _NOTHING if is_plain else beside_the_body(caller, headers)
        partition = self._rules.partition(caller.name)
        key = key_of(request.operation, name, request.body, partition, more)
        if request.operation == "embeddings":
            return await self._embed(request, caller, sink, started, timeout_s, headers, wish, (name, partition, more))
        loose_key: bytes | None = None
        if wish.may_use:
            entry, use = self._shelf.get(key), CacheUse.HIT
            if entry is None and self._rules.is_loose:
                entry, loose_key = self._loose(request, name, partition, more)
                use = CacheUse.NORMALISED
            if entry is not None and (wish is NO_WISH or self._wall_clock() - entry.stored_s <= wish.max_age_s):
                outcome = await self._give(request, caller, sink, started, entry, use)
                if outcome is not None:
                    return outcome
        if not wish.may_ask:
            raise not_kept()
        form = (key, request.stream, request.include_usage)
        # Who has less time than usual, or wants it new, depends on nobody.
        if timeout_s is None and wish is NO_WISH and self._rules.is_exact:
            outcome = await self._join(request, caller, sink, started, form)
            if outcome is not None:
                return outcome
        origin = Origin(key, partition, tags_beside(caller, headers), loose_key)
        flight = Flight(self._loop, sink, self._shelf.epoch, self._flights.room)
        # Who wants it new wants none of before, even when everybody fails.
        kept_under = key if wish.may_use and wish.max_age_s == inf else b""
        run = self._pipeline.run(request, caller, flight, started, timeout_s, headers, cache_key=kept_under)
        return await self._lead(flight, form, run, partial(self._keep, flight, origin))

    async def _embed(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        timeout_s: float | None,
        headers: Mapping[bytes, bytes],
        wish: Wish,
        key_parts: tuple[str, str, Mapping[str, Any]],
    ) -> Outcome:
        """Vectors that are kept, and a call for those that are not."""
        name, partition, more = key_parts
        since_s = self._wall_clock() - wish.max_age_s if wish.may_use else inf
        batch = batch_of(self._shelf, name, request.body, partition, more, since_s)
        if batch is None:
            self._metrics.note("embeddings", CacheUse.BYPASS)
            return await self._pipeline.run(request, caller, sink, started, timeout_s, headers)
        if batch.is_whole:
            outcome = await self._give(request, caller, sink, started, as_one(batch), CacheUse.HIT)
            assert outcome is not None
            return outcome
        if not wish.may_ask:
            raise not_kept()
        # Unlike the key of any input: what is kept of one is not a whole answer.
        key = key_of("embeddings", name, {**request.body, "input": {"all": request.body["input"]}}, partition, more)
        form = (key, False, False)
        if timeout_s is None and wish is NO_WISH and self._rules.is_exact:
            outcome = await self._join(request, caller, sink, started, form)
            if outcome is not None:
                return outcome
        origin = Origin(key, partition, tags_beside(caller, headers), None)
        made: list[Entry] = []

        async def run() -> Outcome:
            rest = rest_of(request, batch)
            outcome = await self._pipeline.run(rest, caller, sink, started, timeout_s, headers, cache_key=key)
            made.extend(self._vectors(outcome, batch, origin))
            if rest is request or outcome.ending != "ok":
                return outcome
            if not made:  # not what was asked for: nothing of it can be put together
                return await self._pipeline.run(request, caller, sink, started, timeout_s, headers)
            outcome.reply = reply_from(batch, made)
            return outcome

        flight = Flight(self._loop, sink, self._shelf.epoch, self._flights.room)
        return await self._lead(
            flight, form, run(), lambda _: self._keep_vectors(flight, batch, made) if made else None
        )

    def _loose(
        self, request: Request, name: str, partition: str, more: Mapping[str, Any]
    ) -> tuple[Entry | None, bytes | None]:
        """An answer to the same in other letters, and under which key that is."""
        loose_key = loose_key_of(request.operation, name, request.body, partition, more)
        return None if loose_key is None else self._shelf.get_loose(loose_key), loose_key

    async def _join(self, request: Request, caller: Caller, sink: Sink, started: float, form: _Form) -> Outcome | None:
        """The answer that is under way for an equal request, if one is."""
        for _ in range(_MOST_FLIGHTS):
            flight = self._flights.by_form.get(form) or self._flights.by_key.get(form[0])
            if flight is None or not flight.is_joinable or flight.epoch != self._shelf.epoch:
                break
            is_same = self._flights.by_form.get(form) is flight
            outcome = await self._follow(request, caller, sink, started, flight, is_same=is_same)
            if outcome is not None:
                return outcome
        return None

    async def _give(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        entry: Entry,
        use: CacheUse,
        waited_s: float = 0.0,
    ) -> Outcome | None:
        """An answer from an entry; None where it cannot be told in the form that is wanted."""
        frames = b""
        if request.stream:
            try:
                frames = stream_from(entry, include_usage=request.include_usage)
            except UnfitError:
                return None
        outcome = Outcome(request, caller.name, started, decision_of(entry), cache=use)
        outcome.head_lines = entry.head_lines(self._wall_clock())
        outcome.finish_reason, outcome.paused_s = entry.finish_reason, waited_s
        entry.uses += 1
        if not request.stream:
            outcome.reply = reply_of(entry)
            self._record(outcome, entry.cost_nusd)
            return outcome
        sink.start(outcome)
        try:
            await _write(sink, frames)
        except asyncio.CancelledError:
            outcome.ending = "client_gone"
            raise
        finally:
            self._record(outcome, entry.cost_nusd)
        return outcome

    def _record(self, outcome: Outcome, saved_nusd: int | None) -> None:
        outcome.close(self._clock())
        self._metrics.note(outcome.request.operation, outcome.cache, saved_nusd)
        self._recorder.record(outcome)

    async def _lead(
        self,
        flight: Flight,
        form: _Form,
        run: Coroutine[Any, Any, Outcome],
        keep: Callable[[Outcome], Entry | None],
    ) -> Outcome:
        """A call of its own, which others may join and which leaves its answer behind."""
        task = flight.task = self._loop.create_task(run)
        task.add_done_callback(partial(self._landed, flight, form, keep))
        self._flights.add(form, flight)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if flight.leave_lead():
                await _end(task, cancelled)
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result()  # it was complete, and is recorded as given
            raise

    def _landed(
        self,
        flight: Flight,
        form: _Form,
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

    def _keep(self, flight: Flight, origin: Origin, outcome: Outcome) -> Entry | None:
        entry = entry_of(outcome, flight.whole_stream(), origin, self._wall_clock(), self._rules)
        if entry is not None and self._may_put(flight):
            self._shelf.put(entry)
        return entry

    def _may_put(self, flight: Flight) -> bool:
        return self._pressure.allows_cache_fills and flight.epoch == self._shelf.epoch

    def _vectors(self, outcome: Outcome, batch: Batch, origin: Origin) -> list[Entry]:
        """What is new, to be kept; nothing where the answer has not what was asked for."""
        if outcome.ending != "ok" or outcome.reply is None or outcome.is_stale:
            return []
        try:
            return entries_of(outcome, batch, origin, self._wall_clock(), self._rules)
        except (ValueError, TypeError, LookupError):
            return []

    def _keep_vectors(self, flight: Flight, batch: Batch, made: list[Entry]) -> Entry:
        """Returns the answer to the whole request, for those who wait."""
        for entry in made:
            if self._may_put(flight) and len(entry.body) <= self._rules.max_entry_bytes:
                self._shelf.put(entry)
        new = iter(made)
        return as_one(Batch(batch.items, batch.keys, [entry or next(new) for entry in batch.kept]))

    async def _follow(
        self, request: Request, caller: Caller, sink: Sink, started: float, flight: Flight, *, is_same: bool
    ) -> Outcome | None:
        """The answer of a call that is under way; None where it brings none that fits."""
        number, joined = flight.join(), self._clock()
        try:
            outcome = None
            if is_same and request.stream:
                outcome = await self._stream_along(request, caller, sink, started, flight, number)
            else:
                while not flight.is_over:
                    await flight.news()
        except BaseException as error:  # who is not there any more must not hold up the others
            is_last = flight.leave(number)
            if is_last and flight.task is not None and isinstance(error, asyncio.CancelledError):
                await _end(flight.task, error)
            raise
        flight.leave(number)
        if outcome is not None:
            return outcome
        if flight.entry is not None:
            waited_s = self._clock() - joined
            return await self._give(request, caller, sink, started, flight.entry, CacheUse.SHARED, waited_s)
        first = flight.outcome
        if first is None or first.ending != "caller_error" or first.refusal is None:
            return None
        outcome = Outcome(request, caller.name, started, first.decision, cache=CacheUse.SHARED)
        outcome.ending, outcome.refusal, outcome.paused_s = first.ending, first.refusal, self._clock() - joined
        self._record(outcome, None)
        return outcome

    async def _stream_along(
        self, request: Request, caller: Caller, sink: Sink, started: float, flight: Flight, number: int
    ) -> Outcome | None:
        outcome: Outcome | None = None
        joined = self._clock()
        try:
            while True:
                is_last, data = flight.is_over, flight.take(number)
                if data and flight.begun is not None:
                    if outcome is None:
                        outcome = _beside(request, caller, started, flight.begun)
                        outcome.paused_s = self._clock() - joined
                        sink.start(outcome)
                    await _write(sink, data)
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
                self._landed_beside(outcome, flight)
        return outcome

    def _landed_beside(self, outcome: Outcome, flight: Flight) -> None:
        saved_nusd = None
        if outcome.ending == "ok":
            first = flight.outcome
            if first is None:  # cut by us at the end of the process, or a fault of ours
                outcome.ending = "shutdown"
            else:
                outcome.ending, outcome.finish_reason, saved_nusd = first.ending, first.finish_reason, first.cost_nusd
        self._record(outcome, saved_nusd)


def _beside(request: Request, caller: Caller, started: float, first: Outcome) -> Outcome:
    """What a request that joins is told in its head: the same, but that it costs nothing."""
    outcome = Outcome(request, caller.name, started, first.decision, cache=CacheUse.SHARED)
    outcome.dropped = first.dropped
    if first.answered_by is not None:
        outcome.head_lines = b"x-signalbox-model: %b\r\n" % first.answered_by.deployment.header
    return outcome


def _may_use(caller: Caller, name: str, request: Request) -> bool:
    """Whether the caller may ask for this, also where it could once. (Who may not is refused by the pipeline.)"""
    others = request.body.get("models")
    return caller.may_use(name) and (
        not others or (type(others) is list and all(type(one) is str and caller.may_use(one) for one in others))
    )


async def _write(sink: Sink, data: bytes) -> None:
    waiting = sink.write(data)
    if waiting is not None:
        await waiting


async def _end(task: "asyncio.Task[Outcome]", cancelled: asyncio.CancelledError) -> None:
    """Nobody waits for the call any more: end it for the same reason, and see it settled."""
    task.cancel(*cancelled.args)
    await asyncio.wait((task,))
