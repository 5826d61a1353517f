"""The section of policies: behaviour that holds for every request."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.schema_base import PositiveInt, PositiveSeconds, Ratio, Section
from config.schema_semantic import SemanticCacheConfig


class TimeoutsConfig(Section):
    """Time limits of one request, in seconds. A provider or a route may override each."""

    connect_s: PositiveSeconds = Field(
        default=5, description="Seconds for TCP and TLS set-up of one upstream connection."
    )
    ttft_s: PositiveSeconds = Field(
        default=30,
        description="Seconds until the first content of an attempt arrives. Unless set, 120 for thinking.",
    )
    idle_s: PositiveSeconds = Field(
        default=30,
        description="Seconds of silence between two pieces of a stream. Unless set, 300 for thinking.",
    )
    total_s: PositiveSeconds = Field(default=300, description="Seconds for the whole request, all attempts included.")


class RetryConfig(Section):
    """How often and how fast a failed call is tried again, at the same or at another deployment."""

    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Upstream calls per request at most, the first one included."
    )
    backoff_base_s: PositiveSeconds = Field(
        default=0.2, description="Seconds before the first repeat at one deployment."
    )
    backoff_max_s: PositiveSeconds = Field(default=8, description="Longest pause between two attempts, in seconds.")
    budget_ratio: Ratio = Field(default=0.2, description="Extra attempts allowed, as a share of successful requests.")


class BreakerConfig(Section):
    """When a failing deployment is left alone, and how it is tried again."""

    failures: PositiveInt = Field(default=5, description="Failures in a row that open the breaker.")
    window_s: PositiveSeconds = Field(default=30, description="Seconds over which the error rate is measured.")
    error_rate: Ratio = Field(default=0.5, description="Share of failed calls in the window that opens the breaker.")
    open_s: PositiveSeconds = Field(default=15, description="Seconds the breaker stays open before a probe is allowed.")
    half_open_probes: PositiveInt = Field(
        default=1, description="Calls let through at once while the breaker is half open."
    )
    slow_s: PositiveSeconds | None = Field(
        default=None,
        description="Seconds to the first content (of a whole answer: to its end) above which a call counts as failed "
        "in the error rate; left out, time does not count.",
    )


class HedgeConfig(Section):
    """A second call to another deployment when the first one is unusually slow."""

    enabled: bool = Field(default=False, description="Whether slow requests get a second, parallel call.")
    after: Annotated[str, StringConstraints(pattern=r"^p[1-9][0-9]?$")] = Field(
        default="p95",
        description="Percentile of the usual time to first content after which the second call starts, as `p95`.",
    )
    max_extra_ratio: Ratio = Field(default=0.05, description="Second calls allowed, as a share of all requests.")


class OverloadConfig(Section):
    """What happens when more requests arrive than can be served."""

    max_in_flight: PositiveInt = Field(
        default=2000, description="Requests served at once per worker; streams count to their end."
    )
    queue_max: int = Field(
        default=500, ge=0, description="Requests that may wait for a place; more are refused at once."
    )
    queue_wait_s: PositiveSeconds = Field(default=1, description="Seconds a request may wait before it is refused.")
    max_connections: PositiveInt = Field(
        default=4000, description="Client connections per worker; beyond, idle ones are closed and new ones refused."
    )
    memory_limit_mb: PositiveInt | None = Field(
        default=None, description="Megabytes of memory for all workers together; the container's limit where left out."
    )


class ExactCacheConfig(Section):
    """Answers to requests that were asked before in the same words."""

    enabled: bool = Field(default=False, description="Whether repeated requests are answered from the cache.")
    ttl_s: Annotated[float, Field(gt=0)] = Field(default=3600, description="Seconds an answer stays valid.")
    normalise: bool = Field(
        default=False,
        description="Whether case, politeness and punctuation of the last user message may differ.",
    )
    max_mb: PositiveInt = Field(default=64, description="Megabytes of answers that a worker keeps.")
    max_entry_kb: PositiveInt = Field(default=1024, description="Kilobytes of one answer; larger ones are not kept.")


class RedisCacheConfig(Section):
    """Answers that all gateways of a namespace keep together in Redis (SIGNALBOX_REDIS_URL)."""

    enabled: bool = Field(default=False, description="Whether answers are looked for in Redis, and written there.")
    wait_s: Annotated[float, Field(gt=0, le=0.05)] = Field(
        default=0.03, description="Seconds that a request waits for Redis at most."
    )
    max_entry_kb: PositiveInt = Field(default=256, description="Kilobytes of one answer; larger ones are not shared.")


class CacheConfig(Section):
    """The answer cache, per tenant."""

    exact: ExactCacheConfig = Field(default_factory=ExactCacheConfig, description="The cache of identical requests.")
    semantic: SemanticCacheConfig = Field(
        default_factory=SemanticCacheConfig, description="The cache of requests with the same meaning."
    )
    redis: RedisCacheConfig = Field(
        default_factory=RedisCacheConfig, description="Answers that several gateways share."
    )
    serve_stale_on_error: bool = Field(
        default=False, description="Whether an expired answer is served when every deployment fails."
    )
    stale_s: Annotated[float, Field(gt=0)] = Field(
        default=86400, description="Seconds for which an expired answer may still be served then."
    )
    share: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Groups of keys, by name, that get each other's answers; every other key gets its own alone.",
    )


StreamCut = Literal["error", "continue"]


class PoliciesConfig(Section):
    """Behaviour that holds for every request."""

    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig, description="Time limits of one request.")
    retry: RetryConfig = Field(default_factory=RetryConfig, description="Repeats after a failure.")
    breaker: BreakerConfig = Field(
        default_factory=BreakerConfig, description="When a failing deployment is left alone."
    )
    hedge: HedgeConfig = Field(default_factory=HedgeConfig, description="A second call when the first one is slow.")
    on_stream_cut: StreamCut = Field(
        default="error",
        description="What happens to a stream that breaks after its first content: an `error` event ends it, or "
        "another model is asked to `continue` it, where that can be done without a seam.",
    )
    overload: OverloadConfig = Field(default_factory=OverloadConfig, description="Behaviour under too many requests.")
    cache: CacheConfig = Field(default_factory=CacheConfig, description="Answers to repeated requests.")
