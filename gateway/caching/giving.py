"""A kept answer as the outcome of a request."""

import asyncio
from collections.abc import Callable

from gateway.attempt_run import Sink
from gateway.caching.kept import decision_of, reply_of, stream_from
from gateway.caching.question import Question
from gateway.telemetry.recorder import Recorder
from policies.cache.forms import UnfitError
from policies.cache.shelf import Entry
from policies.outcome import CacheUse, Outcome


class Giver:
    """Answers from entries, and records it. `clock` is that of the pipeline, `wall_clock` gives Unix seconds."""

    def __init__(self, recorder: Recorder, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._recorder = recorder
        self._metrics = recorder.metrics.cache
        self.clock = clock
        self.wall_clock = wall_clock

    async def give(
        self, question: Question, entry: Entry, use: CacheUse, waited_s: float = 0.0, head_lines: bytes = b""
    ) -> Outcome | None:
        """An answer from an entry; None where it cannot be told in the form that is wanted."""
        request, frames = question.request, b""
        if request.stream:
            try:
                frames = stream_from(entry, include_usage=request.include_usage)
            except UnfitError:
                return None
        outcome = Outcome(request, question.caller.name, question.started, decision_of(entry), cache=use)
        outcome.head_lines = entry.head_lines(self.wall_clock()) + head_lines
        outcome.finish_reason, outcome.paused_s = entry.finish_reason, waited_s
        entry.uses += 1
        if not request.stream:
            outcome.reply = reply_of(entry)
            self.record(outcome, entry.cost_nusd)
            return outcome
        question.sink.start(outcome)
        try:
            await write(question.sink, frames)
        except asyncio.CancelledError:
            outcome.ending = "client_gone"
            raise
        finally:
            self.record(outcome, entry.cost_nusd)
        return outcome

    def record(self, outcome: Outcome, saved_nusd: int | None) -> None:
        """Close the books of a request for which nobody was called."""
        outcome.close(self.clock())
        self._metrics.note(outcome.request.operation, outcome.cache, saved_nusd)
        self._recorder.record(outcome)


async def write(sink: Sink, data: bytes) -> None:
    """As soon as the sink takes it."""
    waiting = sink.write(data)
    if waiting is not None:
        await waiting
