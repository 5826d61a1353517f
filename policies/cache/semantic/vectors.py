"""The nearest entries by the cosine of their vectors, with numpy where it is there; among very many with a graph."""

from array import array
from collections.abc import Sequence
from importlib.util import find_spec
from math import sqrt
from operator import mul
from typing import Any

from policies.cache.semantic.graph import Graph, has_graphs

_MANY = 2_000  # places
_FIRST_NUMBERS = 96
_LIKELY = 128
_FIRST_ROWS = 4  # conversations leave many namespaces of one entry
# Up to so many all vectors are compared. A graph is begun before, with some of the older ones for each that is new, so
# that nobody waits for it (some .3 ms each) and it is complete when it is needed.
_VERY_MANY, _BEGIN_GRAPH = 50_000, 25_000
_OLDER_AT_ONCE = 2
_NEAR = 32


class Vectors:
    """One vector for each of at most `most` places (small integers, dense). Vectors of two embedders must not meet
    here.
    """

    def __init__(self, most: int = _VERY_MANY) -> None:
        self._has_graph = most > _VERY_MANY and has_graphs()
        self._graph: Graph | None = None
        self._behind = 0  # places before this one are in the graph
        self._numpy: Any = None
        if find_spec("numpy") is not None:
            import numpy  # noqa: PLC0415 - in an extra

            self._numpy = numpy
        self._heads: Any = None  # the first numbers of all vectors, side by side, and the others
        self._tails: Any = None
        self._rows: dict[int, array[float]] = {}
        self._end = 0
        self._length = 0

    @property
    def is_searchable(self) -> bool:
        """Whether `nearest` can be asked; without numpy only single cosines can."""
        return self._numpy is not None

    def fits(self, vector: Sequence[float]) -> bool:
        """Whether it can be compared with those that are here: it is as long."""
        return len(vector) == (self._length or len(vector))

    def add(self, place: int, vector: Sequence[float]) -> None:
        """One that `fits`, of any length but zero; it is scaled to one."""
        self._length = len(vector)
        if self._numpy is None:
            length = sqrt(sum(map(mul, vector, vector))) or 1.0
            self._rows[place] = array("f", (value / length for value in vector))
            return
        row = self._scaled(vector)
        if self._heads is None:
            head = min(_FIRST_NUMBERS, len(row))
            self._heads = self._numpy.zeros((_FIRST_ROWS, head), dtype="float32")
            self._tails = self._numpy.zeros((_FIRST_ROWS, len(row) - head), dtype="float32")
        while place >= len(self._heads):
            self._heads, self._tails = (
                self._numpy.concatenate((part, self._numpy.zeros_like(part))) for part in (self._heads, self._tails)
            )
        self._heads[place], self._tails[place] = row[:_FIRST_NUMBERS], row[_FIRST_NUMBERS:]
        self._end = max(self._end, place + 1)
        if self._has_graph and self._end > _BEGIN_GRAPH:
            self._grow(place)

    def drop(self, place: int) -> None:
        """Nothing is near to it any more."""
        if self._numpy is None:
            self._rows.pop(place, None)
        elif place < self._end:
            self._heads[place] = self._tails[place] = 0.0
            if self._graph is not None:
                self._graph.drop(place)

    def nearest(self, vector: Sequence[float], count: int, least: float) -> list[tuple[int, float]]:
        """(place, cosine) of at most `count` whose cosine is at least `least`, nearest first."""
        if not self._end:
            return []
        asked = self._scaled(vector)
        places = self._likely(asked)
        cosines = self._cosines(asked, slice(self._end) if places is None else places)
        at = range(len(cosines))
        if len(cosines) > count:
            at = self._numpy.argpartition(cosines, len(cosines) - count)[len(cosines) - count :]
        found = sorted(((float(cosines[i]), int(i if places is None else places[i])) for i in at), reverse=True)
        return [(place, cosine) for cosine, place in found if cosine >= least]

    def cosines(self, vector: Sequence[float], places: Sequence[int]) -> list[float]:
        """Of each place; 0 where no vector is."""
        if self._numpy is not None:
            if not self._end:
                return [0.0 for _ in places]
            found = self._cosines(self._scaled(vector), [min(place, self._end - 1) for place in places])
            return [float(found[at]) if place < self._end else 0.0 for at, place in enumerate(places)]
        length = sqrt(sum(map(mul, vector, vector))) or 1.0
        return [sum(map(mul, self._rows[place], vector)) / length if place in self._rows else 0.0 for place in places]

    def _likely(self, asked: Any) -> Any:
        """The places that are nearest by the first numbers of each vector; None where there are few anyway.

        Reading all numbers is what a search takes, above all after an embedder has used the processor's cache: this
        reads a quarter. Of neighbours with a cosine of .7 and more 99.7 % are found (MiniLM, 10,000 texts).
        """
        if self._graph is not None and self._behind >= self._end > _VERY_MANY:
            return self._graph.near(asked, _NEAR)
        if self._end < _MANY or len(asked) <= _FIRST_NUMBERS:
            return None
        near = self._heads[: self._end] @ asked[:_FIRST_NUMBERS]
        return self._numpy.argpartition(near, self._end - _LIKELY)[self._end - _LIKELY :]

    def _grow(self, place: int) -> None:
        """The graph has this place, and some more of those that were there before it was begun."""
        if self._graph is None:
            self._graph = Graph(self._length)
        self._graph.put(place, self._row(place))
        for older in range(self._behind, min(self._behind + _OLDER_AT_ONCE, self._end)):
            if older not in self._graph and self._heads[older].any():
                self._graph.put(older, self._row(older))
            self._behind = older + 1

    def _scaled(self, vector: Sequence[float]) -> Any:
        row = self._numpy.asarray(vector, dtype="float32")
        return row / (sqrt(float(row @ row)) or 1.0)

    def _row(self, place: int) -> Any:
        return self._numpy.concatenate((self._heads[place], self._tails[place]))

    def _cosines(self, asked: Any, places: Any) -> Any:
        return self._heads[places] @ asked[:_FIRST_NUMBERS] + self._tails[places] @ asked[_FIRST_NUMBERS:]
