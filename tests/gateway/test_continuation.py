"""When a broken stream is continued, what the second call is told, and what becomes of it in the books."""

import asyncio
import json
from dataclasses import replace

import orjson
import pytest

from gateway.pipeline import Pipeline
from gateway.runtime import Caller, Continues, Upstream
from policies.breaker import BreakerVerdict
from policies.hedging import HedgeRules
from policies.retry import START_TOKENS, Retries, RetryBudget, RetryRules
from policies.timeouts import Timeouts
from providers import registry
from providers.base import Cause, ErrorKind, ProviderError, ProviderOptions, Request, Target
from providers.prefill import Prefill
from routing.choice import Group
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import IN_NUSD, OUT_NUSD, Answer, ScriptedProvider, ScriptedTransport, Stage, deployment

RESET = ProviderError(ErrorKind.BROKEN, "The connection was reset.", cause=Cause.RESET)
STALE = ProviderError(ErrorKind.STALE, "dead", cause=Cause.RESET)
SENT = "The gate opens at nine, and "
REST = "the guests come in."
ASKED = {"role": "user", "content": "tell me a story, please"}


def chunk(text=None, finish=None, *, id="one", **more):
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


def usage(prompt, completion, id="one"):
    body = {"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    body["usage"] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return f"data: {json.dumps(body)}\n\n".encode()


FIRST = [chunk(SENT[:12]), chunk(SENT[12:])]
BROKEN = Answer([*FIRST, RESET])
END = [chunk(None, "stop", id="two"), usage(40, 6, "two"), b"data: [DONE]\n\n", None]
GOES_ON = Answer([chunk(REST, id="two"), *END])


class Recording(ScriptedTransport):
    def __init__(self, *answers):
        super().__init__(*answers)
        self.bodies = []

    def open(self, call, *, fresh=False):
        self.bodies.append(orjson.loads(call.body))
        return super().open(call, fresh=fresh)


class Scene(Stage):
    """Two or more OpenAI-like providers; all of them take a prefill unless `able` says who does."""

    def __init__(
        self, *answers, able=None, form=Prefill.PREFIX, continues=True, max_attempts=4, timeouts=None, hedge=None
    ):
        names = "abc"[: len(answers)]
        super().__init__({name: Recording(*each) for name, each in zip(names, answers, strict=True)})
        limits = timeouts or Timeouts(1, 10, 5, 60)
        self.runtime = replace(self.runtime, hedge=hedge)
        options = {"api_key": "sk-0123456789abcdef", "base_url": "http://127.0.0.1:1/v1"}
        able = names if able is None else able
        groups = tuple(
            Group(name, (replace(deployment(name), target=Target("m", prefill=form if name in able else None)),))
            for name in names
        )
        self.budget = RetryBudget()
        self.runtime = replace(
            self.runtime,
            router=Router({"m": Plan("m", "ordered", Ordered(), groups)}, {}, self.world),
            upstreams={
                name: Upstream(registry.build(ProviderOptions(name, "openai", **options)), transport, limits)
                for name, transport in self.transports.items()
            },
            retries=Retries(RetryRules(max_attempts), budgets={"m": self.budget}),
            continues=Continues(True, {}) if continues else None,
        )
        self.pipeline = Pipeline(self.runtime, self.recorder, self.loop, self.clock, lambda: 0.0)

    def request(self, *, stream=True, **more):
        body = {"model": "m", "messages": [ASKED], "stream": True, **more}
        is_asked = bool(more.get("stream_options"))
        return Request("chat", body, json.dumps(body).encode(), "m", stream, is_asked, "req_1")

    async def run(self, **more):
        request = self.request(**more)
        return await self.pipeline.run(request, Caller("tester"), self.sink, self.clock())

    def text(self):
        found = ""
        for frame in self.sink.data.decode().split("\n\n"):
            if frame.startswith("data: {"):
                for choice in json.loads(frame[6:]).get("choices", ()):
                    found += choice["delta"].get("content") or ""
        return found


def play(*answers, body=None, **scene):
    lists = [one if isinstance(one, list) else [one] for one in answers]

    async def work():
        stage = Scene(*lists, **scene)
        outcome = await stage.run(**(body or {}))
        assert all(transport.running == 0 for transport in stage.transports.values())
        assert stage.value("signalbox_requests_total") == 1
        assert [attempt.ended > 0 for attempt in outcome.attempts] == [True] * len(outcome.attempts)
        if outcome.continuation is not None:
            assert stage.value("signalbox_continuations_total", outcome=outcome.continuation) == 1
            assert json.loads(stage.log.lines[0])["continuation"] == outcome.continuation
        return stage, outcome

    return run_virtual(work())


def check_error(stage, outcome, why):
    assert outcome.continuation == why
    assert outcome.ending == "interrupted"
    assert stage.text() == SENT
    assert stage.sink.data.count(b"stream_interrupted") == 1
    assert b"[DONE]" not in stage.sink.data
    assert stage.value("signalbox_midstream_errors_total", cause="reset") == 1


def test_another_candidate_says_the_rest():
    stage, outcome = play(BROKEN, GOES_ON)
    assert (outcome.ending, outcome.continuation, outcome.finish_reason) == ("ok", "ok", "stop")
    assert stage.text() == SENT + REST
    assert stage.sink.starts == 1
    assert b'"two"' not in stage.sink.data
    assert stage.sink.data.endswith(b"data: [DONE]\n\n")
    assert stage.transports["b"].bodies[0]["messages"] == [
        ASKED,
        {"role": "assistant", "content": SENT.rstrip(), "prefix": True},
    ]
    assert stage.value("signalbox_midstream_errors_total") == 0
    assert outcome.answered_by.deployment.provider == "b"


def test_the_books_have_both_calls():
    stage, outcome = play(BROKEN, GOES_ON, body={"stream_options": {"include_usage": True}})
    first, second = outcome.attempts
    assert first.usage.is_estimated
    assert (second.usage.prompt_tokens, second.usage.completion_tokens) == (40, 6)
    assert second.cost_nusd == 40 * IN_NUSD + 6 * OUT_NUSD
    assert outcome.cost_nusd == first.cost_nusd + second.cost_nusd
    assert outcome.usage.prompt_tokens == first.usage.prompt_tokens + 40
    assert outcome.usage.completion_tokens == first.usage.completion_tokens + 6
    shown = [json.loads(line[6:]) for line in stage.sink.data.decode().split("\n\n") if '"usage":{' in line]
    assert [s["usage"]["prompt_tokens"] for s in shown] == [outcome.usage.prompt_tokens]
    assert [s["usage"]["completion_tokens"] for s in shown] == [outcome.usage.completion_tokens]
    assert stage.value("signalbox_attempts_total", provider="a", outcome="reset") == 1
    assert stage.value("signalbox_attempts_total", provider="b", outcome="ok") == 1
    assert stage.budget.tokens == pytest.approx(START_TOKENS - 1 + 0.2)


@pytest.mark.parametrize("form", Prefill)
def test_each_form_of_a_prefill(form):
    stage, _ = play(BROKEN, GOES_ON, form=form, body={"max_tokens": 100, "seed": 9007199254740993})
    body = stage.transports["b"].bodies[0]
    assert body["messages"][-1].get("prefix", False) is (form is Prefill.PREFIX)
    assert body.get("continue_final_message", False) is (form is Prefill.FINAL)
    assert body.get("add_generation_prompt", True) is (form is not Prefill.FINAL)
    assert body["max_tokens"] == 100 - -(-len(SENT) // 4)
    assert body["seed"] == 9007199254740993


def test_without_the_setting_the_stream_ends():
    stage, outcome = play(BROKEN, GOES_ON, continues=False)
    check_error(stage, outcome, None)
    assert stage.transports["b"].opened == 0


def test_routes_differ():
    continues = Continues(False, {"yes": True})
    assert [continues.has(route) for route in ("yes", "no", None)] == [True, False, False]
    continues = Continues(True, {"no": False})
    assert [continues.has(route) for route in ("yes", "no", None)] == [True, False, True]


def test_who_cannot_go_on_is_not_asked():
    stage, outcome = play(BROKEN, GOES_ON, GOES_ON, able="c")
    assert stage.text() == SENT + REST
    assert (stage.transports["b"].opened, stage.transports["c"].opened) == (0, 1)
    stage, outcome = play(BROKEN, GOES_ON, able="")
    check_error(stage, outcome, "no_candidate")


def test_whose_stream_broke_may_go_on_itself_but_not_who_fell_silent():
    stage, outcome = play([BROKEN, GOES_ON], able="a")
    assert (outcome.ending, stage.text()) == ("ok", SENT + REST)
    _, outcome = play([Answer(FIRST), GOES_ON], able="a")
    assert (outcome.ending, outcome.continuation, outcome.attempts[0].cause) == ("interrupted", "no_candidate", "idle")


def test_another_one_is_asked_before_whose_stream_broke():
    stage, _ = play([BROKEN, GOES_ON], [GOES_ON])
    assert (stage.transports["a"].opened, stage.transports["b"].opened) == (1, 1)


@pytest.mark.parametrize(
    "second",
    [
        Answer([b'{"error":{"message":"no"}}', None], status=500),
        Answer([b'{"error":{"message":"no prefill"}}', None], status=400),
        Answer([RESET]),
        Answer([None]),
        Answer([b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]}\n\n']),
    ],
    ids=["500", "400", "reset", "empty", "thinks"],
)
def test_a_second_failure_ends_it(second):
    stage, outcome = play([BROKEN, GOES_ON], second, GOES_ON)
    check_error(stage, outcome, "failed")
    assert len(outcome.attempts) == 2, "there is one continuation"


def test_where_requests_may_get_a_second_call_at_once():
    stage, outcome = play(BROKEN, GOES_ON, hedge=HedgeRules())
    assert (outcome.ending, outcome.continuation, stage.text()) == ("ok", "ok", SENT + REST)


def test_an_answer_that_had_nothing_more_to_say():
    stage, outcome = play(BROKEN, Answer(END))
    assert (outcome.ending, outcome.continuation, stage.text()) == ("ok", "ok", SENT)


def test_a_continuation_that_breaks_ends_it():
    stage, outcome = play(BROKEN, Answer([chunk("the guests", id="two"), RESET]), GOES_ON)
    assert (outcome.ending, outcome.continuation, len(outcome.attempts)) == ("interrupted", "failed", 2)
    assert stage.text() == SENT + "the guests"
    assert stage.sink.data.count(b"stream_interrupted") == 1


def test_a_dead_connection_is_no_failure():
    stage, outcome = play(BROKEN, [Answer(fails=STALE), GOES_ON])
    assert (outcome.ending, stage.text()) == ("ok", SENT + REST)
    assert stage.transports["b"].fresh == [False, True]
    assert outcome.stale_retries == 1
    _, outcome = play(BROKEN, [Answer(fails=STALE), Answer(fails=STALE)])
    assert outcome.continuation == "failed"


def test_the_limits_of_a_request_hold():
    stage, outcome = play(BROKEN, GOES_ON, max_attempts=1)
    check_error(stage, outcome, "no_budget")

    async def broke():
        scene = Scene([BROKEN], [GOES_ON])
        scene.budget.tokens = 0.5
        return scene, await scene.run()

    stage, outcome = run_virtual(broke())
    check_error(stage, outcome, "no_budget")
    assert outcome.is_budget_empty
    silent = Answer([], open_s=100)
    _, outcome = play(BROKEN, silent, timeouts=Timeouts(1, 10, 5, 8))
    assert (outcome.continuation, outcome.attempts[1].cause) == ("failed", "total")
    assert outcome.duration_s == pytest.approx(8, abs=0.1)


def test_a_breaker_that_opened_meanwhile_holds():
    async def work():
        scene = Scene([Answer([*FIRST, 1, RESET])], [GOES_ON], able="b")
        task = asyncio.ensure_future(scene.run())
        await asyncio.sleep(0.5)
        other = deployment("b")
        ticket = scene.guard.admit(other)
        scene.guard.record(other, BreakerVerdict.OPEN, ticket=ticket, duration_s=0.0)
        return scene, await task

    stage, outcome = run_virtual(work())
    check_error(stage, outcome, "no_candidate")
    assert stage.transports["b"].opened == 0


@pytest.mark.parametrize(
    "body",
    [
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {"reasoning_effort": "high"},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}},
        {"store": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
        {"messages": [ASKED, {"role": "assistant", "content": "The"}]},
        {"max_tokens": 7},
        {"max_completion_tokens": 3},
        {"stop": ["andante"]},
        {"stop": "d!"},
    ],
    ids=str,
)
def test_what_is_more_than_text_is_not_continued(body):
    stage, outcome = play(BROKEN, GOES_ON, body=body)
    check_error(stage, outcome, "unfit")
    assert stage.transports["b"].opened == 0


@pytest.mark.parametrize(
    "body",
    [
        {"stop": ["\n\n", "END", "a"]},
        {"n": 1, "logprobs": False, "response_format": {"type": "text"}, "reasoning_effort": "none"},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
    ],
    ids=str,
)
def test_what_does_no_harm_is_continued(body):
    stage, outcome = play(BROKEN, GOES_ON, body=body)
    assert (outcome.ending, stage.text()) == ("ok", SENT + REST)


TOOL = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]}


