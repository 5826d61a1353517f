"""Rows 1 to 13, 16, 19 and 20 for completions, whole and streamed, and embeddings: what chat promises, they keep."""

from dataclasses import replace

import pytest

from tests.fakes.chaos import HEAD_END, Fault, fin, latency, reset, slices, stall
from tests.fakes.dialects.choose import answer as usual
from tests.fakes.http import connect
from tests.fakes.promptness import typical
from tests.fakes.script import Pause, error, silent, with_pauses
from tests.faults.other_apis import APIS, STREAMED, WHOLE, Api, check_interrupted, everywhere
from tests.faults.setup import CONNECT_S, IDLE_S, TOTAL_S, TTFT_S, check_failed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
SLACK_S = 0.5
UNSTREAMED = tuple(api for api in APIS if not api.is_stream)


def falls_back(gateway, route):
    """Every API gets its answer from the second candidate. Returns how long each took."""

    def once(api: Api) -> float:
        answer, took_s = api.ask(gateway, route)
        api.check_answered(answer, "good/good")
        return took_s

    return everywhere(once)


@only(("kind", "limit_s"), [("refused", 0.0), ("dropped", CONNECT_S)], ids=["refused", "dropped"])
def test_row_02_no_connection(gateway, upstream, lane, kind, limit_s):
    """Rows 1 and 2."""

    def once():
        own = lane(kind)
        took_s = falls_back(gateway, own.route)
        gateway.wait_metric("signalbox_attempts_total", 3, deployment=own.deployment, outcome="connect")
        gateway.wait_metric("signalbox_fallbacks_total", 3, model=own.route)
        return max(took_s)

    assert typical(once, limit_s + SLACK_S) < limit_s + SLACK_S


@only("fault", [reset(), fin(), reset(HEAD_END), fin(HEAD_END)], ids=["rst", "fin", "rst-head", "fin-head"])
def test_row_03_reset_before_content(gateway, upstream, chaos, lane, fault):
    own = lane()
    chaos.always(own.upstream_model, fault)
    falls_back(gateway, own.route)
    assert len(upstream.requests("good")) == 3, "one answer each, and one only"
    gateway.wait_metric("signalbox_attempts_total", 3, deployment=own.deployment, outcome="reset")


@only("fault", [stall(), stall(HEAD_END)], ids=["no-head", "no-body"])
def test_row_04_no_first_byte(gateway, upstream, chaos, lane, fault):
    bar_s = {api: (TTFT_S if api.is_stream else TOTAL_S / 2) + SLACK_S for api in APIS}

    def once():
        own = lane()
        chaos.always(own.upstream_model, fault)
        took_s = falls_back(gateway, own.route)
        chaos.wait_over(own.upstream_model)
        assert gateway.wait_metric("signalbox_attempts_total", 3, deployment=own.deployment, outcome="ttft") >= 3
        return max(own_s - bar_s[api] for api, own_s in zip(APIS, took_s, strict=True))

    assert typical(once, 0) < 0


@only(("status", "told"), [(500, 502), (503, 503), (401, 502)])
def test_row_05_error_status(gateway, upstream, lane, status, told):
    def once(api):
        with_fallback, alone = lane(), lane()
        for own in (with_fallback, alone):
            upstream.always(own.upstream_model, error(status, "not now", type_="server_error"))
        answer, _ = api.ask(gateway, with_fallback.route)
        api.check_answered(answer, "good/good")
        answer, _ = api.ask(gateway, alone.sole)
        assert {one["status"] for one in check_failed(answer, told)["attempts"]} == {status}

    everywhere(once)


@only("fault", [reset, fin, stall], ids=["rst", "truncated", "stall"])
def test_row_06_broken_whole_answer(gateway, upstream, chaos, lane, fault):
    """Half of it commits to nothing."""

    def once(api):
        own = lane()
        chaos.always(own.upstream_model, fault(api.middle))
        answer, _ = api.ask(gateway, own.route)
        api.check_answered(answer, "good/good")
        assert chaos.hits(own.upstream_model) >= 1

    everywhere(once, UNSTREAMED)


@only(("fault", "cause"), [(reset, "reset"), (fin, "reset"), (stall, "idle")], ids=["rst", "truncated", "stall"])
def test_row_08_streams_that_break(gateway, upstream, chaos, lane, fault, cause):
    """Rows 6, 7 and 8."""
    bar_s = IDLE_S + SLACK_S

    def once():
        own = lane()
        chaos.always(own.upstream_model, fault(STREAMED.middle))
        before = gateway.metric("signalbox_midstream_errors_total", cause=cause)
        answer, took_s = STREAMED.ask(gateway, own.route)
        check_interrupted(answer)
        gateway.wait_metric("signalbox_midstream_errors_total", before + 1, cause=cause)
        chaos.wait_over(own.upstream_model)
        assert upstream.requests("good") == [], "after the first byte nobody else may answer"
        return took_s

    assert typical(once, bar_s) < bar_s


