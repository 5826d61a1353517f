"""A second call beside a slow first one: when it starts, who wins, what it costs, and that nothing is left behind."""

import asyncio
import json
from random import Random

import pytest

from gateway.race import may_race
from gateway.runtime import Caller
from gateway.walk import Walk
from policies.breaker import Repute
from policies.hedging import MAX_SPEND_RATIO, HedgeRules, SlowTimes, Spent
from policies.outcome import Outcome
from policies.retry import Retry
from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import IN_NUSD, OUT_NUSD, Answer, ScriptedTransport, Sink, Stage, deployment

RULES = HedgeRules()
USUAL_S = 1.0
CALLER = Caller("tester")


def whole(seconds, text=b"fine"):
    return Answer([b"7,30,%b" % text, None], open_s=seconds)


def stream(seconds, text=b"one"):
    return Answer([b"role\n", seconds, b"text:%b\n" % text, 0.5, b"usage:7,30\n", b"done\n", None])


async def warmed(a, b, *, answer=whole, hedge=RULES, **stage):
    """A stage that knows its usual time and has saved up for second calls."""
    usual = [answer(USUAL_S) for _ in range(100)]
    scene = Stage({"a": ScriptedTransport(*usual, *a), "b": ScriptedTransport(*b)}, hedge=hedge, **stage)
    for _ in usual:
        await one(scene, is_stream=answer is stream)
    assert scene.transports["b"].opened == 0
    return scene


async def one(scene, *, is_stream=False, body=None):
    scene.sink = Sink()
    request = scene.request(stream=is_stream)
    request.body.update(body or {})
    return await scene.pipeline.run(request, CALLER, scene.sink, scene.clock())


def logged_attempts(scene):
    return json.loads(scene.log.lines[-1])["attempts"]


@pytest.mark.parametrize("answer", [whole, stream])
def test_the_faster_one_answers_and_the_other_is_given_up_and_billed(answer):
    async def work():
        scene = await warmed([answer(8, b"slow")], [answer(0.25, b"fast")], answer=answer)
        outcome = await one(scene, is_stream=answer is stream)
        first, second = outcome.attempts
        assert (first.is_outrun, first.kind, first.is_complete) == (True, None, False)
        assert outcome.answered_by is second
        assert second.started - first.started == pytest.approx(USUAL_S, rel=0.1)
        assert first.ended == pytest.approx(second.started + 0.25, abs=0.01), "given up at once"
        assert first.usage.is_estimated
        assert first.usage.input > 5
        assert outcome.cost_nusd == first.cost_nusd + 7 * IN_NUSD + 30 * OUT_NUSD
        assert first.cost_nusd == first.usage.input * IN_NUSD
        if answer is stream:
            assert b"fast" in scene.sink.data
            assert b"slow" not in scene.sink.data
        else:
            assert outcome.reply.body == b"fast"
        assert outcome.overhead_s == pytest.approx(0, abs=0.01)
        assert scene.value("signalbox_attempts_total", provider="a", outcome="outrun") == 1
        assert scene.value("signalbox_hedges_total", outcome="won") == 1
        assert scene.value("signalbox_fallbacks_total") == 0, "nobody failed"
        marks = [(logged.get("is_hedge"), logged.get("is_outrun")) for logged in logged_attempts(scene)]
        assert marks == [(None, True), (True, None)]
        assert all(transport.running == 0 for transport in scene.transports.values())

    run_virtual(work())


@pytest.mark.parametrize("answer", [whole, stream])
def test_the_first_one_may_still_win(answer):
    async def work():
        scene = await warmed([answer(1.5, b"first")], [answer(8, b"second")], answer=answer)
        outcome = await one(scene, is_stream=answer is stream)
        assert outcome.answered_by is outcome.attempts[0]
        assert outcome.attempts[1].is_outrun
        assert scene.value("signalbox_hedges_total", outcome="lost") == 1
        assert scene.value("signalbox_hedges_total", outcome="won") == 0
        assert outcome.finish_reason == "stop"
        assert outcome.duration_s < 3

    run_virtual(work())


def test_what_has_begun_is_left_alone():
    """The first content came in time; how long the rest takes is no matter."""

    async def work():
        slow = Answer([b"text:one\n", 4, b"text:two\n", 4, b"usage:7,30\ndone\n", None])
        scene = await warmed([slow], [], answer=stream)
        outcome = await one(scene, is_stream=True)
        assert len(outcome.attempts) == 1

    run_virtual(work())


def test_off_means_off():
    async def work():
        scene = await warmed([whole(9)], [], hedge=None)
        assert len((await one(scene)).attempts) == 1

    run_virtual(work())


@pytest.mark.parametrize(
    ("body", "is_allowed"),
    [
        ({}, True),
        ({"n": 1, "store": False}, True),
        ({"n": 2}, False),
        ({"store": True}, False),
        ({"background": True}, False),
    ],
)
def test_never_where_a_second_call_does_harm(body, is_allowed):
    async def work():
        scene = await warmed([whole(9)], [whole(1)])
        assert may_race(scene.request()) is True
        assert len((await one(scene, body=body)).attempts) == 1 + is_allowed

    run_virtual(work())


