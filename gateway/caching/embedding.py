"""Embeddings through the cache: vectors that are kept, and one call for those that are not."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf

from gateway.caching.following import Following
from gateway.caching.giving import Giver
from gateway.caching.kept import Given, Origin, answer_of
from gateway.caching.leading import Leading
from gateway.caching.question import Question
from gateway.caching.tiers import VectorStore
from gateway.caching.vectors import Batch, as_one, batch_of, entries_of, reply_from, rest_of
from gateway.pipeline import Pipeline
from gateway.telemetry.cache_metrics import CacheMetrics
from gateway.wire import answers
from gateway.wire.refusals_cache import not_kept
from policies.cache.keying import key_of
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse, Outcome
from providers.base import ErrorKind, ProviderError


class EmbeddingFront:
    """Answers requests for embeddings. `store` is asked for what memory does not have, and told of what is new."""

    def __init__(
        self,
        pipeline: Pipeline,
        rules: CacheRules,
        shelf: Shelf,
        following: Following,
        leading: Leading,
        giver: Giver,
        store: VectorStore | None,
        metrics: CacheMetrics,
    ) -> None:
        self._pipeline = pipeline
        self._rules = rules
        self._shelf = shelf
        self._following = following
        self._leading = leading
        self._giver = giver
        self._store = store
        self._metrics = metrics

    async def run(self, question: Question) -> Outcome:
        """As CacheFront.run."""
        asked, wish = question.request, question.wish
        since_s = self._giver.wall_clock() - wish.max_age_s if wish.may_use else inf
        batch = batch_of(self._shelf, question.name, asked.body, question.partition, question.more, since_s)
        if batch is None:
            return await self._pass(question)
        if self._store is not None and not batch.is_whole and wish.may_use:
            await self._find_more(question, batch, self._store, since_s)
        if batch.is_whole:
            parts = tuple(entry for entry in batch.kept if entry is not None)
            given = await self._giver.give(question, Given(as_one(batch), True, CacheUse.HIT, parts))
            assert given is not None  # only a stream might have another form
            return given
        if question.is_ambiguous or not wish.may_ask:
            return await self._pass(question)
        # Unlike the key of any input: what is kept of one is not a whole answer.
        all_of_it = {**asked.body, "input": {"all": asked.body["input"]}}
        key = key_of("embeddings", question.name, all_of_it, question.partition, question.more)
        question = replace(question, key=key)
        if question.is_usual and self._rules.is_exact:
            joined = await self._following.join(question)
            if joined is not None:
                return joined
        return await self._lead(question, batch)

    async def _find_more(self, question: Question, batch: Batch, store: VectorStore, since_s: float) -> None:
        missing = [place for place, entry in enumerate(batch.kept) if entry is None]
        found = await store.find(question, [batch.keys[place] for place in missing])
        for place, entry in zip(missing, found, strict=True):
            if entry is not None and entry.stored_s >= since_s:
                batch.kept[place] = entry

    async def _pass(self, question: Question) -> Outcome:
        """As if there were no cache, for those who would have an answer made."""
        if not question.wish.may_ask:
            self._metrics.note("embeddings", CacheUse.MISS)
            raise not_kept()
        self._metrics.note("embeddings", CacheUse.BYPASS)
        return await self._pipeline.run(
            question.request,
            question.caller,
            question.sink,
            question.started,
            question.timeout_s,
            question.headers,
        )

    async def _lead(self, question: Question, batch: Batch) -> Outcome:
        made: list[Entry] = []
        rest = rest_of(question.request, batch)

        def complete(outcome: Outcome) -> None:
            origin = question.origin(flight.asked_s)
            made.extend(self._made(outcome, batch, origin))
            if rest is not question.request and outcome.ending == "ok":
                self._put_together(outcome, batch, made)

        def keep(outcome: Outcome) -> Given | None:
            """The answer to the whole request, for those who wait."""
            if not made:
                origin = question.origin(flight.asked_s)
                entry, _ = answer_of(outcome, b"", origin, flight.asked_s, self._rules, is_awaited=flight.is_awaited)
                return None if entry is None else Given(entry)
            put = [
                entry
                for entry in made
                if len(entry.body) <= self._rules.max_entry_bytes and self._leading.put(flight, entry)
            ]
            if self._store is not None and put:
                self._store.keep(put)
            new = iter(made)
            whole = [entry or next(new) for entry in batch.kept]
            return Given(as_one(Batch(batch.items, batch.keys, [*whole])), len(put) == len(made), parts=tuple(whole))

        flight = self._leading.flight(question, b"", complete)
        run = partial(
            self._pipeline.run,
            rest,
            question.caller,
            question.sink,
            question.started,
            question.timeout_s,
            question.headers,
            flight.call,
        )
        return await self._leading.lead(question, flight, run, keep)

    def _made(self, outcome: Outcome, batch: Batch, origin: Origin) -> list[Entry]:
        """What is new, to be kept; nothing where the answer has not what was asked for."""
        if outcome.ending != "ok" or outcome.reply is None or outcome.is_stale:
            return []
        try:
            return entries_of(outcome, batch, origin, self._giver.wall_clock(), self._rules)
        except (ValueError, TypeError, LookupError, AttributeError):
            return []

    def _put_together(self, outcome: Outcome, batch: Batch, made: Sequence[Entry]) -> None:
        """The answer to the whole request. Where that for the new inputs is of no use there is none: to ask for all of
        them would be paid for once more. The next request does that, as nothing of this batch is kept any more.
        """
        kept = [entry for entry in batch.kept if entry is not None]
        if made:
            outcome.reply = reply_from(batch, made)
            for entry in kept:
                entry.uses += 1
            return
        for entry in kept:
            self._shelf.drop(entry.key)
        outcome.reply, outcome.ending = None, "upstream_error"
        message = "The provider's answer has not one embedding for each input that was new; ask again for all of them."
        outcome.refusal = answers.failure(outcome, ProviderError(ErrorKind.BROKEN, message), None)