@pytest.mark.parametrize(
    "piece",
    [
        f"data: {json.dumps(TOOL)}\n\n".encode(),
        chunk(None, "stop"),
        b'data: {"error":{"message":"filtered","code":"content_filter"}}\n\n',
    ],
    ids=["tool", "finished", "filtered"],
)
def test_what_came_before_the_break_decides(piece):
    stage, outcome = play(Answer([*FIRST, piece, RESET]), GOES_ON)
    assert (outcome.ending, outcome.continuation) == ("interrupted", "unfit")
    assert stage.transports["b"].opened == 0


@pytest.mark.parametrize("when", ["waiting", "streaming", "complete"])
def test_a_client_that_leaves_during_a_continuation(when):
    pieces = {"waiting": [], "streaming": [chunk(REST, id="two")], "complete": [chunk(REST, id="two"), *END[:-1]]}

    async def work():
        stage = Scene([BROKEN], [Answer(pieces[when])])
        task = asyncio.ensure_future(stage.run())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        is_whole = when == "complete"
        assert task.cancelled() is not is_whole
        assert stage.value("signalbox_requests_total", outcome="ok" if is_whole else "client_gone") == 1
        assert stage.value("signalbox_continuations_total", outcome="ok" if is_whole else "abandoned") == 1
        assert stage.transports["b"].running == 0
        assert stage.guard.troubles() == []

    run_virtual(work())


def test_a_second_call_that_is_not_sent_costs_no_token():
    cannot = ProviderError(ErrorKind.CALLER, "It has no such parameter.", cause=Cause.UNSUPPORTED)

    async def work():
        stage = Scene([BROKEN], [])
        own = stage.runtime.upstreams["b"]
        stage.runtime.upstreams["b"] = Upstream(ScriptedProvider("b", cannot), own.transport, own.timeouts)
        outcome = await stage.run()
        assert (outcome.ending, outcome.continuation) == ("interrupted", "failed")
        (retry,) = stage.runtime.retries.values()
        assert retry.budget.tokens == START_TOKENS
        assert stage.guard._breakers["b/m"].pending == 0

    run_virtual(work())


def test_a_fault_while_the_second_call_is_written_takes_nothing(monkeypatch):
    def fails(*_):
        raise RecursionError

    async def work():
        stage = Scene([BROKEN], [GOES_ON])
        monkeypatch.setattr("gateway.continuation._continuing", fails)
        with pytest.raises(RecursionError):
            await stage.run()
        (retry,) = stage.runtime.retries.values()
        assert retry.budget.tokens == START_TOKENS
        assert all(breaker.pending == 0 for breaker in stage.guard._breakers.values())

    run_virtual(work())