def test_it_goes_to_another_provider_or_to_nobody():
    first, same, other = deployment("a"), deployment("a", "n"), deployment("b")
    alone = {"ready_in": lambda _: 0.0, "repute": lambda _: Repute.BAD, "is_tried": lambda _: False}
    walk = Walk([same, other], 4, Retry(), None, Random(1), **alone)
    assert walk.beside(first, lambda _: 7) == (other, 7)
    assert walk.beside(first, lambda _: 8) is None
    error = ProviderError(ErrorKind.MONEY, "no credit", cause=Cause.STATUS)
    outcome = Outcome(None, "tester", 0.0, None)
    walk = Walk([same], 4, Retry(), outcome, Random(1), **alone)
    assert walk.beside(first, lambda _: 9) is None
    assert walk.after(first, error, 0.0, 9.0).deployment is same, "it keeps its turn"


FAILS = Answer([ErrorKind.BROKEN.value.encode(), None], status=500, open_s=3)


def test_both_fail_and_somebody_is_asked_again():
    async def work():
        scene = await warmed([FAILS, whole(0.1)], [FAILS, whole(0.1)])
        outcome = await one(scene)
        assert outcome.ending == "ok"
        assert len(outcome.attempts) == 3
        assert scene.value("signalbox_hedges_total", outcome="lost") == 1
        assert [attempt.kind for attempt in outcome.attempts[:2]] == [ErrorKind.BROKEN] * 2

    run_virtual(work())


def test_a_hint_counts_from_when_it_came():
    async def work():
        hint = Answer([ErrorKind.OVERLOADED.value.encode(), None], status=503, headers={"retry-after": "2"})
        scene = await warmed([Answer([b"money", None], status=500, open_s=2)], [hint, whole(0.1)])
        outcome = await one(scene)
        assert [attempt.deployment.provider for attempt in outcome.attempts] == ["a", "b", "b"]
        assert outcome.paused_s == pytest.approx(1.0, abs=0.1), (
            "one of the two seconds is over when the other one fails"
        )

    run_virtual(work())


@pytest.mark.parametrize(("a", "b"), [(FAILS, whole(5)), (whole(5), FAILS)])
def test_one_fails_and_the_other_answers(a, b):
    async def work():
        scene = await warmed([a], [b])
        outcome = await one(scene)
        assert outcome.ending == "ok"
        assert len(outcome.attempts) == 2
        assert not any(attempt.is_outrun for attempt in outcome.attempts)

    run_virtual(work())


def test_a_first_failure_falls_back_as_ever():
    async def work():
        scene = await warmed([Answer([b"broken", None], status=500)], [whole(1)])
        outcome = await one(scene)
        assert outcome.answered_by.deployment.provider == "b"
        assert outcome.duration_s == pytest.approx(1)

    run_virtual(work())


@pytest.mark.parametrize("after_s", [0.5, 3])
def test_a_client_that_leaves_ends_both(after_s):
    async def work():
        scene = await warmed([whole(9)], [whole(9)])
        task = asyncio.ensure_future(one(scene))
        await asyncio.sleep(after_s)
        assert scene.transports["b"].running == (after_s > 1)
        task.cancel("shutdown")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(transport.running == 0 for transport in scene.transports.values())
        assert scene.value("signalbox_requests_total", outcome="shutdown") == 1
        assert scene.guard._breakers["a/m"].pending == 0

    run_virtual(work())


@pytest.mark.parametrize("answer", [whole, stream])
def test_an_end_in_the_moment_of_the_answer_does_not_lose_it(answer):
    """At every step of the loop: what is recorded as answered is handed over, and everything else is cancelled."""

    async def work():
        endings = set()
        for steps in range(-1, 12):
            scene = await warmed([answer(0.5)], [], answer=answer)
            task = asyncio.ensure_future(one(scene, is_stream=answer is stream))
            await asyncio.sleep((0.5 if answer is whole else 1.0) - 0.1 * (steps < 0))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel("shutdown")
            await asyncio.wait([task])
            ended = "shutdown" if task.cancelled() else task.result().ending
            assert scene.value("signalbox_requests_total", outcome=ended) == (1 if task.cancelled() else 101)
            endings.add(ended)
        assert endings == {"ok", "shutdown"}

    run_virtual(work())


def test_a_stream_that_breaks_after_winning_ends_with_an_error_event():
    async def work():
        scene = await warmed([stream(9)], [Answer([b"text:one\n", b"bad\n"])], answer=stream)
        outcome = await one(scene, is_stream=True)
        assert outcome.ending == "interrupted"
        assert b"stream_interrupted" in scene.sink.data
        assert scene.value("signalbox_hedges_total", outcome="won") == 1

    run_virtual(work())


def test_a_second_call_that_nobody_waited_for_was_extra_spend():
    async def work():
        scene = await warmed([whole(9)], [whole(9)])
        task = asyncio.ensure_future(one(scene))
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        spent = scene.runtime.hedges._books["m"].spent
        assert spent._slots[-1][2] > 0

    run_virtual(work())


