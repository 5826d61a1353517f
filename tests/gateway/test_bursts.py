"""Many requests at once: a burst is judged as a whole, nobody is left out, and an outage is never amplified."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError
from policies.breaker import BreakerState
from policies.retry import START_TOKENS, START_UNTRIED
from providers.base import ErrorKind
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Sink, Stage

GOOD = Answer([b"7,3,fine", None])


def failing(kind=ErrorKind.BROKEN, retry_after=None):
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Answer([kind.value.encode(), None], status=500, headers=headers)


def brownout(share, *, requests=1000, seed=7, answers_s=0.0):
    """Two providers that fail this share of their calls, in bursts of twenty requests. What they answer takes
    `answers_s`. Returns (answered, attempts, seconds of each failure).
    """

    async def work():
        rng = Random(seed)
        good = replace(GOOD, open_s=answers_s)
        answers = {name: [failing() if rng.random() < share else good for _ in range(4 * requests)] for name in "ab"}
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()})
        answered, failed_s = 0, []
        for start in range(0, requests, 20):
            many = range(start, min(requests, start + 20))
            taken = await asyncio.gather(*(_run(scene) for _ in many))
            answered += sum(is_ok for is_ok, _ in taken)
            failed_s += [taken_s for is_ok, taken_s in taken if not is_ok]
            await asyncio.sleep(1)
        return answered, sum(transport.opened for transport in scene.transports.values()), failed_s

    return run_virtual(work())


async def _run(scene):
    """Whether one more request was answered, and its seconds."""
    began = scene.clock()
    try:
        outcome = await scene.pipeline.run(scene.request(), Caller("tester"), Sink(), began)
    except RefusedError:  # everybody is known to fail
        return False, scene.clock() - began
    return outcome.ending == "ok", outcome.duration_s


@pytest.mark.parametrize(("seed", "answers_s"), [(seed, 0.3 if seed % 2 else 0.0) for seed in range(12)])
def test_a_brownout_is_survived_and_not_amplified(seed, answers_s):
    """Also where the failures of a burst come before its answers."""
    answered, attempts, _ = brownout(0.4, seed=seed, answers_s=answers_s)
    assert answered >= 600
    assert attempts <= 1.3 * 1000 + 25


def test_a_full_outage_is_not_amplified_and_fails_fast():
    answered, attempts, failed_s = brownout(1.0)
    assert answered == 0
    assert attempts <= 1000 + START_TOKENS + START_UNTRIED
    assert sorted(failed_s)[950] < 3


@pytest.mark.parametrize(("open_s", "count"), [(0.3, 40), (5.0, 40), (0.3, 150)])
@pytest.mark.parametrize(
    ("kind", "hint"), [(ErrorKind.BROKEN, None), (ErrorKind.OVERLOADED, 60), (ErrorKind.THROTTLED, 60)]
)
def test_a_burst_at_a_dead_primary_is_answered(kind, hint, open_s, count):
    """All of it fails before the breaker can open, and of the fallback nothing is known. Where that is more than can be
    risked, the rest waits for how the first calls end.
    """

    async def work():
        dead = failing(kind, hint)
        slow = Answer(dead.pieces, status=500, headers=dead.headers, open_s=open_s)
        good = Answer([b"7,3,fine", None], open_s=1.0)
        scene = Stage({"a": ScriptedTransport(*[slow] * count), "b": ScriptedTransport(*[good] * count)})
        assert all(is_ok for is_ok, _ in await asyncio.gather(*(_run(scene) for _ in range(count))))

    run_virtual(work())


def test_who_waits_for_the_calls_of_others_goes_on_with_their_first_content():
    """Streams that go on for a while."""

    async def work():
        dead = Answer([b"broken", None], status=500, open_s=0.3)
        long = Answer([0.5, b"text:one\n", 4.0, b"text:two\n", 4.0, b"usage:7,3\ndone\n", None])
        scene = Stage({"a": ScriptedTransport(*[dead] * 60), "b": ScriptedTransport(*[long] * 60)})
        outcomes = await asyncio.gather(
            *(scene.pipeline.run(scene.request(stream=True), Caller("t"), Sink(), scene.clock()) for _ in range(60))
        )
        assert all(outcome.ending == "ok" and outcome.ttft_s < 2 for outcome in outcomes)

    run_virtual(work())


@pytest.mark.parametrize("open_s", [0.0, 1.0])
def test_a_burst_in_an_outage_is_not_amplified(open_s):
    """Whoever waits for the first calls is told at once that they failed."""

    async def work():
        dead = Answer([b"broken", None], status=500, open_s=open_s)
        scene = Stage({name: ScriptedTransport(*[dead] * 150) for name in "ab"})
        taken = await asyncio.gather(*(_run(scene) for _ in range(150)))
        assert not any(is_ok for is_ok, _ in taken)
        assert sum(transport.opened for transport in scene.transports.values()) <= 150 + START_TOKENS + START_UNTRIED
        assert max(taken_s for _, taken_s in taken) < 3

    run_virtual(work())


def test_nobody_waits_for_others_beyond_the_deadline():
    async def work():
        dead = Answer([b"broken", None], status=500, open_s=0.1)
        scene = Stage({"a": ScriptedTransport(*[dead] * 50), "b": ScriptedTransport(*[Answer(open_s=500.0)] * 50)})
        runs = [scene.pipeline.run(scene.request(), Caller("t"), Sink(), scene.clock(), 5.0) for _ in range(50)]
        outcomes = await asyncio.gather(*runs)
        assert {outcome.refusal.status for outcome in outcomes} == {502, 504}
        assert max(outcome.duration_s for outcome in outcomes) <= 5.01
        assert scene.transports["b"].opened == START_TOKENS + START_UNTRIED
        assert scene.guard.states()["b/m"] is BreakerState.CLOSED
        assert scene.guard._watchers == 0

    run_virtual(work())


def test_a_stream_of_requests_to_a_primary_that_dies_is_answered():
    """It fails so slowly that four hundred requests are under way there before its breaker opens."""

    async def work():
        slow = Answer([b"broken", None], status=500, open_s=2.0)
        good = Answer([b"7,3,fine", None], open_s=0.1)
        count = 800
        scene = Stage({"a": ScriptedTransport(*[slow] * count), "b": ScriptedTransport(*[good] * count)})
        tasks = []
        for _ in range(count):
            tasks.append(asyncio.ensure_future(_run(scene)))
            await asyncio.sleep(0.005)
        assert all(is_ok for is_ok, _ in await asyncio.gather(*tasks))

    run_virtual(work())
