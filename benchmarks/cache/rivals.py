"""What other caches do: one threshold on a likeness for everybody, or one per entry that is learnt (vCache)."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.cache.streams import Asked, Replayed, Vectors

_WORD = re.compile(r"\w+")
_COMMON = 0.2  # of the entries
_SHORT = 3  # words


class Exact:
    """The same text, to the letter."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def look(self, asked: Asked) -> int | None:
        return self._kept.get(asked.text)

    def learn(self, now: Replayed) -> None:
        self._kept.setdefault(now.asked.text, now.at)


class _Nearest:
    """The most like of all kept entries, where it is alike enough."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._kept: list[int] = []
        self._is_hit = False

    def likeness(self, asked: Asked) -> tuple[int, float]:
        """Place and likeness of the nearest entry."""
        raise NotImplementedError

    def keep(self, asked: Asked) -> None:
        raise NotImplementedError

    def look(self, asked: Asked) -> int | None:
        place, likeness = self.likeness(asked) if self._kept else (0, -1.0)
        self._is_hit = likeness >= self._least
        return self._kept[place] if self._is_hit else None

    def learn(self, now: Replayed) -> None:
        if not self._is_hit:
            self.keep(now.asked)
            self._kept.append(now.at)


class Jaccard(_Nearest):
    """Shared words by all words."""

    def __init__(self, least: float) -> None:
        super().__init__(least)
        self._words: list[frozenset[str]] = []
        self._places: dict[str, list[int]] = {}

    def likeness(self, asked: Asked) -> tuple[int, float]:
        words = frozenset(_WORD.findall(asked.text.lower()))
        shared = Counter(place for word in words for place in self._places.get(word, ()))
        best = max(
            shared, key=lambda place: shared[place] / (len(words) + len(self._words[place]) - shared[place]), default=0
        )
        whole = len(words) + len(self._words[best]) - shared[best]
        return best, shared[best] / whole if whole else 0.0

    def keep(self, asked: Asked) -> None:
        words = frozenset(_WORD.findall(asked.text.lower()))
        for word in words:
            self._places.setdefault(word, []).append(len(self._words))
        self._words.append(words)


class TfIdf(_Nearest):
    """The cosine of counts of words, each weighted by how few entries have it so far."""

    def __init__(self, least: float) -> None:
        super().__init__(least)
        self._counts: list[Counter[str]] = []
        self._places: dict[str, list[int]] = {}

    def _idf(self, word: str) -> float:
        return math.log((1 + len(self._counts)) / (1 + len(self._places.get(word, ())))) + 1

    def likeness(self, asked: Asked) -> tuple[int, float]:
        ours = Counter(_WORD.findall(asked.text.lower()))
        squares = {word: self._idf(word) ** 2 for word in ours}
        dots: dict[int, float] = {}
        for word, count in ours.items():
            places = self._places.get(word, ())
            if len(places) > _COMMON * len(self._counts) and len(ours) > _SHORT:
                continue  # says little, and takes most of the time
            for place in places:
                dots[place] = dots.get(place, 0.0) + count * self._counts[place][word] * squares[word]
        length = math.sqrt(sum(count * count * squares[word] for word, count in ours.items()))
        likely = sorted(dots, key=lambda place: dots[place], reverse=True)[:32]
        found = {
            place: sum(count * self._counts[place][word] * squares[word] for word, count in ours.items())
            / (length * self._length(place) or 1.0)
            for place in likely
        }
        best = max(found, key=lambda place: found[place], default=0)
        return best, found.get(best, 0.0)

    def _length(self, place: int) -> float:
        return math.sqrt(sum((count * self._idf(word)) ** 2 for word, count in self._counts[place].items()))

    def keep(self, asked: Asked) -> None:
        counts = Counter(_WORD.findall(asked.text.lower()))
        for word in counts:
            self._places.setdefault(word, []).append(len(self._counts))
        self._counts.append(counts)


class Cosine(_Nearest):
    """The cosine of an embedder's vectors."""

    def __init__(self, vectors: Vectors, least: float) -> None:
        super().__init__(least)
        self._vectors = vectors
        self._matrix: Any = np.zeros((1024, 384), dtype=np.float32)

    def likeness(self, asked: Asked) -> tuple[int, float]:
        cosines = self._matrix[: len(self._kept)] @ self._vectors[asked.text]
        place = int(np.argmax(cosines))
        return place, float(cosines[place])

    def keep(self, asked: Asked) -> None:
        if len(self._kept) == len(self._matrix):
            self._matrix = np.concatenate((self._matrix, np.zeros_like(self._matrix)))
        self._matrix[len(self._kept)] = self._vectors[asked.text]


