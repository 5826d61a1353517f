"""Embeddings through the cache: vectors that are kept, and one call for those that are not."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from gateway.caching.following import Following
from gateway.caching.giving import Giver
from gateway.caching.kept import Origin
from gateway.caching.leading import Leading
from gateway.caching.question import Question
from gateway.caching.tiers import VectorStore
from gateway.caching.vectors import Batch, as_one, batch_of, entries_of, reply_from, rest_of
from gateway.pipeline import Pipeline
from gateway.wire.refusals_cache import not_kept
from policies.cache.keying import key_of
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse, Outcome


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
        bypass: Callable[[Question], None],
    ) -> None:
        self._pipeline = pipeline
        self._rules = rules
        self._shelf = shelf
        self._following = following
        self._leading = leading
        self._giver = giver
        self._store = store
        self._bypass = bypass

    async def run(self, question: Question) -> Outcome:
        """As CacheFront.run."""
        asked, wish = question.request, question.wish
        since_s = self._giver.wall_clock() - wish.max_age_s if wish.may_use else inf
        batch = batch_of(self._shelf, question.name, asked.body, question.partition, question.more, since_s)
        if batch is None:
            self._bypass(question)
            return await self._pipeline.run(
                asked, question.caller, question.sink, question.started, question.timeout_s, question.headers
            )
        if self._store is not None and not batch.is_whole and wish.may_use:
            await self._find_more(question, batch, self._store, since_s)
        if batch.is_whole:
            outcome = await self._giver.give(question, as_one(batch), CacheUse.HIT)
            assert outcome is not None
            return outcome
        if not wish.may_ask:
            raise not_kept()
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

    async def _lead(self, question: Question, batch: Batch) -> Outcome:
        flight, made = self._leading.flight(question.sink), list[Entry]()

        async def run() -> Outcome:
            request, origin = question.request, question.origin()
            caller, started, timeout_s = question.caller, question.started, question.timeout_s
            sink, headers = question.sink, question.headers
            rest = rest_of(request, batch)
            outcome = await self._pipeline.run(rest, caller, sink, started, timeout_s, headers, cache_key=question.key)
            made.extend(self._made(outcome, batch, origin))
            if rest is request or outcome.ending != "ok":
                return outcome
            if not made:  # not what was asked for: nothing of it can be put together
                return await self._pipeline.run(request, caller, sink, started, timeout_s, headers)
            outcome.reply = reply_from(batch, made)
            return outcome

        def keep(_: Outcome) -> Entry | None:
            """The answer to the whole request, for those who wait."""
            if not made:
                return None
            put = [
                entry
                for entry in made
                if len(entry.body) <= self._rules.max_entry_bytes and self._leading.put(flight, entry)
            ]
            if self._store is not None and put:
                self._store.keep(put)
            new = iter(made)
            return as_one(Batch(batch.items, batch.keys, [entry or next(new) for entry in batch.kept]))

        return await self._leading.lead(flight, question.form, run(), keep)

    def _made(self, outcome: Outcome, batch: Batch, origin: Origin) -> list[Entry]:
        """What is new, to be kept; nothing where the answer has not what was asked for."""
        if outcome.ending != "ok" or outcome.reply is None or outcome.is_stale:
            return []
        try:
            return entries_of(outcome, batch, origin, self._giver.wall_clock(), self._rules)
        except (ValueError, TypeError, LookupError):
            return []
