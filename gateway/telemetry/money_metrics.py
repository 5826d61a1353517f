"""Series about budgets, limits and holds. Budgets are labelled by their configured names."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge

_NUSD_PER_USD = 1_000_000_000


class MoneyMetrics:
    """What operators watch of the money; moved beside the requests, not by them."""

    def __init__(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._spent = gauge(
            "signalbox_budget_spent_usd",
            "US dollars spent in the budget's present window; of shared budgets, by all gateways together.",
            ("budget",),
            mode="livemax",
        )
        self._held = gauge(
            "signalbox_budget_held_usd", "US dollars held for requests that are under way.", ("budget",), mode="livemax"
        )
        self._limit = gauge(
            "signalbox_budget_limit_usd",
            "The budget's limit with what was carried over and raised.",
            ("budget",),
            mode="livemax",
        )
        self._overrun = counter(
            "signalbox_budget_overrun_usd_total",
            "US dollars charged beyond what was held, because a provider charged more than could be foreseen.",
        )
        self._expired = counter(
            "signalbox_holds_expired_total",
            "Holds whose lease ended unsettled: released, or charged in full where the call had been sent.",
            ("outcome",),
        )
        self._difference = counter(
            "signalbox_reported_cost_difference_usd_total",
            "How far the cost that providers report is from ours, in US dollars, by which is higher.",
            ("provider", "higher"),
        )
        self._redis = gauge(
            "signalbox_redis_degraded", "1 while Redis is configured and cannot be asked.", mode="livemax"
        )
        self._waiting = gauge(
            "signalbox_settlements_waiting", "Settlements that the shared store does not have yet.", mode="livesum"
        )

    def budget(self, name: str, *, spent_nusd: int, held_nusd: int, limit_nusd: int) -> None:
        """Note the state of a budget."""
        self._spent.labels(name).set(spent_nusd / _NUSD_PER_USD)
        self._held.labels(name).set(held_nusd / _NUSD_PER_USD)
        self._limit.labels(name).set(limit_nusd / _NUSD_PER_USD)

    def overrun(self, nusd: int) -> None:
        """Count money beyond what was held."""
        self._overrun.inc(nusd / _NUSD_PER_USD)

    def expired(self, *, is_charged: bool) -> None:
        """Count a lease that ended."""
        self._expired.labels("charged" if is_charged else "released").inc()

    def compared(self, provider: str, cost_nusd: int, reported_nusd: int) -> None:
        """Count the difference between our cost and the provider's own."""
        if cost_nusd != reported_nusd:
            higher = "ours" if cost_nusd > reported_nusd else "theirs"
            self._difference.labels(provider, higher).inc(abs(cost_nusd - reported_nusd) / _NUSD_PER_USD)

    def redis(self, *, is_degraded: bool, waiting: int) -> None:
        """Note whether Redis answers, and what it has not been told."""
        self._redis.set(1 if is_degraded else 0)
        self._waiting.set(waiting)
