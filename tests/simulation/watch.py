"""Looks at every call at the moment it reaches a provider: what may be wrong only then is seen here."""

from gateway.availability import Guard
from policies.breaker import BreakerState
from tests.simulation.upstreams import Ledger, Line


class Watch:
    """`problems` are in words. A call is a probe if it began after its breaker's last trip, and the breaker is not
    closed again.
    """

    def __init__(self, guard: Guard, ledger: Ledger) -> None:
        self.problems: list[str] = []
        self._guard, self._ledger = guard, ledger
        self._first_probe: dict[str, int] = {}  # the number of the first call after the last trip
        guard.on_trip.append(self._tripped)

    def opened(self, line: Line) -> None:
        """A call arrives at its provider."""
        if self._guard.is_calm:
            return
        name = line.provider
        if any(own.paused_until_s > line.opened_s + 1e-6 for own in self._ledger.lines if own.provider == name):
            self.problems.append(f"call {line.number:03x} came to {name} in a pause that it had asked for")
        state = self._guard.states().get(f"{name}/m", BreakerState.CLOSED)
        if state is BreakerState.OPEN:
            self.problems.append(f"call {line.number:03x} came to {name} while its breaker was open")
        elif state is BreakerState.HALF_OPEN:
            probes = [own for own in self._ledger.lines[self._first_probe[name] :] if _is_out(own, name)]
            if len(probes) > 1:
                self.problems.append(f"{len(probes)} probes are out at {name} at the same time")

    def _tripped(self, id: str, for_s: float) -> None:
        name = id.partition("/")[0]
        self._ledger.tell(name, f"its breaker opens for {for_s:.2f} s")
        self._first_probe[name] = len(self._ledger.lines)


def _is_out(line: Line, name: str) -> bool:
    return line.provider == name and line.closed_s is None and not line.pieces_sent
