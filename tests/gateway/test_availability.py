"""The guard: what it lets through, what it forgets, and what the router, /readyz and the metrics get to know."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.availability import Guard
from gateway.telemetry.metrics import Metrics
from policies.breaker import Breaker, BreakerSettings, BreakerState, BreakerVerdict, Repute
from routing.constraints import NoCandidateError
from routing.decision import Deployment, Reason, Rejection
from tests.gateway.scripted import deployment
from tests.routing.scene import Clock, ask, assembled, model

OK, FAIL, NEUTRAL = BreakerVerdict.OK, BreakerVerdict.FAIL, BreakerVerdict.NEUTRAL
THROTTLED, OPEN = BreakerVerdict.THROTTLED, BreakerVerdict.OPEN
ONE, OTHER = deployment("one"), deployment("other")
ASK = ask("m", "a question of some words")
TIGHT = {"x-ratelimit-remaining-tokens": "100", "x-ratelimit-limit-tokens": "900", "x-ratelimit-reset-tokens": "30s"}
EMPTY = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "9", "x-ratelimit-reset-requests": "20s"}


class Bench(Guard):
    """A guard whose clock a test moves; open times are what the settings say."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        super().__init__(BreakerSettings(**settings), clock=self.clock, chance=lambda: 1.0)

    def call(self, verdict: BreakerVerdict, target: Deployment = ONE, **more: Any) -> bool:
        ticket = self.admit(target)
        if ticket:
            self.record(target, verdict, ticket=ticket, duration_s=0.1, **more)
        return ticket > 0

    def against(self, target: Deployment = ONE, **body: Any) -> Reason | None:
        return self.reason_against(target, ask("m", "a question", **body) if body else ASK)

    def trip(self, target: Deployment = ONE) -> None:
        while self.call(FAIL, target):
            pass


@pytest.fixture
def guard() -> Bench:
    return Bench()


def test_a_healthy_gateway_is_calm(guard: Bench) -> None:
    for verdict in (OK, FAIL, OK, NEUTRAL, OK):
        assert guard.call(verdict)
        assert guard.is_calm
    assert guard.against() is None
    assert guard.troubles() == []


def test_an_open_breaker_stands_against_its_deployment_alone(guard: Bench) -> None:
    guard.trip()
    assert not guard.is_calm
    assert guard.against() is Reason.BREAKER_OPEN
    assert guard.against(OTHER) is None
    assert not guard.admit(ONE)
    assert guard.call(OK, OTHER)


