"""The breaker under any order of calls, ends and pauses."""

from math import ceil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.breaker import Breaker, BreakerSettings, BreakerState, BreakerVerdict

_TELLING_CALLS = 20


class BreakerMachine(RuleBasedStateMachine):
    """`out` are the tickets of calls under way, with the state they began in."""

    @initialize(
        failures=st.integers(1, 6),
        error_rate=st.sampled_from([0.1, 0.5, 1.0]),
        probes=st.integers(1, 3),
        open_s=st.sampled_from([1.0, 15.0, 200.0]),
    )
    def start(self, failures: int, error_rate: float, probes: int, open_s: float) -> None:
        self.settings = BreakerSettings(failures, 30.0, error_rate, open_s, probes)
        self.chance = 0.5
        self.breaker = Breaker("p/m", self.settings, lambda: self.chance)
        self.now = 0.0
        self.out: list[tuple[int, BreakerState, int]] = []
        self.alive: list[tuple[int, BreakerState, int]] = []  # of those, probes that gave their permit back
        self.era = 0  # counts the changes of state that we saw
        self.seen = BreakerState.CLOSED
        self.failed = self.successes = 0
        self.hinted_until = -1.0

    def state(self) -> BreakerState:
        return self.breaker.state(self.now)

    def is_out(self, era: int) -> int:
        return sum(began == era for _, _, began in self.out)

    def enter(self, state: BreakerState) -> None:
        self.era += 1
        self.seen = state
        self.failed = self.successes = 0

    @rule(seconds=st.sampled_from([0.0, 0.3, 3.0, 14.0, 31.0, 130.0]))
    def wait(self, seconds: float) -> None:
        was, wait_s = self.state(), self.breaker.wait_s(self.now)
        self.now += seconds
        if was is BreakerState.OPEN:
            expected = BreakerState.OPEN if seconds < wait_s else BreakerState.HALF_OPEN
            assert self.state() is expected
        else:
            assert self.state() is was

    @rule()
    def begin(self) -> None:
        state = self.state()
        ticket = self.breaker.admit(self.now)
        if state is BreakerState.CLOSED:
            assert ticket, "closed lets everybody through"
        elif state is BreakerState.OPEN:
            assert not ticket, "open lets nobody through"
        else:
            if self.seen is not BreakerState.HALF_OPEN:
                self.enter(BreakerState.HALF_OPEN)
            assert bool(ticket) == (self.is_out(self.era) < self.settings.half_open_probes)
        if ticket:
            self.out.append((ticket, state, self.era))

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 1_000))
    def have_content(self, which: int) -> None:
        ticket, state, era = self.out.pop(which % len(self.out))
        was = self.state()
        going_on = self.breaker.alive(ticket)
        assert self.state() is was
        if state is BreakerState.HALF_OPEN and era == self.era:
            assert self.breaker.wait_s(self.now) == 0
            self.alive.append((going_on, state, era))
        else:
            assert going_on == ticket
            self.out.append((ticket, state, era))

    @precondition(lambda self: self.alive)
    @rule(which=st.integers(0, 1_000), verdict=st.sampled_from(BreakerVerdict))
    def end_stream(self, which: int, verdict: BreakerVerdict) -> None:
        self.out.append(self.alive.pop(which % len(self.alive)))
        self.end(len(self.out) - 1, verdict, 0.5, None)

    @precondition(lambda self: self.out)
    @rule(
        which=st.integers(0, 1_000),
        verdict=st.sampled_from(BreakerVerdict),
        chance=st.floats(0, 1),
        hold_s=st.sampled_from([None, 0.0, 50.0, 1e6]),
    )
    def end(self, which: int, verdict: BreakerVerdict, chance: float, hold_s: float | None) -> None:
        ticket, _, era = self.out.pop(which % len(self.out))
        self.chance = chance
        was, waited, trips = self.state(), self.breaker.wait_s(self.now), self.breaker.trips
        self.breaker.record(ticket, verdict, self.now, hold_s=hold_s)
        is_tripped = self.breaker.trips > trips
        if era != self.era or verdict is BreakerVerdict.NEUTRAL:
            assert self.state() is was, "a late or a neutral verdict changed the state"
            assert not is_tripped
            assert was is not BreakerState.OPEN or self.breaker.wait_s(self.now) == waited
        elif was is BreakerState.CLOSED:
            self.ended_while_closed(verdict, is_tripped=is_tripped)
        else:
            self.ended_probe(verdict, is_tripped=is_tripped)
        if is_tripped:
            self.check_open_time(verdict, hold_s)
            self.enter(BreakerState.OPEN)

    def ended_while_closed(self, verdict: BreakerVerdict, *, is_tripped: bool) -> None:
        self.failed += verdict is BreakerVerdict.FAIL
        if verdict in (BreakerVerdict.OK, BreakerVerdict.THROTTLED):
            assert not is_tripped
        elif verdict is BreakerVerdict.OPEN:
            assert is_tripped
        elif is_tripped and self.now >= self.hinted_until:
            assert self.failed >= min(self.settings.failures, ceil(self.settings.error_rate * _TELLING_CALLS))

    def ended_probe(self, verdict: BreakerVerdict, *, is_tripped: bool) -> None:
        assert is_tripped == (verdict is not BreakerVerdict.OK)
        self.successes += verdict is BreakerVerdict.OK
        assert (self.state() is BreakerState.CLOSED) == (self.successes == 2)
        if self.successes == 2:
            self.enter(BreakerState.CLOSED)
            self.hinted_until = -1.0

    def check_open_time(self, verdict: BreakerVerdict, hold_s: float | None) -> None:
        wait_s = self.breaker.wait_s(self.now)
        longest = 300.0 if verdict is BreakerVerdict.OPEN else max(120.0, self.settings.open_s)
        assert self.settings.open_s / 2 - 1e-6 <= wait_s <= max(longest, min(hold_s or 0, 600.0)) + 1e-6
        assert wait_s >= min(hold_s or 0, 600.0) - 1e-6

    @rule(for_s=st.sampled_from([0.0, 10.0]))
    def hint(self, for_s: float) -> None:
        was = self.state()
        self.breaker.hint(self.now, for_s)
        self.hinted_until = max(self.hinted_until, self.now + for_s)
        assert self.state() is was

    @invariant()
    def never_more_probes_than_permits(self) -> None:
        if self.seen is BreakerState.HALF_OPEN:
            assert self.is_out(self.era) <= self.settings.half_open_probes

    @invariant()
    def whoever_may_call_need_not_wait(self) -> None:
        if self.state() is BreakerState.CLOSED:
            assert self.breaker.wait_s(self.now) == 0
        if self.state() is BreakerState.OPEN:
            assert self.breaker.wait_s(self.now) > 0


TestBreakerMachine = BreakerMachine.TestCase
# Sixty steps open, probe and close a breaker several times; every run draws other ones, and the simulations more.
TestBreakerMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
