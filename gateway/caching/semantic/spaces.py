"""What is compared with what: the namespaces of a process, and which answer is in which of them.

They outlive every Runtime. An answer that leaves memory leaves its namespace; what it taught stays.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from policies.cache.semantic.lessons import Lesson, Record
from policies.cache.semantic.namespace import Namespace
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.text import Text

_MOST = 2_000
_TRIES = 64
_MOST_PAIRS = 2_000


@dataclass(slots=True)
class Space:
    """`name` is the model or route that was asked for, `route` its label, `labels` how many were learnt from."""

    namespace: Namespace
    partition: str
    route: str
    name: str
    labels: int = 0
    _pairs: OrderedDict[tuple[bytes, bytes], None] = field(default_factory=OrderedDict)

    @property
    def is_worthless(self) -> bool:
        """Nothing is kept in it, and nothing was learnt: conversations leave many such ones."""
        return not len(self.namespace) and not self.labels

    def take(self, lesson: Lesson, asked: Text | None = None) -> bool:
        """Learn from it; see `Namespace.take`. False where it proves nothing new: each process that is asked the same
        compares the same two answers, and four times the same is no more evidence than once. What is wrong counts
        every time.
        """
        if not self._is_news(lesson):
            return False
        self.labels += 1
        self.namespace.take(lesson, asked)
        return True

    def restore(self, records: Iterable[Record]) -> None:
        """In place of what was learnt; see `Namespace.restore`."""
        self._pairs.clear()
        found = [record for record in records if not isinstance(record, Lesson) or self._is_news(record)]
        self.labels = sum(isinstance(record, Lesson) for record in found)
        self.namespace.restore(found)

    def _is_news(self, lesson: Lesson) -> bool:
        if not lesson.is_right or lesson.is_served or not lesson.asked:
            return True
        pair = lesson.kept, lesson.asked
        if pair in self._pairs:
            return False
        self._pairs[pair] = None
        if len(self._pairs) > _MOST_PAIRS:
            self._pairs.popitem(last=False)
        return True


class Spaces:
    """By their fingerprint, which says everything but the text. `random` gives numbers from 0 to 1, evenly."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._by_print: OrderedDict[bytes, Space] = OrderedDict()
        self._where: dict[bytes, tuple[bytes, Text]] = {}
        self.on_lesson: Callable[[bytes, Space, Lesson], None] | None = None  # is told of what is learnt here

    def __contains__(self, fingerprint: bytes) -> bool:
        return fingerprint in self._by_print

    def __iter__(self) -> Iterator[Space]:
        yield from list(self._by_print.values())

    @property
    def entries(self) -> int:
        """Answers that are compared with, in all of them."""
        return len(self._where)

    def find(self, fingerprint: bytes) -> Space | None:
        """Where a question with this fingerprint is looked up; None where nothing was asked with it."""
        space = self._by_print.get(fingerprint)
        if space is not None:
            self._by_print.move_to_end(fingerprint)
        return space

    def add(
        self,
        fingerprint: bytes,
        rules: SemanticRules,
        whose: tuple[str, str, str],
        key: bytes,
        text: Text,
        vector: Sequence[float] | None,
    ) -> None:
        """An answer is in memory under `key`. `whose` are its partition, label and model or route."""
        space = self.find(fingerprint)
        if space is None:
            space = self._by_print[fingerprint] = Space(Namespace(rules, vector is not None, self._random), *whose)
            self._make_room()
        before = self._where.get(key)
        if before is not None and before[0] != fingerprint:
            self.drop(key)
        space.namespace.add(key, text, vector)
        self._where[key] = fingerprint, text

    def text_of(self, key: bytes) -> Text | None:
        """What was asked when the answer was made."""
        where = self._where.get(key)
        return None if where is None else where[1]

    def drop(self, key: bytes) -> None:
        """It left memory."""
        where = self._where.pop(key, None)
        if where is None:
            return
        fingerprint = where[0]
        space = self._by_print.get(fingerprint)
        if space is None:
            return
        space.namespace.drop(key)
        if space.is_worthless:
            del self._by_print[fingerprint]

    def learn(self, fingerprint: bytes, lesson: Lesson, asked: Text | None = None) -> bool:
        """What somebody found out here about a look-up. False where the namespace is gone."""
        space = self._by_print.get(fingerprint)
        if space is not None and space.take(lesson, asked) and self.on_lesson is not None:
            self.on_lesson(fingerprint, space, lesson)
        return space is not None

    def forget(self, partition: str) -> None:
        """Also what was learnt: the next of that name is somebody else."""
        for fingerprint in [one for one, space in self._by_print.items() if space.partition == partition]:
            self._remove(fingerprint)

    def clear(self) -> None:
        """The tier is off."""
        self._by_print.clear()
        self._where.clear()

    def _make_room(self) -> None:
        """Without the one that was asked longest ago; if possible one that has learnt nothing."""
        while len(self._by_print) > _MOST:
            oldest = [one for one, _ in zip(self._by_print, range(_TRIES), strict=False)]
            self._remove(next((one for one in oldest if not self._by_print[one].labels), oldest[0]))

    def _remove(self, fingerprint: bytes) -> None:
        del self._by_print[fingerprint]
        for key in [key for key, where in self._where.items() if where[0] == fingerprint]:
            del self._where[key]
