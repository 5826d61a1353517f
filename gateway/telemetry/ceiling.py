"""A ceiling on the number of series: what a large configuration has beyond it is counted together, under one name."""

from typing import Any

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

MAX_SERIES = 5000
OTHER = "other"
# Series for combinations of closed words, the process's own, and those with the name `other`.
_RESERVE = 1000
# Labels whose values are names of the configuration; those of all other labels are few and known.
_NAMED = frozenset({"model", "deployment", "provider", "route", "tier", "rule", "arm", "budget"})

# A second series for each counter, with a time that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Ceiling:
    """Counts the series of one registry, and gives names up when there is no room for more of them."""

    def __init__(self, most: int = MAX_SERIES) -> None:
        self._left = most - _RESERVE
        self._known: dict[str, set[tuple[str, ...]]] = {}

    def fit(self, family: str, labels: tuple[str, ...], values: tuple[object, ...], size: int) -> tuple[str, ...]:
        """The values under which a series of `size` samples is kept: as they are, or with names replaced."""
        known = self._known.setdefault(family, set())
        found = tuple(map(str, values))
        if found in known:
            return found
        if self._left < size:
            found = tuple(OTHER if name in _NAMED else value for name, value in zip(labels, found, strict=True))
            if found in known:
                return found
        known.add(found)
        self._left -= size
        return found


class BoundedCounter(Counter):
    """A counter below a ceiling."""

    ceiling: Ceiling

    def labels(self, *labelvalues: object, **_: object) -> Any:
        return super().labels(*self.ceiling.fit(self._name, self._labelnames, labelvalues, 1))


class BoundedGauge(Gauge):
    """A gauge below a ceiling. What shares the name `other` shows the last of its values."""

    ceiling: Ceiling

    def labels(self, *labelvalues: object, **_: object) -> Any:
        return super().labels(*self.ceiling.fit(self._name, self._labelnames, labelvalues, 1))


class BoundedHistogram(Histogram):
    """A histogram below a ceiling; each has a series for every bucket, one without end, a sum and a count."""

    ceiling: Ceiling
    size: int

    def labels(self, *labelvalues: object, **_: object) -> Any:
        return super().labels(*self.ceiling.fit(self._name, self._labelnames, labelvalues, self.size))
