"""Extra calls: what they cost, when they wait and for how long, and that an outage is never amplified."""

import asyncio

import pytest

from gateway.availability import Guard
from gateway.runtime import Caller
from policies.breaker import BreakerState
from policies.retry import CAP_TOKENS, CAP_UNTRIED, START_TOKENS, START_UNTRIED
from policies.timeouts import Timeouts
from policies.verdicts import VERDICTS, may_repeat
from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedExchange, ScriptedTransport, Sink, Stage

GOOD = Answer([b"7,3,fine", None])


def failing(kind=ErrorKind.BROKEN, retry_after=None):
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Answer([kind.value.encode(), None], status=500, headers=headers)


def play(answers, *, stream=False, tokens=None, **stage):
    """Run one request; `answers` are those of each candidate by name. Returns (stage, outcome)."""

    async def work():
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()}, **stage)
        if tokens is not None:
            budget = scene.runtime.retries["m"].budget
            budget.tokens = budget.untried = tokens
        outcome = await scene.run(stream=stream)
        assert all(transport.running == 0 for transport in scene.transports.values())
        return scene, outcome

    return run_virtual(work())


@pytest.mark.parametrize("kind", ErrorKind)
def test_a_sole_candidate_is_asked_again_as_the_table_says(kind):
    times = 2 if VERDICTS[kind].retries_fresh else 1
    scene, outcome = play({"a": [failing(kind)] * times + [GOOD]})
    assert (outcome.ending == "ok") == VERDICTS[kind].is_budgeted
    assert scene.transports["a"].opened == times + (1 if VERDICTS[kind].is_budgeted else 0)


@pytest.mark.parametrize("cause", Cause)
def test_who_was_waited_for_in_vain_is_not_asked_again(cause):
    error = ProviderError(ErrorKind.BROKEN, "x", cause=cause)
    assert may_repeat(error) == (cause not in (Cause.TTFT, Cause.IDLE, Cause.TOTAL, Cause.TOO_LARGE))


def test_nobody_waits_while_somebody_else_is_ready():
    _, outcome = play({"a": [failing(ErrorKind.THROTTLED, 1)], "b": [failing()], "c": [GOOD]})
    assert outcome.answered_by.deployment.provider == "c"
    assert outcome.paused_s == 0
    assert outcome.duration_s == 0


def test_repeats_go_round_and_wait_longer_each_time():
    async def work():
        waits = {2: [], 3: [], 4: [], 5: []}
        for seed in range(200):
            scene = Stage({"a": ScriptedTransport(*[failing()] * 5)}, max_attempts=5)
            scene.world.rng.seed(seed)
            outcome = await scene.run()
            starts = [attempt.started for attempt in outcome.attempts]
            assert len(starts) == 5
            for number, seen in waits.items():
                seen.append(starts[number - 1] - starts[number - 2])
        for number, seen in waits.items():
            most_s = 0.2 * 2 ** (number - 2)
            assert 0.4 * most_s < sum(seen) / len(seen) < 0.6 * most_s, "the mean of a full jitter is half of its range"
            assert max(seen) <= most_s + 1e-6

    run_virtual(work())


def test_pauses_are_no_overhead_of_the_gateway():
    _, outcome = play({"a": [failing(), failing(), GOOD]})
    assert outcome.paused_s > 0
    assert outcome.duration_s == pytest.approx(outcome.paused_s)
    assert outcome.overhead_s == pytest.approx(0)


def test_after_everybody_failed_the_first_is_asked_again():
    scene, outcome = play({"a": [failing(), GOOD], "b": [failing(ErrorKind.MONEY)]})
    assert [attempt.deployment.provider for attempt in outcome.attempts] == ["a", "b", "a"]
    budget = scene.runtime.retries["m"].budget
    assert budget.tokens == pytest.approx(START_TOKENS - 1 + 0.2)
    assert budget.untried == pytest.approx(START_UNTRIED - 1 + 0.1)


def test_a_short_hint_is_waited_for():
    _, outcome = play({"a": [failing(ErrorKind.THROTTLED, 1.5), GOOD]})
    assert outcome.ending == "ok"
    assert outcome.paused_s == pytest.approx(1.5, abs=0.01)


