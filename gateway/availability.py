"""Which deployments may be called now: the breakers and the pauses of all of them, behind one guard.

The router asks it which candidates to leave out; the engine asks it for a ticket before each upstream call, and gives
the ticket back with a verdict. Nothing here waits or needs a timer: every answer follows from the clock.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from policies.breaker import Breaker, BreakerSettings, BreakerState, BreakerVerdict, Repute
from policies.throttle import Allowance, Throttle, allowance
from routing.ask import Ask
from routing.decision import Deployment, Reason

_WORSE = {state: place for place, state in enumerate(BreakerState)}
_RETRY_AFTER = frozenset({"retry-after", "retry-after-ms"})
# Callers can make up direct names for ever.
_KEPT = 4_096
_MOST_HINTED = 1_000
_OK = BreakerVerdict.OK  # to look into an enumeration takes ten times as long as a name of the module
# More than the changes of state of any breaker: a call under way may outlive the breaker that let it through.
_TICKETS_APART = 1 << 32


@dataclass(slots=True, frozen=True)
class Trouble:
    """What stands against a deployment: its breaker's state, and the seconds for which breaker and provider forbid
    every call; 0 where a probe, or a small request, may pass.
    """

    label: str
    state: BreakerState
    open_s: float
    throttled_s: float


def size_of(ask: Ask) -> int:
    """The tokens that a provider counts for a request: its input, and the output that it asks for."""
    return ask.input_tokens() + (ask.max_output_tokens() or 0)


class Guard:
    """Admits calls and takes their verdicts, by deployment id; it outlives a reload. It implements `Availability`.

    `clock` gives monotonic seconds, `chance` numbers from 0 to 1. `is_calm` is true while no breaker is away from
    closed, no pause is known and nobody watches, so that a healthy gateway asks nothing. The functions in `on_trip` are
    told the id of a deployment whose breaker opened, and for how many seconds; `trips` counts that by label.
    """

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.is_calm = True
        self.on_trip: list[Callable[[str, float], None]] = []
        self.trips: dict[str, int] = {}
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._chance = chance
        self._breakers: dict[str, Breaker] = {}
        self._away: dict[str, Breaker] = {}  # those not closed
        self._throttles: dict[str, Throttle] = {}
        self._hinted: dict[str, float] = {}  # until when, of those that were not called yet
        self._first_ticket = 0
        self._watchers = 0
        self._look_at = inf  # the first moment at which something here may be over
        self._prepared: tuple[BreakerSettings, Collection[str]] | None = None

    def prepare(self, settings: BreakerSettings, changed: Collection[str]) -> None:
        """Have new settings, and providers that start over, ready for `adopt`: a configuration is built in a thread of
        its own, and nothing here may change under a request.
        """
        self._prepared = settings, changed
        if not self._breakers:
            self.adopt()

    def adopt(self) -> None:
        """Take over what was prepared; only where requests are handled."""
        if self._prepared is not None:
            settings, changed = self._prepared
            self._prepared = None
            self.forget(changed)
            self.use(settings)

    def use(self, settings: BreakerSettings) -> None:
        """Take over the settings of a new configuration; what is known of deployments stays."""
        self._settings = settings
        for breaker in self._breakers.values():
            breaker.use(settings)

    def pardon(self) -> None:
        """Whoever runs the gateway has acted: breakers that opened for credentials or money may be probed at once."""
        now = self._clock()
        for breaker in self._away.values():
            breaker.pardon(now)
        self._update()

    def forget(self, providers: Collection[str]) -> None:
        """Start over with these providers, because their address or credentials changed, or they are gone."""
        for known in (self._breakers, self._away, self._throttles, self._hinted):
            for key in [key for key in known if key.partition("/")[0] in providers]:
                del known[key]
        self._update()

    # -- for the router

    def reason_against(self, deployment: Deployment, ask: Ask) -> Reason | None:
        """Why it cannot be called now; None where it can, also where its breaker waits for a probe."""
        now = self._clock()
        if now >= self._look_at:
            self._sweep(now)
        breaker = self._away.get(deployment.id)
        if breaker is not None and breaker.wait_s(now):
            return Reason.BREAKER_OPEN
        throttle = self._throttles.get(deployment.id)
        if throttle is not None and throttle.wait_s(now, size_of(ask)):
            return Reason.BREAKER_OPEN if throttle.is_overload else Reason.THROTTLED
        return None

    # -- for the engine

    def admit(self, deployment: Deployment, size: Callable[[], int] | None = None) -> int:
        """A ticket for one call of the deployment, or 0 where it cannot be called now. While its breaker is half open
        the ticket is the permit to probe. `size` gives the tokens of the request, where they are known.

        Every ticket comes back by exactly one `record` or `release`.
        """
        breaker = self._breakers.get(deployment.id)
        if breaker is None:
            breaker = self._add(deployment)
        if self.is_calm:
            breaker.pending += 1
            return breaker.ticket
        now = self._clock()
        throttle = self._throttles.get(deployment.id)
        if throttle is not None and throttle.wait_s(now, 0 if size is None else size()):
            return 0
        return breaker.admit(now)

    def record(
        self,
        deployment: Deployment,
        verdict: BreakerVerdict,
        *,
        ticket: int,
        duration_s: float,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """What the call of `ticket` says about the deployment; call it the moment that is known.

        `duration_s` is the time to the first content (of a whole answer: to its end). `retry_after_s` is the provider's
        hint. `headers` (lower-case names) are read for allowances that are used up.
        """
        breaker = self._breakers.get(deployment.id)
        if breaker is None:
            return
        now = self._clock()
        if (
            verdict is _OK
            and breaker.is_closed
            and ticket == breaker.ticket
            and now < breaker.bucket_until
            and self._settings.slow_s is None
        ):
            # What `Breaker.record` does with a plain success, without the calls: nearly all of them are.
            breaker.pending -= 1
            breaker.bucket[0] += 1
            breaker.row = 0
        else:
            self._judge(deployment, breaker, verdict, now, ticket, duration_s, retry_after_s, headers)
        if headers is not None:
            left = allowance(headers)
            if left is not None or deployment.id in self._throttles:
                self._throttle(deployment).note(now, left or Allowance())
                self._update()

    def alive(self, deployment: Deployment, ticket: int, *, ttft_s: float) -> int:
        """The call of `ticket` has its first content. A probe need not keep others waiting to the end of its stream,
        but only that end says whether the deployment is well: streams may break. Late first content says enough.

        Returns the ticket that the call goes on with; 0 where it may say no more.
        """
        breaker = self._breakers.get(deployment.id)
        if breaker is None or breaker.is_closed or ticket != breaker.ticket:
            if breaker is not None:
                breaker.has_content(ticket, self._clock())
            return ticket
        if self._settings.slow_s is not None and ttft_s > self._settings.slow_s:
            self.record(deployment, BreakerVerdict.OK, ticket=ticket, duration_s=ttft_s)
            return 0
        going_on = breaker.alive(ticket)
        self._update()
        return going_on

    def release(self, deployment: Deployment, ticket: int) -> None:
        """Give a ticket back without a verdict: nothing was learned of the deployment."""
        self.record(deployment, BreakerVerdict.NEUTRAL, ticket=ticket, duration_s=0.0)

    def earliest_s(self, deployments: Iterable[Deployment], size: Callable[[], int] | None = None) -> float | None:
        """Seconds until the first of these may be called by a request of this `size`, as far as is known; None without
        any.
        """
        now = self._clock()
        waits = [self._wait_s(deployment.id, now, size) for deployment in deployments]
        return min(waits, default=None)

    def pause_s(self, deployment: Deployment, size: Callable[[], int] | None = None) -> float | None:
        """Seconds until it may be called by a request of this `size`, where nothing but a pause stands against that."""
        throttle = self._throttles.get(deployment.id)
        if throttle is None or deployment.id in self._away:
            return None
        return throttle.wait_s(self._clock(), 0 if size is None else size())

    def repute(self, deployment: Deployment) -> Repute:
        """How its calls ended lately."""
        breaker = self._breakers.get(deployment.id)
        if breaker is not None:
            return breaker.repute(self._clock())
        return Repute.BAD if self._clock() < self._hinted.get(deployment.id, -inf) else Repute.UNKNOWN

    def may_turn_out_good(self, deployment: Deployment) -> bool:
        """Whether it is worth a wait for how the calls of the deployment end that are under way."""
        breaker = self._breakers.get(deployment.id)
        return breaker is not None and breaker.may_turn_out_good(self._clock())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While somebody waits for how calls end, also first contents are told."""
        self._watchers += 1
        self.is_calm = False
        try:
            yield
        finally:
            self._watchers -= 1
            self._update()

    def needs_person(self, deployment: Deployment) -> bool:
        """Whether no call is of use before a person acts: its credentials were refused, or nobody pays."""
        breaker = self._away.get(deployment.id)
        return breaker is not None and breaker.needs_person(self._clock())

    def hint(self, id: str, for_s: float) -> None:
        """Another process saw the deployment's breaker open for so long: here, one failure is proof enough."""
        now = self._clock()
        breaker = self._breakers.get(id)
        if breaker is not None:
            breaker.hint(now, for_s)
            return
        until = max(now + for_s, self._hinted.pop(id, -inf))
        if len(self._hinted) >= _MOST_HINTED:
            del self._hinted[next(iter(self._hinted))]
        self._hinted[id] = until

    # -- for reports

    def troubles(self) -> list[Trouble]:
        """Every deployment that something stands against, in the order of their ids."""
        now = self._clock()
        self._sweep(now)
        found = []
        for key in sorted({*self._away, *self._throttles}):
            breaker, throttle = self._breakers[key], self._throttles.get(key)
            throttled_s = throttle.wait_s(now) if throttle is not None else 0.0
            found.append(Trouble(breaker.name, breaker.state(now), breaker.wait_s(now), throttled_s))
        return found

    def states(self) -> dict[str, BreakerState]:
        """The state of every breaker by label; of those that share one, the worst."""
        now = self._clock()
        found: dict[str, BreakerState] = {}
        for breaker in self._breakers.values():
            state = breaker.state(now)
            if _WORSE[state] >= _WORSE[found.get(breaker.name, BreakerState.CLOSED)]:
                found[breaker.name] = state
        return found

    # -- inner workings

    def _judge(
        self,
        deployment: Deployment,
        breaker: Breaker,
        verdict: BreakerVerdict,
        now: float,
        ticket: int,
        duration_s: float,
        retry_after_s: float | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        trips = breaker.trips
        if verdict is BreakerVerdict.FAIL and headers is not None and not _RETRY_AFTER.intersection(headers):
            retry_after_s = None  # worked out from when an allowance is full again, which is no wish to be left alone
        breaker.record(ticket, verdict, now, duration_s=duration_s, hold_s=retry_after_s)
        if verdict is BreakerVerdict.THROTTLED:
            self._throttle(deployment).throttled(now, retry_after_s)
        elif verdict is BreakerVerdict.FAIL and retry_after_s:
            self._throttle(deployment).overloaded(now, retry_after_s)
        if breaker.is_closed:
            self._away.pop(deployment.id, None)
        else:
            self._away[deployment.id] = breaker
        self._update()
        if breaker.trips != trips:
            self.trips[breaker.name] = self.trips.get(breaker.name, 0) + 1
            for tell in self.on_trip:
                tell(deployment.id, breaker.wait_s(now))

    def _wait_s(self, id: str, now: float, size: Callable[[], int] | None) -> float:
        breaker, throttle = self._away.get(id), self._throttles.get(id)
        breaker_s = breaker.wait_s(now) if breaker is not None else 0.0
        if throttle is None:
            return breaker_s
        return max(breaker_s, throttle.wait_s(now, 0 if size is None else size()))

    def _throttle(self, deployment: Deployment) -> Throttle:
        throttle = self._throttles.get(deployment.id)
        if throttle is None:
            throttle = self._throttles[deployment.id] = Throttle()
        return throttle

    def _add(self, deployment: Deployment) -> Breaker:
        breakers = self._breakers
        if len(breakers) >= _KEPT:
            for key, known in breakers.items():
                if known.is_closed and not known.pending and key not in self._throttles:
                    del breakers[key]
                    break
        self._first_ticket += _TICKETS_APART
        breaker = breakers[deployment.id] = Breaker(deployment.label, self._settings, self._chance, self._first_ticket)
        now, hinted_until = self._clock(), self._hinted.pop(deployment.id, -inf)
        if now < hinted_until:
            breaker.hint(now, hinted_until - now)
        return breaker

    def _update(self) -> None:
        self.is_calm = not (self._away or self._throttles or self._watchers)
        ends = [throttle.ends_at() for throttle in self._throttles.values()]
        ends += [breaker.forgotten_at() for breaker in self._away.values()]
        self._look_at = min(ends, default=inf)

    def _sweep(self, now: float) -> None:
        """Forget what is over."""
        for key in [key for key, throttle in self._throttles.items() if throttle.ends_at() <= now]:
            del self._throttles[key]
        for key in [key for key, breaker in self._away.items() if breaker.forgotten_at() <= now]:
            self._away.pop(key).forget()
        self._update()
