"""Candidates that cannot be called at their turn: who is asked in their place, when they are asked again, who pays."""

import asyncio
from random import Random

import pytest

from gateway.walk import Walk
from policies.breaker import BreakerVerdict, Repute
from policies.hedging import HedgeRules
from policies.outcome import Outcome
from policies.retry import START_TOKENS, START_UNTRIED, Retry, RetryRules
from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage, deployment

A, B, C = deployment("a"), deployment("b"), deployment("c")
GOOD = Answer([b"7,3,fine", None])
STALE = ProviderError(ErrorKind.STALE, "dead", cause=Cause.RESET)
BROKEN = ProviderError(ErrorKind.BROKEN, "reset", cause=Cause.RESET)
MONEY = ProviderError(ErrorKind.MONEY, "no credit", cause=Cause.STATUS)
UNTIL_S = 100.0


def failing(kind=ErrorKind.BROKEN, *, open_s=0.0, retry_after=None):
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Answer([kind.value.encode(), None], status=500, headers=headers, open_s=open_s)


class Bench:
    """A walk behind candidate A. `blocked` are the seconds for which somebody may not be called; `reputes` that are not
    given are bad.
    """

    def __init__(self, *candidates, max_attempts=4, detour=None):
        self.blocked, self.reputes, self.tried = {}, {}, set()
        self.retry = Retry(RetryRules(max_attempts))
        self.outcome = Outcome(None, "tester", 0.0, None)
        self.walk = Walk(
            candidates,
            max_attempts,
            self.retry,
            self.outcome,
            Random(1),
            ready_in=lambda candidate: self.blocked.get(candidate, 0.0),
            repute=lambda candidate: self.reputes.get(candidate, Repute.BAD),
            is_tried=lambda candidate: candidate in self.tried,
            detour=detour,
        )

    @property
    def tokens(self):
        return self.retry.budget.tokens

    def after(self, candidate, error, now_s=0.0):
        return self.walk.after(candidate, error, now_s, UNTIL_S)

    def instead(self, candidate, now_s=0.0):
        return self.walk.instead(candidate, now_s, UNTIL_S)


def test_who_cannot_be_paid_for_is_passed_over_for_one_who_costs_nothing():
    bench = Bench(B, C)
    bench.retry.budget.tokens = 0
    bench.reputes[C] = Repute.GOOD
    assert bench.after(A, BROKEN).deployment == C
    assert not bench.outcome.is_budget_empty
    assert bench.after(C, BROKEN) is None
    assert bench.outcome.is_budget_empty


def test_who_was_passed_over_keeps_its_turn():
    bench = Bench(B, C)
    bench.retry.budget.tokens = 0
    bench.reputes[C] = Repute.GOOD
    assert bench.after(A, BROKEN).deployment == C
    bench.retry.budget.tokens = 1.0
    step = bench.after(C, BROKEN, 1.0)
    assert (step.deployment, step.is_repeat) == (B, False), "there is a token for it by now"
    bench = Bench(B, C)
    bench.retry.budget.tokens = 0
    bench.reputes[C] = Repute.GOOD
    assert bench.after(A, BROKEN, UNTIL_S - 0.02).deployment == C
    assert bench.after(C, BROKEN, UNTIL_S - 0.01) is None
    assert bench.outcome.is_budget_empty, "with a token it would have been called"


def test_the_calls_of_others_are_waited_for_where_nothing_else_can_be_paid():
    bench = Bench(B, C)
    bench.retry.budget.tokens = bench.retry.budget.untried = 0
    bench.reputes[C] = Repute.UNKNOWN
    bench.tried.add(C)
    step = bench.after(A, BROKEN)
    assert (step.deployment, step.is_look) == (C, True)
    assert step.wait_s > 0
    assert bench.walk.look(1.0, UNTIL_S).is_look
    assert bench.walk.look(UNTIL_S - 0.01, UNTIL_S) is None, "the deadline is near"
    bench = Bench(B)
    bench.retry.budget.tokens = bench.retry.budget.untried = 0
    bench.tried.add(B)
    assert bench.after(A, BROKEN).is_look
    bench.reputes[B] = Repute.GOOD
    step = bench.walk.look(1.0, UNTIL_S)
    assert (step.deployment, step.is_look, bench.outcome.is_budget_empty) == (B, False, False)
    assert bench.after(B, BROKEN, 1.0) is None
    assert bench.outcome.is_budget_empty


