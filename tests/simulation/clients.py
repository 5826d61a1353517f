"""Callers with whims: the server's side of their connection as the endpoints see it."""

import asyncio
from collections.abc import Awaitable

from tests.simulation.scenario import ClientPlan
from tests.simulation.upstreams import Tell

_WRITE_STALL_S = 30.0  # after which the server hangs up on somebody who reads nothing


class Client:
    """A Channel that remembers what came through it, and in which way it was misused."""

    def __init__(self, plan: ClientPlan, loop: asyncio.AbstractEventLoop, tell: Tell) -> None:
        self.plan = plan
        self._loop, self._tell = loop, tell
        self.is_open = True
        self.raw = b""
        self.status: int | None = None
        self.head = b""
        self.body = b""
        self.is_ended = False
        self.is_streamed = False
        self.is_cut = False  # by the server, at its own end
        self.misuses: list[str] = []
        self.arrived_s = 0.0
        self.begun_s = 0.0  # when its answer began
        self.done_s = 0.0
        self.left_s: float | None = None
        self.has_stalled = False
        self._writes = 0
        self._drained: asyncio.Future[None] | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None  # the request in the server

    def take_body(self) -> bytes:
        return self.raw

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        self.begin(status, head)
        self.is_streamed = False
        self.body += body
        self._end()

    def begin(self, status: int, head: bytes) -> None:
        if self.status is not None:
            self.misuses.append("the answer was started twice")
            raise RuntimeError("the answer was started twice")
        self.status, self.head, self.begun_s = status, head, self._loop.time()
        self.is_streamed = True
        self._tell(self.plan.id, f"gets status {status}")

    def push(self, data: bytes) -> Awaitable[None] | None:
        if not self.is_open:
            return None
        if self.is_ended or self.status is None:
            self.misuses.append(f"bytes {'after the end' if self.is_ended else 'before the start'}")
            raise RuntimeError(self.misuses[-1])
        self.body += data
        self._tell(self.plan.id, f"gets {data!r}")
        self._writes += 1
        return self._pace()

    def end(self, data: bytes = b"") -> None:
        if data and self.is_open:
            self.push(data)
        self._end()

    def leave(self) -> None:
        """The connection is lost: what the server does then."""
        task = self.task
        if task is not None and not task.done():
            self._tell(self.plan.id, "leaves")
            self.is_open = False
            self.left_s = self._loop.time()
            task.cancel()

    def put_away(self) -> None:
        """It is over: nothing more is read."""
        self.task = None
        for timer in (self._reading, self._stalled):
            if timer is not None:
                timer.cancel()

    def _end(self) -> None:
        if not self.is_open:
            return
        if self.is_ended:
            self.misuses.append("ended twice")
            raise RuntimeError("ended twice")
        self.is_ended = True
        self._tell(self.plan.id, "has the end of its answer")

    def _pace(self) -> Awaitable[None] | None:
        plan = self.plan
        if plan.stalls_at is not None and self._writes >= plan.stalls_at:
            if not self.has_stalled:
                self.has_stalled = True
                self._stalled = self._loop.call_later(_WRITE_STALL_S, self.leave)
            return self._loop.create_future()
        if plan.slow_s is None:
            return None
        if self._drained is None or self._drained.done():
            if self._reading is not None:
                self._reading.cancel()
            drained = self._drained = self._loop.create_future()
            self._reading = self._loop.call_later(plan.slow_s, _set, drained)
        return self._drained


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
