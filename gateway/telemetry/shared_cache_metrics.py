"""Series about the kept answers that gateways share in Redis."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from gateway.caching.shared import RedisAnswers


class SharedCacheMetrics:
    """Read from the answers whenever somebody looks."""

    def __init__(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._lookups = counter(
            "signalbox_cache_redis_lookups_total",
            "Answers looked for in Redis: hit, miss, skipped (Redis is left alone for a moment), failed (no answer in "
            "time), refused (a value that no gateway like this one wrote for that place).",
            ("result",),
        )
        self._writes = counter(
            "signalbox_cache_redis_writes_total",
            "Answers for Redis: written, or dropped because it was away, had begun anew, or too many waited.",
            ("result",),
        )
        self._up = gauge(
            "signalbox_cache_redis_up",
            "1 while Redis answers to the cache; 0 also where answers are not shared.",
            mode="livemin",
        )
        self._answers: RedisAnswers | None = None
        self._told: dict[str, int] = {}

    def follow(self, answers: "RedisAnswers") -> None:
        """Write what these say from now on."""
        self._answers = answers

    def flush(self) -> None:
        """Write every series as of now."""
        answers = self._answers
        if answers is None:
            return
        for result, count in answers.lookups.items():
            self._add(self._lookups, result, count)
        self._add(self._writes, "written", answers.written)
        self._add(self._writes, "dropped", answers.dropped)
        self._up.set(1 if answers.is_on and answers.is_up else 0)

    def _add(self, series: Counter, result: str, count: int) -> None:
        series.labels(result).inc(count - self._told.get(result, 0))
        self._told[result] = count