def test_a_fresh_repeat_that_is_not_let_through_is_paid_for_like_any_failure():
    bench = Bench(B, C)
    step = bench.after(A, STALE)
    assert (step.deployment, step.is_fresh, bench.tokens) == (A, True, START_TOKENS)
    step = bench.instead(A)
    assert (step.deployment, step.is_fresh, step.is_repeat) == (B, False, False)
    assert bench.tokens == START_TOKENS - 1
    assert bench.outcome.stale_retries == 0, "it was never made"
    step = bench.after(B, STALE)
    assert (step.deployment, step.is_fresh) == (B, True), "each candidate has a dead connection for free"


def test_a_fresh_repeat_that_is_not_let_through_needs_a_token():
    bench = Bench(B)
    bench.retry.budget.tokens = 0.5
    assert bench.after(A, STALE).is_fresh
    assert bench.instead(A) is None
    assert bench.outcome.is_budget_empty


def test_a_fresh_repeat_that_is_not_let_through_was_an_attempt():
    bench = Bench(B, max_attempts=1)
    assert bench.after(A, STALE).is_fresh
    assert bench.instead(A) is None
    assert bench.tokens == START_TOKENS


def test_whoever_could_not_be_called_has_another_turn_after_the_others():
    bench = Bench(B, C)
    assert bench.after(A, MONEY).deployment is B
    bench.blocked[B] = 1.0
    assert bench.instead(B).deployment is C
    del bench.blocked[B]
    step = bench.after(C, MONEY, 0.5)
    assert (step.deployment, step.wait_s, step.is_repeat) == (B, 0.0, False)


def test_it_is_waited_for_where_nobody_else_is_left():
    bench = Bench(B)
    bench.after(A, MONEY)
    bench.blocked[B] = 1.5
    step = bench.instead(B)
    assert step.deployment is B
    assert step.wait_s == pytest.approx(1.5, abs=0.01)


def test_never_while_somebody_else_is_ready():
    bench = Bench(B)
    bench.blocked[B] = 0.5
    assert bench.after(A, BROKEN).deployment is B
    assert bench.instead(B).deployment is A, "after the usual backoff"


def test_the_one_that_failed_more_often_is_ready_and_goes_first():
    bench = Bench(B, max_attempts=9)
    bench.after(A, BROKEN)
    slow = ProviderError(ErrorKind.THROTTLED, "slow down", cause=Cause.STATUS, retry_after_s=2.0)
    assert bench.after(B, slow).deployment is A
    step = bench.after(A, BROKEN)
    assert step.deployment is A, "B wants two seconds"
    assert step.wait_s < 2.0


@pytest.mark.parametrize(("blocked_s", "now_s"), [(2.5, 0.0), (1.5, UNTIL_S - 1.0)])
def test_no_longer_than_two_seconds_and_never_to_the_deadline(blocked_s, now_s):
    bench = Bench(B)
    bench.after(A, MONEY, now_s)
    bench.blocked[B] = blocked_s
    assert bench.instead(B, now_s) is None


def test_two_seconds_in_all_before_each_call():
    """Somebody else always takes the permit."""
    bench = Bench(B)
    bench.after(A, MONEY)
    bench.blocked[B] = 1.0
    now = waited = 0.0
    while (step := bench.instead(B, now)) is not None:
        waited += step.wait_s
        now += step.wait_s
    assert 1.9 < waited < 2.2
    assert bench.tokens == START_TOKENS


def test_a_refusal_that_nothing_explains_is_no_busy_loop():
    bench = Bench(B, C)
    bench.after(A, MONEY)
    now, turns, candidate = 0.0, 0, B
    while (step := bench.instead(candidate, now)) is not None:
        now += step.wait_s
        turns += 1
        candidate = step.deployment
    assert turns < 2_000
    assert now > 1.0


