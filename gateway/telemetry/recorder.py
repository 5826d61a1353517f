"""Turns finished facts into metrics and log lines: the one place where a request is reported."""

from gateway.availability import Guard
from gateway.telemetry.logs import Logger, request_fields
from gateway.telemetry.metrics import Metrics
from gateway.wire.refusals import RefusedError
from policies.outcome import Outcome

_NORMAL = frozenset({"ok", "caller_error", "client_gone"})


class Recorder:
    """Writes what happened. Synchronous and without failure modes of its own."""

    def __init__(self, metrics: Metrics, logger: Logger) -> None:
        self.metrics = metrics
        self.logger = logger

    def record(self, outcome: Outcome) -> None:
        """Report a request that reached routing."""
        self.metrics.record(outcome)
        is_normal = outcome.ending in _NORMAL
        fields = request_fields(outcome, quotes=self.logger.is_debug)
        self.logger.log("info" if is_normal else "warning", "request", fields)

    def follow(self, guard: Guard) -> None:
        """Report the breakers and pauses of this guard from now on."""
        self.metrics.breakers.follow(guard)
        guard.on_trip.append(self._tripped)

    def _tripped(self, deployment: str, open_s: float) -> None:
        self.logger.warning("breaker opened", deployment=deployment, open_s=round(open_s, 1))

    def refused(self, endpoint: str, request_id: str, error: RefusedError) -> None:
        """Report a request that ended before routing."""
        self.metrics.record_refusal(endpoint, error.reason)
        self.logger.info(
            "refused", request_id=request_id, endpoint=endpoint, reason=error.reason, status=error.refusal.status
        )

    def crashed(self, endpoint: str, request_id: str, error: Exception) -> None:
        """Report a fault of ours. The trace goes to the log only."""
        self.metrics.record_refusal(endpoint, "internal_error")
        self.logger.error("internal error", request_id=request_id, endpoint=endpoint, error=error)
