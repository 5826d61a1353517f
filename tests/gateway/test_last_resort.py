"""An answer of before, where one is kept, when every candidate has failed."""

from dataclasses import replace

import pytest

from gateway.pipeline import Pipeline
from gateway.wire import answers
from policies.verdicts import VERDICTS
from providers.base import ErrorKind, Reply
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage

GOOD = Answer([b"7,3,fine", None])


class Kept:
    """Has an answer for everybody, and notes who asked."""

    def __init__(self):
        self.asked = []

    def find(self, request, caller):
        self.asked.append((request.request_id, caller))
        return Reply(b'{"kept": true}', None, "stop")


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
