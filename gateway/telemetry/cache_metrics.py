"""Series about kept answers."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from gateway.telemetry.tally import CounterTally
from policies.cache.shelf import Shelf
from policies.outcome import CacheUse
from providers.base import Operation


class CacheMetrics:
    """Written by the cache alone. Sizes are read from its shelf whenever somebody looks."""

    def __init__(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._requests = counter(
            "signalbox_cache_requests_total",
            "Requests while the cache is on, by what it did: hit, normalised (a hit in other letters), semantic "
            "(a hit by meaning), miss, shared (with one under way), stale, bypass.",
            ("operation", "result"),
        )
        self._saved = counter("signalbox_cache_saved_usd_total", "What hits and shared answers would have cost.")
        self._evicted = counter("signalbox_cache_evictions_total", "Kept answers that made way for others.")
        self._entries = gauge("signalbox_cache_entries", "Answers that are kept.")
        self._bytes = gauge("signalbox_cache_bytes", "Bytes of the answers that are kept.")
        self._tallies: dict[tuple[Operation, CacheUse], CounterTally] = {}
        self._saved_nusd = 0
        self._shelf: Shelf | None = None
        self._told = 0

    def follow(self, shelf: Shelf) -> None:
        """Write what this shelf holds from now on."""
        self._shelf = shelf

    def note(self, operation: Operation, use: CacheUse, saved_nusd: int | None = None) -> None:
        """One request, and what it did not cost."""
        tally = self._tallies.get((operation, use))
        if tally is None:
            tally = self._tallies[operation, use] = CounterTally(self._requests.labels(operation, use))
        tally.amount += 1
        if saved_nusd:
            self._saved_nusd += saved_nusd

    def flush(self) -> None:
        """Write every series as of now."""
        for tally in self._tallies.values():
            tally.flush()
        saved, self._saved_nusd = self._saved_nusd, 0
        self._saved.inc(saved / 1_000_000_000)
        if self._shelf is not None:
            self._evicted.inc(self._shelf.evicted - self._told)
            self._told = self._shelf.evicted
            self._entries.set(len(self._shelf))
            self._bytes.set(self._shelf.size)
