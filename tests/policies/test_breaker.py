"""The rules of the breaker, one by one, on a clock that the tests move."""

from collections.abc import Iterable
from random import Random

import pytest

from policies.breaker import Breaker, BreakerSettings, BreakerState, BreakerVerdict, Repute

OK, FAIL, NEUTRAL = BreakerVerdict.OK, BreakerVerdict.FAIL, BreakerVerdict.NEUTRAL
THROTTLED, OPEN = BreakerVerdict.THROTTLED, BreakerVerdict.OPEN
CLOSED = BreakerState.CLOSED


class Bench:
    """A breaker with a clock. `chance` 1.0 makes the open time what the settings say."""

    def __init__(self, chance: float = 1.0, **settings: float) -> None:
        self.now = 100.0
        self.breaker = Breaker("p/m", BreakerSettings(**settings), lambda: chance)  # type: ignore[arg-type]

    def call(self, verdict: BreakerVerdict, *, takes_s: float = 0.0, hold_s: float | None = None) -> bool:
        """One call from beginning to end; False where it was not admitted."""
        ticket = self.breaker.admit(self.now)
        if not ticket:
            return False
        self.now += takes_s
        self.breaker.record(ticket, verdict, self.now, duration_s=takes_s, hold_s=hold_s)
        return True

    def calls(self, verdicts: Iterable[BreakerVerdict]) -> int:
        return sum(self.call(verdict) for verdict in verdicts)

    def trip(self) -> None:
        while self.breaker.is_closed:
            self.call(FAIL)

    def probe_later(self, verdict: BreakerVerdict) -> None:
        self.now += self.breaker.wait_s(self.now)
        assert self.call(verdict)

    @property
    def state(self) -> BreakerState:
        return self.breaker.state(self.now)

    @property
    def wait_s(self) -> float:
        return self.breaker.wait_s(self.now)


def test_failures_in_a_row_open_it_and_nobody_passes() -> None:
    bench = Bench()
    assert bench.calls([FAIL] * 50) == 5
    assert bench.state is BreakerState.OPEN
    assert bench.wait_s == 15


def test_a_row_is_not_enough_while_the_share_disagrees() -> None:
    bench = Bench()
    bench.calls([OK] * 6 + [FAIL] * 7)
    assert bench.state is CLOSED
    bench.calls([FAIL] * 3)
    assert bench.state is BreakerState.OPEN


def test_what_answered_well_a_moment_ago_and_is_dead_takes_few_hits() -> None:
    bench = Bench()
    bench.calls([OK] * 5_000)
    assert bench.calls([FAIL] * 100) <= 5 * 2 + 3


def test_the_share_of_failures_opens_it_without_a_row() -> None:
    bench = Bench()
    assert bench.calls([OK, FAIL, FAIL, FAIL] * 50) == 20  # three quarters of the first twenty
    assert bench.state is BreakerState.OPEN


def test_half_failing_is_found_out_by_many_calls_and_four_in_ten_are_not() -> None:
    bench = Bench()
    assert 100 < bench.calls([OK, FAIL] * 1_000) < 500
    bench = Bench()
    bench.calls([OK, FAIL, OK, FAIL, OK] * 400)
    assert bench.state is CLOSED


def test_few_calls_say_nothing() -> None:
    bench = Bench()
    bench.calls([OK, FAIL] * 9 + [OK])
    assert bench.state is CLOSED


def test_what_was_before_the_window_is_forgotten() -> None:
    bench = Bench(window_s=30)
    mostly = [OK, FAIL, FAIL, FAIL] * 4 + [OK, FAIL]
    bench.calls(mostly)
    bench.now += 36
    bench.calls(mostly)
    assert bench.state is CLOSED
    bench.now += 20
    bench.calls([FAIL, FAIL])
    assert bench.state is BreakerState.OPEN


@pytest.mark.parametrize(("rate", "is_tripped"), [(0.2, False), (0.5, True)])
def test_noise_does_not_open_it_and_half_failing_does(rate: float, is_tripped: bool) -> None:
    """Thirty runs of a thousand calls each: a bare row of five would trip in every fourth run at 20 %."""
    tripped = 0
    for seed in range(30):
        rng, bench = Random(seed), Bench()
        for _ in range(1_000):
            bench.call(FAIL if rng.random() < rate else OK)
            bench.now += 0.05
        tripped += bench.breaker.trips > 0
    assert tripped == (30 if is_tripped else 0)


def test_failures_that_come_back_before_the_answers_do_not_open_it() -> None:
    """A burst of a hundred calls, of which every fifth fails at once and the others take their time."""
    bench = Bench()
    tickets = [bench.breaker.admit(bench.now) for _ in range(100)]
    for ticket in tickets[::5]:
        bench.breaker.record(ticket, FAIL, bench.now)
    assert bench.state is CLOSED
    for ticket in tickets:
        if tickets.index(ticket) % 5:
            bench.breaker.record(ticket, OK, bench.now)
    assert bench.state is CLOSED


