"""When a failing deployment is left alone, and how it is tried again.

pybreaker keeps the state; what leads from one state to the next is decided here, because its own calls take every
return of a coroutine for a success, let all callers through at half-open, and know no error rate.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import inf, sqrt


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """A package that cannot be imported here, although it is installed."""
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # how Python itself says that there is none
    try:
        yield
    finally:
        del sys.modules[name]
        if known is not None:
            sys.modules[name] = known


# pybreaker imports redis wherever that is installed, for a storage that is not used here: 6 MB and 0.05 s at the start.
with _hidden("redis"):
    import pybreaker

# The window is counted in this many buckets; the oldest falls out as a whole.
_BUCKETS = 10
# Finished calls from which on their share of failures says something.
_TELLING_CALLS = 20
# Probes that have to succeed one after the other.
_SUCCESSES_TO_CLOSE = 2
# Each failed probe doubles the open time up to this.
_LONGEST_OPEN_S = 120.0
_MOST_DOUBLINGS = 20
# Refused credentials and unpaid bills end when a person acts: one call in five minutes finds that out soon enough.
_PERSON_S = 300.0
# A Retry-After is honoured up to this: some load balancers ask for a day.
_LONGEST_HOLD_S = 600.0
# Open time over for so long and nobody came to probe: what was known is too old to stand against anybody.
_IDLE_S = 600.0


# A share is taken for what it surely is: the lower end of Wilson's interval (1927), at 99 %. Two providers that fail
# four calls in ten would otherwise both trip by chance sooner or later, and an outage is worse than their failures.
# What fails half of its calls has to be found out by a window's worth of them, hence the caution.
_SURENESS = 2.33
_CAUTION = 0.85
# How sure it has to be that failures in a row are more than the usual ones: there are as many rows as failures.
_ROW_SURENESS = 4.0
# Of a good deployment at most one call in so many fails; below that number of calls, none.
_CALLS_PER_FAILURE = 20


def _at_least(failed: int, calls: int, sureness: float = _SURENESS) -> float:
    """The share of failures that so many out of so many calls speak for."""
    if not calls:
        return 0.0
    square = sureness * sureness
    share = failed / calls
    spread = sureness * sqrt(share * (1.0 - share) / calls + square / (4.0 * calls * calls))
    return (share + square / (2.0 * calls) - spread) / (1.0 + square / calls)


class BreakerVerdict(StrEnum):
    """What the end of a call says about the deployment."""

    OK = "ok"  # it is alive, also where it refused a wrong request
    FAIL = "fail"
    THROTTLED = "throttled"  # asked for a pause: no failure, but no proof of health either
    NEUTRAL = "neutral"  # says nothing: the client left, a fault of ours, a dead idle connection
    OPEN = "open"  # nothing will work before a person acts: credentials, money


class BreakerState(StrEnum):
    """`half_open` also names a breaker whose open time is over and that waits for its first probe."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Repute(StrEnum):
    """How the calls of a deployment ended lately."""

    GOOD = "good"  # answered, the latest one too, and hardly any failed
    UNKNOWN = "unknown"  # there were none
    BAD = "bad"


@dataclass(slots=True, frozen=True)
class BreakerSettings:
    """When to trip. `slow_s`: an answer that took longer to its first content counts as failed in the share."""

    failures: int = 5
    window_s: float = 30.0
    error_rate: float = 0.5
    open_s: float = 15.0
    half_open_probes: int = 1
    slow_s: float | None = None


