"""What kept answers saved, as lines of the ledger: hits that are alike are one line every few seconds.

A line for each hit would cost more than the hit itself.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.caching.directives import tags_beside
from gateway.caching.question import Question
from policies.cache.shelf import Source
from policies.ledger import Entry, Purpose
from policies.outcome import Outcome

_EVERY_S = 10.0
_MOST_ALIKE = 1_000

# key, team, tags, the name that was asked for, where the answer is from, operation, and how it was found.
_Kind = tuple[str, str | None, frozenset[str], str, Source, str, str]


class Savings:
    """One per process. `write` takes lines of the ledger, `new_id` gives ids that no other process gives, `now` is Unix
    time, `most` how many kinds of hits may wait.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], object],
        new_id: Callable[[], str],
        now: Callable[[], float],
        *,
        most: int = _MOST_ALIKE,
    ) -> None:
        self._most = most
        self._write = write
        self._new_id = new_id
        self._now = now
        self._sums: dict[_Kind, list[int]] = {}

    def note(self, question: Question, outcome: Outcome, source: Source, saved_nusd: int | None) -> None:
        """A request was answered without a call, from `source`. Nobody knows what it saved where `saved_nusd` is
        None.
        """
        caller, tags = question.caller, tags_beside(question.caller, question.headers)
        operation, asked = question.request.operation, outcome.decision.asked
        kind = (caller.name, caller.team, tags, asked, source, operation, outcome.cache)
        sums = self._sums.get(kind)
        if sums is None:
            if len(self._sums) >= self._most:
                self.flush()
            sums = self._sums[kind] = [0, 0]
        sums[0] += 1
        sums[1] += saved_nusd or 0

    def flush(self) -> None:
        """Write what there is."""
        sums, self._sums = self._sums, {}
        at_s = self._now()
        lines = [_line(f"{self._new_id()}/kept", at_s, kind, *one) for kind, one in sums.items()]
        if lines:
            self._write(lines)

    async def run(self) -> None:
        """Write every few seconds until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                self.flush()
        finally:
            self.flush()


def _line(line_id: str, at_s: float, kind: _Kind, calls: int, nusd: int) -> Entry:
    key, team, tags, asked, source, operation, use = kind
    return Entry(
        id=line_id,
        request_id="",
        at_s=at_s,
        key=key,
        team=team,
        tags=tuple(sorted(tags)),
        asked=asked,
        route=source.route,
        model=source.model,
        deployment=source.deployment,
        provider=source.provider,
        operation=operation,
        purpose=Purpose.KEPT,
        ending=use,
        usage=None,
        cost_nusd=0,
        saved_nusd=nusd,
        saved_calls=calls,
    )