def test_the_early_failures_of_bursts_do_not_open_it() -> None:
    """Two calls of five fail, and of every burst of twenty the failures come first."""
    for seed in range(10):
        rng, bench = Random(seed), Bench()
        for _ in range(100):
            tickets = [bench.breaker.admit(bench.now) for _ in range(20)]
            failed = sum(rng.random() < 0.4 for _ in tickets)
            for place, ticket in enumerate(tickets):
                bench.breaker.record(ticket, FAIL if place < failed else OK, bench.now)
            bench.now += 1
        assert bench.breaker.trips == 0, seed


@pytest.mark.parametrize("before", [0, 500])
def test_a_burst_that_fails_as_a_whole_opens_it(before: int) -> None:
    bench = Bench()
    bench.calls([OK] * before)
    tickets = [bench.breaker.admit(bench.now) for _ in range(20)]
    for ticket in tickets:
        assert bench.state is CLOSED
        bench.breaker.record(ticket, FAIL, bench.now)
    assert bench.state is BreakerState.OPEN


def test_a_dead_deployment_under_concurrency_is_found_out() -> None:
    bench = Bench()
    bench.calls([OK] * 200)
    hits = 0
    under_way: list[int] = []
    for _ in range(200):
        ticket = bench.breaker.admit(bench.now)
        if ticket:
            hits += 1
            under_way.append(ticket)
        if len(under_way) >= 4:
            bench.breaker.record(under_way.pop(0), FAIL, bench.now)
    assert hits <= 5 * 2 + 3 + 4  # those that were under way when it opened


@pytest.mark.parametrize("verdict", [OK, NEUTRAL])
def test_callers_errors_and_departures_never_open_it(verdict: BreakerVerdict) -> None:
    bench = Bench()
    assert bench.calls([verdict] * 40) == 40
    assert bench.breaker.trips == 0


def test_failures_hidden_between_callers_errors_still_open_it() -> None:
    """80 % failures with a wrong request every fifth call: what excluded errors as successes would hide."""
    bench = Bench()
    assert bench.calls([FAIL, FAIL, FAIL, FAIL, OK] * 200) == 21


def test_throttling_says_nothing_while_closed() -> None:
    bench = Bench()
    assert bench.calls([THROTTLED] * 100) == 100
    assert bench.breaker.trips == 0


def test_refused_credentials_open_it_at_once_and_for_long() -> None:
    bench = Bench()
    bench.calls([OK] * 100)
    bench.call(OPEN)
    assert bench.state is BreakerState.OPEN
    assert bench.wait_s == 300


@pytest.mark.parametrize(("chance", "open_s"), [(0.0, 7.5), (1.0, 15.0)])
def test_half_of_the_open_time_is_chance(chance: float, open_s: float) -> None:
    bench = Bench(chance)
    bench.trip()
    assert bench.wait_s == open_s


def test_every_failed_probe_doubles_the_open_time_up_to_two_minutes() -> None:
    bench = Bench(open_s=5)
    bench.trip()
    found = [bench.wait_s]
    for _ in range(6):
        bench.probe_later(FAIL)
        found.append(bench.wait_s)
    assert found == [5, 10, 20, 40, 80, 120, 120]


def test_a_longer_open_time_of_the_operator_holds() -> None:
    bench = Bench(open_s=400)
    bench.trip()
    bench.probe_later(FAIL)
    assert bench.wait_s == 400


@pytest.mark.parametrize(("hint_s", "open_s"), [(3.0, 15.0), (60.0, 60.0), (86_400.0, 600.0)])
def test_retry_after_prolongs_the_open_time_and_has_a_bound(hint_s: float, open_s: float) -> None:
    bench = Bench()
    bench.calls([FAIL] * 4)
    bench.call(FAIL, hold_s=hint_s)
    assert bench.wait_s == open_s


def test_two_successes_close_it_and_the_next_open_time_is_short_again() -> None:
    bench = Bench()
    bench.trip()
    bench.probe_later(FAIL)
    bench.probe_later(OK)
    assert bench.state is BreakerState.HALF_OPEN
    assert bench.call(OK)
    assert bench.state is CLOSED
    assert bench.calls([FAIL] * 10) == 5  # the failures before are not held against it
    assert bench.wait_s == 15


@pytest.mark.parametrize("verdict", [FAIL, THROTTLED, OPEN])
def test_a_probe_that_does_not_succeed_opens_it_again(verdict: BreakerVerdict) -> None:
    bench = Bench()
    bench.trip()
    bench.probe_later(OK)
    assert bench.call(verdict)
    assert bench.state is BreakerState.OPEN
    assert bench.breaker.trips == 2


def test_one_probe_out_of_many_callers() -> None:
    bench = Bench()
    bench.trip()
    bench.now += bench.wait_s
    assert sum(bench.breaker.admit(bench.now) > 0 for _ in range(1_000)) == 1
    assert bench.wait_s == 1.0  # nobody knows how long that one takes


