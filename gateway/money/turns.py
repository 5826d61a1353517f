"""Waiting for a rate limit in the order of arrival, instead of a refusal that the client answers with a retry."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from policies.scopes import Scope
from policies.stores.base import Denied

_LOOK_AGAIN_S = 0.1  # where a place may come free in another process, and nobody tells
_TICK_S = 0.002  # timers may fire so much before their time


class _Turn(asyncio.Event):
    """A place in a queue. `is_pausing`: it has been the first, and looks again by itself in a moment."""

    is_pausing = False


class Turns:
    """The queues of one process, by meter. Only the first of a queue asks the store again; the others wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.queues: dict[str, deque[_Turn]] = {}  # none is empty
        self._waiting = 0

    async def after_those_who_wait(self, deadlines: Mapping[str, float], room: int) -> set[str]:
        """Let those go first who came earlier and wait for one of these meters, each until its deadline (loop time).

        Returns the meters of whose queues this request is the first now. `room`: where so many requests wait already,
        nobody joins them.
        """
        first_of: set[str] = set()
        for meter_id, deadline in deadlines.items():
            if meter_id in self.queues and self._waiting < room:
                await self._queued(meter_id, 0.0, deadline, is_first=False)
                first_of.add(meter_id)
        return first_of

    async def wait(self, scope: Scope, denied: Denied, deadline: float, room: int, *, is_first: bool) -> bool:
        """Wait until it is worth asking again; False where that is not before `deadline` (loop time), or where `room`
        requests wait already: each of them has a place that others could have.

        `is_first`: this request was the first of its queue a moment ago, and asked in vain.
        """
        if self._waiting >= room and not is_first:
            return False
        left_s = deadline - self._loop.time()
        retry_s = denied.retry_s
        if scope.wait_s <= 0 or left_s <= _TICK_S or denied.asked > denied.limit:
            return False
        if retry_s is not None and retry_s > left_s:
            return False
        await self._queued(denied.meter.id, _LOOK_AGAIN_S if retry_s is None else retry_s, deadline, is_first)
        return self._loop.time() < deadline - _TICK_S

    def freed(self, meter_ids: Sequence[str]) -> None:
        """Something was given back: the first of each queue may look at once."""
        for meter_id in meter_ids:
            queue = self.queues.get(meter_id)
            if queue:
                queue[0].set()

    async def _queued(self, meter_id: str, pause_s: float, deadline: float, is_first: bool) -> None:
        """Stand in line; as the first, for `pause_s` or until something is given back."""
        queue = self.queues.setdefault(meter_id, deque())
        turn = _Turn()
        if is_first:
            queue.appendleft(turn)
        else:
            queue.append(turn)
        self._waiting += 1
        try:
            while queue[0] is not turn and self._loop.time() < deadline:
                await self._until(turn, deadline)
                turn.clear()
            turn.is_pausing = True
            await self._until(turn, min(deadline, self._loop.time() + pause_s))
        finally:
            self._waiting -= 1
            queue.remove(turn)
            if queue:
                if not queue[0].is_pausing:  # else two who ask in vain would wake each other without an end
                    queue[0].set()
            else:
                del self.queues[meter_id]

    async def _until(self, turn: _Turn, at: float) -> None:
        try:
            async with asyncio.timeout_at(at):
                await turn.wait()
        except TimeoutError:
            pass
