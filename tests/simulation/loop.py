"""A virtual clock under which the order of what is ready is drawn from the seed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from heapq import heappop, heappush
from random import Random
from typing import Any

from tests.fakes.virtual_time import DeadlockError

_BEGAN_S = 1000.0
_TIE_S = 1e-7
# Timers that are less than this apart are due together, as on the loops of asyncio.
_RESOLUTION_S = 1e-9
# A scenario takes some hundred. Whoever takes so many wakes itself, and does nothing else any more.
_MOST_TURNS = 100_000


class ShufflingLoop(asyncio.BaseEventLoop):
    """Everything that is ready at the same time runs in an order drawn from `rng`; None leaves it as asyncio has it.

    Timers of the same moment are told apart by a tenth of a microsecond, drawn as well. `now` is its clock in seconds.
    It has no selector, nothing to wake it and no debug mode, which cost as much as what is played on it: where nothing
    is ready the clock jumps to the next timer. DeadlockError is raised where there is none, and where it turns without
    end.
    """

    def __init__(self, rng: Random | None) -> None:
        super().__init__()
        self.now = _BEGAN_S
        self._rng = rng
        self._turns = 0

    def time(self) -> float:
        return self.now

    get_debug = staticmethod(bool)  # False, for the price of no frame: every future asks

    def armed(self) -> list[asyncio.TimerHandle]:
        """Timers that somebody forgot."""
        return [timer for timer in self._scheduled if not timer.cancelled()]

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None) -> Any:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        if self._rng is not None:
            when += _TIE_S * self._rng.random()
        timer = _Timer(when, callback, args, self, context)
        heappush(self._scheduled, timer)
        return timer

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled
        self._turns += 1
        if self._turns > _MOST_TURNS:
            self._turns = 0
            raise DeadlockError(f"{_MOST_TURNS:,} turns, and no end: {ready}")
        if self._rng is not None and len(ready) > 1:
            self._rng.shuffle(ready)
        while timers and timers[0]._cancelled:
            heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise DeadlockError("every task waits, and no timer is set")
            self.now += max(0.0, timers[0]._when - self.now)
        due_s = self.now + _RESOLUTION_S
        while timers and timers[0]._when < due_s:
            ready.append(heappop(timers))
        for _ in range(len(ready)):  # what they add has to wait
            handle = ready.popleft()
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)
                except Exception as error:
                    self.call_exception_handler({"message": f"a callback failed: {handle!r}", "exception": error})


class _Handle(asyncio.Handle):
    __slots__ = ()

    def __init__(self, callback: Callable[..., Any], args: Any, loop: Any, context: Any) -> None:
        self._callback, self._args, self._loop = callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def __init__(self, when: float, callback: Callable[..., Any], args: Any, loop: Any, context: Any) -> None:
        self._when = when
        self._callback, self._args, self._loop = callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None

    def __lt__(self, other: "_Timer") -> bool:
        return self._when < other._when

    cancel = _Handle.cancel
