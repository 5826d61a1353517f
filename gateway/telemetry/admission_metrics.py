"""Series about requests that waited or were refused under load, and about connections that were ended."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

_WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class AdmissionMetrics:
    """Counts what happens before a request is served. Nothing here moves for a request that need not wait."""

    def __init__(
        self, counter: Callable[..., Counter], histogram: Callable[..., Histogram], gauge: Callable[..., Gauge]
    ) -> None:
        self._shed = counter(
            "signalbox_shed_total", "Requests refused because of too much load, by reason.", ("reason",)
        )
        self._wait = histogram(
            "signalbox_queue_wait_seconds",
            "Time that requests waited for a place, whether they got one or not.",
            (),
            _WAIT_BUCKETS,
        )
        self._closed = counter(
            "signalbox_connections_closed_total",
            "Client connections that the gateway ended early, by reason.",
            ("reason",),
        )
        self._step = gauge(
            "signalbox_memory_step",
            "What is given up for want of memory: 1 cache fills, 2 kept connections, 3 new requests; the worst worker.",
            mode="livemax",
        )
        self._lag = gauge(
            "signalbox_event_loop_lag_seconds", "How late the last timer was, in the worst worker.", mode="livemax"
        )

    def shed(self, reason: str) -> None:
        """Count a request refused because of load."""
        self._shed.labels(reason).inc()

    def waited(self, seconds: float) -> None:
        """Note how long a request stood in the queue."""
        self._wait.observe(seconds)

    def closed(self, reason: str) -> None:
        """Count a connection that was ended for what its client did, or did not do."""
        self._closed.labels(reason).inc()

    def note_step(self, step: int) -> None:
        """Note what is given up."""
        self._step.set(step)

    def note_lag(self, seconds: float) -> None:
        """Note how late a timer was."""
        self._lag.set(seconds)