def test_the_candidate_that_is_ready_first_is_asked_again():
    hints = {"a": [failing(ErrorKind.THROTTLED, 2)], "b": [failing(ErrorKind.THROTTLED, 1), GOOD]}
    _, outcome = play(hints)
    assert outcome.answered_by.deployment.provider == "b"
    assert outcome.paused_s == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("hints", "expected"), [((30, 7.2), 8), ((2.5, 400), 3), ((400, 500), 120)])
def test_long_hints_are_passed_on(hints, expected):
    answers = {name: [failing(ErrorKind.THROTTLED, hint)] for name, hint in zip("ab", hints, strict=True)}
    scene, outcome = play(answers)
    assert outcome.refusal.status == 429
    assert (b"retry-after", b"%d" % expected) in outcome.refusal.headers
    assert outcome.duration_s == 0
    assert [transport.opened for transport in scene.transports.values()] == [1, 1]


def test_the_latest_hint_of_a_candidate_is_the_one_that_counts():
    _, outcome = play({"a": [failing(ErrorKind.THROTTLED, 1), failing(ErrorKind.THROTTLED, 50)]})
    assert (b"retry-after", b"50") in outcome.refusal.headers


def test_no_pause_reaches_the_deadline():
    limits = Timeouts(1, 10, 5, 1.4)
    scene, outcome = play({"a": [failing(ErrorKind.THROTTLED, 1.5)]}, timeouts=limits)
    assert outcome.refusal.status == 429
    assert outcome.duration_s == 0
    assert scene.transports["a"].opened == 1


def test_an_empty_budget_means_the_last_error_at_once():
    scene, outcome = play({"a": [failing(ErrorKind.OVERLOADED)], "b": [GOOD]}, tokens=0.9)
    assert outcome.refusal.status == 503
    assert scene.transports["b"].opened == 0
    assert scene.value("signalbox_retry_budget_exhausted_total", model="m") == 1
    assert scene.runtime.retries["m"].budget.tokens == 0.9


@pytest.mark.parametrize("kind", [ErrorKind.MONEY, ErrorKind.CREDENTIALS])
def test_accounts_without_credit_cost_no_tokens(kind):
    scene, outcome = play({"a": [failing(kind)], "b": [GOOD]}, tokens=0)
    assert outcome.ending == "ok"
    assert scene.value("signalbox_retry_budget_exhausted_total") == 0


def test_what_was_never_sent_is_no_attempt_and_costs_nothing():
    cannot = ProviderError(ErrorKind.CALLER, "no images here", cause=Cause.UNSUPPORTED)
    _, outcome = play({"a": [], "b": [GOOD]}, refuses={"a": cannot}, tokens=0, max_attempts=1)
    assert outcome.answered_by.deployment.provider == "b"


def test_answers_earn_up_to_the_cap():
    async def work():
        scene = Stage({"a": ScriptedTransport(*[GOOD] * 81)})
        budget = scene.runtime.retries["m"].budget
        await scene.run()
        assert budget.tokens == pytest.approx(START_TOKENS + 0.2)
        for _ in range(79):
            await scene.run()
        assert CAP_TOKENS <= budget.tokens < CAP_TOKENS + 0.2
        assert budget.untried == pytest.approx(START_UNTRIED + 80 * 0.1)
        budget.untried = CAP_UNTRIED
        await scene.run()
        assert budget.untried == CAP_UNTRIED

    run_virtual(work())


def test_a_client_that_leaves_with_the_last_byte_has_been_answered():
    async def work():
        lingering = Answer([b"text:one\n", b"usage:7,3\ndone\n"])
        scene = Stage({"a": ScriptedTransport(lingering)})
        task = asyncio.ensure_future(scene.run(stream=True))
        await asyncio.sleep(0.5)
        task.cancel()
        assert (await task).ending == "ok"
        assert scene.runtime.retries["m"].budget.tokens == pytest.approx(START_TOKENS + 0.2)

    run_virtual(work())


def test_a_client_that_leaves_in_a_pause_starts_nothing_more():
    async def work():
        scene = Stage({"a": ScriptedTransport(failing(ErrorKind.THROTTLED, 2), GOOD)})
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.transports["a"].opened == 1
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 1
        assert scene.runtime.retries["m"].budget.tokens == START_TOKENS, "what was paid for nothing is given back"

    run_virtual(work())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ErrorKind)
