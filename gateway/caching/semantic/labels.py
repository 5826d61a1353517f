"""What shows whether an answer by meaning was right: fresh answers to misses, checks of hits, and what callers say.

Each of them teaches the namespace that the look-up was made in. Only clear verdicts count.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from gateway.caching.own_calls import OwnCalls
from gateway.caching.semantic.spaces import Spaces
from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError
from policies.cache.forms import is_good
from policies.cache.semantic.judge import is_same
from policies.cache.semantic.lessons import Lesson
from policies.cache.semantic.namespace import Look, lesson_of
from policies.cache.semantic.text import Text
from policies.cache.semantic.threshold import interval
from policies.cache.shelf import Entry
from policies.ledger import Purpose
from providers import lenient_json
from providers.base import Request

_MOST_SERVED = 2_000
_MOST_CHECKS = 4
_Z = 1.28  # one-sided 90 %
_OF_STREAMS = ("stream", "stream_options")


class LabelSource(StrEnum):
    """Who told; a closed set."""

    MISS = "miss"  # the fresh answer of a request that had a candidate
    CHECK = "check"  # that of a call made to check a hit
    FEEDBACK = "feedback"


class Verdict(StrEnum):
    """What was told; a closed set."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"  # it is not clear, and teaches nothing


class CheckEnd(StrEnum):
    """What became of the check of a hit; a closed set."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # the caller's budgets or limits have no room for it
    SKIPPED = "skipped"  # too many were under way


class Count(Protocol):
    """Where it is counted."""

    def label(self, source: LabelSource, verdict: Verdict) -> None: ...

    def check(self, end: CheckEnd, cost_nusd: int | None) -> None: ...


class Asked(NamedTuple):
    """One look-up, and what it was about. `route` is a label."""

    fingerprint: bytes
    look: Look
    text: Text
    kept_text: Text
    route: str


class Served(NamedTuple):
    """An answer that was given by meaning: whose it is, under which model or route (`name`), and the lesson it is if
    somebody calls it wrong.
    """

    fingerprint: bytes
    partition: str
    name: str
    entry_id: str
    lesson: Lesson


@dataclass(slots=True, frozen=True)
class Measured:
    """Of the hits of one route that were checked with a clear result. `ratio` is the share of wrong ones, `upper` the
    upper end of its one-sided 90 % interval.
    """

    checked: int
    wrong: int
    ratio: float
    upper: float


class Labels:
    """Of one process. `start` runs work beside the requests, `count` gets what the metrics tell."""

    def __init__(
        self,
        spaces: Spaces,
        loop: asyncio.AbstractEventLoop,
        start: Callable[[Coroutine[Any, Any, object], str], None],
        count: Count,
    ) -> None:
        self._spaces = spaces
        self._loop = loop
        self._start = start
        self._count = count
        self._served: OrderedDict[tuple[str, str], Served] = OrderedDict()
        self.on_served: Callable[[str, str, Served], None] | None = None  # is told of every hit
        self._checks = 0
        self._checked: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()

    def compare(self, asked: Asked, fresh: Entry, kept: Entry) -> None:
        """A miss had a candidate: soon, when the answer is on its way."""
        self._loop.call_soon(self._learn, asked, LabelSource.MISS, fresh.body, kept.body, fresh.key)

    def note_hit(self, caller: str, request_id: str, asked: Asked, entry: Entry) -> None:
        """It was served: the caller may say that it was wrong."""
        lesson = lesson_of(asked.look, is_right=False)
        if lesson is None:
            return
        served = Served(asked.fingerprint, entry.partition, entry.name, entry.id, lesson)
        self._served[caller, request_id] = served
        if len(self._served) > _MOST_SERVED:
            self._served.popitem(last=False)
        if self.on_served is not None:
            self.on_served(caller, request_id, served)

    def take_hit(self, caller: str, request_id: str) -> Served | None:
        """What the caller got then; None where no such hit is remembered here. It is not remembered any more."""
        return self._served.pop((caller, request_id), None)

    def tell_wrong(self, served: Served) -> bool:
        """The caller says that it was wrong. False where its namespace is not in this process."""
        self._count.label(LabelSource.FEEDBACK, Verdict.WRONG)
        return self._spaces.learn(served.fingerprint, served.lesson)

    def check(
        self,
        calls: OwnCalls,
        request: Request,
        caller: Caller,
        headers: Mapping[bytes, bytes],
        asked: Asked,
        entry: Entry,
    ) -> None:
        """Ask anew beside the hit, unless too many are being checked."""
        if self._checks >= _MOST_CHECKS:
            self._count.check(CheckEnd.SKIPPED, None)
            return
        self._checks += 1
        self._start(self._check(calls, request, caller, headers, asked, entry), "cache check")

    async def _check(
        self,
        calls: OwnCalls,
        request: Request,
        caller: Caller,
        headers: Mapping[bytes, bytes],
        asked: Asked,
        entry: Entry,
    ) -> None:
        end, cost_nusd = CheckEnd.FAILED, None
        try:
            body = {name: value for name, value in request.body.items() if name not in _OF_STREAMS}
            raw = lenient_json.dumps(body)
            copy = Request(request.operation, body, raw, request.model, False, False, request.request_id)
            outcome = await calls.ask(copy, caller, headers, Purpose.JUDGE)
            if outcome is None:
                end = CheckEnd.REFUSED
                return
            cost_nusd = outcome.cost_nusd
            if outcome.ending == "ok" and outcome.reply is not None:
                end = CheckEnd.DONE
                self._learn(asked, LabelSource.CHECK, outcome.reply.body, entry.body)
        except RefusedError:
            end = CheckEnd.REFUSED
        finally:
            self._checks -= 1
            self._count.check(end, cost_nusd)

    def _learn(self, asked: Asked, source: LabelSource, fresh: bytes, kept: bytes, key: bytes = b"") -> None:
        one, other = said(fresh), said(kept)
        found = None if one is None or other is None else is_same(one, other, (asked.text, asked.kept_text))
        if found is None:
            self._count.label(source, Verdict.UNSURE)
            return
        self._count.label(source, Verdict.RIGHT if found else Verdict.WRONG)
        weight = asked.look.weight if source is LabelSource.CHECK else 1.0
        lesson = lesson_of(asked.look, is_right=found, weight=weight, asked=key)
        if lesson is not None:
            self._spaces.learn(asked.fingerprint, lesson, asked.look.asked)
        if source is LabelSource.CHECK:
            self._checked[asked.route] += 1
            self._wrong[asked.route] += not found

    def measured(self) -> dict[str, Measured]:
        """By route, of those with hits that were checked."""
        found = {}
        for route, checked in self._checked.items():
            wrong = self._wrong[route]
            found[route] = Measured(checked, wrong, wrong / checked, interval(wrong, checked, _Z)[1])
        return found


def said(body: bytes) -> str | None:
    """The text of a whole, good answer with one choice that ended by itself; None of any other."""
    try:
        whole = lenient_json.loads(body)
        if not is_good(whole) or len(whole["choices"]) != 1 or whole["choices"][0]["finish_reason"] != "stop":
            return None
        message = whole["choices"][0]["message"]
        text = None if message.get("tool_calls") else message["content"]
    except (ValueError, TypeError, AttributeError, LookupError):
        return None
    return text if type(text) is str else None