def test_a_token_goes_with_the_call_that_is_made():
    bench = Bench(B, C)
    bench.after(A, BROKEN)
    assert bench.tokens == START_TOKENS - 1
    assert bench.instead(B).deployment is C
    assert bench.tokens == START_TOKENS - 1
    bench.blocked = {A: 9.0, B: 9.0, C: 9.0}
    assert bench.instead(C) is None
    assert bench.tokens == START_TOKENS, "nobody was called for it"


def test_a_free_turn_that_becomes_a_repeat_is_paid_for():
    bench = Bench(B, C)
    bench.after(A, BROKEN)
    assert bench.after(B, MONEY).deployment is C
    assert bench.tokens == START_TOKENS - 1
    assert bench.instead(C).deployment is A
    assert bench.tokens == START_TOKENS - 2


def left(bench):
    return bench.retry.budget.tokens - START_TOKENS, bench.retry.budget.untried - START_UNTRIED


def test_whoever_answers_well_is_asked_for_nothing():
    bench = Bench(B, C)
    bench.reputes = {B: Repute.GOOD, C: Repute.GOOD}
    bench.retry.budget.tokens = bench.retry.budget.untried = 0
    assert bench.after(A, BROKEN).deployment is B
    assert bench.after(B, BROKEN) is None, "once in a request"
    assert bench.outcome.is_budget_empty


def test_a_second_one_who_answers_well_is_one_of_those_not_tried():
    bench = Bench(B, C)
    bench.reputes = {B: Repute.GOOD, C: Repute.GOOD}
    bench.after(A, BROKEN)
    assert bench.after(B, BROKEN).deployment is C
    assert left(bench) == (0, -1)


def test_whoever_nothing_is_known_of_has_an_allowance_of_its_own_and_then_the_usual_one():
    bench = Bench(B, C)
    bench.reputes = {B: Repute.UNKNOWN, C: Repute.UNKNOWN}
    bench.retry.budget.untried = START_UNTRIED + 0.5
    bench.after(A, BROKEN)
    assert left(bench) == (0, -0.5)
    bench.retry.budget.untried = 0.5
    assert bench.after(B, BROKEN).deployment is C
    assert left(bench) == (-1, 0.5 - START_UNTRIED)


def test_a_repeat_costs_a_token_whatever_the_repute():
    bench = Bench()
    bench.reputes = {A: Repute.GOOD}
    assert bench.after(A, BROKEN).deployment is A
    assert left(bench) == (-1, 0)


@pytest.mark.parametrize(("repute", "cost"), [(Repute.GOOD, (0, 0)), (Repute.UNKNOWN, (0, -1)), (Repute.BAD, (-1, 0))])
def test_what_is_paid_fits_whoever_is_called_in_the_end(repute, cost):
    for before in Repute:
        bench = Bench(B, C)
        bench.reputes = {B: before, C: repute}
        bench.after(A, BROKEN)
        assert bench.instead(B).deployment is C
        assert left(bench) == cost
        bench.walk.give_up()
        assert left(bench) == (0, 0)


def test_what_a_repeat_in_its_place_cannot_pay_is_given_back():
    bench = Bench(B)
    bench.reputes = {B: Repute.UNKNOWN}
    bench.retry.budget.tokens = 0
    bench.after(A, BROKEN)
    assert bench.instead(B) is None
    assert bench.retry.budget.untried == START_UNTRIED


def test_what_could_not_be_said_does_not_cost_a_second_token():
    cannot = ProviderError(ErrorKind.CALLER, "no images", cause=Cause.UNSUPPORTED)
    bench = Bench(B)
    bench.after(A, BROKEN)
    assert bench.after(B, cannot).deployment is A
    assert bench.tokens == START_TOKENS - 1


def test_a_hedge_that_could_not_be_said_was_no_attempt():
    cannot = ProviderError(ErrorKind.LOCAL, "too dear", cause=Cause.UNSUPPORTED)
    bench = Bench(B, C, max_attempts=2)
    assert bench.walk.beside(A, lambda _: 1) == (B, 1)
    bench.walk.failed(B, cannot, 0.0)
    assert bench.after(A, BROKEN).deployment is C


