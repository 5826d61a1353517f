"""Request bodies that are not all here yet: how many there may be of one caller, and how many bytes in all.

A body that does not say how long it is may have no end. Of those one caller has a few at the same time; beyond that the
rest of them stays in the network, and they come one after the other.
"""

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

from gateway.wire.http import Message, Receive

_MAX_BYTES = 512 * 1024 * 1024  # per worker, where the configuration does not say what a worker may occupy
_SHARE_OF_MEMORY = 4  # else one of so many of those bytes
_MIN_BODIES = 16  # of one caller, however few the places are: bodies take no place while they arrive
_UNTOLD_BYTES = 4 * 1024 * 1024  # of one caller's bodies of unknown length; beyond that only the oldest goes on


class Uploads:
    """The bodies of one worker. A caller may have half as many under way as there are places, and half of the bytes:
    one that never ends its bodies leaves room for those of others.
    """

    def __init__(self, max_in_flight: int, memory_bytes: int | None) -> None:
        self._arriving: defaultdict[str, int] = defaultdict(int)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._lines: defaultdict[str, list[Upload]] = defaultdict(list)  # of unknown length, oldest first
        self.container_bytes: int | None = None  # what the worker may occupy, where the configuration does not say
        self.total_bytes = 0
        self.use(max_in_flight, memory_bytes)

    def use(self, max_in_flight: int, memory_bytes: int | None) -> None:
        """Take over other limits. What is under way goes on."""
        self.max_bodies = max(max_in_flight // 2, _MIN_BODIES)
        if memory_bytes is None:
            memory_bytes = self.container_bytes
        self.max_bytes = _MAX_BYTES if memory_bytes is None else memory_bytes // _SHARE_OF_MEMORY

    def has_room(self, name: str) -> bool:
        """Whether one more body of this caller may come."""
        return self._arriving.get(name, 0) < self.max_bodies

    def begin(self, name: str) -> "Upload":
        """A body to be counted in a `with` block."""
        return Upload(self, name)

    def count(self, name: str, bodies: int, size: int) -> None:
        """Count bodies and bytes more, or less where negative. For Upload alone."""
        self.total_bytes += size
        for counts, amount in ((self._arriving, bodies), (self._bytes, size)):
            counts[name] += amount
            if not counts[name]:
                del counts[name]

    def is_within(self, name: str, size: int) -> bool:
        """Whether a body of `size` bytes may go on. A caller's only one may: the limit of a single body holds it."""
        own = self._bytes.get(name, 0)
        return own == size or (own <= self.max_bytes // 2 and self.total_bytes <= self.max_bytes)

    def line_up(self, name: str, upload: "Upload") -> None:
        """A body of unknown length is the last in the line of its caller. For Upload alone."""
        self._lines[name].append(upload)

    def has_turn(self, name: str, upload: "Upload") -> bool:
        """Whether more of a body of unknown length may come now."""
        line = self._lines[name]
        return line[0] is upload or sum(other.size for other in line) < _UNTOLD_BYTES

    def leave(self, name: str, upload: "Upload") -> None:
        """The body is over, or all of it is here: those behind it look again. For Upload alone."""
        line = self._lines.get(name, [])
        if upload in line:
            line.remove(upload)
            for other in line:
                other.look_again()
        if not line:
            self._lines.pop(name, None)


class Upload:
    """One body. It counts as one that is coming until `arrived`, and its bytes until the `with` block ends. `size` is
    in bytes.
    """

    __slots__ = ("_is_arriving", "_name", "_turn", "_uploads", "size")

    def __init__(self, uploads: Uploads, name: str) -> None:
        self._uploads = uploads
        self._name = name
        self.size = 0
        self._is_arriving = True
        self._turn: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._uploads.count(self._name, 1, 0)
        return self

    def grow(self, size: int) -> bool:
        """Count bytes that have come; False where they are too many."""
        self.size += size
        self._uploads.count(self._name, 0, size)
        return self._uploads.is_within(self._name, self.size)

    @property
    def is_waiting(self) -> bool:
        """Whether others have to be done before more of it may come."""
        return self._turn is not None

    def in_turn(self, receive: Receive) -> Receive:
        """`receive` for a body that does not say how long it is: nothing is taken from the network out of turn."""
        self._uploads.line_up(self._name, self)

        async def receive_in_turn() -> Message:
            while not self._uploads.has_turn(self._name, self):
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn
            return await receive()

        return receive_in_turn

    def look_again(self) -> None:
        """Somebody before it is gone."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
        self._turn = None

    def arrived(self) -> None:
        """All of it is here."""
        self._is_arriving = False
        self._uploads.leave(self._name, self)
        self._uploads.count(self._name, -1, 0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._uploads.leave(self._name, self)
        self._uploads.count(self._name, -1 if self._is_arriving else 0, -self.size)
