"""The clocks of one exchange: first content, silence between pieces, and the whole.

One timer serves an exchange: moving a limit is an attribute write, and the timer looks at the limits only when it
fires. Re-arming a timer for each streamed piece would cost more than forwarding the piece.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from math import inf
from types import TracebackType
from typing import Self

from providers.base import Cause, ErrorKind, ProviderError

# What a model may take that thinks before it speaks, and between two thoughts.
_THINKING_TTFT_S, _THINKING_IDLE_S = 120.0, 300.0
_FIRST_PHASE = Cause.TTFT  # to look into an enumeration takes ten times as long as a name of the module


@dataclass(slots=True, frozen=True)
class Timeouts:
    """Seconds. `connect_s` is TCP and TLS set-up, `ttft_s` until first content, `idle_s` between pieces of a stream.

    `thinking` are the limits of models and requests that think before they speak; None where they are the same.
    """

    connect_s: float = 5.0
    ttft_s: float = 30.0
    idle_s: float = 30.0
    total_s: float = 300.0
    thinking: "Timeouts | None" = None

    def with_thinking(self, stated: Collection[str]) -> "Timeouts":
        """These, with more time for models that think, but for the limits that are `stated` by whoever runs them.

        What has little time in all keeps half of it for another candidate.
        """
        slower: dict[str, float] = {}
        if "ttft_s" not in stated:
            slower["ttft_s"] = max(self.ttft_s, min(_THINKING_TTFT_S, self.total_s / 2))
        if "idle_s" not in stated:
            slower["idle_s"] = max(self.idle_s, min(_THINKING_IDLE_S, self.total_s))
        return replace(self, thinking=replace(self, thinking=None, **slower) if slower else None)


_MESSAGES = {
    Cause.TTFT: "The provider sent no content within {limit:g} s.",
    Cause.IDLE: "The provider's stream was silent for {limit:g} s.",
    Cause.TOTAL: "The request was not finished within {limit:g} s.",
}


class Watchdog:
    """Cancels the task inside the `with` block when a limit passes, and turns that into ProviderError(BROKEN).

    `total_at` is an absolute time on the loop's clock, shared by all attempts of a request. `phase_at` is the limit
    of the current phase; writers move it at will. A cancellation from elsewhere passes through untouched.
    """

    __slots__ = (
        "_armed_at",
        "_expired",
        "_limit_s",
        "_loop",
        "_phase",
        "_task",
        "_timer",
        "_total_s",
        "phase_at",
        "total_at",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, total_at: float, total_s: float) -> None:
        self._loop = loop
        self._total_s = total_s
        self.total_at = total_at
        self.phase_at = inf
        self._phase = _FIRST_PHASE
        self._limit_s = 0.0
        self._expired: Cause | None = None
        self._armed_at = -inf

    def limit(self, phase: Cause, limit_s: float) -> None:
        """Start `phase`, which may last `limit_s` seconds from now; call before entering or at a change of phase."""
        self._phase = phase
        self._limit_s = limit_s
        self.phase_at = self._loop.time() + limit_s
        if self.phase_at < self._armed_at:
            self._timer.cancel()
            self._arm(self.phase_at)

    def touch(self) -> None:
        """The phase starts over: something arrived."""
        self.phase_at = self._loop.time() + self._limit_s

    def pause(self) -> None:
        """No phase limit while we are not waiting for the provider."""
        self.phase_at = inf

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a Watchdog needs a running task")
        self._task = task
        self._armed_at = min(self.phase_at, self.total_at)
        self._timer = self._loop.call_at(self._armed_at, self._fire)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._armed_at = -inf
        if self._expired is None:
            return
        # The same bookkeeping as asyncio.timeout: ours is taken back, a cancellation by somebody else goes on.
        if self._task.uncancel() > 0 or exc_type is None or not issubclass(exc_type, asyncio.CancelledError):
            return
        limit_s = self._total_s if self._expired is Cause.TOTAL else self._limit_s
        message = _MESSAGES[self._expired].format(limit=limit_s)
        raise ProviderError(ErrorKind.BROKEN, message, cause=self._expired) from None

    def _fire(self) -> None:
        due = min(self.phase_at, self.total_at)
        if due > self._loop.time():
            # A paused phase may come back with a limit nearer than the total: look again within one limit.
            horizon = self._loop.time() + self._limit_s if self.phase_at == inf and self._limit_s else inf
            self._arm(min(due, horizon))
            return
        if self._task.cancelling():
            return  # somebody else ends it already, and says why
        self._expired = Cause.TOTAL if self.total_at <= self.phase_at else self._phase
        self._task.cancel()

    def _arm(self, at: float) -> None:
        self._armed_at = at
        self._timer = self._loop.call_at(at, self._fire)