def test_the_router_may_choose_it_again_when_its_open_time_is_over(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    assert guard.against() is None
    assert guard.admit(ONE)
    assert guard.against() is Reason.BREAKER_OPEN  # the probe is out
    assert not guard.admit(ONE)


def test_calm_again_after_two_good_probes(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    assert guard.call(OK)
    assert not guard.is_calm
    assert guard.call(OK)
    assert guard.is_calm


def test_a_released_probe_lets_the_next_one_through(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    guard.release(ONE, guard.admit(ONE))
    assert guard.call(OK)


def test_thirty_callers_are_one_probe(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15

    async def callers() -> int:
        out = most = 0

        async def caller() -> None:
            nonlocal out, most
            ticket = guard.admit(ONE)
            if ticket:
                out += 1
                most = max(most, out)
                await asyncio.sleep(0)
                out -= 1
                guard.record(ONE, FAIL, ticket=ticket, duration_s=0)

        await asyncio.gather(*(caller() for _ in range(30)))
        return most

    assert asyncio.run(callers()) == 1


@given(st.lists(st.tuples(st.sampled_from(BreakerVerdict), st.sampled_from([0.0, 0.5, 4.0, 40.0])), max_size=80))
def test_plain_successes_are_counted_as_the_breaker_itself_does(steps: list[tuple[BreakerVerdict, float]]) -> None:
    guard = Bench()
    breaker = Breaker("alone", BreakerSettings(), lambda: 1.0)
    for verdict, pause_s in steps:
        guard.clock.now += pause_s
        if verdict is THROTTLED:  # its pause is the guard's own
            continue
        ticket = breaker.admit(guard.clock.now)
        assert guard.call(verdict) == bool(ticket)
        if ticket:
            breaker.record(ticket, verdict, guard.clock.now)
        assert guard.states()[ONE.label] is breaker.state(guard.clock.now)


def test_a_429_is_a_pause_and_no_failure(guard: Bench) -> None:
    for _ in range(50):
        assert guard.call(THROTTLED, retry_after_s=7.0)
        assert guard.against() is Reason.THROTTLED
        assert not guard.admit(ONE)
        assert guard.earliest_s([ONE]) == 7
        guard.clock.now += 7
        assert guard.against() is None
        assert guard.is_calm  # nobody had to call for that
    assert guard.trips == {}


def test_a_429_fails_a_probe(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    assert guard.call(THROTTLED, retry_after_s=1.0)
    guard.clock.now += 2
    assert guard.against() is Reason.BREAKER_OPEN


def test_an_overloaded_server_is_held_as_long_as_it_says(guard: Bench) -> None:
    guard.call(FAIL, retry_after_s=40.0)
    assert guard.against() is Reason.BREAKER_OPEN
    assert guard.states()[ONE.label] is BreakerState.CLOSED
    guard.clock.now += 40
    assert guard.against() is None


def test_an_allowance_that_is_full_again_some_day_does_not_prolong_a_failure(guard: Bench) -> None:
    """The hint of an error without Retry-After is when all allowances are full again: minutes, with some."""
    guard.call(FAIL, retry_after_s=180.0, headers={"x-ratelimit-reset-requests": "3m"})
    assert guard.against() is None
    guard.call(FAIL, retry_after_s=40.0, headers={"retry-after": "40"})
    assert guard.earliest_s([ONE]) == 40


def test_an_allowance_that_is_used_up_is_respected_before_it_fails(guard: Bench) -> None:
    guard.call(OK, headers=EMPTY)
    assert guard.against() is Reason.THROTTLED
    assert guard.earliest_s([ONE]) == 20
    guard.clock.now += 20
    assert guard.against() is None


def test_few_tokens_left_are_kept_for_requests_that_fit(guard: Bench) -> None:
    guard.call(OK, headers=TIGHT)
    assert guard.against() is None
    assert guard.against(max_tokens=500) is Reason.THROTTLED
    assert guard.against(messages=[{"role": "user", "content": "word " * 500}]) is Reason.THROTTLED
    guard.call(OK, headers=TIGHT | {"x-ratelimit-remaining-tokens": "800"})
    assert guard.against(max_tokens=500) is None
    guard.call(OK, headers={})
    assert guard.against(max_tokens=5000) is None
    assert guard.is_calm


def test_the_earliest_of_many(guard: Bench) -> None:
    assert guard.earliest_s([]) is None
    guard.trip()
    guard.call(THROTTLED, OTHER, retry_after_s=3.0)
    assert guard.earliest_s([ONE, OTHER]) == 3
    assert guard.earliest_s([ONE]) == 15
    assert guard.earliest_s([ONE, deployment("third")]) == 0


def test_trips_are_told_and_counted(guard: Bench) -> None:
    told: list[tuple[str, float]] = []
    guard.on_trip.append(lambda name, open_s: told.append((name, open_s)))
    guard.trip()
    assert told == [("one/m", 15.0)]
    assert guard.trips == {"one/m": 1}


def test_a_hint_from_another_process_makes_one_failure_enough(guard: Bench) -> None:
    guard.hint("one/m", 10)  # never called here: nothing to shorten
    guard.call(OK)
    guard.hint("one/m", 10)
    assert guard.is_calm
    guard.call(FAIL)
    assert guard.against() is Reason.BREAKER_OPEN


def test_a_hint_waits_for_the_first_call(guard: Bench) -> None:
    """Of a deployment that another process saw fail, and that was not called here yet."""
    guard.hint(ONE.id, 20)
    guard.hint(OTHER.id, 20)
    assert guard.repute(ONE) is Repute.BAD
    assert guard.against() is None, "a hint alone is no evidence"
    guard.call(FAIL)
    assert guard.against() is Reason.BREAKER_OPEN
    guard.clock.now += 21
    guard.call(FAIL, OTHER)
    assert guard.against(OTHER) is None
    for number in range(1_100):
        guard.hint(f"one/{number}", 20)
    assert len(guard._hinted) == 1_000
    guard.forget({"one"})
    assert guard._hinted == {}


def test_a_call_that_needs_more_tokens_than_are_left_is_not_admitted(guard: Bench) -> None:
    """Also not as a fallback, which routing does not look at again."""
    guard.call(OK, headers=TIGHT)
    assert not guard.admit(ONE, lambda: 101)
    assert guard.earliest_s([ONE], lambda: 101) == 30
    assert guard.admit(ONE, lambda: 100)
    assert guard.earliest_s([ONE], lambda: 100) == 0


def test_new_settings_hold_for_all(guard: Bench) -> None:
    guard.call(OK)
    guard.use(BreakerSettings(failures=1))
    guard.call(FAIL)
    guard.call(FAIL)
    guard.call(FAIL, OTHER)
    assert [guard.against(target) for target in (ONE, OTHER)] == [Reason.BREAKER_OPEN] * 2


def test_providers_that_changed_start_over(guard: Bench) -> None:
    guard.trip(ONE)
    guard.call(THROTTLED, OTHER)
    guard.forget({"one"})
    assert guard.against() is None
    assert not guard.is_calm
    guard.forget({"other"})
    assert guard.is_calm


def test_what_a_reload_prepares_waits_for_the_swap(guard: Bench) -> None:
    guard.prepare(BreakerSettings(failures=2), {"gone"})
    assert guard.call(FAIL)
    assert guard.call(FAIL)
    assert not guard.is_calm  # nothing was known yet, so it held at once
    guard.prepare(BreakerSettings(failures=3), {"one"})
    assert guard.against() is Reason.BREAKER_OPEN
    guard.adopt()
    assert guard.is_calm
    assert sum(guard.call(FAIL) for _ in range(9)) == 3


def test_a_call_that_outlives_its_provider_ends_quietly(guard: Bench) -> None:
    ticket = guard.admit(ONE)
    guard.forget({"one"})
    guard.record(ONE, FAIL, ticket=ticket, duration_s=1.0)
    assert guard.is_calm


def test_a_call_of_before_says_nothing_of_a_provider_that_starts_over(guard: Bench) -> None:
    old = guard.admit(ONE)
    guard.forget({"one"})
    new = guard.admit(ONE)
    for _ in range(9):
        guard.record(ONE, FAIL, ticket=old, duration_s=1.0)
    assert guard.is_calm
    assert guard._breakers["one/m"].pending == 1
    guard.record(ONE, OK, ticket=new, duration_s=1.0)


def test_whoever_waits_for_a_person_may_be_probed_when_one_acts(guard: Bench) -> None:
    guard.call(OPEN)
    guard.trip(OTHER)
    assert guard.earliest_s([ONE]) == 300
    guard.pardon()
    assert guard.against() is None
    assert guard.against(OTHER) is Reason.BREAKER_OPEN
    assert guard.call(OPEN)
    assert guard.earliest_s([ONE]) == 300


def test_what_nobody_asks_for_again_does_not_cost_calm_for_ever(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15 + 599
    guard.against(OTHER)
    assert not guard.is_calm
    guard.clock.now += 1
    guard.against(OTHER)
    assert guard.is_calm


def test_names_that_callers_make_up_are_bounded(guard: Bench) -> None:
    guard.trip()
    under_way = guard.admit(OTHER)
    for number in range(10_000):
        guard.call(OK, deployment("made", f"up-{number}"))
    assert len(guard._breakers) <= 4_096
    assert guard.against() is Reason.BREAKER_OPEN
    guard.record(OTHER, OK, ticket=under_way, duration_s=1.0)


def test_series_and_reports_follow_the_clock(guard: Bench) -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.breakers.follow(guard)

    def value(name: str) -> float | None:
        metrics.flush()
        return metrics.registry.get_sample_value(name, {"deployment": "one/m"})

    guard.call(OK)
    assert value("signalbox_breaker_state") == 0
    guard.trip()
    assert value("signalbox_breaker_state") == 2
    assert value("signalbox_breaker_trips_total") == 1
    assert [(t.label, t.state, t.open_s) for t in guard.troubles()] == [("one/m", BreakerState.OPEN, 15.0)]
    guard.clock.now += 15
    assert value("signalbox_breaker_state") == 1
    guard.call(OK)
    guard.call(OK)
    assert value("signalbox_breaker_state") == 0
    guard.call(THROTTLED, retry_after_s=4.0)
    guard.clock.now += 1
    assert value("signalbox_throttled_seconds") == 3
    assert [(t.label, t.throttled_s) for t in guard.troubles()] == [("one/m", 3.0)]
    guard.clock.now += 3
    assert value("signalbox_throttled_seconds") == 0
    assert value("signalbox_breaker_trips_total") == 1


def test_deployments_with_one_label_show_their_worst(guard: Bench) -> None:
    one, other = (Deployment(f"p/{name}", "p/*", name, "p", ONE.target, None) for name in "ab")
    guard.trip(other)
    guard.call(OK, one)
    assert guard.states() == {"p/*": BreakerState.OPEN}


TWO = {"a": model("m1"), "b": model("m2")}


def test_the_router_leaves_it_out_and_says_so() -> None:
    clock = Clock()
    assembler, runtime = assembled(clock, models=TWO, routes={"both": {"pool": ["a", "b"]}})
    first, second = runtime.router.decide(ask("both")).candidates
    for _ in range(5):
        runtime.guard.record(first, FAIL, ticket=runtime.guard.admit(first), duration_s=0)
    decision = runtime.router.decide(ask("both"))
    assert decision.candidates == (second,)
    assert decision.rejections == (Rejection(first, Reason.BREAKER_OPEN),)
    runtime.guard.record(second, THROTTLED, ticket=runtime.guard.admit(second), duration_s=0, retry_after_s=9)
    with pytest.raises(NoCandidateError) as none:
        runtime.router.decide(ask("both"))
    assert none.value.reasons == {Reason.BREAKER_OPEN: 1, Reason.THROTTLED: 1}
    clock.now += 15
    assert runtime.router.decide(ask("both")).candidates == (first, second)
    assert assembler.guard is runtime.guard
