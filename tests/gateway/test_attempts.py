"""The verdict table at work: what is tried after each failure, what reaches the caller, and what is charged."""

import asyncio
import json
from itertools import combinations, count, product

import pytest

from gateway.wire import answers
from gateway.wire.refusals import RefusedError
from policies.timeouts import Timeouts
from policies.verdicts import VERDICTS
from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import DONE, IN_NUSD, OUT_NUSD, Answer, ScriptedTransport, Stage

GOOD = Answer([b"7,3,fine", None])
STREAM = Answer([b"role\n", b"text:one\n", b"text:two\nusage:7,2\n", b"done\n", None])
SENT = b"data: role\n\ndata: one\n\ndata: two\n\n" + DONE


def failing(kind, **more):
    return Answer([kind.value.encode(), None], status=more.pop("status", 418), **more)


def play(first, second=GOOD, *, stream=False, timeout_s=None, **stage):
    """Run one request with two candidates. `first` may be several answers. Returns (stage, outcome)."""
    firsts = first if isinstance(first, (list, tuple)) else [first]

    async def work():
        scene = Stage({"a": ScriptedTransport(*firsts), "b": ScriptedTransport(second)}, **stage)
        outcome = await scene.run(stream=stream, timeout_s=timeout_s)
        assert scene.transports["a"].running == scene.transports["b"].running == 0
        assert scene.value("signalbox_requests_total") == 1, "recorded exactly once"
        assert len(scene.log.lines) == 1
        return scene, outcome

    return run_virtual(work())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ErrorKind)
def test_each_row_of_the_table(kind, stream):
    verdict = VERDICTS[kind]
    trouble = [failing(kind)] * (2 if verdict.retries_fresh else 1)
    scene, outcome = play(trouble, STREAM if stream else GOOD, stream=stream)
    assert scene.transports["a"].fresh == ([False, True] if verdict.retries_fresh else [False])
    assert scene.transports["b"].opened == (1 if verdict.falls_back else 0)
    if verdict.falls_back:
        assert (outcome.ending, outcome.answered_by.deployment.provider) == ("ok", "b")
        assert (scene.sink.data == SENT) if stream else (outcome.reply.body == b"fine")
        assert scene.value("signalbox_fallbacks_total", model="m") == 1
    else:
        assert outcome.ending == ("caller_error" if verdict.is_callers else "upstream_error")
        assert outcome.refusal.status == (418 if verdict.is_callers else verdict.status)
        assert scene.sink.starts == 0
        assert [attempt["kind"] for attempt in outcome.refusal.error["attempts"]] == [kind]
    assert scene.value("signalbox_attempts_total", provider="a", outcome="status") == len(trouble)
    assert scene.value("signalbox_attempt_errors_total", provider="a", kind=kind.value) == len(trouble)


ALONE = [kind for kind, verdict in VERDICTS.items() if verdict.falls_back and not verdict.retries_fresh]
MIXED = {frozenset(pair): ErrorKind.OVERLOADED for pair in combinations(ALONE, 2)} | {
    frozenset((ErrorKind.THROTTLED, ErrorKind.MONEY)): ErrorKind.THROTTLED,
    frozenset((ErrorKind.THROTTLED, ErrorKind.CREDENTIALS)): ErrorKind.THROTTLED,
    frozenset((ErrorKind.BROKEN, ErrorKind.MONEY)): ErrorKind.BROKEN,
    frozenset((ErrorKind.BROKEN, ErrorKind.CREDENTIALS)): ErrorKind.BROKEN,
    frozenset((ErrorKind.MONEY, ErrorKind.CREDENTIALS)): ErrorKind.CREDENTIALS,
}


