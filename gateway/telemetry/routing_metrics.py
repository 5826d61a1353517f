"""Series about what routing decided. Labels are configured names and closed lists."""

from collections.abc import Callable

from prometheus_client import Counter

from gateway.telemetry.tally import CounterTally
from policies.outcome import Outcome
from routing.decision import Decision, Deployment

_NONE = ""


class RoutingMetrics:
    """Counts decisions of routes, rejections, experiments, copies and shadows."""

    def __init__(self, counter: Callable[..., Counter]) -> None:
        self._decisions = counter(
            "signalbox_decisions_total",
            "Decisions of routes: by which strategy, to which tier, under which rule.",
            ("route", "strategy", "tier", "rule"),
        )
        self._rejections = counter(
            "signalbox_rejections_total", "Candidates left out of a decision, by reason.", ("model", "reason")
        )
        self._stays = counter(
            "signalbox_stays_total", "Conversations kept where they were against the turn's own choice.", ("route",)
        )
        self._arms = counter(
            "signalbox_arm_requests_total",
            "Requests in an arm of an experiment, by how they ended.",
            ("route", "arm", "outcome"),
        )
        self._arm_cost = counter(
            "signalbox_arm_cost_usd_total", "Cost of the requests in an arm, in US dollars.", ("route", "arm")
        )
        self._mirrors = counter(
            "signalbox_mirror_requests_total",
            "Copies of requests sent to a mirror, by how they ended.",
            ("route", "deployment", "outcome"),
        )
        self._mirror_cost = counter(
            "signalbox_mirror_cost_usd_total",
            "Cost of mirrored copies in US dollars; part of no caller's cost.",
            ("route", "deployment"),
        )
        self._shadow = counter(
            "signalbox_router_shadow_total",
            "Decisions beside which a shadow router chose too, and whether it chose the same model.",
            ("route", "agrees"),
        )
        self._series: dict[tuple[str, str, str | None, str | None], CounterTally] = {}

    def record(self, outcome: Outcome) -> None:
        """Count one finished request."""
        decision = outcome.decision
        if decision.rejections:
            for rejection in decision.rejections:
                self._rejections.labels(_model(rejection.deployment), rejection.reason).inc()
        if decision.route is None:
            return
        key = (decision.route, decision.strategy, decision.tier, decision.rule)
        tally = self._series.get(key)
        if tally is None:
            labels = [part if part is not None else _NONE for part in key]
            tally = self._series[key] = CounterTally(self._decisions.labels(*labels))
        tally.amount += 1
        if decision.is_stay:
            self._stays.labels(decision.route).inc()
        if decision.arm is not None:
            self._record_arm(decision.route, decision.arm, outcome)
        if decision.shadow is not None:
            self._shadow.labels(decision.route, "true" if decision.shadow == _chosen(decision) else "false").inc()

    def record_mirror(self, route: str, outcome: Outcome) -> None:
        """Count a copy: of what it was and what it cost, never what the caller's request did."""
        label = outcome.decision.candidates[0].label
        self._mirrors.labels(route, label, outcome.ending).inc()
        if outcome.cost_nusd:
            self._mirror_cost.labels(route, label).inc(outcome.cost_nusd / 1_000_000_000)

    def flush(self) -> None:
        """Hand the tallies over to prometheus_client."""
        for tally in self._series.values():
            tally.flush()

    def _record_arm(self, route: str, arm: str, outcome: Outcome) -> None:
        self._arms.labels(route, arm, outcome.ending).inc()
        if outcome.cost_nusd:
            self._arm_cost.labels(route, arm).inc(outcome.cost_nusd / 1_000_000_000)


def _model(deployment: Deployment) -> str:
    """Its public name; `provider/*` for names that callers make up."""
    return deployment.model if deployment.label == deployment.id else deployment.label


def _chosen(decision: Decision) -> str:
    return decision.candidates[0].model
