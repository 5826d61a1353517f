"""One upstream call that several requests wait for: who came first pays, the others get what it brings.

The call has a task of its own, so that it goes on when the client that began it leaves and others are waiting.
"""

import asyncio
from collections.abc import Awaitable, Coroutine

from gateway.attempt_run import Sink
from gateway.caching.kept import Given
from gateway.caching.question import Form
from policies.outcome import CachedCall, Ending, Outcome

# What is kept of a stream for those who come later, and to be kept when it is over. A longer one is not kept: what
# everybody has read is forgotten, nobody can join, and the slowest reader sets the pace.
_MOST_BYTES = 8 * 1024 * 1024
# The same of all streams under way together.
_MOST_IN_ALL_BYTES = 64 * 1024 * 1024


class Room:
    """The bytes that streams under way may still remember."""

    def __init__(self, free: int = _MOST_IN_ALL_BYTES) -> None:
        self.free = free


class Flight:
    """The Sink of the call. `lead` is the sink of the request that began it, `epoch` that of the shelf at that time,
    which was `asked_s` (Unix seconds); `room` is shared by all.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lead: Sink,
        call: CachedCall,
        epoch: int,
        asked_s: float,
        room: Room,
    ) -> None:
        self.call = call
        self.epoch = epoch
        self.asked_s = asked_s
        self._memory = room
        self._is_long = False
        self._is_left = False
        self._loop = loop
        self._lead: Sink | None = lead
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._joined: asyncio.Future[None] | None = None
        self._size = 0
        self._followers: dict[int, int] = {}  # number -> the frame that it takes next
        self._count = 0
        self._first = 0  # the number of the first of `frames`
        self.frames: list[bytes] = []
        self.task: asyncio.Task[Outcome] | None = None
        self.begun: Outcome | None = None  # of a stream, from its commit point on
        self.outcome: Outcome | None = None  # when all is over; None for ever where it failed without one
        self.given: Given | None = None  # the answer for those who wait, where there is one
        self.is_complete = False  # every frame of a good answer is here; the call may linger
        self.is_over = False

    def start(self, outcome: Outcome) -> None:
        self.begun = outcome
        if self._lead is not None:
            self._lead.start(outcome)
        self._tell()

    def write(self, data: bytes) -> Awaitable[None] | None:
        self.frames.append(data)
        self._size += len(data)
        self._memory.free -= len(data)
        self._is_long |= self._size > _MOST_BYTES or self._memory.free < 0
        self._tell()
        waiting = self._lead.write(data) if self._lead is not None else None
        if self._is_long:
            self._forget()
            if self._followers:
                return self._slowest(waiting)
        if waiting is None:
            return None
        if self._followers:  # nobody waits for the first one's client while others could read on
            if isinstance(waiting, Coroutine):
                waiting.close()
            return None
        return self._alone(waiting)

    def end(self) -> None:
        self.is_complete = True
        if self._lead is not None:
            self._lead.end()

    def close(self, outcome: Outcome | None, given: Given | None) -> None:
        """The call is over."""
        self.outcome, self.given, self.is_over = outcome, given, True
        self._memory.free += sum(map(len, self.frames))
        self._tell()

    def whole_stream(self) -> bytes:
        """All of it; nothing where it is too long to be kept."""
        return b"" if self._is_long else b"".join(self.frames)

    @property
    def is_joinable(self) -> bool:
        """Whether somebody who comes now gets everything from the beginning, and soon."""
        return not (self.is_over or self._is_long or self._is_left)

    def join(self) -> int:
        """One more waits. Returns its number."""
        self._count += 1
        self._followers[self._count] = 0
        if self._joined is not None and not self._joined.done():
            self._joined.set_result(None)
        return self._count

    def leave(self, number: int) -> bool:
        """Somebody has what it wanted, or gave up. Whether nobody is left."""
        del self._followers[number]
        self._make_room()
        self._is_left = not self._followers and self._lead is None
        return self._is_left

    def leave_lead(self, ending: Ending) -> bool:
        """The request that began it is gone, and ends so. Whether nobody is left: then it gets what is still written,
        as it would without others.
        """
        if self._followers:
            self._lead = None
            if not self.is_complete:
                self.call.left_as = ending
        else:
            self._is_left = True  # about to be ended: whoever comes in this moment would end with it
        return not self._followers

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits who did not begin it."""
        return bool(self._followers)

    def take(self, number: int) -> bytes:
        """What this one has not taken yet."""
        seen, end = self._followers[number] - self._first, self._first + len(self.frames)
        data = b"".join(self.frames[seen:]) if seen < len(self.frames) else b""
        self._followers[number] = end
        self._make_room()
        return data

    def has_all(self, number: int) -> bool:
        """Whether nothing more comes, and this one has taken all of it."""
        return (self.is_over or self.is_complete) and self._followers[number] >= self._first + len(self.frames)

    async def news(self) -> None:
        """Until more has come, or it is over."""
        if self._news is None:
            self._news = self._loop.create_future()
        await asyncio.shield(self._news)

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def _make_room(self) -> None:
        room = self._room
        if room is not None and not room.done() and self._is_read:
            room.set_result(None)

    @property
    def _is_read(self) -> bool:
        end = self._first + len(self.frames)
        return all(seen >= end for seen in self._followers.values())

    def _forget(self) -> None:
        """Frames that all have read; at once all of them where nobody follows."""
        end = self._first + len(self.frames)
        upto = min(self._followers.values(), default=end)
        self._memory.free += sum(map(len, self.frames[: upto - self._first]))
        del self.frames[: upto - self._first]
        self._first = upto

    async def _alone(self, waiting: Awaitable[None]) -> None:
        """Until the client of the first one has read enough, or somebody else waits as well."""
        joined = self._joined = self._loop.create_future()
        reading = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait((reading, joined), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._joined = None
            reading.cancel()

    async def _slowest(self, waiting: Awaitable[None] | None) -> None:
        if waiting is not None:
            await waiting
        if not self._is_read:
            self._room = self._loop.create_future()
            await self._room


class Flights:
    """The calls under way, by what they bring. One for all Runtimes."""

    def __init__(self) -> None:
        self.by_form: dict[Form, Flight] = {}
        self.by_key: dict[bytes, Flight] = {}
        self.room = Room()

    def add(self, form: Form, flight: Flight) -> None:
        self.by_form[form] = self.by_key[form[0]] = flight

    def remove(self, form: Form, flight: Flight) -> None:
        if self.by_form.get(form) is flight:
            del self.by_form[form]
        if self.by_key.get(form[0]) is flight:
            del self.by_key[form[0]]


async def end_call(task: "asyncio.Task[Outcome]", cancelled: asyncio.CancelledError) -> None:
    """Nobody waits for the call any more: end it for the same reason, and see it settled."""
    task.cancel(*cancelled.args)
    await asyncio.wait((task,))