@pytest.mark.parametrize(("first", "second"), list(product(ALONE, repeat=2)))
def test_what_is_told_when_all_fail_depends_on_the_failures_and_not_on_their_order(first, second):
    _, outcome = play([failing(first)], failing(second), max_attempts=2)
    told, refusal = MIXED.get(frozenset((first, second)), first), outcome.refusal
    assert refusal.status == VERDICTS[told].status
    assert refusal.error["type"] == VERDICTS[told].error_type
    assert refusal.error["code"] == f"provider_{told.value}"
    names = {name for name, _ in refusal.headers}
    assert (b"retry-after" in names) == (told in (ErrorKind.THROTTLED, ErrorKind.OVERLOADED))
    may_come_back = ErrorKind.THROTTLED in (first, second)  # waiting as long as it is told helps
    assert ((b"x-should-retry", b"false") in refusal.headers) is not may_come_back
    assert len(refusal.error["attempts"]) == 2


def test_a_stale_connection_is_replaced_once_and_costs_no_attempt():
    scene, outcome = play([failing(ErrorKind.STALE), GOOD], max_attempts=1)
    assert outcome.ending == "ok"
    assert outcome.answered_by.deployment.provider == "a"
    assert outcome.stale_retries == 1
    assert scene.value("signalbox_stale_retries_total", provider="a") == 1
    assert scene.value("signalbox_fallbacks_total") == 0


def test_a_stale_retry_is_counted_where_it_happened():
    scene, outcome = play([failing(ErrorKind.STALE), failing(ErrorKind.STALE)])
    assert outcome.answered_by.deployment.provider == "b"
    assert scene.value("signalbox_stale_retries_total", provider="a") == 1
    assert scene.value("signalbox_stale_retries_total", provider="b") == 0


def test_max_attempts():
    scene, outcome = play(failing(ErrorKind.BROKEN), max_attempts=1)
    assert scene.transports["b"].opened == 0
    assert outcome.refusal.status == 502


def test_what_one_dialect_cannot_say_another_may():
    for kind in (ErrorKind.CALLER, ErrorKind.LOCAL):
        cannot = ProviderError(kind, "no images here", cause=Cause.UNSUPPORTED)
        scene, outcome = play([], refuses={"a": cannot})
        assert outcome.answered_by.deployment.provider == "b"
        assert outcome.attempts[0].usage is None, "nothing was sent, nothing is charged"
        assert scene.transports["a"].opened == 0


def test_no_candidate_at_all():
    async def work():
        scene = Stage({})
        with pytest.raises(RefusedError) as caught:
            await scene.run()
        assert caught.value.refusal.status == 503
        assert "/readyz" in caught.value.refusal.error["hint"]

    run_virtual(work())


@pytest.mark.parametrize("stream", [False, True])
def test_first_content_has_a_limit_and_the_next_candidate_its_own(stream):
    slow = Answer(open_s=100)
    _, outcome = play(slow, STREAM if stream else GOOD, stream=stream)
    assert outcome.answered_by.deployment.provider == "b"
    assert outcome.attempts[0].cause is Cause.TTFT
    # A whole answer has no first content: it may take half of what is left while there is another candidate.
    assert outcome.duration_s == pytest.approx(10 if stream else 30, abs=0.1)
    assert outcome.overhead_s == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("pieces", [[], [b"role\n"], [b"role\n"] + [1, b": ping\n"] * 40])
def test_roles_and_comments_are_no_content(pieces):
    scene, outcome = play(Answer(pieces), STREAM, stream=True)
    assert outcome.attempts[0].cause is Cause.TTFT
    assert scene.sink.data == SENT


@pytest.mark.parametrize("given_s", [None, 12, 100])
def test_the_total_is_shared_by_all_attempts_and_can_only_be_shortened(given_s):
    limits = Timeouts(1, 10, 5, 15)
    slow = Answer(open_s=100)
    _, outcome = play(slow, slow, timeouts=limits, timeout_s=given_s)
    assert [attempt.cause for attempt in outcome.attempts] == [Cause.TTFT, Cause.TOTAL]
    assert outcome.duration_s == pytest.approx(min(given_s or 15, 15), abs=0.1)
    assert outcome.refusal.status == 504


