"""Bodies that came before, to the byte, and what was made of them: to make a key costs as much as the rest of a hit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.attempt_run import Sink
from gateway.caching.directives import NO_WISH
from gateway.caching.question import Question, is_bare
from gateway.runtime import Caller
from providers.base import Request

_MOST_BYTES = 4 * 1024 * 1024
_LONGEST = 64 * 1024
_MOST = 4096


class _Known(NamedTuple):
    caller: Caller
    name: str
    partition: str
    more: Mapping[str, Any]
    key: bytes


class Repeats:
    """For one Runtime, and requests without a word beside the body: then the body and its caller decide."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], _Known] = {}
        self._bytes = 0

    def question(
        self,
        request: Request,
        caller: Caller,
        sink: Sink,
        started: float,
        timeout_s: float | None,
        headers: Mapping[bytes, bytes],
    ) -> Question | None:
        """As `question_of`, where this came before from the same caller and was answered."""
        if len(request.raw) > _LONGEST:
            return None
        known = self._known.get((request.operation, request.raw))
        if known is None or known[0] is not caller or not is_bare(headers):
            return None
        _, name, partition, more, key = known
        return Question(request, caller, sink, started, timeout_s, headers, NO_WISH, name, partition, more, key, False)

    def note(self, question: Question) -> None:
        """An answer was kept for this. All are forgotten when there are too many."""
        request = question.request
        place, size = (request.operation, request.raw), len(request.raw)
        if size > _LONGEST or not is_bare(question.headers):
            return
        if place not in self._known:  # else it is somebody else's from now on
            if self._bytes + size > _MOST_BYTES or len(self._known) >= _MOST:
                self._known.clear()
                self._bytes = 0
            self._bytes += size
        self._known[place] = _Known(question.caller, question.name, question.partition, question.more, question.key)