def test_the_breaker_is_told_what_the_table_says(kind, stream):
    verdict = VERDICTS[kind].breaker

    async def work():
        told = []
        scene = Stage({"a": ScriptedTransport(*[failing(kind, 60)] * 2)}, max_attempts=1)
        record = scene.guard.record
        scene.guard.record = lambda *parts, **more: (told.append(parts[1]), record(*parts, **more))
        outcome = await scene.run(stream=stream)
        assert told == [verdict] * len(outcome.attempts)
        state = scene.guard.states()["a/m"]
        assert (state is BreakerState.OPEN) == (kind in (ErrorKind.MONEY, ErrorKind.CREDENTIALS))
        return scene

    run_virtual(work())


def test_a_dead_primary_is_left_alone_and_nobody_notices():
    async def work():
        dead = ScriptedTransport(*[failing(ErrorKind.BROKEN)] * 300)
        scene = Stage({"a": dead, "b": ScriptedTransport(*[GOOD] * 300)})
        for _ in range(300):
            outcome = await scene.run()
            assert outcome.ending == "ok"
            await asyncio.sleep(0.01)
        assert dead.opened <= 5 * 2 + 3

    run_virtual(work())


def test_a_candidate_that_failed_meanwhile_is_passed_over():
    """The decision was made before the breaker opened."""

    async def work():
        scene = Stage({"a": ScriptedTransport(), "b": ScriptedTransport(GOOD)})
        first, second = scene.runtime.router.find("m").deployments()
        scene.guard.admit = lambda deployment, _: 0 if deployment is first else Guard.admit(scene.guard, deployment)
        outcome = await scene.run()
        assert outcome.answered_by.deployment is second
        assert [attempt.deployment for attempt in outcome.attempts] == [second]

    run_virtual(work())


def test_when_all_failed_meanwhile_the_caller_is_told_when_to_come_back():
    async def work():
        scene = Stage({"a": ScriptedTransport(), "b": ScriptedTransport()})
        scene.guard.admit = lambda *_: 0
        scene.guard.earliest_s = lambda *_: 6.2
        outcome = await scene.run()
        assert outcome.refusal.status == 503
        assert outcome.refusal.headers == [(b"retry-after", b"7")]
        assert outcome.attempts == []

    run_virtual(work())


PHASES = {"connecting": Answer(open_s=100), "a whole answer": Answer([b"7,3,"]), "a stream": Answer([b"text:one\n"])}


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves_says_nothing_of_the_provider(phase):
    async def work():
        scene = Stage({"a": ScriptedTransport(*[PHASES[phase]] * 30)})
        for _ in range(30):
            task = asyncio.ensure_future(
                scene.pipeline.run(scene.request(stream=phase == "a stream"), Caller("tester"), Sink(), scene.clock())
            )
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert scene.guard.is_calm
        assert scene.guard._breakers["a/m"].pending == 0

    run_virtual(work())


def test_a_client_that_leaves_with_the_answer_does_not_take_the_verdict_with_it():
    """The connection is still being given back when the client is gone."""

    async def work():
        scene = Stage({"a": ScriptedTransport(*[failing(ErrorKind.CREDENTIALS)] * 5)}, max_attempts=1)

        class Slow(ScriptedExchange):
            async def __aexit__(self, *_):
                await super().__aexit__()
                await asyncio.sleep(1)

        transport = scene.transports["a"]
        transport.open = lambda call, fresh=False: Slow(transport, transport._answers.pop(0))
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.guard.states()["a/m"] is BreakerState.OPEN

    run_virtual(work())


@pytest.mark.parametrize(("timeout_s", "state"), [(None, BreakerState.OPEN), (12, BreakerState.CLOSED)])
def test_a_deadline_of_the_caller_is_no_fault_of_the_provider(timeout_s, state):
    async def work():
        scene = Stage({"a": ScriptedTransport(*[Answer(open_s=1000)] * 5)})
        for _ in range(5):
            outcome = await scene.run(timeout_s=timeout_s)
            assert outcome.refusal.status == 504
        assert scene.guard.states()["a/m"] is state

    run_virtual(work())