def test_a_second_call_that_never_began_leaves_nothing_behind():
    """The first one answers in the moment in which the second one is made."""

    async def work():
        scene = await warmed([], [])
        delay_s = scene.runtime.hedges._books["m"].times[False].quantile(RULES.after)
        scene.transports["a"]._answers.append(whole(delay_s))
        taken = []
        take = scene.runtime.hedges.take
        scene.runtime.hedges.take = lambda name, extra_nusd: (taken.append(name), take(name, extra_nusd))
        outcome = await one(scene)
        assert taken == ["m"]
        assert [attempt.deployment.provider for attempt in outcome.attempts] == ["a"]
        assert scene.transports["b"].opened == 0
        assert [breaker.pending for breaker in scene.guard._breakers.values()] == [0, 0]

    run_virtual(work())


def test_the_retry_budget_holds_for_second_calls():
    async def work():
        scene = await warmed([whole(9)], [whole(1)])
        scene.runtime.retries["m"].budget.tokens = 0.5
        assert len((await one(scene)).attempts) == 1

    run_virtual(work())


def heavy_tail(rng):
    """Log-normal around 0.4 s, and one answer in 25 takes seconds."""
    return rng.lognormvariate(-0.9, 0.25) if rng.random() > 0.04 else rng.uniform(2, 9)


def percentile(seen, share):
    return sorted(seen)[int(share * len(seen))]


def heavy_traffic(hedge, seed, requests=3000):
    """Times to first content, upstream calls, and what was paid in all and for calls given up."""

    async def work():
        rng = Random(seed)
        answers = {name: [stream(heavy_tail(rng)) for _ in range(requests)] for name in "ab"}
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()}, hedge=hedge)
        seen, paid, extra = [], 0, 0
        for _ in range(requests):
            outcome = await one(scene, is_stream=True)
            assert outcome.ending == "ok"
            seen.append(outcome.ttft_s)
            paid += outcome.cost_nusd
            extra += sum(attempt.cost_nusd for attempt in outcome.attempts if attempt.is_outrun)
        return seen, sum(transport.opened for transport in scene.transports.values()), paid, extra

    return run_virtual(work())


@pytest.mark.parametrize("seed", range(2))
def test_it_cuts_the_tail_by_two_fifths_for_a_twentieth_more_calls(seed):
    without, calls, _, _ = heavy_traffic(None, seed)
    assert calls == 3000
    seen, calls, paid, extra = heavy_traffic(RULES, seed)
    assert percentile(seen, 0.99) <= 0.6 * percentile(without, 0.99)
    assert percentile(seen, 0.5) == pytest.approx(percentile(without, 0.5), rel=0.05)
    assert calls <= 1.05 * 3000
    assert extra <= 0.021 * paid


def test_when_everything_is_slow_the_caps_hold():
    async def work():
        scene = await warmed([whole(9)] * 400, [whole(9)] * 400)
        for _ in range(400):
            await one(scene)
        assert scene.transports["b"].opened <= 0.05 * 500

    run_virtual(work())


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_percentiles_are_near_enough(share):
    rng, times, seen = Random(4), SlowTimes(), []
    assert times.quantile(share) is None
    for _ in range(900):
        seconds = rng.lognormvariate(0, 1)
        times.add(seconds)
        seen.append(seconds)
    assert times.quantile(share) == pytest.approx(percentile(seen, share), rel=0.15)


def test_percentiles_follow_a_change_in_bounded_memory():
    times = SlowTimes()
    for _ in range(5_000):
        times.add(0.1)
    for _ in range(5_000):
        times.add(5.0)
    assert times.quantile(0.95) == pytest.approx(5, rel=0.1)
    times.add(0)
    times.add(1e9)
    assert sum(times._counts) == times._total < 1_000


def test_second_calls_at_once_keep_within_the_share_of_the_spend():
    async def work():
        scene = await warmed([whole(9)] * 10, [whole(0.1)] * 10, hedge=HedgeRules(0.95, 0.5))
        spent = scene.runtime.hedges._books["m"].spent
        long = {"messages": [{"role": "user", "content": "word " * 200}]}
        await asyncio.gather(*(one(scene, body=long) for _ in range(10)))
        assert 1 <= scene.transports["b"].opened < 10
        _, whole_nusd, extra_nusd = (sum(column) for column in zip(*spent._slots, strict=True))
        assert 0 < extra_nusd <= MAX_SPEND_RATIO * whole_nusd
        assert spent.reserved == 0

    run_virtual(work())


def test_spend_is_of_the_last_hour():
    spent = Spent()
    spent.note(0, 1_000_000, 19_000)
    assert spent.has_room(0, 1_000)
    assert not spent.has_room(0, 1_001)
    spent.note(3_000, 1_000_000, 0)
    assert spent.has_room(3_000, 21_000)
    assert spent.has_room(3_601, 20_000)
    assert not spent.has_room(3_601, 20_001), "the first hour is over"
    assert not spent.has_room(10_000, 1)
    assert spent.has_room(10_000, 0)
