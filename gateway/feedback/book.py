"""What was asked and who answered, kept until somebody scores it; and the hints at a score that need nobody.

Every row holds all that is known of its request, so a later row with the same `request_id` replaces an earlier one.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.feedback.formats import keeps_format
from gateway.feedback.sketch import sketch_of
from policies.outcome import Attempt, Outcome

_MAX_BYTES = 32 * 1024 * 1024  # of all requests that wait for a score
# Who asks the same again within this time was not content with the answer. More often than this it is a program.
_REPEAT_S = 300.0
_MAX_REPEATS = 2
_REPEAT_SCORE = 0.3
_NUSD_PER_USD = 1_000_000_000

_Key = tuple[str, str]  # caller, request id


class UnknownRequestError(LookupError):
    """The caller has no such request, or it is too old."""


class UnknownAnswerError(LookupError):
    """The request was not answered by that model. `models` did."""

    def __init__(self, models: tuple[str, ...]) -> None:
        super().__init__(", ".join(models))
        self.models = models


@dataclass(slots=True)
class _Entry:
    """`sketch` is a JSON object. Scores, costs and latencies are by public model name; `ids` are the deployments'."""

    sketch: bytes
    application: str
    noted: float
    repeat: tuple[str, str, int]
    ids: dict[str, str] = field(default_factory=dict)
    costs_usd: dict[str, float] = field(default_factory=dict)
    latency_s: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    weak: set[str] = field(default_factory=set)


class FeedbackBook:
    """Bounded in number, bytes and time; the oldest requests go first. `write` gets finished rows, as JSON lines.

    Used from one event loop. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[bytes], "Future[None]"],
        clock: Callable[[], float],
        *,
        max_pending: int = 10_000,
        ttl_s: float = 86_400.0,
        has_weak_labels: bool = True,
    ) -> None:
        self._write = write
        self._clock = clock
        self._max_pending = max_pending
        self._ttl_s = ttl_s
        self._has_weak_labels = has_weak_labels
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._bytes = 0
        self._repeats: dict[tuple[str, str, int], tuple[_Key, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, outcome: Outcome, application: str) -> None:
        """Remember an answered request; others are not. `application` as routing knows it.

        Some 30 us: to be called when the answer is on its way.
        """
        attempt, request = outcome.answered_by, outcome.request
        if outcome.ending != "ok" or attempt is None or request.operation == "embeddings":
            return
        now = self._clock()
        key = (outcome.caller, request.request_id)
        # A copy: what orjson returns is cut from a buffer of many times its length, and this is kept for a day.
        sketch = bytes(memoryview(orjson.dumps(sketch_of(request.body))))
        self._forget(now)
        entry = self._entries.get(key)
        if entry is None or entry.sketch != sketch:
            # The hash is only compared within this process; it keeps the texts out of a second table.
            entry = _Entry(sketch, application, now, (outcome.caller, request.model, hash(sketch)))
            self._add(key, entry)
            if self._has_weak_labels:
                self._label_repeated(key, entry, request.body)
        _add_answer(entry, attempt)
        if self._has_weak_labels and outcome.reply is not None:
            kept = keeps_format(request.body, outcome.reply.body)
            if kept is not None:
                self._label(key, entry, attempt.deployment.model, float(kept))

    def score(self, caller: str, request_id: str, score: float, model: str | None = None) -> tuple[str, "Future[None]"]:
        """Record a score 0..1, the last one for a model counts. Returns the model and when the row is written.

        `model` is a public name or `provider/model`; where left out, the model that answered. Raises
        UnknownRequestError, UnknownAnswerError.
        """
        self._forget(self._clock())
        entry = self._entries.get((caller, request_id))
        if entry is None:
            raise UnknownRequestError(request_id)
        name = _answering(entry, model)
        entry.scores[name] = score
        entry.weak.discard(name)
        return name, self._write(_row(request_id, entry))

    def _label_repeated(self, key: _Key, entry: _Entry, body: Mapping[str, Any]) -> None:
        """The same person asks the same again: a hint that the answer before was not good.

        A step of a tool loop has the same last user turn as the one before, but it comes from a program.
        """
        if not _is_asked_by_person(body):
            return
        before, times = self._repeats.get(entry.repeat, (None, 0))
        self._repeats[entry.repeat] = (key, times + 1)
        found = self._entries.get(before) if before is not None else None
        if found is None or before is None or times > _MAX_REPEATS or entry.noted - found.noted > _REPEAT_S:
            return
        for model in found.ids:
            self._label(before, found, model, _REPEAT_SCORE)

    def _label(self, key: _Key, entry: _Entry, model: str, score: float) -> None:
        """A weak label never replaces a score, nor a worse one."""
        if model in entry.scores and (model not in entry.weak or entry.scores[model] <= score):
            return
        entry.scores[model] = score
        entry.weak.add(model)
        self._write(_row(key[1], entry))

    def _add(self, key: _Key, entry: _Entry) -> None:
        before = self._entries.pop(key, None)
        if before is not None:
            self._drop(before, key)
        self._entries[key] = entry
        self._bytes += len(entry.sketch)
        while len(self._entries) > self._max_pending or (self._bytes > _MAX_BYTES and len(self._entries) > 1):
            oldest, dropped = self._entries.popitem(last=False)
            self._drop(dropped, oldest)

    def _forget(self, now: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries))
            if now - self._entries[oldest].noted <= self._ttl_s:
                return
            self._drop(self._entries.pop(oldest), oldest)

    def _drop(self, entry: _Entry, key: _Key) -> None:
        self._bytes -= len(entry.sketch)
        if self._repeats.get(entry.repeat, (None, 0))[0] == key:
            del self._repeats[entry.repeat]


def _add_answer(entry: _Entry, attempt: Attempt) -> None:
    deployment = attempt.deployment
    entry.ids[deployment.model] = deployment.id
    entry.latency_s[deployment.model] = round(attempt.ended - attempt.started, 4)
    if attempt.cost_nusd is not None:
        entry.costs_usd[deployment.model] = attempt.cost_nusd / _NUSD_PER_USD


def _answering(entry: _Entry, model: str | None) -> str:
    """The public name of the model that is meant; the first that answered where none is named."""
    if model is None:
        return next(iter(entry.ids))
    for name, identity in entry.ids.items():
        if model in (name, identity):
            return name
    raise UnknownAnswerError(tuple(entry.ids))


def _is_asked_by_person(body: Mapping[str, Any]) -> bool:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return True
    last = messages[-1] if messages else None
    return isinstance(last, dict) and last.get("role") == "user"


def _row(request_id: str, entry: _Entry) -> bytes:
    row: dict[str, Any] = {"request_id": request_id, **orjson.loads(entry.sketch), "scores": entry.scores}
    if entry.weak:
        row["weak"] = sorted(entry.weak)
    graded = entry.scores.keys()
    row["costs"] = {name: cost for name, cost in entry.costs_usd.items() if name in graded}
    row["latency_s"] = {name: seconds for name, seconds in entry.latency_s.items() if name in graded}
    row["application"] = entry.application
    return orjson.dumps(row)