def test_after_the_total_nobody_else_is_tried():
    scene, outcome = play(Answer(open_s=100), timeouts=Timeouts(1, 30, 5, 8))
    assert outcome.attempts[0].cause is Cause.TOTAL
    assert scene.transports["b"].opened == 0


TROUBLE = {
    "reset": (ProviderError(ErrorKind.BROKEN, "reset", cause=Cause.RESET), Cause.RESET),
    "cut": (None, Cause.CUT),
    "error": (b"bad\n", Cause.IN_BAND),
    "silence": (1000, Cause.IDLE),
    "stale": (ProviderError(ErrorKind.STALE, "odd", cause=Cause.RESET), Cause.RESET),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_before_the_commit_point_another_candidate_answers(name):
    piece, cause = TROUBLE[name]
    first = [Answer([b"role\n", piece])] * (2 if name == "stale" else 1)
    scene, outcome = play(first, STREAM, stream=True)
    assert scene.sink.data == SENT, "nothing of the failed attempt reached the caller"
    assert outcome.attempts[0].cause is (Cause.TTFT if name == "silence" else cause)


@pytest.mark.parametrize("name", TROUBLE)
def test_after_the_commit_point_an_error_event_ends_it(name):
    piece, cause = TROUBLE[name]
    scene, outcome = play(Answer([b"role\ntext:one\n", b"text:twelve letter\n", piece]), stream=True)
    assert outcome.ending == "interrupted"
    assert scene.transports["b"].opened == 0
    start = b"data: role\n\ndata: one\n\ndata: twelve letter\n\n"
    assert scene.sink.data.startswith(start)
    end = scene.sink.data.removeprefix(start)
    assert end == answers.error_frame(ProviderError(ErrorKind.BROKEN, outcome.attempts[0].message))
    assert b"stream_interrupted" in end
    assert b"[DONE]" not in scene.sink.data
    assert scene.value("signalbox_midstream_errors_total", cause=cause.value) == 1
    assert outcome.usage.is_estimated
    assert outcome.usage.output == 4  # 16 letters
    assert outcome.cost_nusd == outcome.usage.input * IN_NUSD + 4 * OUT_NUSD


def test_content_and_an_error_in_one_piece():
    scene, outcome = play(Answer([b"text:one\nbad\n"]), stream=True)
    assert outcome.ending == "interrupted"
    assert scene.sink.data.startswith(b"data: one\n\n")
    assert b"overloaded in band" in scene.sink.data


def test_content_and_the_end_in_one_piece():
    scene, outcome = play(Answer([b"text:one\nusage:5,1\ndone\n", None]), stream=True)
    assert outcome.ending == "ok"
    assert scene.sink.data == b"data: one\n\n" + DONE


@pytest.mark.parametrize("pieces", [[b"text:one\n", b"usage:5,1\ndone\n"], [b"text:one\nusage:5,1\ndone\n"]])
def test_a_provider_that_keeps_the_connection_after_done_is_waited_for_a_moment_only(pieces):
    scene, outcome = play(Answer(pieces), stream=True)
    assert outcome.ending == "ok"
    assert outcome.attempts[0].kind is None
    assert scene.sink.data == b"data: one\n\n" + DONE
    assert outcome.duration_s == pytest.approx(1, abs=0.1)
    assert scene.sink.ended_at == pytest.approx(outcome.started), "the caller does not wait for that"


@pytest.mark.parametrize("end", [[None], []])
def test_an_empty_answer_is_an_answer(end):
    scene, outcome = play(Answer([b"role\n", b"usage:5,0\ndone\n", *end]), stream=True)
    assert outcome.ending == "ok"
    assert outcome.answered_by.deployment.provider == "a"
    assert scene.sink.data == b"data: role\n\n" + DONE
    assert outcome.duration_s <= 1.1


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize(("body", "cause"), [(b"bad", Cause.IN_BAND), (b"7,3,whole", Cause.GARBAGE)])
def test_a_json_body_instead_of_a_stream(body, cause, content_type):
    odd = Answer([body, None], headers={"content-type": content_type})
    scene, outcome = play(odd, STREAM, stream=True)
    assert outcome.attempts[0].cause is cause
    assert scene.sink.data == SENT
    if cause is Cause.GARBAGE:  # it was an answer, and it will be on the bill
        assert outcome.attempts[0].cost_nusd == 7 * IN_NUSD + 3 * OUT_NUSD
        assert outcome.cost_nusd == 14 * IN_NUSD + 5 * OUT_NUSD


def test_garbage_falls_back():
    _, outcome = play(Answer([b"garbage", None]))
    assert outcome.attempts[0].cause is Cause.GARBAGE
    assert outcome.reply.body == b"fine"


def test_cost_is_of_all_attempts_and_usage_of_the_answer():
    scene, outcome = play(GOOD)
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (7, 3)
    assert outcome.cost_nusd == 7 * IN_NUSD + 3 * OUT_NUSD
    assert scene.value("signalbox_tokens_total", **{"class": "output"}) == 3
    assert scene.value("signalbox_cost_usd_total") == pytest.approx(outcome.cost_nusd / 1e9)


PHASES = {
    "connecting": (Answer(open_s=100), False),
    "waiting for the head": (Answer(open_s=100), True),
    "waiting for a whole answer": (Answer([b"7,3,"]), False),
    "waiting for content": (Answer([b"role\n"]), True),
    "in a stream": (Answer([b"text:twelve letter\n"]), True),
    "in a stream whose usage is known": (Answer([b"text:twelve letter\nusage:7,3\n"]), True),
}


@pytest.mark.parametrize("name", PHASES)
def test_a_client_that_leaves_is_settled_once(name):
    answer, stream = PHASES[name]

    async def work():
        scene = Stage({"a": ScriptedTransport(answer), "b": ScriptedTransport(GOOD)})
        task = asyncio.ensure_future(scene.run(stream=stream))
        await asyncio.sleep(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.transports["a"].running == 0
        assert scene.transports["b"].opened == 0
        assert scene.value("signalbox_requests_total", outcome="client_gone") == 1
        assert scene.value("signalbox_requests_total") == 1
        assert scene.value("signalbox_client_gone_total", phase="stream" if name.startswith("in a") else "wait") == 1
        assert scene.value("signalbox_attempts_total", outcome="ok") == 0, "an abandoned call is no success"
        assert scene.value("signalbox_attempts_total", outcome="client_gone") == 1
        known = name.endswith("known")
        assert scene.value("signalbox_estimated_usage_total") == (0 if known else 1)
        tokens = scene.value("signalbox_tokens_total", **{"class": "input"})
        assert tokens == 7 if known else tokens > 5
        output = scene.value("signalbox_tokens_total", **{"class": "output"})
        assert output == (3 if known or "stream" in name else 0) or (name == "in a stream" and output == 4)
        assert scene.value("signalbox_cost_usd_total") > 0
        assert b'"prompt_tokens":' in scene.log.lines[0]

    run_virtual(work())


def test_a_client_that_leaves_after_the_last_byte_got_its_answer():
    async def work():
        scene = Stage({"a": ScriptedTransport(Answer([b"text:one\nusage:7,1\ndone\n"]))})
        task = asyncio.ensure_future(scene.run(stream=True))
        await asyncio.sleep(0.5)
        task.cancel()
        assert (await task).ending == "ok"
        assert scene.value("signalbox_requests_total", outcome="ok") == 1
        assert scene.value("signalbox_attempts_total", outcome="ok") == 1

    run_virtual(work())


def test_a_slow_reader_is_waited_for_and_the_provider_not_blamed():
    async def work():
        scene = Stage({"a": ScriptedTransport(STREAM)})
        scene.sink._stalls_at = 1
        task = asyncio.ensure_future(scene.run(stream=True))
        await asyncio.sleep(20)  # longer than the provider may be silent
        assert not task.done()
        scene.sink.may_read.set()
        outcome = await task
        assert outcome.ending == "ok"
        assert scene.sink.data == SENT

    run_virtual(work())


@pytest.mark.parametrize("pieces", [[b"text:one\n", b"usage:7,1\ndone\n"], [b"text:one\nusage:7,1\ndone\n"]])
def test_an_answer_that_is_all_written_is_whole_however_slowly_it_is_read(pieces):
    """No limit that passes while its end is on the way turns it into a broken one."""

    async def work():
        scene = Stage({"a": ScriptedTransport(Answer([*pieces, None]))})
        scene.sink._stalls_at = len(pieces)
        outcome = await scene.run(stream=True)
        assert (outcome.ending, outcome.duration_s) == ("ok", 60)
        assert scene.sink.data.endswith(DONE)

    run_virtual(work())


@pytest.mark.parametrize("stalls_at", [1, 2, 3])
def test_a_reader_who_never_reads_does_not_outlive_the_total(stalls_at):
    async def work():
        scene = Stage({"a": ScriptedTransport(Answer([b"text:one\n", b"text:two\n", b"bad\n"]))})
        scene.sink._stalls_at = stalls_at
        outcome = await asyncio.wait_for(scene.run(stream=True), 70)
        assert outcome.ending == "interrupted"
        assert b"stream_interrupted" in scene.sink.pieces[-1]

    run_virtual(work())


@pytest.mark.parametrize(
    ("answer", "stream"), [(Answer([b"bug", None]), False), (Answer([b"text:one\n", b"bug\n"]), True)]
)
def test_a_bug_of_ours_is_not_recorded_as_a_success(answer, stream):
    async def work():
        scene = Stage({"a": ScriptedTransport(answer)})
        with pytest.raises(LookupError):
            await scene.run(stream=stream)
        assert scene.transports["a"].running == 0
        assert scene.value("signalbox_requests_total", outcome="ok") == 0
        assert scene.value("signalbox_requests_total", outcome="internal_error") == 1
        assert scene.value("signalbox_attempts_total", outcome="ok") == 0

    run_virtual(work())


def test_overhead_is_what_passed_between_the_calls():
    async def work():
        ticks = count(1)
        scene = Stage({"a": ScriptedTransport(Answer([b"7,3,fine", None]))}, clock=lambda: next(ticks))
        outcome = await scene.run()
        # The clock moves by one at each reading: what is not between the two readings around the call is ours.
        attempt = outcome.attempts[0]
        assert outcome.upstream_s == attempt.ended - attempt.started
        assert outcome.overhead_s == outcome.duration_s - outcome.upstream_s > 0

    run_virtual(work())


def test_a_cut_stream_is_charged_for_what_arrived_not_for_what_was_told_at_its_start():
    begun = Answer([b"usage:7,1\n", b"text:" + b"x" * 400 + b"\n", ProviderError(ErrorKind.BROKEN, "cut")])
    _, outcome = play(begun, stream=True)
    assert outcome.ending == "interrupted"
    assert (outcome.usage.input, outcome.usage.output, outcome.usage.is_estimated) == (7, 100, True)


def test_a_whole_stream_is_charged_as_told():
    _, outcome = play(Answer([b"text:" + b"x" * 400 + b"\n", b"usage:7,2\n", b"done\n", None]), stream=True)
    assert (outcome.usage.input, outcome.usage.output, outcome.usage.is_estimated) == (7, 2, False)


def test_a_whole_answer_without_usage_is_counted_with_its_text():
    text = "word " * 100
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})
    _, outcome = play(Answer([f"none,{body}".encode(), None]))
    assert outcome.usage.is_estimated
    assert 80 <= outcome.usage.output <= 200
