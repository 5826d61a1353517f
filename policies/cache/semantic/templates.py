"""What is known of two wordings: whether texts of the one are answered like texts of the other.

Numbers and names are masked, so that one label about Oslo and Rome tells of every pair of cities. Which value stands
where is part of the family: "from A to B" and "to A from B" are another one than "from A to B" and "to B from A".
"""

import json
from collections import OrderedDict
from hashlib import blake2b

from policies.cache.semantic.text import Text

_MOST = 20_000
_FORGIVES = 4.0  # so many right labels make good a wrong one


def family(asked: Text, kept: Text) -> str:
    """The same for both orders of the texts."""
    forth = _places_of(asked, kept)
    back = _places_of(kept, asked)
    parts = sorted(((asked.template, forth), (kept.template, back)))
    return blake2b(json.dumps(parts).encode(), digest_size=9).hexdigest()


def _places_of(one: Text, other: Text) -> list[int]:
    """For each slot of one where the same value stands in the other; -1 where nowhere."""
    where: dict[str, int] = {}
    for place, value in enumerate(other.slots):
        where.setdefault(value, place)
    return [where.get(value, -1) for value in one.slots]


class Templates:
    """Counts of right and wrong labels by family; the families not heard of longest are forgotten."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def learn(self, name: str, *, is_right: bool) -> None:
        """One label."""
        counts = self._counts.setdefault(name, [0.0, 0.0])
        counts[0 if is_right else 1] += 1.0
        self._counts.move_to_end(name)
        if len(self._counts) > _MOST:
            self._counts.popitem(last=False)

    def counts(self, name: str) -> tuple[float, float]:
        """Right and wrong ones."""
        right, wrong = self._counts.get(name, (0.0, 0.0))
        return right, wrong

    def is_blocked(self, name: str) -> bool:
        """A wrong label weighs as much as four right ones."""
        right, wrong = self.counts(name)
        return wrong > 0 and right < _FORGIVES * wrong

    def doubted(self, most: int) -> tuple[tuple[str, float, float], ...]:
        """Families with a wrong label, and their right and wrong ones: at most so many, those heard of last, oldest
        first.
        """
        found = [(name, right, wrong) for name, (right, wrong) in self._counts.items() if wrong]
        return tuple(found[-most:])

    def restore(self, name: str, right: float, wrong: float) -> None:
        """All labels of a family so far."""
        self._counts[name] = [right, wrong]
        self._counts.move_to_end(name)
