"""When a slow call gets a second one beside it: after the usual time to the first content, and seldom enough.

After Dean and Barroso, "The Tail at Scale" (2013): a second call after the 95th percentile adds few calls and removes
most of the tail. Two caps keep it cheap when everything is slow: a share of requests, and a share of the spend.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp2, log2

# Buckets of the histogram per doubling of the time, from a millisecond to about 18 minutes.
_PER_DOUBLING = 8
_LEAST_S = 0.001
_BUCKETS = 20 * _PER_DOUBLING
# Samples from which on a percentile means something, and at which old ones begin to count half.
_TELLING = 40
_MOST_SAMPLES = 1_000
# Second calls that may be saved up, for a burst of slow answers.
_MOST_SAVED = 20.0
# Share of what was spent in the last hour that second calls may have cost.
MAX_SPEND_RATIO = 0.02
_HOUR_S = 3600.0
_SLOT_S = 60.0


class SlowTimes:
    """The distribution of the times of late, in a bounded histogram: a percentile is off by 9 % at most."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0

    def add(self, seconds: float) -> None:
        """One more sample; recent ones weigh more."""
        place = int(log2(max(seconds, _LEAST_S) / _LEAST_S) * _PER_DOUBLING)
        self._counts[min(place, _BUCKETS - 1)] += 1
        self._total += 1
        if self._total >= _MOST_SAMPLES:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def quantile(self, share: float) -> float | None:
        """The time within which this share of answers came, in seconds; None while too few are known."""
        if self._total < _TELLING:
            return None
        wanted, seen = share * self._total, 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return _LEAST_S * exp2((place + 1) / _PER_DOUBLING)
        return None


@dataclass(slots=True, frozen=True)
class HedgeRules:
    """After which percentile (0..1) the second call starts, and the share of requests that may get one."""

    after: float = 0.95
    max_extra_ratio: float = 0.05


class Spent:
    """Nano-dollars of the last hour: all of it, and what second calls added. `reserved` is what those under way may
    add.
    """

    __slots__ = ("_slots", "reserved")

    def __init__(self) -> None:
        self._slots: deque[list[float]] = deque()  # start, all, extra
        self.reserved = 0

    def note(self, now: float, all_nusd: int, extra_nusd: int) -> None:
        """A request is over. `now` is monotonic seconds."""
        if not self._slots or now - self._slots[-1][0] >= _SLOT_S:
            self._slots.append([now, 0, 0])
        self._slots[-1][1] += all_nusd
        self._slots[-1][2] += extra_nusd

    def has_room(self, now: float, extra_nusd: int) -> bool:
        """Whether one more second call of this cost stays within its share."""
        while self._slots and now - self._slots[0][0] > _HOUR_S:
            self._slots.popleft()
        whole = sum(slot[1] for slot in self._slots)
        extra = sum(slot[2] for slot in self._slots)
        return extra + self.reserved + extra_nusd <= MAX_SPEND_RATIO * whole


class _Book:
    __slots__ = ("saved", "spent", "times")

    def __init__(self) -> None:
        self.times = {False: SlowTimes(), True: SlowTimes()}
        self.spent = Spent()
        self.saved = 0.0


class Hedges:
    """What is known of each route, or model where none was asked for. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._books: dict[str, _Book] = {}

    def delay_s(self, name: str, rules: HedgeRules, *, is_stream: bool) -> float | None:
        """A request begins: the seconds after which it may get a second call; None while the usual time is unknown."""
        book = self._books.get(name)
        if book is None:
            book = self._books[name] = _Book()
        book.saved = min(_MOST_SAVED, book.saved + rules.max_extra_ratio)
        return book.times[is_stream].quantile(rules.after)

    def has_room(self, name: str, extra_nusd: int) -> bool:
        """Whether a second call may be made. `extra_nusd`: the least that it adds to the bill."""
        book = self._books[name]
        return book.saved >= 1 and book.spent.has_room(self._clock(), extra_nusd)

    def take(self, name: str, extra_nusd: int) -> None:
        """One is made. `settle` it with the same amount when its request is over, with which `note` knows the cost."""
        book = self._books[name]
        book.saved -= 1
        book.spent.reserved += extra_nusd

    def settle(self, name: str, extra_nusd: int) -> None:
        """What was set aside for a second call is free again."""
        self._books[name].spent.reserved -= extra_nusd

    def note(self, name: str, taken_s: float | None, all_nusd: int, extra_nusd: int, *, is_stream: bool) -> None:
        """A request is over. `taken_s` is what its first call took to the first content, or until it was given up for
        the second one.
        """
        book = self._books.get(name)
        if book is None:
            return  # no request of it may have a second call
        if taken_s is not None:
            book.times[is_stream].add(taken_s)
        book.spent.note(self._clock(), all_nusd, extra_nusd)
