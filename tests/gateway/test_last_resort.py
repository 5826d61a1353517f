"""An answer of before, where one is kept, when every candidate has failed."""

from dataclasses import replace

import pytest

from gateway.pipeline import Pipeline
from gateway.wire import answers
from gateway.wire.refusals import RefusedError
from policies.verdicts import VERDICTS
from providers.base import ErrorKind, Reply
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage

GOOD = Answer([b"7,3,fine", None])


class Kept:
    """Has an answer for everybody, and notes who asked."""

    def __init__(self):
        self.asked = []

    def answer(self, outcome):
        self.asked.append((outcome.request.request_id, outcome.caller))
        outcome.reply = Reply(b'{"kept": true}', None, "stop")
        return True


def play(answer, *, stream=False):
    async def work():
        scene = Stage({"a": ScriptedTransport(*[answer] * 2)}, max_attempts=1)
        kept = Kept()
        scene.runtime = replace(scene.runtime, last_resort=kept)
        scene.pipeline = Pipeline(scene.runtime, scene.recorder, scene.loop, scene.clock, lambda: 0.0)
        outcome = await scene.run(stream=stream)
        return scene, outcome, kept

    return run_virtual(work())


@pytest.mark.parametrize("kind", ErrorKind)
def test_it_stands_in_for_providers_and_not_for_what_the_caller_did_wrong(kind):
    _, outcome, kept = play(Answer([kind.value.encode(), None], status=400))
    is_callers = VERDICTS[kind].is_callers
    assert bool(kept.asked) == outcome.is_stale == (not is_callers)
    assert (outcome.refusal is None) == (not is_callers)
    if not is_callers:
        assert kept.asked == [("req_1", "tester")]
        assert (outcome.ending, outcome.reply.body) == ("ok", b'{"kept": true}')
        head = answers.answer_head(outcome, 2_000.0, 14)
        assert b"x-signalbox-cache: stale\r\n" in head
        assert b"bypass" not in head
        assert outcome.cost_nusd in (None, 0)


@pytest.mark.parametrize(("answer", "stream"), [(GOOD, False), (Answer([b"broken", None], status=500), True)])
def test_nobody_asks_where_it_is_not_needed_or_does_not_fit(answer, stream):
    _, outcome, kept = play(answer, stream=stream)
    assert not kept.asked
    assert not outcome.is_stale
    if not stream:
        assert b"x-signalbox-cache: bypass\r\n" in answers.answer_head(outcome, 2_000.0, 4)


class Nothing(Kept):
    """Has none for anybody."""

    def answer(self, outcome):
        self.asked.append((outcome.request.request_id, outcome.caller))
        return False


def outage(kept, answer, requests, *, stream=False):
    """One request after the other; what became of each, and of the transport and its series in the end."""

    async def work():
        scene = Stage({"a": ScriptedTransport(*[answer] * requests)}, max_attempts=1)
        scene.runtime = replace(scene.runtime, last_resort=kept)
        scene.pipeline = Pipeline(scene.runtime, scene.recorder, scene.loop, scene.clock, lambda: 0.0)
        ends = []
        for _ in range(requests):
            try:
                ends.append(await scene.run(stream=stream))
            except RefusedError as refused:
                ends.append(refused.refusal.status)
        return scene, ends

    return run_virtual(work())


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.OVERLOADED, ErrorKind.THROTTLED, ErrorKind.MONEY])
def test_it_stands_in_for_the_whole_of_an_outage(kind):
    headers = {"retry-after": "30"} if kind is ErrorKind.THROTTLED else {}
    scene, ends = outage(Kept(), Answer([kind.value.encode(), None], status=500, headers=headers), 12)
    assert all(outcome.is_stale and outcome.ending == "ok" for outcome in ends)
    assert scene.transports["a"].opened < 12, "in the end nobody is called"
    last = ends[-1]
    assert (last.attempts, last.reply.body, last.decision.asked) == ([], b'{"kept": true}', "m")
    head = answers.answer_head(last, 2_000.0, 14)
    assert b"x-signalbox-cache: stale\r\n" in head
    assert b"x-signalbox-attempts: 0\r\n" in head
    assert scene.value("signalbox_requests_total", outcome="ok") == 12
    assert scene.value("signalbox_rejections_total", model="m") == 12 - scene.transports["a"].opened


def test_without_one_the_refusal_is_as_before():
    kept = Nothing()
    scene, ends = outage(kept, Answer([b"broken", None], status=500), 12)
    assert ends[-1] == 503
    assert len(kept.asked) == 12
    assert scene.value("signalbox_requests_total") == scene.transports["a"].opened, (
        "who records a refusal is the endpoint"
    )


def test_streams_get_none_in_an_outage():
    kept = Kept()
    _, ends = outage(kept, Answer([b"broken", None], status=500), 12, stream=True)
    assert ends[-1] == 503
    assert not kept.asked
