"""Request bodies that are not all here yet: how many there may be of one caller, and how many bytes in all."""

from collections import defaultdict
from types import TracebackType
from typing import Self

_MAX_BYTES = 512 * 1024 * 1024  # per worker, where the configuration does not say what a worker may occupy
_SHARE_OF_MEMORY = 4  # else one of so many of those bytes
_MIN_BODIES = 16  # of one caller, however few the places are: bodies take no place while they arrive


class Uploads:
    """The bodies of one worker. A caller may have half as many under way as there are places, and half of the bytes:
    one that never ends its bodies leaves room for those of others.
    """

    def __init__(self, max_in_flight: int, memory_bytes: int | None) -> None:
        self._arriving: defaultdict[str, int] = defaultdict(int)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self.total_bytes = 0
        self.use(max_in_flight, memory_bytes)

    def use(self, max_in_flight: int, memory_bytes: int | None) -> None:
        """Take over other limits. What is under way goes on."""
        self.max_bodies = max(max_in_flight // 2, _MIN_BODIES)
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


class Upload:
    """One body. It counts as one that is coming until `arrived`, and its bytes until the `with` block ends."""

    __slots__ = ("_is_arriving", "_name", "_size", "_uploads")

    def __init__(self, uploads: Uploads, name: str) -> None:
        self._uploads = uploads
        self._name = name
        self._size = 0
        self._is_arriving = True

    def __enter__(self) -> Self:
        self._uploads.count(self._name, 1, 0)
        return self

    def grow(self, size: int) -> bool:
        """Count bytes that have come; False where they are too many."""
        self._size += size
        self._uploads.count(self._name, 0, size)
        return self._uploads.is_within(self._name, self._size)

    def arrived(self) -> None:
        """All of it is here."""
        self._is_arriving = False
        self._uploads.count(self._name, -1, 0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._uploads.count(self._name, -1 if self._is_arriving else 0, -self._size)