def test_as_many_probes_as_the_operator_wants() -> None:
    bench = Bench(half_open_probes=3)
    bench.trip()
    bench.now += bench.wait_s
    assert sum(bench.breaker.admit(bench.now) > 0 for _ in range(30)) == 3


def test_a_probe_whose_client_leaves_gives_its_permit_back() -> None:
    bench = Bench()
    bench.trip()
    bench.probe_later(NEUTRAL)
    assert bench.state is BreakerState.HALF_OPEN
    assert bench.wait_s == 0


def test_calls_from_before_the_trip_change_nothing() -> None:
    bench = Bench()
    late = [bench.breaker.admit(bench.now) for _ in range(5)]
    bench.trip()
    until = bench.now + bench.wait_s
    for ticket in late[:3]:
        bench.breaker.record(ticket, FAIL, bench.now)
    assert bench.now + bench.wait_s == until
    bench.now = until
    probe = bench.breaker.admit(bench.now)
    for ticket, verdict in zip(late[3:], (FAIL, OK), strict=True):
        bench.breaker.record(ticket, verdict, bench.now)
    assert bench.state is BreakerState.HALF_OPEN
    assert bench.breaker.trips == 1
    bench.breaker.record(probe, OK, bench.now)
    assert bench.call(OK)
    assert bench.state is CLOSED


def test_the_state_follows_the_clock_without_traffic() -> None:
    bench = Bench()
    bench.trip()
    assert bench.state is BreakerState.OPEN
    bench.now += bench.wait_s
    assert bench.state is BreakerState.HALF_OPEN
    assert bench.wait_s == 0


def test_slow_answers_count_in_the_share_alone() -> None:
    bench = Bench(slow_s=1)
    for _ in range(19):
        bench.call(OK, takes_s=1.2)
    assert bench.state is CLOSED
    assert bench.breaker.row == 0
    bench.call(OK, takes_s=1.2)
    assert bench.state is BreakerState.OPEN


def test_a_slow_probe_does_not_prove_health() -> None:
    bench = Bench(slow_s=5)
    bench.trip()
    bench.now += bench.wait_s
    bench.call(OK, takes_s=6)
    assert bench.state is BreakerState.OPEN


def test_a_hint_from_elsewhere_makes_one_failure_enough_while_it_holds() -> None:
    bench = Bench()
    bench.calls([OK] * 100)
    bench.breaker.hint(bench.now, 10)
    assert bench.state is CLOSED  # a hint alone is no evidence
    bench.now += 11
    bench.call(FAIL)
    assert bench.state is CLOSED
    bench.breaker.hint(bench.now, 10)
    bench.call(FAIL)
    assert bench.state is BreakerState.OPEN


def test_its_repute_is_what_ended_in_the_window() -> None:
    bench = Bench()
    assert bench.breaker.repute(bench.now) is Repute.UNKNOWN
    bench.breaker.admit(bench.now)
    bench.calls([THROTTLED, NEUTRAL])
    assert bench.breaker.repute(bench.now) is Repute.UNKNOWN, "under way, or says nothing"
    bench.call(OK)
    assert bench.breaker.repute(bench.now) is Repute.GOOD
    bench.call(FAIL)
    assert bench.breaker.repute(bench.now) is Repute.BAD
    bench.calls([OK] * 17)
    assert bench.breaker.repute(bench.now) is Repute.BAD, "one of 19"
    bench.call(OK)
    assert bench.breaker.repute(bench.now) is Repute.GOOD, "one of 20"
    bench.calls([OK] * 20 + [FAIL])
    assert bench.breaker.repute(bench.now) is Repute.BAD, "the latest one"
    bench.now += 40
    assert bench.breaker.repute(bench.now) is Repute.UNKNOWN
    bench.call(OK)
    assert bench.breaker.repute(bench.now) is Repute.GOOD
    bench.breaker.hint(bench.now, 5)
    assert bench.breaker.repute(bench.now) is Repute.BAD, "elsewhere it is known to fail"


def test_whoever_is_left_alone_or_probed_is_of_bad_repute() -> None:
    bench = Bench()
    bench.trip()
    assert bench.breaker.repute(bench.now) is Repute.BAD
    bench.probe_later(OK)
    assert bench.breaker.repute(bench.now) is Repute.BAD
    bench.call(OK)
    assert bench.state is CLOSED
    assert bench.breaker.repute(bench.now) is Repute.UNKNOWN


def test_new_settings_hold_from_now_on() -> None:
    bench = Bench()
    bench.breaker.use(BreakerSettings(failures=2))
    assert bench.calls([FAIL] * 10) == 2


def test_long_without_a_probe_it_is_forgotten() -> None:
    bench = Bench()
    assert bench.breaker.forgotten_at() == float("inf")
    bench.trip()
    assert bench.breaker.forgotten_at() == bench.now + 15 + 600
    bench.breaker.forget()
    assert bench.state is CLOSED
