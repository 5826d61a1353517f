"""Answers in memory: at most so many bytes, each for so long, the useful ones first.

Which entry goes when there is no room: the one that was not asked for longest (LRU), unless the newcomer is asked for
less often than that one. Frequencies are sketched in a fixed table that forgets by halving, after Einziger, Friedman
and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (2017): a flood of questions asked once cannot push out
what is asked all day. The newest entries are exempt, so that a newcomer has time to be asked for again.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from providers.base import Reply, Usage
from routing.decision import Decision

_ENTRY_BYTES = 1700  # of objects around the bytes of an answer after a hit, measured with tracemalloc
_YOUNG_SHARE = 0.1  # of the bytes, for entries that nobody has to make way for yet
_ROWS, _WIDTH = 4, 4096
_SAMPLES = 10 * _WIDTH  # after so many the counts are halved
_MOST = 15
# A key is a digest: its bytes are as good as four hashes.
_PLACES: Callable[[bytes], tuple[int, int, int, int]] = struct.Struct(">4H").unpack_from


class Source(NamedTuple):
    """Where an answer came from: `route` is None where a model was asked for by its name, `model` is the public name of
    the one that was called.
    """

    route: str | None = None
    model: str = ""
    deployment: str = ""
    provider: str = ""


NOWHERE = Source()


@dataclass(slots=True)
class Entry:
    """One whole answer, and whose it is. Times are Unix seconds; `body` is what a caller who does not stream gets.

    `name` is the model or route that was decided for, as a label of a closed set, `asked` the name that the caller
    asked for: of "openai/some-model" only the provider is in the label, and a budget may send a request elsewhere.
    `summary` says how was decided, `answered_by` is the deployment as header text. `cost_nusd` is what it cost, which
    is what each use of it saves. `tags` are those of the request. Under `loose_key` it is found by those who ask the
    same in other letters. `caller` is the name of the key that it was made for, empty where it was made for somebody
    without one. `asked_s` is when it was asked for, `uses` counts those who were given it. `decision` is what each of
    them is told, once somebody was.
    """

    key: bytes
    partition: str
    name: str
    body: bytes
    usage: Usage | None
    finish_reason: str | None
    stored_s: float
    fresh_until_s: float
    summary: str = ""
    answered_by: bytes = b""
    cost_nusd: int | None = None
    tags: frozenset[str] = frozenset()
    loose_key: bytes | None = None
    source: Source = NOWHERE
    caller: str = ""
    asked_s: float = 0.0
    asked: str = ""
    uses: int = 0
    size: int = field(init=False)
    decision: Decision | None = field(default=None, init=False, repr=False, compare=False)
    _lines: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.size = len(self.body) + _ENTRY_BYTES

    @property
    def id(self) -> str:
        """By which it can be told to go; not enough to find it."""
        return self.key[:8].hex()

    def reply(self) -> Reply:
        """The whole answer."""
        return Reply(self.body, self.usage, self.finish_reason)

    def head_lines(self, now_s: float) -> bytes:
        """Header lines that only kept answers have; `now_s` is Unix time."""
        if not self._lines:
            self._lines = b"x-signalbox-cache-entry: %b\r\nx-signalbox-model: %b\r\nx-signalbox-cost-usd: 0\r\n" % (
                self.id.encode(),
                self.answered_by,
            )
        age_s = int(now_s - self.stored_s)
        return b"age: %d\r\n%b" % (age_s if age_s > 0 else 0, self._lines)


class Shelf:
    """The entries of one process. `clock` gives Unix seconds.

    An entry is found for `keep_s` after it stopped being fresh, by those who ask for a stale one.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int, keep_s: float = 0.0) -> None:
        self.clock = clock
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._young: OrderedDict[bytes, Entry] = OrderedDict()
        self._old: OrderedDict[bytes, Entry] = OrderedDict()
        self._by_loose: dict[bytes, bytes] = {}
        self._young_bytes = 0
        self._old_bytes = 0
        self._sketch = [bytearray(_WIDTH) for _ in range(_ROWS)]
        self._samples = 0
        self.evicted = 0
        self.epoch = 0  # counts purges: what was asked for before one is not put here after it
        self.on_gone: Callable[[bytes], object] = _nothing  # is told the key of every entry that leaves

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __iter__(self) -> Iterator[Entry]:
        yield from list(self._old.values())
        yield from list(self._young.values())

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self._young_bytes + self._old_bytes

    def limit(self, max_bytes: int, keep_s: float) -> None:
        """Other limits from now on."""
        self._max_bytes, self._keep_s = max_bytes, keep_s
        self._make_room()

    def get(self, key: bytes, *, is_stale_fine: bool = False) -> Entry | None:
        """The entry, fresh unless a stale one will do. Being asked for counts, whether or not it is there."""
        first, second, third, fourth = self._sketch
        one, two, three, four = _PLACES(key)  # spelt out: a loop would be most of what a look-up costs
        if first[one := one % _WIDTH] < _MOST:
            first[one] += 1
        if second[two := two % _WIDTH] < _MOST:
            second[two] += 1
        if third[three := three % _WIDTH] < _MOST:
            third[three] += 1
        if fourth[four := four % _WIDTH] < _MOST:
            fourth[four] += 1
        self._samples += 1
        if self._samples >= _SAMPLES:
            self._forget()
        shelf = self._old if key in self._old else self._young
        entry = shelf.get(key)
        if entry is None:
            return None
        now_s = self.clock()
        if now_s >= entry.fresh_until_s and not (is_stale_fine and now_s < entry.fresh_until_s + self._keep_s):
            if now_s >= entry.fresh_until_s + self._keep_s:
                self.drop(key)
            return None
        shelf.move_to_end(key)
        return entry

    def get_loose(self, loose_key: bytes) -> Entry | None:
        """The latest entry that was asked for in the same words, fresh."""
        key = self._by_loose.get(loose_key)
        return None if key is None else self.get(key)

    def put(self, entry: Entry) -> bool:
        """Keep an answer, in place of the one under its key. Not one that would fill a quarter of the room, nor one
        that was asked for before the one that is there: then False.
        """
        there = self._old.get(entry.key) or self._young.get(entry.key)
        if there is not None and there.asked_s > entry.asked_s:
            return False
        before = self._take(entry.key)
        if entry.size * 4 > self._max_bytes:
            if before is not None:
                self.on_gone(entry.key)
            return False
        if entry.loose_key is not None:
            self._by_loose[entry.loose_key] = entry.key
        self._young[entry.key] = entry
        self._young_bytes += entry.size
        self._make_room()
        return True

    def drop(self, key: bytes) -> bool:
        """Whether there was such an entry."""
        if self._take(key) is None:
            return False
        self.on_gone(key)
        return True

    def _take(self, key: bytes) -> Entry | None:
        entry = self._young.pop(key, None)
        if entry is not None:
            self._young_bytes -= entry.size
        else:
            entry = self._old.pop(key, None)
            if entry is None:
                return None
            self._old_bytes -= entry.size
        self._forget_loose(entry)
        return entry

    def _forget_loose(self, entry: Entry) -> None:
        if entry.loose_key is not None and self._by_loose.get(entry.loose_key) == entry.key:
            del self._by_loose[entry.loose_key]

    def _make_room(self) -> None:
        young_limit = int(self._max_bytes * _YOUNG_SHARE)
        while self._young and self._young_bytes > young_limit and (len(self._young) > 1 or self._old):
            key, entry = self._young.popitem(last=False)
            self._young_bytes -= entry.size
            self._grow_up(key, entry)
        while self.size > self._max_bytes and (self._old or self._young):
            self._push_out(self._old if self._old else self._young)

    def _grow_up(self, key: bytes, entry: Entry) -> None:
        """The entry leaves the young ones: for the old ones, or for good where those it had to push out are asked for
        more often.
        """
        room = self._max_bytes - self._young_bytes
        needed = self._old_bytes + entry.size - room
        if needed > 0:
            victims: list[bytes] = []
            now_s = self.clock()
            for other in self._old.values():
                if other.fresh_until_s > now_s and self._frequency(other.key) > self._frequency(key):
                    self.evicted += 1
                    self._forget_loose(entry)
                    self.on_gone(key)
                    return
                victims.append(other.key)
                needed -= other.size
                if needed <= 0:
                    break
            for victim in victims:
                self.drop(victim)
                self.evicted += 1
        self._old[key] = entry
        self._old_bytes += entry.size

    def _push_out(self, shelf: OrderedDict[bytes, Entry]) -> None:
        key, _ = next(iter(shelf.items()))
        self.drop(key)
        self.evicted += 1

    def _forget(self) -> None:
        self._samples //= 2
        for row in self._sketch:
            row[:] = bytes(count >> 1 for count in row)

    def _frequency(self, key: bytes) -> int:
        return min(row[place % _WIDTH] for row, place in zip(self._sketch, _PLACES(key), strict=True))


def _nothing(key: bytes) -> None:
    """Nobody wants to know."""
