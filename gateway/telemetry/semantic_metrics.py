"""Series about answers by meaning: how often they were wrong, and from what that is known."""

from collections import Counter as Tally
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from gateway.caching.semantic.labels import CheckEnd, Labels, LabelSource, Verdict
    from gateway.caching.semantic.spaces import Spaces
    from gateway.caching.semantic.vectors import EmbeddingEnd

_NUSD_PER_USD = 1_000_000_000


class SemanticMetrics:
    """Counts by the tier itself; rates and sizes are read whenever somebody looks. Routes are configured names."""

    def __init__(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._labels = counter(
            "signalbox_cache_labels_total",
            "Comparisons of a fresh answer with one by meaning, or words of callers about one, by who told: miss, "
            "check, feedback; and what: right, wrong, unsure (which teaches nothing).",
            ("source", "verdict"),
        )
        self._checks = counter(
            "signalbox_cache_checks_total",
            "Hits by meaning that were to be checked by a call: done, failed, refused (no room in a budget or limit), "
            "skipped (too many under way).",
            ("result",),
        )
        self._checks_cost = counter("signalbox_cache_checks_cost_usd_total", "What calls to check hits cost.")
        self._embeddings = counter(
            "signalbox_cache_embeddings_total", "Texts that were to be vectors: ok, timeout, failed.", ("result",)
        )
        self._checked = gauge(
            "signalbox_cache_checked_hits", "Hits by meaning that were checked with a clear result.", ("route",)
        )
        self._wrong = gauge("signalbox_cache_wrong_hits", "Those of them that were wrong.", ("route",))
        self._ratio = gauge(
            "signalbox_cache_wrong_hits_ratio",
            "Measured share of wrong answers among hits by meaning; of several workers the highest.",
            ("route",),
            mode="livemax",
        )
        self._upper = gauge(
            "signalbox_cache_wrong_hits_upper_ratio",
            "Upper end of its one-sided 90 % interval; of several workers the highest.",
            ("route",),
            mode="livemax",
        )
        self._entries = gauge("signalbox_cache_semantic_entries", "Answers that are compared with by meaning.")
        self._spaces: Spaces | None = None
        self._told: Labels | None = None
        self._counts: Tally[tuple[str, ...]] = Tally()
        self._cost_nusd = 0

    def follow(self, spaces: "Spaces", labels: "Labels") -> None:
        """Write what these say from now on."""
        self._spaces, self._told = spaces, labels

    def label(self, source: "LabelSource", verdict: "Verdict") -> None:
        """Something was told."""
        self._counts["label", source, verdict] += 1

    def check(self, end: "CheckEnd", cost_nusd: int | None) -> None:
        """A check is over."""
        self._counts["check", end] += 1
        self._cost_nusd += cost_nusd or 0

    def embedding(self, end: "EmbeddingEnd") -> None:
        """A text is a vector, or not."""
        self._counts["embedding", end] += 1

    def flush(self) -> None:
        """Write every series as of now."""
        if self._spaces is None or self._told is None:
            return
        by_kind = {"label": self._labels, "check": self._checks, "embedding": self._embeddings}
        for (kind, *labels), count in self._counts.items():
            by_kind[kind].labels(*labels).inc(count)
        self._counts.clear()
        cost_nusd, self._cost_nusd = self._cost_nusd, 0
        self._checks_cost.inc(cost_nusd / _NUSD_PER_USD)
        self._entries.set(self._spaces.entries)
        for route, measured in self._told.measured().items():
            self._checked.labels(route).set(measured.checked)
            self._wrong.labels(route).set(measured.wrong)
            self._ratio.labels(route).set(measured.ratio)
            self._upper.labels(route).set(measured.upper)
