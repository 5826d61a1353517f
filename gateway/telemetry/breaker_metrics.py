"""Series about breakers and pauses. They follow the clock, so they are read from the guard whenever somebody looks."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from gateway.availability import Guard
from policies.breaker import BreakerState

_VALUES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class BreakerMetrics:
    """Written from one guard, by deployment label. With several workers the worst of them shows."""

    def __init__(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._state = gauge(
            "signalbox_breaker_state",
            "State of the deployment's breaker: 0 closed, 1 half open, 2 open.",
            ("deployment",),
            mode="livemax",
        )
        self._trips = counter(
            "signalbox_breaker_trips_total", "How often the deployment's breaker opened.", ("deployment",)
        )
        self._throttled = gauge(
            "signalbox_throttled_seconds",
            "Seconds for which the deployment is still spared because its provider asked for it.",
            ("deployment",),
            mode="livemax",
        )
        self._guard: Guard | None = None
        self._counted: dict[str, int] = {}
        self._shown_throttled: set[str] = set()

    def follow(self, guard: Guard) -> None:
        """Write what this guard knows from now on."""
        self._guard = guard

    def flush(self) -> None:
        """Write every series as of now."""
        if self._guard is None:
            return
        for label, state in self._guard.states().items():
            self._state.labels(label).set(_VALUES[state])
        for label, trips in self._guard.trips.items():
            self._trips.labels(label).inc(trips - self._counted.get(label, 0))
            self._counted[label] = trips
        throttled = {trouble.label: trouble.throttled_s for trouble in self._guard.troubles() if trouble.throttled_s}
        for label in self._shown_throttled | throttled.keys():
            self._throttled.labels(label).set(throttled.get(label, 0.0))
        self._shown_throttled |= throttled.keys()