class VCache(Cosine):
    """Schroeder and others, "vCache: Verified Semantic Prompt Caching" (arXiv 2502.03771), by the paper's formulas.

    Each entry learns a logistic curve of being right over the likeness, with centre t and slope g, from what was asked
    near it. A request explores (is a miss) with probability tau = 1 - delta / (1 - a), a the largest
    (1 - e) * curve(likeness; t + z(1 - e) * sd(t), g) over e. At first every entry explores. Where two answers were
    alike the new one is not kept. A weak prior keeps the curve finite while labels can be told apart by one value.
    """

    _LEAST_LABELS = 6

    def __init__(self, vectors: Vectors, delta: float, random: Callable[[], float]) -> None:
        super().__init__(vectors, 0.0)
        self._delta = delta
        self._random = random
        self._labels: list[list[tuple[float, float]]] = []
        self._near: tuple[int, float] | None = None
        self._doubts = np.geomspace(1e-5, 0.9, 60)
        self._quantiles = np.array([NormalDist().inv_cdf(1 - doubt) for doubt in self._doubts])

    def look(self, asked: Asked) -> int | None:
        self._near = self.likeness(asked) if self._kept else None
        self._is_hit = self._near is not None and self._random() >= self._tau(*self._near)
        return self._kept[self._near[0]] if self._is_hit and self._near is not None else None

    def learn(self, now: Replayed) -> None:
        if self._is_hit:
            return
        if self._near is not None:
            place, likeness = self._near
            is_right = now.answers[self._kept[place]] == now.asked.answer
            self._labels[place].append((likeness, float(is_right)))
            if is_right:
                return
        self.keep(now.asked)
        self._kept.append(now.at)
        self._labels.append([(0.0, 0.0), (1.0, 1.0)])

    def _tau(self, place: int, likeness: float) -> float:
        labels = self._labels[place]
        if len(labels) < self._LEAST_LABELS:
            return 1.0
        centre, slope, spread = _logistic(labels)
        centres = np.clip(centre + self._quantiles * spread, 0.0, 1.0)
        sure = (1 - self._doubts) / (1 + np.exp(-np.clip(slope * (likeness - centres), -60, 60)))
        return float(np.min(1 - self._delta / np.maximum(1 - sure, 1e-12)))


def _logistic(labels: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Centre, slope and the centre's standard deviation by the delta method."""
    points = np.array(labels)
    design = np.column_stack((np.ones(len(points)), points[:, 0]))
    ridge = np.diag((1e-4, 1e-4))
    weights = np.array((-8.0, 10.0))
    for _ in range(25):
        share = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        bend = design.T @ (design * (share * (1 - share))[:, None]) + ridge
        step = np.linalg.solve(bend, design.T @ (points[:, 1] - share) - ridge @ weights)
        weights = weights + step * min(1.0, 10.0 / float(np.abs(step).max() + 1e-12))
        if float(np.abs(step).max()) < 1e-4:
            break
    slope = max(float(weights[1]), 1e-6)
    gradient = np.array((-1.0 / slope, float(weights[0]) / slope**2))
    variance = float(gradient @ np.linalg.solve(bend, gradient))
    return min(1.0, max(0.0, -float(weights[0]) / slope)), slope, math.sqrt(max(0.0, variance))
