"""Every Prometheus series of the gateway, declared once; nothing outside this file invents a name or a label.

Labels come from closed sets: configured names, enumerations and `provider/*` for model names that callers make up.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.telemetry.admission_metrics import AdmissionMetrics
from gateway.telemetry.breaker_metrics import BreakerMetrics
from gateway.telemetry.cache_metrics import CacheMetrics
from gateway.telemetry.ceiling import MAX_SERIES, BoundedCounter, BoundedGauge, BoundedHistogram, Ceiling
from gateway.telemetry.money_metrics import MoneyMetrics
from gateway.telemetry.routing_metrics import RoutingMetrics
from gateway.telemetry.semantic_metrics import SemanticMetrics
from gateway.telemetry.shared_cache_metrics import SharedCacheMetrics
from gateway.telemetry.tally import CounterTally, HistogramTally
from policies.outcome import Attempt, Outcome
from providers.base import ErrorKind, Usage

_GaugeMode = Literal["livesum", "livemin", "livemax"]
_OVERHEAD_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_TOKEN_CLASSES = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "image_input",
    "output",
    "reasoning",
    "audio_output",
    "image_output",
)
_INPUT = _TOKEN_CLASSES.index("input")
_OUTPUT = _TOKEN_CLASSES.index("output")


class Metrics:
    """The series, bound to one registry. `record` is the only writer on the request path."""

    def __init__(self, registry: CollectorRegistry, max_series: int = MAX_SERIES) -> None:
        self.registry = registry
        counter, histogram, gauge = _makers(registry, Ceiling(max_series))
        self._requests = counter(
            "signalbox_requests_total",
            "Requests that reached routing, by how they ended.",
            ("operation", "model", "outcome", "stream"),
        )
        self._refusals = counter(
            "signalbox_refusals_total", "Requests refused before routing, by reason.", ("endpoint", "reason")
        )
        self._duration = histogram(
            "signalbox_request_duration_seconds",
            "Time from the request's head to the last byte of its answer.",
            ("operation", "model", "stream"),
            _LATENCY_BUCKETS,
        )
        self._overhead = histogram(
            "signalbox_overhead_seconds",
            "Time the gateway itself added: the request's total minus the time an upstream call was running.",
            ("operation", "stream"),
            _OVERHEAD_BUCKETS,
        )
        self._attempts = counter(
            "signalbox_attempts_total",
            "Upstream calls by deployment and how they ended: ok, or the cause of the failure.",
            ("provider", "deployment", "outcome"),
        )
        self._attempt_errors = counter(
            "signalbox_attempt_errors_total", "Failed upstream calls by error class.", ("provider", "kind")
        )
        self._ttft = histogram(
            "signalbox_ttft_seconds",
            "Time from sending an upstream call to its first content.",
            ("provider", "deployment", "stream"),
            _LATENCY_BUCKETS,
        )
        self._tokens = counter(
            "signalbox_tokens_total",
            "Tokens by deployment and class; the classes are disjoint.",
            ("provider", "deployment", "class"),
        )
        self._estimated = counter(
            "signalbox_estimated_usage_total",
            "Upstream calls whose usage was counted by the gateway because the provider told none.",
            ("provider", "deployment"),
        )
        self._cost = counter("signalbox_cost_usd_total", "Cost in US dollars.", ("provider", "deployment"))
        self._unpriced = counter(
            "signalbox_unpriced_calls_total",
            "Upstream calls with usage for which no price is known.",
            ("provider", "deployment"),
        )
        self._fallbacks = counter(
            "signalbox_fallbacks_total",
            "Requests answered by another candidate than the first; hedges are counted apart.",
            ("model",),
        )
        self._hedges = counter(
            "signalbox_hedges_total",
            "Second calls beside a slow first one: won where they answered, else lost.",
            ("outcome",),
        )
        self._stale = counter(
            "signalbox_stale_retries_total", "Calls repeated because a reused connection was dead.", ("provider",)
        )
        self._budget_empty = counter(
            "signalbox_retry_budget_exhausted_total",
            "Requests that got the last error because the retry budget of their route was empty.",
            ("model",),
        )
        self._midstream = counter(
            "signalbox_midstream_errors_total", "Streams that broke after their first byte.", ("cause",)
        )
        self._continuations = counter(
            "signalbox_continuations_total",
            "Broken streams that were to be continued by another call, by what became of it.",
            ("outcome",),
        )
        self._client_gone = counter(
            "signalbox_client_gone_total", "Requests whose client left before the end, by phase.", ("phase",)
        )
        self.in_flight = gauge("signalbox_in_flight", "Requests being handled now.")
        self.tasks = gauge("signalbox_tasks", "Tasks of the event loop: of requests, and a few that are always there.")
        self.reloads = counter("signalbox_reloads_total", "Configuration reloads by result.", ("result",))
        self.config_valid = gauge(
            "signalbox_config_valid",
            "1 while the configuration on disk is the one in use, 0 after a refused reload.",
            mode="livemin",
        )
        self.key_store_up = gauge(
            "signalbox_key_store_up",
            "1 while the store of keys made at run time can be read, 0 while the known ones are all there is.",
            mode="livemin",
        )
        self.config_loaded = gauge(
            "signalbox_config_loaded_timestamp_seconds",
            "When the configuration in use was loaded.",
            mode="livemin",
        )
        self.log_lines_dropped = counter(
            "signalbox_log_lines_dropped_total", "Log lines lost because the log could not be written fast enough."
        )
        self.info = gauge("signalbox_build_info", "Always 1; the version is a label.", ("version",), mode="livemax")
        self.routing = RoutingMetrics(counter)
        self.breakers = BreakerMetrics(counter, gauge)
        self.admission = AdmissionMetrics(counter, histogram, gauge)
        self.money = MoneyMetrics(counter, gauge)
        self.cache = CacheMetrics(counter, gauge)
        self.shared_cache = SharedCacheMetrics(counter, gauge)
        self.semantic_cache = SemanticMetrics(counter, gauge)
        self._request_series: dict[tuple[str, str, str, bool], _RequestSeries] = {}
        self._attempt_series: dict[tuple[str, bool], _AttemptSeries] = {}

    def record(self, outcome: Outcome) -> None:
        """Write every series that one finished request moves."""
        request = outcome.request
        model = outcome.decision.asked
        key = (request.operation, model, outcome.ending, request.stream)
        series = self._request_series.get(key)
        if series is None:
            series = self._request_series[key] = _RequestSeries(self, *key)
        series.count.amount += 1
        series.duration.observe(outcome.duration_s)
        series.overhead.observe(outcome.overhead_s)
        for attempt in outcome.attempts:
            self._record_attempt(attempt, request.stream)
        decision = outcome.decision
        if decision.route is not None or decision.rejections:
            self.routing.record(outcome)
        if outcome.ending != "ok" or len(outcome.attempts) > 1:
            self._record_trouble(outcome, model)

    def flush(self) -> None:
        """Hand all tallies over to prometheus_client; before each scrape, and every second for other workers'
        scrapes.
        """
        for request_series in self._request_series.values():
            request_series.flush()
        for attempt_series in self._attempt_series.values():
            attempt_series.flush()
        self.routing.flush()
        self.breakers.flush()
        self.cache.flush()
        self.shared_cache.flush()
        self.semantic_cache.flush()

    def record_refusal(self, endpoint: str, reason: str) -> None:
        """Count a request that ended before routing."""
        self._refusals.labels(endpoint, reason).inc()

    def _record_attempt(self, attempt: Attempt, stream: bool) -> None:
        deployment = attempt.deployment
        key = (deployment.label, stream)
        series = self._attempt_series.get(key)
        if series is None:
            series = self._attempt_series[key] = _AttemptSeries(self, deployment.provider, *key)
        if attempt.is_complete:
            series.ok.amount += 1
        elif attempt.kind is None:  # given up by us, because another was faster, or whoever asked is gone
            why = "outrun" if attempt.is_outrun else "client_gone"
            self._attempts.labels(deployment.provider, deployment.label, why).inc()
        else:
            self._attempts.labels(deployment.provider, deployment.label, attempt.cause).inc()
            self._attempt_errors.labels(deployment.provider, attempt.kind).inc()
        if attempt.ttft_s is not None:
            series.ttft.observe(attempt.ttft_s)
        if attempt.usage is not None:
            series.count_usage(attempt.usage, attempt.cost_nusd)
            reported_nusd = attempt.usage.reported_nusd
            if reported_nusd is not None and attempt.cost_nusd is not None:
                self.money.compared(deployment.provider, attempt.cost_nusd, reported_nusd)

    def _record_trouble(self, outcome: Outcome, model: str) -> None:
        answered_by = outcome.answered_by
        if answered_by is not None:
            if answered_by.deployment is not outcome.decision.candidates[0] and not answered_by.is_hedge:
                self._fallbacks.labels(model).inc()
            if outcome.ending == "interrupted":
                self._midstream.labels(answered_by.cause).inc()
        if outcome.continuation is not None:
            self._continuations.labels(outcome.continuation).inc()
        self._record_hedges(outcome)
        if outcome.is_budget_empty:
            self._budget_empty.labels(model).inc()
        if outcome.ending == "client_gone":
            is_streaming = outcome.request.stream and answered_by is not None
            self._client_gone.labels("stream" if is_streaming else "wait").inc()
        if outcome.stale_retries:
            for attempt, following in pairwise(outcome.attempts):
                if attempt.kind is ErrorKind.STALE and following.deployment is attempt.deployment:
                    self._stale.labels(attempt.deployment.provider).inc()

    def _record_hedges(self, outcome: Outcome) -> None:
        for attempt in outcome.attempts:
            if attempt.is_hedge:
                # A stream that won may break after that, and another call go on with it.
                is_winner = attempt is outcome.answered_by or (outcome.request.stream and attempt.ttft_s is not None)
                self._hedges.labels("won" if is_winner else "lost").inc()


class _RequestSeries:
    """Tallies for one combination of request labels."""

    __slots__ = ("count", "duration", "overhead")

    def __init__(self, metrics: Metrics, operation: str, model: str, ending: str, stream: bool) -> None:
        is_stream = "true" if stream else "false"
        self.count = CounterTally(metrics._requests.labels(operation, model, ending, is_stream))
        self.duration = HistogramTally(metrics._duration.labels(operation, model, is_stream))
        self.overhead = HistogramTally(metrics._overhead.labels(operation, is_stream))

    def flush(self) -> None:
        self.count.flush()
        self.duration.flush()
        self.overhead.flush()


class _AttemptSeries:
    """Tallies for one deployment."""

    __slots__ = ("_cost_nusd", "_estimated", "_tokens", "_unpriced", "ok", "ttft")

    def __init__(self, metrics: Metrics, provider: str, label: str, stream: bool) -> None:
        self.ok = CounterTally(metrics._attempts.labels(provider, label, "ok"))
        self.ttft = HistogramTally(metrics._ttft.labels(provider, label, "true" if stream else "false"))
        self._tokens = [CounterTally(metrics._tokens.labels(provider, label, name)) for name in _TOKEN_CLASSES]
        self._cost_nusd = CounterTally(metrics._cost.labels(provider, label))
        self._unpriced = CounterTally(metrics._unpriced.labels(provider, label))
        self._estimated = CounterTally(metrics._estimated.labels(provider, label))

    def count_usage(self, usage: Usage, cost_nusd: int | None) -> None:
        tokens = self._tokens
        tokens[_INPUT].amount += usage.input
        tokens[_OUTPUT].amount += usage.output
        if usage.input + usage.output != usage.prompt_tokens + usage.completion_tokens:
            for index, name in enumerate(_TOKEN_CLASSES):
                if index not in (_INPUT, _OUTPUT):
                    tokens[index].amount += getattr(usage, name)
        if cost_nusd is None:
            self._unpriced.amount += 1
        else:
            self._cost_nusd.amount += cost_nusd
        if usage.is_estimated:
            self._estimated.amount += 1

    def flush(self) -> None:
        self._cost_nusd.amount /= 1_000_000_000  # the series is in dollars
        for tally in (self.ok, *self._tokens, self._cost_nusd, self._unpriced, self._estimated):
            tally.flush()
        self.ttft.flush()


def _makers(
    registry: CollectorRegistry, ceiling: Ceiling
) -> tuple[Callable[..., Counter], Callable[..., Histogram], Callable[..., Gauge]]:
    def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        made = BoundedCounter(name, text, labels, registry=registry)
        made.ceiling = ceiling
        return made

    def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        made = BoundedHistogram(name, text, labels, buckets=buckets, registry=registry)
        made.ceiling, made.size = ceiling, len(buckets) + 3
        return made

    def gauge(name: str, text: str, labels: tuple[str, ...] = (), *, mode: _GaugeMode = "livesum") -> Gauge:
        # With several workers, `mode` says how their values become one.
        made = BoundedGauge(name, text, labels, multiprocess_mode=mode, registry=registry)
        made.ceiling = ceiling
        return made

    return counter, histogram, gauge
