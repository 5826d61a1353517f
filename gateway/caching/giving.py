"""A kept answer as the outcome of a request."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.attempt_run import Sink
from gateway.caching.kept import Given, decision_of, head_lines, stream_from
from gateway.caching.question import Question
from gateway.caching.savings import Savings
from gateway.telemetry.recorder import Recorder
from policies.cache.forms import UnfitError
from policies.cache.shelf import Entry, Source
from policies.outcome import CacheUse, Outcome


class Giver:
    """Answers from entries, and records it. `clock` is that of the pipeline, `wall_clock` gives Unix seconds, `savings`
    is told of what was not spent.
    """

    def __init__(
        self,
        recorder: Recorder,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        savings: Savings | None = None,
    ) -> None:
        self._savings = savings
        self._recorder = recorder
        self._metrics = recorder.metrics.cache
        self.clock = clock
        self.wall_clock = wall_clock

    async def give(self, question: Question, given: Given, more_lines: bytes = b"") -> Outcome | None:
        """An answer from an entry; None where it cannot be told in the form that is wanted."""
        request, entry = question.request, given.entry
        lines = entry.head_lines(self.wall_clock()) if given.is_kept else head_lines(entry.answered_by)
        if not request.stream:
            for part in given.parts:
                part.uses += 1
            return self.whole(question, entry, given.use, lines + more_lines)
        try:
            frames = stream_from(entry, include_usage=request.include_usage)
        except UnfitError:
            return None
        outcome = Outcome(request, question.caller.name, question.started, decision_of(entry), cache=given.use)
        outcome.head_lines = lines + more_lines
        outcome.finish_reason, outcome.paused_s = entry.finish_reason, question.waited_s
        entry.uses += 1
        question.sink.start(outcome)
        try:
            with suppress(asyncio.CancelledError):  # all of it is on its way to whoever still listens
                await write(question.sink, frames)
        finally:
            self.record(question, outcome, entry.source, entry.cost_nusd)
        return outcome

    def whole(self, question: Question, entry: Entry, use: CacheUse, lines: bytes) -> Outcome:
        """The whole answer, with these header lines."""
        outcome = Outcome(
            question.request,
            question.caller.name,
            question.started,
            entry.decision or decision_of(entry),
            reply=entry.reply(),
            finish_reason=entry.finish_reason,
            paused_s=question.waited_s,
            head_lines=lines,
            cache=use,
        )
        entry.uses += 1
        if use is CacheUse.STALE:  # nothing was saved: somebody was asked, in vain
            self.record(question, outcome)
        else:
            self.record(question, outcome, entry.source, entry.cost_nusd)
        return outcome

    def record(
        self, question: Question, outcome: Outcome, source: Source | None = None, saved_nusd: int | None = None
    ) -> None:
        """Close the books of a request for which nobody was called. `source` is where its answer had come from, None
        where it got none; then nothing was saved.
        """
        outcome.close(self.clock())
        if source is not None and self._savings is not None:
            self._savings.note(question, outcome, source, saved_nusd)
        self._metrics.note(outcome.request.operation, outcome.cache, saved_nusd)
        self._recorder.record(outcome)


async def write(sink: Sink, data: bytes) -> None:
    """As soon as the sink takes it."""
    waiting = sink.write(data)
    if waiting is not None:
        await waiting
