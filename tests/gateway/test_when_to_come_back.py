"""What a refused caller is told of the time to wait: of all candidates, and nothing where waiting does not help."""

import pytest

from gateway.wire.refusals import RefusedError
from policies.breaker import BreakerVerdict
from providers.base import ErrorKind
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage, deployment

THROTTLED, MONEY, BROKEN = ErrorKind.THROTTLED, ErrorKind.MONEY, ErrorKind.BROKEN


def failing(kind, retry_after=None):
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Answer([kind.value.encode(), None], status=500, headers=headers)


def told(refusal):
    """(status, seconds to wait, advice)."""
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return refusal.status, headers.get("retry-after"), headers.get("x-should-retry")


def play(answers, *, paused_s=None, requests=1, **stage):
    """What the last of `requests` is told. `paused_s` are pauses known before, by candidate."""

    async def work():
        scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()}, **stage)
        for name, pause_s in (paused_s or {}).items():
            one = deployment(name)
            ticket = scene.guard.admit(one)
            scene.guard.record(one, BreakerVerdict.THROTTLED, ticket=ticket, duration_s=0, retry_after_s=pause_s)
        for _ in range(requests):
            try:
                refusal = (await scene.run()).refusal
            except RefusedError as refused:
                refusal = refused.refusal
        return told(refusal)

    return run_virtual(work())


def test_one_that_routing_left_out_may_be_ready_first():
    assert play({"a": [], "b": [failing(THROTTLED, 60)]}, paused_s={"a": 5}) == (429, "5", None)


def test_one_that_had_no_turn_is_ready_now():
    answers = {"a": [failing(THROTTLED, 60)], "b": [failing(THROTTLED, 50)], "c": []}
    assert play(answers, max_attempts=2) == (429, "1", None)


def test_time_that_passed_since_a_hint_counts():
    slow = Answer([30.0, THROTTLED.value.encode(), None], status=500, headers={"retry-after": "80"})
    assert play({"a": [failing(THROTTLED, 60)], "b": [slow]}) == (429, "30", None)


def test_one_that_failed_without_a_hint_is_no_reason_to_come_back_at_once():
    assert play({"a": [failing(BROKEN)], "b": [failing(THROTTLED, 60)]}, max_attempts=2) == (503, "60", None)


def test_who_was_left_out_counts_like_one_who_was_asked():
    """It would have been asked a moment before or later."""
    assert play({"a": [], "b": [failing(BROKEN)]}, paused_s={"a": 5}, max_attempts=1) == (503, "5", None)
    assert play({"a": [], "b": [failing(MONEY)]}, paused_s={"a": 5}) == (429, "5", None)
    open_first = {"a": [failing(MONEY)], "b": [failing(BROKEN)] * 3}
    assert play(open_first, requests=2, max_attempts=2) == (502, None, "false")


@pytest.mark.parametrize(
    ("kind", "expected"), [(THROTTLED, (429, "1", None)), (ErrorKind.OVERLOADED, (503, "1", "false"))]
)
def test_without_a_hint_it_is_at_least_a_second(kind, expected):
    assert play({"a": [failing(kind)]}, max_attempts=1) == expected


def test_an_open_breaker_is_a_time_to_wait_too():
    status, wait, advice = play({"a": [failing(ErrorKind.OVERLOADED)] * 5}, max_attempts=1, requests=5)
    assert (status, advice) == (503, "false")
    assert 7 <= int(wait) <= 15
    status, wait, advice = play({"a": [failing(ErrorKind.OVERLOADED)] * 5}, max_attempts=1, requests=6)
    assert (status, advice) == (503, "true")
    assert 7 <= int(wait) <= 15


@pytest.mark.parametrize(("kind", "status"), [(MONEY, 503), (ErrorKind.CREDENTIALS, 502)])
def test_nobody_waits_for_what_only_a_person_can_mend(kind, status):
    for hint in (None, 9):
        assert play({"a": [failing(kind, hint)]}) == (status, None, "false")
        assert play({"a": [failing(kind, hint)]}, requests=2) == (503, None, "false")


def test_somebody_who_needs_no_person_is_worth_waiting_for():
    answers = {"a": [failing(MONEY)], "b": [failing(THROTTLED, 60)]}
    assert play(answers) == (429, "60", None)
    status, wait, advice = play(answers, requests=2)
    assert (status, advice) in ((429, "true"), (503, "true"))
    assert wait == "60"


def test_a_pardoned_one_is_worth_waiting_for_again():
    async def work():
        scene = Stage({"a": ScriptedTransport(failing(MONEY))})
        await scene.run()
        one = deployment("a")
        assert scene.guard.needs_person(one)
        scene.guard.pardon()
        assert not scene.guard.needs_person(one)
        assert scene.guard.admit(one)
        try:
            await scene.run()
        except RefusedError as refused:
            return told(refused.refusal)

    assert run_virtual(work()) == (503, "1", "true")
