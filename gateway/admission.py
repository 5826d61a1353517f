"""Admission: how many requests a worker serves at once, who waits for a place, and who is refused."""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from gateway.telemetry.admission_metrics import AdmissionMetrics
from gateway.uploads import Upload, Uploads
from gateway.wire import refusals

_TRICKLE = 20  # under pressure one of so many places stays in use, so that a worker never falls silent for good
_RETRY_MS = (1000, 5000)
_RESERVED = 10  # one of so many places is for keys with priority, where there are some
_KEPT_FREE = 10  # one of so many is for callers that have less than half of them, where there are several


class ShedReason(StrEnum):
    """Why a request was refused."""

    QUEUE_FULL = "queue_full"  # as many as may wait are waiting
    QUEUE_TIMEOUT = "queue_timeout"  # no place came free in time
    DISPLACED = "displaced"  # the queue was full, and another caller had less of it
    BODIES = "bodies"  # the caller has too many request bodies under way, or too many bytes of them
    MEMORY = "memory"  # the worker's memory is nearly used up
    LAG = "lag"  # the worker is so busy that its own timers are late


@dataclass(slots=True, frozen=True)
class OverloadLimits:
    """Places per worker. `reserve` of them are for callers with priority only, `kept_free` for those that have less
    than half of all: else somebody's long streams would shut the others out until they end. `memory_bytes` is what the
    worker may occupy, None where the configuration does not say. `max_connections` are the connections of clients.
    """

    max_in_flight: int = 2000
    queue_max: int = 500
    queue_wait_s: float = 1.0
    reserve: int = 0
    memory_bytes: int | None = None
    max_connections: int = 4000
    kept_free: int = 0

    def for_keys(self, *, has_priority: bool, has_others: bool) -> "OverloadLimits":
        """The same where there is a key with priority, or none, and where there are several callers, or one."""
        return replace(
            self,
            reserve=self.max_in_flight // _RESERVED if has_priority else 0,
            kept_free=self.max_in_flight // _KEPT_FREE if has_others else 0,
        )


class Waiter:
    """One request in the queue. `future` is None-valued once it has a place, else it has the ShedReason."""

    __slots__ = ("future", "is_priority", "is_queued", "name")

    def __init__(self, name: str, is_priority: bool, future: "asyncio.Future[ShedReason | None]") -> None:
        self.name = name
        self.is_priority = is_priority
        self.future = future
        self.is_queued = True