def test_row_09_stall_behind_keep_alives(gateway, upstream, lane):
    bar_s = IDLE_S + SLACK_S

    def half_then_comments(request):
        script = usual(request)
        steps = list(script.steps)
        half = next(i for i, step in enumerate(steps) if isinstance(step, bytes) and STREAMED.middle in step)
        comments = [step for _ in range(100) for step in (Pause(0.1), b": keep-alive\n\n")]
        return replace(script, steps=(*steps[:half], *comments))

    def once():
        own = lane()
        upstream.always(own.upstream_model, half_then_comments)
        answer, took_s = STREAMED.ask(gateway, own.route)
        check_interrupted(answer)
        upstream.requests(own.upstream_model)[0].wait_closed()
        return took_s

    assert typical(once, bar_s) < bar_s


@only("fault", [slices(1), latency(0.3)], ids=["1-byte", "late"])
def test_row_10_slices_latency(gateway, upstream, chaos, lane, fault):
    own = lane("patient-openai")
    chaos.always(own.upstream_model, fault)

    def once(api):
        answer, took_s = api.ask(gateway, own.route)
        api.check_answered(answer, own.deployment)
        assert took_s > fault.latency_s - 0.05, "the fault did not happen"

    everywhere(once)
    assert chaos.hits(own.upstream_model) == len(upstream.requests()) == 3


def test_row_11_stale_keep_alive(gateway, upstream, chaos, lane):
    own = lane("patient-openai")
    for api in APIS:
        chaos.script(own.upstream_model, Fault(dies_on_reuse=True))
        before = gateway.metric("signalbox_stale_retries_total", provider=own.provider)
        for _ in range(2):
            answer, _ = api.ask(gateway, own.route)
            api.check_answered(answer, own.deployment)
        assert gateway.metric("signalbox_stale_retries_total", provider=own.provider) - before == 1


def test_row_13_client_leaves(gateway, upstream, lane):
    """Rows 12 and 13: before the answer, and for the stream in the middle of it."""
    own, streaming = lane(), lane("patient-openai")
    upstream.always(own.upstream_model, silent())
    upstream.always(streaming.upstream_model, lambda request: with_pauses(usual(request), 0.1))
    waiting = gateway.metric("signalbox_client_gone_total", phase="wait")
    streamed = gateway.metric("signalbox_client_gone_total", phase="stream")

    def once(api):
        with connect(gateway.root_url) as sock:
            sock.sendall(api.request_bytes(own.sole))
            upstream.wait_requests(3, model=own.upstream_model)

    everywhere(once)
    with connect(gateway.root_url) as sock:
        sock.sendall(STREAMED.request_bytes(streaming.sole))
        received = b""
        while b"wrot" not in received:
            received += sock.recv(65536)
    for request in (*upstream.requests(own.upstream_model), *upstream.requests(streaming.upstream_model)):
        request.wait_closed()
        assert request.is_interrupted
    gateway.wait_metric("signalbox_client_gone_total", waiting + 3, phase="wait")
    gateway.wait_metric("signalbox_client_gone_total", streamed + 1, phase="stream")
    for class_ in ("input", "output"):
        gateway.wait_metric("signalbox_tokens_total", 1, **{"deployment": streaming.deployment, "class": class_})


@only("status", [400, 404, 422])
def test_row_16_callers_error(gateway, upstream, lane, status):
    own = lane("patient-openai")
    upstream.always(own.upstream_model, error(status, "that is wrong", code="wrong", param="user"))

    def often(api):
        for _ in range(8):
            told = check_failed(api.ask(gateway, own.route)[0], status)
            assert (told["message"], told["code"], told["param"]) == ("that is wrong", "wrong", "user")

    everywhere(often)
    assert len(upstream.requests(own.upstream_model)) == 24
    assert upstream.requests("good") == []
    upstream.always(own.upstream_model, lambda _: None)
    WHOLE.check_answered(WHOLE.ask(gateway, own.route)[0], own.deployment)


def test_row_19_all_silent(gateway, upstream, lane):
    bar_s = 1.0 + SLACK_S

    def once():
        own = lane()
        upstream.always(own.upstream_model, silent())

        def ask(api):
            answer, took_s = api.ask(gateway, own.sole, **{"x-signalbox-timeout-ms": "1000"})
            check_failed(answer, 504)
            return took_s

        took_s = max(everywhere(ask))
        for request in upstream.requests(own.upstream_model):
            request.wait_closed()
        return took_s

    assert typical(once, bar_s) < bar_s


def test_row_20_throttled(gateway, upstream, lane):
    throttled = error(429, "slow down", type_="requests", code="rate_limit_exceeded", headers={"retry-after": "7"})

    def once(api):
        own = lane("patient-openai")
        upstream.always(own.upstream_model, throttled)
        api.check_answered(api.ask(gateway, own.route)[0], "good/good")
        answer, _ = api.ask(gateway, own.sole)
        check_failed(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 8
        assert len(upstream.requests(own.upstream_model)) == 1, "for seven seconds nobody calls there"

    everywhere(once)
