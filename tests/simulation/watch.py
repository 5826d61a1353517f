"""Looks at every call at the moment it reaches a provider: what may be wrong only then is seen here."""

from collections import defaultdict
from collections.abc import Callable
from math import inf

from gateway.availability import Guard
from policies.breaker import BreakerState, Repute
from routing.decision import Deployment
from tests.simulation.scenario import Course
from tests.simulation.upstreams import Ledger, Line

# What was admitted in the moment of a failure may begin after it.
_TIE_S = 1e-6
# Calls that have to go well before a breaker closes.
_PROOFS = 2


class Watch:
    """`problems` are in words. A call is a probe if it began after its breaker's last trip, and the breaker is not
    closed again. What is admitted may ask for `asking_s` whether a budget in Redis pays before it begins. `reputes` are
    those of the deployments for which calls were asked at that moment, by id and moment.
    """

    def __init__(self, guard: Guard, ledger: Ledger, now: Callable[[], float], asking_s: float = 0.0) -> None:
        self.problems: list[str] = []
        self._tie_s = _TIE_S + asking_s
        self._guard, self._ledger, self._now = guard, ledger, now
        self._tripped_s: dict[str, float] = {}
        self.reputes: defaultdict[tuple[str, float], set[Repute]] = defaultdict(set)
        self._admit = guard.admit
        guard.on_trip.append(self._tripped)
        guard.admit = self._noted  # type: ignore[method-assign]

    def opened(self, line: Line) -> None:
        """A call arrives at its provider."""
        name = line.provider
        if self._guard.is_calm and name not in self._tripped_s:
            return
        calls = [own for own in self._ledger.lines if own.provider == name]
        if any(own.paused_s[0] + self._tie_s < line.opened_s < own.paused_s[1] - _TIE_S for own in calls):
            self.problems.append(f"call {line.number:03x} came to {name} in a pause that it had asked for")
        state = self._guard.states().get(f"{name}/m", BreakerState.CLOSED)
        tripped_s = self._tripped_s.get(name, -inf)
        if line.opened_s <= tripped_s + self._tie_s:
            return
        if state is BreakerState.OPEN:
            self.problems.append(f"call {line.number:03x} came to {name} while its breaker was open")
        elif state is BreakerState.CLOSED and name in self._tripped_s:
            del self._tripped_s[name]
            proofs = sum(own.opened_s > tripped_s + self._tie_s and _is_proof(own) for own in calls)
            if proofs < _PROOFS:
                self.problems.append(f"the breaker of {name} closed after {proofs} calls that went well")
        elif state is BreakerState.HALF_OPEN:
            probes = [own for own in calls if own.opened_s > tripped_s + self._tie_s and _is_out(own)]
            if len(probes) > 1:
                self.problems.append(f"{len(probes)} probes are out at {name} at the same time")

    def _noted(self, deployment: Deployment, size: Callable[[], int] | None = None) -> int:
        self.reputes[deployment.id, self._now()].add(self._guard.repute(deployment))
        return self._admit(deployment, size)

    def _tripped(self, id: str, for_s: float) -> None:
        name = id.partition("/")[0]
        self._ledger.tell(name, f"its breaker opens for {for_s:.2f} s")
        self._tripped_s[name] = self._now()


def _is_proof(line: Line) -> bool:
    """Whether it came to a good end. A provider that refuses a wrong request is well."""
    return line.is_whole or (line.closed_s is not None and line.script.course is Course.STATUS)


def _is_out(line: Line) -> bool:
    return line.closed_s is None and not line.pieces_sent