class Gate:
    """The places of one worker.

    While nobody waits and there are places for everybody, `in_flight < open_below` holds: a request may then take its
    place by adding one to `in_flight` and to `held[name]`, without a call. Everybody else awaits `enter`. Both end with
    `leave`.

    A place is taken when all of a request is here. Bodies that are still coming have bounds of their own: `uploads`.

    Places that come free go round the callers that wait, oldest request first. A caller that would hold more than half
    of all places is passed over while another one can be served, and gets none of the last ones.
    """

    __slots__ = (
        "_loop",
        "_metrics",
        "_queues",
        "_rng",
        "_shedding",
        "held",
        "in_flight",
        "limits",
        "open_below",
        "uploads",
        "waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        metrics: AdmissionMetrics,
        limits: OverloadLimits,
        rng: Random | None = None,
    ) -> None:
        self._loop = loop
        self._metrics = metrics
        self._rng = rng if rng is not None else Random()  # noqa: S311 - spreads retries, no secret
        self._shedding: ShedReason | None = None
        # By caller, in the order of their turns; no queue is ever empty.
        self._queues: dict[str, deque[Waiter]] = {}
        self.in_flight = 0
        self.waiting = 0
        self.held: defaultdict[str, int] = defaultdict(int)
        self.uploads = Uploads(limits.max_in_flight, limits.memory_bytes)
        self.use(limits)

    def use(self, limits: OverloadLimits) -> None:
        """Take over other limits. Who has a place or waits keeps it."""
        self.limits = limits
        self.uploads.use(limits.max_in_flight, limits.memory_bytes)
        for name in [name for name, held in self.held.items() if held == 0]:
            del self.held[name]  # a caller that the configuration may not know any more
        self._give_out()

    def shed(self, reason: ShedReason | None) -> None:
        """Refuse nearly everything new, because of `reason`; None ends it."""
        self._shedding = reason
        self._give_out()

    async def enter(self, name: str, *, is_priority: bool, timeout_s: float | None = None) -> None:
        """Take a place, after a wait of at most `timeout_s` and the configured limit.

        Raises RefusedError (429) where there is none. A caller that leaves meanwhile (CancelledError) leaves no trace.
        """
        started = self._loop.time()
        waiter = self.ask(name, is_priority=is_priority)
        wait_s = self.limits.queue_wait_s
        if timeout_s is not None and timeout_s < wait_s:
            wait_s = timeout_s
        timer = self._loop.call_later(wait_s, self.refuse, waiter, ShedReason.QUEUE_TIMEOUT)
        try:
            reason = await waiter.future
        except asyncio.CancelledError:
            self.abandon(waiter)
            raise
        finally:
            timer.cancel()
            self._metrics.waited(self._loop.time() - started)
        if reason is not None:
            raise self.refused(reason)

    def receive(self, name: str, *, is_priority: bool) -> Upload:
        """Announce a body that is not all here. Raises RefusedError (429) where it would come for nothing."""
        reason = self._foresee(name, is_priority=is_priority)
        if reason is None and not self.uploads.has_room(name):
            reason = ShedReason.BODIES
        if reason is not None:
            raise self.refused(reason)
        return self.uploads.begin(name)

    def refused(self, reason: ShedReason) -> refusals.RefusedError:
        """Count a refusal; returns what to raise (429)."""
        self._metrics.shed(reason)
        return refusals.overloaded(self._rng.randint(*_RETRY_MS))

    def ask(self, name: str, *, is_priority: bool) -> Waiter:
        """Line up. The Waiter's future may be done already."""
        waiter = Waiter(name, is_priority, self._loop.create_future())
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = deque()
        queue.append(waiter)
        self.waiting += 1
        self._give_out()
        if waiter.is_queued:
            if self._shedding is not None:
                self.refuse(waiter, self._shedding)
            elif self.waiting > self.limits.queue_max:
                self._make_room(waiter)
        return waiter

    def leave(self, name: str) -> None:
        """Give a place back."""
        self.in_flight -= 1
        self.held[name] -= 1
        if self.waiting:
            self._give_out()

    def refuse(self, waiter: Waiter, reason: ShedReason) -> None:
        """End the wait of somebody who still waits."""
        if waiter.is_queued:
            self._take_out(waiter)
            if not waiter.future.done():
                waiter.future.set_result(reason)

    def abandon(self, waiter: Waiter) -> None:
        """Forget somebody who does not wait any more; a place that was just given goes to the next."""
        if waiter.is_queued:
            self._take_out(waiter)
        elif waiter.future.done() and not waiter.future.cancelled() and waiter.future.result() is None:
            self.leave(waiter.name)

    def _give_out(self) -> None:
        """Hand places to those who wait, as long as there are both."""
        while self.waiting:
            waiter = self._next()
            if waiter is None:
                break
            self._take_out(waiter)
            if waiter.future.done():
                continue  # its request was cancelled, and it does not know yet
            self.in_flight += 1
            self.held[waiter.name] += 1
            waiter.future.set_result(None)
            queue = self._queues.pop(waiter.name, None)
            if queue is not None:
                self._queues[waiter.name] = queue  # behind the others
        self._set_open()

    def _next(self) -> Waiter | None:
        """Whose turn it is; None where there is no place for any of them."""
        fair_share = self.limits.max_in_flight // 2
        greedy = None
        for name, queue in self._queues.items():
            first = queue[0]
            if self.in_flight >= self._places(name, is_priority=first.is_priority):
                continue
            if self.held[name] < fair_share:
                return first
            greedy = greedy or first
        return greedy

    def _places(self, name: str | None, *, is_priority: bool) -> int:
        """How many this caller may help to fill; None: any caller."""
        limits = self.limits
        if self._shedding is not None:
            return max(1, limits.max_in_flight // _TRICKLE)
        places = limits.max_in_flight if is_priority else limits.max_in_flight - limits.reserve
        if limits.kept_free and (name is None or self.held[name] >= limits.max_in_flight // 2):
            places -= limits.kept_free
        return places

    def _foresee(self, name: str, *, is_priority: bool) -> ShedReason | None:
        """Why `ask` would refuse at once, if it does."""
        if self.in_flight < self._places(name, is_priority=is_priority):
            return None
        if self._shedding is not None:
            return self._shedding
        longest = max(map(len, self._queues.values()), default=0)
        is_shorter = len(self._queues.get(name, ())) + 1 < longest
        return ShedReason.QUEUE_FULL if self.waiting >= self.limits.queue_max and not is_shorter else None

    def _make_room(self, newcomer: Waiter) -> None:
        """One of those who wait has to go: the last of the caller with the most of them."""
        longest = max(self._queues.values(), key=len)
        if len(longest) == len(self._queues[newcomer.name]):
            self.refuse(newcomer, ShedReason.QUEUE_FULL)
        else:
            self.refuse(longest[-1], ShedReason.DISPLACED)

    def _take_out(self, waiter: Waiter) -> None:
        queue = self._queues[waiter.name]
        if queue[0] is waiter:
            queue.popleft()
        else:
            queue.remove(waiter)
        if not queue:
            del self._queues[waiter.name]
        waiter.is_queued = False
        self.waiting -= 1
        self._set_open()

    def _set_open(self) -> None:
        is_crowded = self.waiting or self._shedding is not None
        self.open_below = 0 if is_crowded else self._places(None, is_priority=False)
