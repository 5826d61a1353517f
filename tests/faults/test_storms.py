"""Rows 15 to 20: trouble that lasts. Nobody notices it who could be served, and no storm is made worse by us."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import pytest

from tests.fakes.promptness import typical
from tests.fakes.script import Pause, error, silent
from tests.faults.other_apis import of_crowd
from tests.faults.setup import TOTAL_S, check_answered, check_failed, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
SLACK_S = 0.5
DEAD = error(500, "out of order", type_="server_error")


def ask_many(gateway, model, count, at_once):
    """`count` calls, of all APIs in turn: the API, the answer and how long it took."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda n: (of_crowd(n), *of_crowd(n).ask(gateway, model)), range(count)))


def failing(upstream, lane, script, share=1.0):
    """Each candidate of a lane fails in this way, in `share` of its calls; the rest is as usual."""
    chance, lock = Random(18), threading.Lock()

    def answer(request):
        with lock:
            is_hit = request.model.startswith(lane.upstream_model) and chance.random() < share
        return script if is_hit else None

    upstream.on(answer)


def test_row_15_dead_primary(gateway, upstream, lane):
    own = lane("patient-openai")
    upstream.always(own.upstream_model, DEAD)
    for api, answer, _ in ask_many(gateway, own.route, 80, at_once=4):
        api.check_answered(answer, "good/good")
    assert len(upstream.requests(own.upstream_model)) <= 5 * 2 + 3
    assert gateway.metric("signalbox_breaker_trips_total", deployment=own.deployment) == 1
    assert gateway.metric("signalbox_breaker_state", deployment=own.deployment) == 2
    assert gateway.metric("signalbox_rejections_total", model=own.sole, reason="breaker_open") >= 60


@only("taken_s", [0.0, 0.5])
@only("status", [500, 503, 429])
def test_row_15_a_burst_at_a_dead_primary(gateway, upstream, lane, status, taken_s):
    """All of it is at the first candidate before anybody knows that it is dead, and nothing is known of the other."""
    own = lane("patient-openai")
    dead = error(status, "out of order", type_="server_error")
    upstream.always(own.upstream_model, replace(dead, before=(Pause(taken_s),)))
    for api, answer, _ in ask_many(gateway, own.route, 30, at_once=30):
        api.check_answered(answer, "good/good")


CALLERS = {400: "unsupported_value", 404: "model_not_found", 409: "conflict", 413: "too_large", 422: "unprocessable"}


@only("status", CALLERS)
def test_row_16_callers_error(gateway, upstream, lane, stream, status):
    """The provider's status, code and words; nobody else is asked, and the deployment is not blamed."""
    own = lane("patient-openai")
    upstream.always(own.upstream_model, error(status, "that is wrong", code=CALLERS[status], param="messages"))
    for _ in range(12):
        answer, _ = timed(gateway, own.route, stream=stream)
        told = check_failed(answer, status)
        assert (told["message"], told["code"], told["param"]) == ("that is wrong", CALLERS[status], "messages")
    assert len(upstream.requests(own.upstream_model)) == 12
    assert upstream.requests("good") == []
    gateway.wait_metric("signalbox_requests_total", 12, model=own.route, outcome="caller_error")
    upstream.always(own.upstream_model, lambda _: None)
    check_answered(timed(gateway, own.route, stream=stream)[0], own.deployment)


def test_row_17_everything_dead(gateway, upstream, lane):
    own = lane("pair")
    failing(upstream, own, DEAD)
    count = 200
    answers = ask_many(gateway, own.route, count, at_once=8)
    for _, answer, _ in answers:
        check_failed(answer, answer.status)
    assert {answer.status for _, answer, _ in answers} <= {502, 503}
    assert sorted(took_s for _, _, took_s in answers)[int(count * 0.95)] < 3
    assert len(upstream.requests()) <= count * 1.3 + 40


def test_row_17_an_empty_retry_budget_is_told(gateway, upstream, lane):
    """One request after the other, with answers in between that keep the breaker closed."""
    own = lane("pair")
    failing(upstream, own, DEAD, share=0.45)
    count = 80
    for _ in range(count):
        answer, _ = timed(gateway, own.sole, stream=False)
        assert answer.status in (200, 502, 503)
    assert gateway.metric("signalbox_retry_budget_exhausted_total", model=own.sole) >= 1
    assert len(upstream.requests()) <= count * 1.2 + 10


def test_row_18_brownout(gateway, upstream, lane):
    """Two calls of five fail, wherever they go."""
    own = lane("pair")
    failing(upstream, own, DEAD, share=0.4)
    count = 300
    answers = ask_many(gateway, own.route, count, at_once=6)
    served = [(api, answer) for api, answer, _ in answers if answer.status == 200]
    assert len(served) >= 0.6 * count
    for api, answer in served:
        api.check_answered(answer)
    assert len(upstream.requests()) <= count * 1.3 + 25


@only("own_limit", ["caller", "configured"])
def test_row_19_all_silent(gateway, upstream, lane, stream, own_limit):
    """An error by the deadline, and no call is left behind."""
    limit_s = 1.0 if own_limit == "caller" else TOTAL_S
    headers = {"x-signalbox-timeout-ms": "1000"} if own_limit == "caller" else {}

    def once():
        own = lane("pair" if own_limit == "caller" else "openai")
        failing(upstream, own, silent())
        model = own.route if own_limit == "caller" else own.sole
        answer, took_s = timed(gateway, model, stream=stream, headers=headers)
        check_failed(answer, 504)
        for request in upstream.requests(own.upstream_model):
            request.wait_closed()
        gateway.wait_metric("signalbox_requests_total", 1, model=model, outcome="upstream_error")
        return took_s

    bar_s = limit_s + SLACK_S
    assert typical(once, bar_s) < bar_s


THROTTLED = error(429, "slow down", type_="requests", code="rate_limit_exceeded", headers={"retry-after": "7"})


def test_row_20_throttled_with_a_fallback(gateway, upstream, lane, stream):
    """Nobody waits for the provider's pause while somebody else is ready."""

    def once():
        own = lane("patient-openai")
        upstream.always(own.upstream_model, THROTTLED)
        answer, took_s = timed(gateway, own.route, stream=stream)
        check_answered(answer, "good/good")
        assert 0 < gateway.metric("signalbox_throttled_seconds", deployment=own.deployment) < 7.5
        check_answered(timed(gateway, own.route, stream=stream)[0], "good/good")
        assert len(upstream.requests(own.upstream_model)) == 1, "for seven seconds nobody calls there"
        return took_s

    assert typical(once, SLACK_S) < SLACK_S


def test_row_20_throttled_without_a_fallback(gateway, upstream, lane, stream):
    own = lane("patient-openai")
    upstream.always(own.upstream_model, THROTTLED)
    began = time.monotonic()
    for _ in range(3):
        answer, _ = timed(gateway, own.sole, stream=stream)
        check_failed(answer, 429)
        passed_s = time.monotonic() - began
        assert 7 - passed_s - 1 <= int(answer.headers["retry-after"]) <= 8
        assert answer.headers.get("x-should-retry") != "false"
    assert len(upstream.requests(own.upstream_model)) == 1