class Breaker:
    """The breaker of one deployment. Times are readings of one monotonic clock in seconds; `chance` gives 0..1.

    A call is admitted with a ticket, and its verdict counts only in the state it was admitted in: failures of calls
    that began before a trip neither prolong the open time nor fail a probe. The ticket of a probe that has given its
    permit back and goes on is the negative one.

    `first_ticket` is above 0, and above all tickets of a breaker in whose place this one stands.

    `bucket`, `bucket_until`, `row` and `pending` are open to the guard, which counts a plain success itself.
    """

    __slots__ = (
        "_buckets",
        "_chance",
        "_content_until",
        "_hinted_until",
        "_is_for_a_person",
        "_machine",
        "_probes",
        "_row_peers",
        "_settings",
        "_successes",
        "_trips_in_row",
        "_until",
        "bucket",
        "bucket_until",
        "is_closed",
        "name",
        "pending",
        "row",
        "ticket",
        "trips",
    )

    def __init__(
        self, name: str, settings: BreakerSettings, chance: Callable[[], float], first_ticket: int = 1
    ) -> None:
        self.name = name
        self._settings = settings
        self._chance = chance
        # Its own rules must never fire: they are not ours.
        self._machine = pybreaker.CircuitBreaker(fail_max=sys.maxsize, throw_new_error_on_trip=False, name=name)
        self.is_closed = True
        self.ticket = first_ticket
        self.trips = 0
        self._trips_in_row = 0
        self._is_for_a_person = False
        self._until = 0.0
        self._hinted_until = 0.0
        self._start_over()

    def _start_over(self) -> None:
        self.pending = self.row = self._row_peers = self._probes = self._successes = 0
        self._buckets: list[tuple[float, list[int]]] = []
        self.bucket = [0, 0]  # answered, failed
        self.bucket_until = self._content_until = float("-inf")

    def use(self, settings: BreakerSettings) -> None:
        """Other settings from now on; what is known stays."""
        self._settings = settings

    def state(self, now: float) -> BreakerState:
        """The state at `now`."""
        if self.is_closed:
            return BreakerState.CLOSED
        is_open = self._machine.current_state == pybreaker.STATE_OPEN
        return BreakerState.OPEN if is_open and now < self._until else BreakerState.HALF_OPEN

    def repute(self, now: float) -> Repute:
        """What the calls that ended in the window say."""
        if not self.is_closed or now < self._hinted_until:
            return Repute.BAD
        ended, failed = self._ended(now)
        if not ended:
            return Repute.GOOD if now < self._content_until else Repute.UNKNOWN
        return Repute.GOOD if not self.row and failed * _CALLS_PER_FAILURE <= ended else Repute.BAD

    def may_turn_out_good(self, now: float) -> bool:
        """Whether calls are under way with which it will be of good repute, should they all be answered."""
        if not self.is_closed or not self.pending or now < self._hinted_until:
            return False
        ended, failed = self._ended(now)
        return failed * _CALLS_PER_FAILURE <= ended + self.pending

    def has_content(self, ticket: int, now: float) -> None:
        """A call of `ticket` has its first content: while none has ended, that speaks for the deployment."""
        if self.is_closed and ticket == self.ticket:
            self._content_until = now + self._settings.window_s

    def wait_s(self, now: float) -> float:
        """Seconds until a call may be admitted; 0 where one may now. While all probes are out, how long is not known:
        a second.
        """
        if self.is_closed:
            return 0.0
        if now < self._until:
            return self._until - now
        return 1.0 if self._probes >= self._settings.half_open_probes else 0.0

    def forgotten_at(self) -> float:
        """When it has been ready for a probe for so long that it may as well be closed."""
        return inf if self.is_closed or self._probes else self._until + _IDLE_S

    def pardon(self, now: float) -> None:
        """A person has acted: what waits for one may be probed at once."""
        if self._is_for_a_person:
            self._until = min(self._until, now)

    def needs_person(self, now: float) -> bool:
        """Whether it is open and time alone will not help: credentials, money."""
        return self._is_for_a_person and not self.is_closed and now < self._until

    def forget(self) -> None:
        """Closed, as if nothing had been."""
        self._close()

    def admit(self, now: float) -> int:
        """A ticket for one call, which `record` takes back; 0 where the call may not be made."""
        if not self.is_closed:
            if self.wait_s(now):
                return 0
            if self._machine.current_state == pybreaker.STATE_OPEN:
                self._machine.half_open()
                self.ticket += 1
                self._successes = 0
            self._probes += 1
        else:
            self.pending += 1
        return self.ticket

    def alive(self, ticket: int) -> int:
        """The call of `ticket` has its first content: a probe makes room for the next one, and its end still counts.

        Returns the ticket that the call goes on with.
        """
        if self.is_closed or ticket != self.ticket:
            return ticket
        self._probes -= 1
        return -ticket

    def record(
        self, ticket: int, verdict: BreakerVerdict, now: float, *, duration_s: float = 0.0, hold_s: float | None = None
    ) -> None:
        """Take a ticket back with what its call says. `hold_s` is the Retry-After of a failure.

        A ticket of an earlier state changes nothing.
        """
        if abs(ticket) != self.ticket:
            return
        is_slow = self._settings.slow_s is not None and duration_s > self._settings.slow_s
        if self.is_closed:
            self.pending -= 1
            self._count(verdict, now, is_slow=is_slow, hold_s=hold_s)
        else:
            if ticket > 0:
                self._probes -= 1
            if verdict is BreakerVerdict.OK and not is_slow:
                self._successes += 1
                if self._successes >= _SUCCESSES_TO_CLOSE:
                    self._close()
            elif verdict is not BreakerVerdict.NEUTRAL:
                self._open(now, verdict, hold_s)

    def hint(self, now: float, for_s: float) -> None:
        """Somebody else saw it trip: for `for_s` seconds a single failure is proof enough."""
        self._hinted_until = max(self._hinted_until, now + for_s)

    def _count(self, verdict: BreakerVerdict, now: float, *, is_slow: bool, hold_s: float | None) -> None:
        if verdict is BreakerVerdict.OPEN:
            self._open(now, verdict, hold_s)
        elif verdict is BreakerVerdict.OK:
            bucket = self._bucket_at(now)
            bucket[0] += 1
            self.row = 0
            if is_slow:
                bucket[1] += 1
                if self._has_failing_share(now, is_telling=True):
                    self._open(now, verdict, hold_s)
        elif verdict is BreakerVerdict.FAIL:
            bucket = self._bucket_at(now)
            bucket[0] += 1
            bucket[1] += 1
            if not self.row:
                self._row_peers = self.pending + 1
            self.row += 1
            if self._is_failing(now):
                self._open(now, verdict, hold_s)

    def _is_failing(self, now: float) -> bool:
        """By the share of failures in the window, by failures in a row where that share agrees, or by a row twice as
        long: what answered well a moment ago and is dead now would otherwise need as many failures as it had answers.
        """
        settings, row = self._settings, self.row
        if now < self._hinted_until:
            return True
        if row >= 2 * settings.failures and self._is_unusual_row(now):
            return True
        is_row = row >= settings.failures and row >= self._row_peers
        return self._has_failing_share(now, is_telling=not is_row)

    def _is_unusual_row(self, now: float) -> bool:
        """Whether the failures in a row are a failing share by themselves, and more than were usual before them.

        Calls under way count as answered: failures come back sooner than answers, so that a burst of calls ends with
        its failures first. The row has to be as long as there were calls under way when it began: until then it may be
        nothing but those of one burst that failed.
        """
        row, calls = self.row, self.row + self.pending
        if row < self._row_peers or (self.pending and not self._is_surely_failing(row, calls)):
            return False
        ended, failed = self._ended(now)
        before = (failed - row) / (ended - row) if ended > row else 0.0
        return _at_least(row, calls, _ROW_SURENESS) >= before

    def _has_failing_share(self, now: float, *, is_telling: bool) -> bool:
        answered, failed = self._ended(now)
        if is_telling and answered < _TELLING_CALLS:
            return False
        calls = answered + self.pending
        if failed == calls:
            return not is_telling or failed >= _TELLING_CALLS  # nothing speaks for it: a row is as long as it is set
        return self._is_surely_failing(failed, calls)

    def _is_surely_failing(self, failed: int, calls: int) -> bool:
        return _at_least(failed, calls) >= _CAUTION * self._settings.error_rate

    def _ended(self, now: float) -> tuple[int, int]:
        """How many calls ended in the window, and how many of them failed."""
        oldest = now - self._settings.window_s
        ended = failed = 0
        for until, bucket in self._buckets:
            if until > oldest:
                ended += bucket[0]
                failed += bucket[1]
        return ended, failed

    def _bucket_at(self, now: float) -> list[int]:
        """The counts that a call ending now belongs to."""
        if now >= self.bucket_until:
            self.bucket = [0, 0]
            self.bucket_until = now + self._settings.window_s / _BUCKETS
            self._buckets = [*self._buckets[-_BUCKETS:], (self.bucket_until, self.bucket)]
        return self.bucket

    def _open(self, now: float, verdict: BreakerVerdict, hold_s: float | None) -> None:
        settings = self._settings
        self._is_for_a_person = verdict is BreakerVerdict.OPEN
        if self._is_for_a_person:
            open_s = _PERSON_S
        else:
            longest = max(_LONGEST_OPEN_S, settings.open_s)
            open_s = min(longest, settings.open_s * 2.0 ** min(self._trips_in_row, _MOST_DOUBLINGS))
        # Half of it is left to chance, so that many gateways do not probe at the same moment.
        open_s *= 0.5 + 0.5 * self._chance()
        if hold_s is not None:
            open_s = max(open_s, min(hold_s, _LONGEST_HOLD_S))
        self._machine.open()
        self.is_closed = False
        self.ticket += 1
        self.trips += 1
        self._trips_in_row += 1
        self._until = now + open_s
        self._start_over()

    def _close(self) -> None:
        self._machine.close()
        self.is_closed = True
        self.ticket += 1
        self._trips_in_row = 0
        self._hinted_until = 0.0
        self._start_over()
