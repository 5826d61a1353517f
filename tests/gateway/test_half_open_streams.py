"""A stream as a probe: it makes room with its first content, and counts when it ends."""

import asyncio

import pytest

from gateway.runtime import Caller
from policies.breaker import BreakerState, BreakerVerdict
from routing.decision import Reason
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Sink, Stage, deployment
from tests.gateway.test_availability import ONE, Bench

OK, FAIL = BreakerVerdict.OK, BreakerVerdict.FAIL


@pytest.fixture
def guard() -> Bench:
    return Bench()


def streams(guard: Bench, number: int) -> list[int]:
    """Probes one after the other, each of which has its first content and goes on."""
    tickets = []
    for _ in range(number):
        ticket = guard.admit(ONE)
        assert ticket
        assert not guard.admit(ONE)
        tickets.append(guard.alive(ONE, ticket, ttft_s=0.1))
        assert guard.against() is None, "the others need not wait for the end of it"
    return tickets


def test_streams_close_it_with_their_ends(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    first, second, third = streams(guard, 3)
    for ticket in (second, first):
        assert not guard.is_calm
        guard.record(ONE, OK, ticket=ticket, duration_s=0.1)
    assert guard.is_calm
    for _ in range(4):
        assert guard.call(FAIL)
    guard.record(ONE, FAIL, ticket=third, duration_s=9)
    assert guard.is_calm, "it was no call of this state"


def test_a_stream_that_breaks_off_opens_it_again(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    first, second, third = streams(guard, 3)
    guard.record(ONE, OK, ticket=first, duration_s=0.1)
    guard.record(ONE, FAIL, ticket=second, duration_s=9)
    assert guard.earliest_s([ONE]) == 30
    guard.record(ONE, FAIL, ticket=third, duration_s=9)
    assert guard.earliest_s([ONE]) == 30, "that began before"
    assert guard.trips == {"one/m": 2}


def test_a_stream_whose_client_leaves_says_nothing_and_holds_nothing(guard: Bench) -> None:
    guard.trip()
    guard.clock.now += 15
    (ticket,) = streams(guard, 1)
    guard.release(ONE, ticket)
    assert guard.call(OK)
    assert not guard.is_calm
    assert guard.call(OK)
    assert guard.is_calm


def test_a_stream_of_a_closed_breaker_counts_at_its_end(guard: Bench) -> None:
    for _ in range(4):
        assert guard.call(FAIL)
    ticket = guard.admit(ONE)
    assert guard.alive(ONE, ticket, ttft_s=0.1) == ticket
    assert guard.is_calm
    guard.record(ONE, FAIL, ticket=ticket, duration_s=9)
    assert guard.against() is Reason.BREAKER_OPEN


def test_first_content_that_comes_late_is_no_proof() -> None:
    guard = Bench(slow_s=2)
    guard.trip()
    guard.clock.now += 15
    assert not guard.alive(ONE, guard.admit(ONE), ttft_s=3)
    assert guard.against() is Reason.BREAKER_OPEN
    assert guard.earliest_s([ONE]) == 30


BREAKS = Answer([b"text:one\n", 1.0, b"bad\n"])
LASTS = Answer([b"text:one\n", 1.0, b"usage:7,3\ndone\n", None])


def tripped(scene: Stage) -> None:
    """The breaker of the only deployment opens, and its time passes."""
    target = deployment("a")
    for _ in range(5):
        scene.guard.record(target, FAIL, ticket=scene.guard.admit(target), duration_s=0.1)


async def ask(scene: Stage) -> str:
    caller = Caller("tester")
    outcome = await scene.pipeline.run(scene.request(stream=True), caller, Sink(), scene.clock())
    return outcome.ending


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([LASTS, LASTS], BreakerState.CLOSED),
        ([LASTS, BREAKS], BreakerState.OPEN),
        ([BREAKS, LASTS], BreakerState.OPEN),
        ([Answer([b"text:one\n"]), LASTS], BreakerState.OPEN),
    ],
)
def test_through_the_whole_engine(answers: list[Answer], state: BreakerState) -> None:
    async def work() -> None:
        scene = Stage({"a": ScriptedTransport(*answers)})
        tripped(scene)
        await asyncio.sleep(20)
        first = asyncio.ensure_future(ask(scene))
        await asyncio.sleep(0.25)
        second = asyncio.ensure_future(ask(scene))
        endings = [await first, await second]
        assert scene.transports["a"].opened == 2, "the second one need not wait for the end of the first"
        assert scene.guard.states()["a/m"] is state
        assert endings == ["ok" if answer is LASTS else "interrupted" for answer in answers]

    run_virtual(work())