def test_nothing_is_started_at_the_deadline():
    bench = Bench(B)
    assert bench.after(A, BROKEN, UNTIL_S) is None
    assert bench.tokens == START_TOKENS


def test_a_detour_takes_the_place_of_those_who_had_no_turn():
    long = ProviderError(ErrorKind.CONTEXT_LENGTH, "too long", cause=Cause.STATUS)
    bench = Bench(B, detour=lambda _: [A, B, C])
    bench.blocked[B] = 1.0
    bench.after(A, BROKEN)
    assert bench.instead(B).deployment is A
    assert bench.after(A, long).deployment is B
    assert bench.instead(B).deployment is C
    assert bench.tokens == START_TOKENS - 1, "a decision, not a failure"


def test_a_hedge_that_is_not_let_through_goes_to_the_next_and_loses_no_turn():
    bench = Bench(B, C)
    assert bench.walk.beside(A, lambda candidate: 5 if candidate is C else 0) == (C, 5)
    assert bench.walk.beside(A, lambda _: 0) is None
    assert bench.after(A, MONEY).deployment is B


def paused(scene, name, seconds):
    """Another request has just been told to leave this provider alone."""
    target = deployment(name)
    ticket = scene.guard.admit(target)
    scene.guard.record(target, BreakerVerdict.THROTTLED, ticket=ticket, duration_s=0.1, retry_after_s=seconds)


def test_a_pause_that_ends_in_time_is_waited_for():
    async def work():
        answers = {"a": [failing(ErrorKind.MONEY, open_s=1)], "b": [GOOD]}
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()})
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.5)
        paused(scene, "b", 2.0)
        outcome = await task
        assert outcome.answered_by.deployment.provider == "b"
        assert outcome.paused_s == pytest.approx(1.5, abs=0.01)
        assert scene.runtime.retries["m"].budget.tokens == pytest.approx(START_TOKENS + 0.2), "nobody was called twice"

    run_virtual(work())


def test_nobody_waits_for_a_pause_that_ends_while_another_is_asked():
    async def work():
        answers = {"a": [failing(open_s=1)], "b": [GOOD], "c": [failing(ErrorKind.MONEY, open_s=1)]}
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()})
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.5)
        paused(scene, "b", 1.0)
        outcome = await task
        assert [attempt.deployment.provider for attempt in outcome.attempts] == ["a", "c", "b"]
        assert outcome.paused_s == 0

    run_virtual(work())


def test_a_stale_connection_of_a_deployment_that_is_tripped_meanwhile():
    async def work():
        answers = {"a": [failing(ErrorKind.STALE, open_s=0.5)], "b": [failing(ErrorKind.STALE), GOOD]}
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()})
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.25)
        paused(scene, "a", 30.0)
        outcome = await task
        assert outcome.ending == "ok"
        assert [transport.fresh for transport in scene.transports.values()] == [[False], [False, True]]
        budget = scene.runtime.retries["m"].budget
        assert budget.tokens == pytest.approx(START_TOKENS + 0.2)
        assert budget.untried == pytest.approx(START_UNTRIED - 1 + 0.1)
        assert scene.value("signalbox_stale_retries_total", provider="b") == 1

    run_virtual(work())


def test_a_candidate_of_a_hedge_that_is_paused_is_asked_later():
    async def work():
        usual = [Answer([b"7,3,fine", None], open_s=1.0)] * 60
        slow = failing(ErrorKind.MONEY, open_s=5)
        scene = Stage({"a": ScriptedTransport(*usual, slow), "b": ScriptedTransport(GOOD)}, hedge=HedgeRules())
        for _ in usual:
            await scene.run()
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.5)
        paused(scene, "b", 2.0)
        outcome = await task
        assert [attempt.deployment.provider for attempt in outcome.attempts] == ["a", "b"]
        assert outcome.paused_s == 0

    run_virtual(work())
