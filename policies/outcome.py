"""The facts of one request: each upstream attempt, our own refusals, and everything known at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from providers.base import Cause, ErrorKind, Reply, Request, Usage
from routing.decision import Decision, Deployment

# `shutdown`: cut at the end of the drain. `internal_error`: a fault of ours.
Ending = Literal["ok", "caller_error", "upstream_error", "interrupted", "client_gone", "shutdown", "internal_error"]


# What became of a stream that broke and was to be continued. `unfit`: this answer or request cannot be.
Continuation = Literal["ok", "failed", "unfit", "no_candidate", "no_budget", "abandoned"]


class CacheUse(StrEnum):
    """What kept answers had to do with a request; a closed set."""

    BYPASS = "bypass"  # nothing: there is no cache, or nothing of this request may be kept
    MISS = "miss"  # none was kept, or the caller wanted none
    HIT = "hit"
    NORMALISED = "normalised"  # a hit of a request whose last text differs in case, politeness or punctuation
    SEMANTIC = "semantic"  # a hit of a request that means the same
    SHARED = "shared"  # the answer that was under way for the same request of somebody before
    STALE = "stale"  # kept for longer than it is good, because every candidate failed


@dataclass(slots=True)
class Attempt:
    """One upstream call. Times are seconds on a monotonic clock; `ttft_s` is to the first content."""

    deployment: Deployment
    started: float
    ended: float = 0.0
    ttft_s: float | None = None
    status: int | None = None
    kind: ErrorKind | None = None  # None: it answered
    cause: Cause | None = None
    message: str | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    is_complete: bool = False  # the whole answer arrived
    is_hedge: bool = False  # started beside a slow call, not after a failed one
    is_outrun: bool = False  # given up, because another call of the same request was faster
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class Refusal:
    """Our own "no", before or instead of an upstream call: an HTTP status and an OpenAI error object."""

    status: int
    error: dict[str, Any]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class CachedCall:
    """What the cache has to do with a call of the pipeline.

    `key`: under which its answer may be kept; empty where none of before will do. `waited_s`: how long the request
    waited in vain for calls of others, which is neither our work nor time that its own call has had. `complete` makes
    the answer of the request out of what was called for, before the books are closed. `decision` is there as soon as
    somebody is about to be called. Once `left_as` is set, whoever asked first is gone, and the call goes on for others:
    the request ends that way, the call itself as `ending` says.
    """

    __slots__ = ("complete", "decision", "ending", "key", "left_as", "waited_s")

    def __init__(self, key: bytes, waited_s: float = 0.0, complete: "Callable[[Outcome], None] | None" = None) -> None:
        self.key = key
        self.waited_s = waited_s
        self.complete = complete
        self.decision: Decision | None = None
        self.left_as: Ending | None = None
        self.ending: Ending = "ok"

    def settle(self, outcome: "Outcome") -> None:
        """It is over, and the books are about to be closed."""
        if self.complete is not None:
            self.complete(outcome)
        self.ending = outcome.ending
        if self.left_as is not None:
            outcome.ending = self.left_as


@dataclass(slots=True)
class Outcome:
    """Everything known about one request when it is over; metrics, log line and headers are written from it alone."""

    request: Request
    caller: str  # name of the authenticated key, "anonymous" when the gateway is open
    started: float
    decision: Decision
    attempts: list[Attempt] = field(default_factory=list)
    answered_by: Attempt | None = None
    reply: Reply | None = None
    refusal: Refusal | None = None
    ending: Ending = "ok"
    dropped: tuple[str, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    ttft_s: float | None = None
    upstream_s: float = 0.0  # time in which an upstream call was running
    ended: float = 0.0
    stale_retries: int = 0
    paused_s: float = 0.0  # time in which a repeated call was waited with, or for the call of somebody before
    is_budget_empty: bool = False  # one more call would have been made, had there been a token for it
    continuation: Continuation | None = None  # None: the stream did not break, or ends with an error anyway
    joined: Attempt | None = None  # the call that broke, where `answered_by` went on with its answer
    explanation: bytes = b""  # of the decision, as header text; only for a caller that wants it
    head_lines: bytes = b""  # finished header lines about budgets, limits and kept answers
    cache: CacheUse = CacheUse.BYPASS
    call: CachedCall | None = None  # where the cache is on, and may keep the answer

    duration_s: float = 0.0
    overhead_s: float = 0.0  # what the gateway itself added: the total minus `upstream_s` and `paused_s`

    @property
    def is_stale(self) -> bool:
        """The reply is one of before, because every candidate failed."""
        return self.cache is CacheUse.STALE

    def close(self, now: float) -> None:
        """Note the end; `now` is a reading of the clock."""
        self.ended = now
        busy_until = 0.0
        for attempt in self.attempts:
            # Two may have run at once: no moment counts twice.
            began = attempt.started if attempt.started > busy_until else busy_until
            ended = attempt.ended or now
            if ended > began:
                self.upstream_s += ended - began
                busy_until = ended
        self.duration_s = now - self.started
        self.overhead_s = max(0.0, self.duration_s - self.upstream_s - self.paused_s)
