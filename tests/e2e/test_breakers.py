"""Breakers and pauses of a real gateway: how often a dead provider is asked, and what callers notice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from tests.e2e.setup import KEY, standard_config
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect, head_of, send
from tests.fakes.script import Script, Until, endless_stream, error, reply, silent

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
AUTH = {"authorization": f"Bearer {KEY}"}
OPEN_S = 0.6
DEAD = error(500, "out of order", type_="server_error")
FAILURES = 5


@pytest.fixture
def brisk(gateways, upstream) -> Iterator[Gateway]:
    """A gateway whose breakers stay open for a moment only, and that never asks the same deployment twice."""
    config = standard_config(upstream)
    config["policies"]["breaker"] = {"open_s": OPEN_S, "failures": FAILURES}
    config["policies"]["retry"] |= {"max_attempts": 2, "backoff_base_s": 5}
    gateway = gateways.get(config)
    gateway.forget_trouble()
    yield gateway


def ask(gateway: Gateway, model: str = "both", **more: Any) -> Any:
    return gateway.chat(model, headers=AUTH, **more)


def trip(gateway: Gateway, upstream: Any, script: Script = DEAD) -> None:
    upstream.always("up-first", script)
    for _ in range(2 * FAILURES):  # an earlier test may have had good answers from it
        if not troubles(gateway):
            ask(gateway)
    assert [row["deployment"] for row in troubles(gateway)] == ["oa/up-first"]


def troubles(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send(f"{gateway.root_url}/readyz").json.get("deployments", [])
    return found


def wait_half_open(gateway: Gateway) -> None:
    deadline = time.monotonic() + 20
    while troubles(gateway)[0]["breaker"] != "half_open":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _head(body: bytes) -> bytes:
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return head_of("POST", "/v1/chat/completions", **AUTH, **fields)


@only("stream", [False, True], ids=["whole", "stream"])
def test_a_dead_primary_is_left_alone(brisk, upstream, stream):
    for _ in range(20):
        assert ask(brisk, stream=stream).status == 200
    upstream.reset()
    upstream.always("up-first", DEAD)
    started = time.monotonic()
    answers = [ask(brisk, stream=stream) for _ in range(40)]
    probes = 1 + (time.monotonic() - started) / (OPEN_S / 2)
    assert [answer.status for answer in answers] == [200] * 40
    assert {answer.headers["x-signalbox-model"] for answer in answers} == {"oa/up-second"}
    assert len(upstream.requests("up-first")) <= 2 * FAILURES + 3 + probes


def test_thirty_callers_are_three_probes_at_most(brisk, upstream):
    trip(brisk, upstream)
    wait_half_open(brisk)
    upstream.reset()
    held = Event()
    upstream.always("up-first", replace(DEAD, before=(Until(held),)))  # so that they would be under way together
    with ThreadPoolExecutor(30) as pool:
        asking = [pool.submit(ask, brisk, "both") for _ in range(29)]
        deadline = time.monotonic() + 20
        while len(upstream.requests("up-second")) < 28:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(upstream.requests("up-first")) <= 3
        brisk_answers = [future.result() for future in asking if future.done()]
        held.set()
    assert {answer.status for answer in brisk_answers} == {200}


def test_long_streams_do_not_hold_up_the_recovery(brisk, upstream):
    trip(brisk, upstream)
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunk |= {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}]}
    upstream.always("up-first", endless_stream(chunk, delay_s=0.05))
    wait_half_open(brisk)
    body = b'{"model": "first", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    socks = [_begun(brisk, _head(body) + body) for _ in range(3)]  # no fallback; each while those before it go on
    assert [trouble["breaker"] for trouble in troubles(brisk)] == ["half_open"], "none of them is over"
    for sock in socks:
        sock.close()


def _begun(gateway: Gateway, request: bytes) -> Any:
    """A connection whose answer has begun: a probe gives its permit back before the first byte of its answer."""
    sock = connect(gateway.root_url)
    sock.sendall(request)
    begin = sock.recv(4096)
    assert begin.startswith(b"HTTP/1.1 200 OK"), (begin, troubles(gateway))
    return sock


def test_it_comes_back_after_two_good_probes(brisk, upstream):
    trip(brisk, upstream)
    assert brisk.metric("signalbox_breaker_state", deployment="oa/up-first") == 2
    assert brisk.metric("signalbox_breaker_trips_total", deployment="oa/up-first") >= 1
    upstream.reset()
    wait_half_open(brisk)
    assert brisk.metric("signalbox_breaker_state", deployment="oa/up-first") == 1
    assert [ask(brisk).headers["x-signalbox-model"] for _ in range(3)] == ["oa/up-first"] * 3
    assert troubles(brisk) == []
    assert brisk.metric("signalbox_breaker_state", deployment="oa/up-first") == 0


@only("script", [error(400, "no", type_="invalid_request_error"), error(404, "no such model")], ids=["400", "404"])
def test_forty_errors_of_callers_open_nothing(brisk, upstream, script):
    upstream.always("up-first", script)
    assert {ask(brisk, "first").status for _ in range(40)} <= {400, 404}
    assert len(upstream.requests("up-first")) == 40
    assert troubles(brisk) == []


def test_thirty_departures_open_nothing(brisk, upstream):
    upstream.always("up-first", silent())
    body = b'{"model": "first", "messages": [{"role": "user", "content": "hello"}]}'
    for count in range(1, 31):
        sock = connect(brisk.root_url)
        sock.sendall(_head(body) + body)
        upstream.wait_requests(count, model="up-first")
        sock.close()
    for request in upstream.requests("up-first"):
        request.wait_closed()
    assert troubles(brisk) == []


def test_when_all_wait_for_a_person_the_caller_is_not_told_to_come_back(brisk, upstream):
    for model in ("first", "second"):
        upstream.always(f"up-{model}", error(401, "bad key", code="invalid_api_key"))
        assert ask(brisk, model).status == 502
    upstream.reset()
    answer = ask(brisk)
    assert answer.status == 503
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert answer.error["rejected"] == {"breaker_open": 2}
    assert upstream.requests() == []


def test_one_that_failed_lately_is_in_the_decision_record(brisk, upstream):
    trip(brisk, upstream, error(401, "bad key", code="invalid_api_key"))
    before = brisk.metric("signalbox_rejections_total", model="first", reason="breaker_open")
    assert ask(brisk).headers["x-signalbox-attempts"] == "1"
    brisk.wait_metric("signalbox_rejections_total", before + 1, model="first", reason="breaker_open")
    told = {"event": "breaker opened", "deployment": "oa/up-first"}
    patience = time.monotonic() + 60
    while not any(told.items() <= line.items() for line in brisk.logs()):  # lines are written by a thread of their own
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_a_reload_on_request_lets_a_new_key_be_tried(brisk, upstream):
    trip(brisk, upstream, error(401, "bad key", code="invalid_api_key"))
    upstream.reset()
    assert brisk.reload().status == 200
    assert ask(brisk).headers["x-signalbox-model"] == "oa/up-first"


def test_a_pause_is_respected_and_told(brisk, upstream):
    upstream.always("up-first", error(429, "slow", code="rate_limit_exceeded", headers={"retry-after": "30"}))
    assert ask(brisk).headers["x-signalbox-model"] == "oa/up-second"
    for _ in range(5):
        assert ask(brisk).headers["x-signalbox-attempts"] == "1"
    assert len(upstream.requests("up-first")) == 1
    answer = ask(brisk, "first")
    assert answer.status == 429
    assert 25 <= int(answer.headers["retry-after"]) <= 30
    assert troubles(brisk)[0]["breaker"] == "closed"
    assert 20 < troubles(brisk)[0]["throttled_s"] <= 30
    assert 20 < brisk.metric("signalbox_throttled_seconds", deployment="oa/up-first") <= 30


@only("stream", [False, True], ids=["whole", "stream"])
def test_an_empty_allowance_is_known_before_anything_fails(brisk, upstream, stream):
    left = {
        "x-ratelimit-limit-requests": "9",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m",
    }
    message = {"role": "assistant", "content": "the last one"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    upstream.script("up-first", reply(whole | {"usage": {"prompt_tokens": 5, "completion_tokens": 3}}, headers=left))
    assert ask(brisk).text == "the last one"
    assert ask(brisk, stream=stream).headers["x-signalbox-model"] == "oa/up-second"
    assert len(upstream.requests("up-first")) == 1
