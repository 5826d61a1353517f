"""A short pause of the only provider is waited for: by whoever met it, and by those that come meanwhile."""

import asyncio
from itertools import pairwise

import pytest

from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError
from policies.breaker import BreakerVerdict
from providers.base import ErrorKind
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Sink, Stage, deployment

GOOD = Answer([b"7,3,fine", None], open_s=0.1)
EMPTY = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}


def throttled(retry_after):
    return Answer([ErrorKind.THROTTLED.value.encode(), None], status=429, headers={"retry-after": str(retry_after)})


async def ask(scene, *, timeout_s=None):
    """(status, seconds it took)."""
    began = scene.clock()
    try:
        outcome = await scene.pipeline.run(scene.request(), Caller("tester"), Sink(), began, timeout_s)
    except RefusedError as refused:
        return refused.refusal.status, scene.clock() - began
    assert outcome.duration_s - outcome.upstream_s == pytest.approx(outcome.paused_s, abs=0.001)
    assert outcome.overhead_s == pytest.approx(0, abs=0.001)
    return (200 if outcome.ending == "ok" else outcome.refusal.status), outcome.duration_s


@pytest.mark.parametrize(
    "first", [throttled(1), Answer([b"7,3,fine", None], headers=EMPTY)], ids=["refused", "used up"]
)
def test_who_comes_during_a_short_pause_is_answered_after_it(first):
    async def work():
        scene = Stage({"a": ScriptedTransport(first, GOOD, GOOD)})
        one = asyncio.ensure_future(ask(scene))
        await asyncio.sleep(0.2)
        status, took_s = await ask(scene)
        assert (status, took_s) == (200, pytest.approx(0.9, abs=0.05))
        assert (await one)[0] == 200

    run_virtual(work())


@pytest.mark.parametrize(("pause_s", "timeout_s"), [(3, None), (1, 0.8)], ids=["long", "deadline"])
def test_longer_pauses_and_nearer_deadlines_are_told_at_once(pause_s, timeout_s):
    async def work():
        scene = Stage({"a": ScriptedTransport()})
        pause(scene, "a", pause_s)
        assert await ask(scene, timeout_s=timeout_s) == (429, 0)

    run_virtual(work())


def test_they_come_back_one_after_the_other_and_only_as_many_as_that_takes():
    async def work():
        scene = Stage({"a": ScriptedTransport(*[GOOD] * 100)})
        pause(scene, "a", 1)
        found = await asyncio.gather(*(ask(scene) for _ in range(100)))
        answered = sorted(took_s for status, took_s in found if status == 200)
        assert 45 <= len(answered) <= 55
        assert all(later - one >= 0.019 for one, later in pairwise(answered))
        assert answered[-1] <= 2.2
        assert {took_s for status, took_s in found if status == 429} == {0}
        assert scene.pipeline._pacing._turns == {}

    run_virtual(work())


def test_a_pause_that_is_prolonged_is_waited_for_no_longer_than_any():
    async def work():
        scene = Stage({"a": ScriptedTransport(throttled(1.5))}, max_attempts=1)
        pause(scene, "a", 1)
        found = await asyncio.gather(*(ask(scene) for _ in range(3)))
        assert [status for status, _ in found] == [429] * 3
        assert scene.transports["a"].opened == 1, "the first tells the others"
        assert max(took_s for _, took_s in found) < 1.1

    run_virtual(work())


def test_nobody_waits_who_can_be_taken_elsewhere_or_for_a_failing_one():
    async def work():
        scene = Stage({"a": ScriptedTransport(), "b": ScriptedTransport(GOOD)})
        pause(scene, "a", 1)
        assert await ask(scene) == (200, pytest.approx(0.1))
        scene = Stage({"a": ScriptedTransport()})
        one = deployment("a")
        tickets = [scene.guard.admit(one) for _ in range(5)]
        pause(scene, "a", 1)
        for ticket in tickets:
            scene.guard.record(one, BreakerVerdict.FAIL, ticket=ticket, duration_s=0)
        assert await ask(scene) == (503, 0), "open for longer than the pause"

    run_virtual(work())


def test_a_client_that_leaves_meanwhile_is_recorded_and_leaves_nothing():
    async def work():
        scene = Stage({"a": ScriptedTransport()})
        pause(scene, "a", 1)
        task = asyncio.ensure_future(ask(scene))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 1
        assert scene.pipeline._pacing._turns == {}

    run_virtual(work())


def pause(scene, name, pause_s):
    one = deployment(name)
    ticket = scene.guard.admit(one)
    scene.guard.record(one, BreakerVerdict.THROTTLED, ticket=ticket, duration_s=0, retry_after_s=pause_s)
