"""What several processes know of purges when they share kept answers: an era, a count, and the last purges in order.

Each kept answer says how many purges had been made when it was asked for. It may be given when none of those after that
takes it. Nothing has to be searched or deleted for it, and a purge holds the moment it is counted. An era ends when the
store loses its memory: what was kept in it, and the purges that were counted, say nothing about the next one.
"""

from collections import deque
from collections.abc import Sequence

from policies.cache.purge import Purge
from policies.cache.shelf import Entry

_MOST = 1_000
_MOST_AT_ONCE = 20  # each looks at every entry of the shelf: beyond, emptying it is the smaller loss

EVERYTHING = Purge()


class PurgeLog:
    """`era` is empty until the store was asked; `seq` counts the purges that are known."""

    def __init__(self, most: int = _MOST) -> None:
        self.era = ""
        self.seq = 0
        self._most = most
        self._floor = 0  # what saw fewer purges than this may be taken by one that nobody remembers
        self._purges: deque[tuple[int, Purge]] = deque()

    def hear(self, era: str, seq: int, rows: Sequence[tuple[int, Purge | None]]) -> list[Purge]:
        """What the store says: its era, its count, and those it remembers beyond `seq` (None: in a form that this
        version does not know). Returns what is to be carried out on answers kept here.
        """
        is_lost = False
        if era != self.era:
            is_lost = bool(self.era)
            self.era, self.seq, self._floor = era, 0, 0
            self._purges.clear()
        found: list[Purge] = []
        for number, purge in rows:
            if not self.seq < number <= seq:
                continue
            if number != self.seq + 1 or purge is None:
                is_lost, self._floor = True, number if purge is None else number - 1
            self.seq = number
            if purge is not None:
                self._purges.append((number, purge))
                found.append(purge)
        if self.seq < seq:
            is_lost, self._floor, self.seq = True, seq, seq
        while len(self._purges) > self._most:
            self._floor = max(self._floor, self._purges.popleft()[0])
        return [EVERYTHING] if is_lost or len(found) > _MOST_AT_ONCE else found

    def allows(self, entry: Entry, era: str, seq: int) -> bool:
        """Whether an answer that saw the purges up to `seq` may be given."""
        if not era or era != self.era or seq < self._floor:
            return False
        for number, purge in reversed(self._purges):
            if number <= seq:
                break
            if purge.takes(entry):
                return False
        return True
