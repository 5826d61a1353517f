"""What a call costs that we gave up ourselves, and what one costs that the provider refused."""

import pytest

from policies.timeouts import Timeouts
from providers.base import Cause, ErrorKind, ProviderError
from providers.tokens import estimate_prompt
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import IN_NUSD, Answer, ScriptedTransport, Stage

GOOD = Answer([b"7,3,fine", None])
STREAM = Answer([b"role\n", b"text:one\nusage:7,2\n", b"done\n", None])
CONNECT = ProviderError(ErrorKind.BROKEN, "no connection", cause=Cause.CONNECT)
RESET = ProviderError(ErrorKind.BROKEN, "reset", cause=Cause.RESET)


def play(first, *, stream, timeouts=None):
    async def work():
        scene = Stage(
            {"a": ScriptedTransport(first), "b": ScriptedTransport(STREAM if stream else GOOD)}, timeouts=timeouts
        )
        outcome = await scene.run(stream=stream)
        return outcome, estimate_prompt(scene.request().body)

    return run_virtual(work())


@pytest.mark.parametrize(
    ("answer", "stream", "timeouts", "cause"),
    [
        (Answer(open_s=100), True, None, Cause.TTFT),
        (Answer([b"role\n"]), True, None, Cause.TTFT),
        (Answer([b"7,3,"]), False, Timeouts(1, 10, 5, 30), Cause.TTFT),
        (Answer(open_s=100), False, Timeouts(1, 100, 5, 8), Cause.TOTAL),
        (Answer([b"role\n"]), True, Timeouts(1, 100, 5, 8), Cause.TOTAL),
    ],
)
def test_a_call_that_our_limit_ended_is_charged_for_its_prompt(answer, stream, timeouts, cause):
    outcome, prompt = play(answer, stream=stream, timeouts=timeouts)
    given_up = outcome.attempts[0]
    assert given_up.cause is cause
    assert given_up.usage.is_estimated
    assert (given_up.usage.prompt_tokens, given_up.usage.completion_tokens) == (prompt, 0)
    assert given_up.cost_nusd == prompt * IN_NUSD
    assert outcome.cost_nusd == sum(attempt.cost_nusd for attempt in outcome.attempts)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [Answer(fails=CONNECT), Answer(fails=RESET), Answer([b"broken", None], status=500), Answer([b"bro"], status=500)],
    ids=["connect", "reset", "refused", "refused-slowly"],
)
def test_a_call_that_the_provider_did_not_take_costs_nothing(answer, stream):
    outcome, _ = play(answer, stream=stream, timeouts=Timeouts(1, 10, 5, 30))
    assert outcome.attempts[0].kind is not None
    assert outcome.attempts[0].usage is None
    assert outcome.attempts[0].cost_nusd is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_broke_after_its_answer_had_begun_is_charged_for_its_prompt(stream):
    broken = Answer([b"role\n" if stream else b"7,3,", RESET])
    outcome, prompt = play(broken, stream=stream)
    assert outcome.attempts[0].cause is Cause.RESET
    assert outcome.attempts[0].cost_nusd == prompt * IN_NUSD
