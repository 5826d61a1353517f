"""Budgets and limits of a real gateway: what is admitted, what is refused, and what the caller reads."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.e2e.setup import key_row, standard_config
from tests.fakes.answers import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.fakes.gateway import Gateway
from tests.fakes.script import silent

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
# A dollar per million tokens of any class: a thousand nano-dollars each.
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
COST_NUSD = 1000 * (PROMPT_TOKENS + COMPLETION_TOKENS)
FEW = 20


def secret(name: str) -> str:
    return f"sk-{name}-0123456789"


def auth(name: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret(name)}"} | more


def paid_config(upstream: Any, keys: dict[str, dict[str, Any]], **sections: Any) -> dict[str, Any]:
    """Models with prices, and a key for every test."""
    config = standard_config(upstream)
    for name, model in config["models"].items():
        if name != "chat-mock":
            model["price"] = PRICE
    config["keys"] = [key_row(name, secret(name), **more) for name, more in keys.items()]
    return config | sections


@pytest.fixture(scope="session")
def _paying(gateways, _upstream_process) -> Gateway:
    enough, scarce = 1.0, 0.01
    budgets = {
        "one-call": {"limit_usd": 0.0009, "window": "total"},
        "some": {"limit_usd": scarce, "window": "day"},
        "crowd": {"limit_usd": scarce, "window": "day"},
        "parent": {"limit_usd": 0.0009, "window": "month"},
        "child": {"limit_usd": enough, "window": "hour", "parent": "parent"},
        "capped": {"limit_usd": enough, "max_request_usd": 0.001},
        "shrinking": {"limit_usd": 0.002, "window": "day", "shrink_answers": True},
        "unpriced": {"limit_usd": enough},
        "soft": {"limit_usd": 0.0025, "soft_ratio": 0.5, "on_soft": {"route": "both", "to": "second"}},
        "tagged": {"limit_usd": 0.0009, "window": "day", "tags": ["project=x"]},
        "each": {"limit_usd": 0.0009, "window": "day", "each_key": True},
        "headers": {"limit_usd": enough, "window": "day"},
        "route": {"limit_usd": 0.0025, "soft_ratio": 0.3, "on_soft": {"route": "second-choice", "to": "second"}},
    }
    limits = {
        "three": {"requests_per_minute": 3},
        "tokens": {"tokens_per_minute": 1000},
        "one-at-once": {"concurrency": 1},
        "patient": {"concurrency": 1, "wait_s": 20},
        "greedy": {"concurrency": 1, "wait_s": 20},
    }
    keys = {name: {"budget": name} for name in budgets if name not in ("parent", "each", "tagged", "route")}
    keys |= {"tagged": {}, "each-1": {"budget": "each"}, "each-2": {"budget": "each"}}
    keys |= {name: {"limits": name} for name in limits}
    keys["child"]["limits"] = None
    keys = {name: {key: value for key, value in row.items() if value is not None} for name, row in keys.items()}
    config = paid_config(_upstream_process, keys, budgets=budgets, limits=limits)
    config["routes"]["second-choice"] = {"strategy": "ordered", "pool": ["first", "second"], "budget": "route"}
    config["policies"]["overload"] = {"max_in_flight": 64}
    return gateways.get(config)


@pytest.fixture
def paying(_paying, upstream) -> Iterator[Gateway]:
    yield _paying


def ask(gateway: Gateway, key: str, model: str = "chat-openai", text: str = "hello", **more: Any) -> Any:
    headers = auth(key) | more.pop("headers", {})
    return gateway.chat(model, text, headers=headers, **{"max_tokens": FEW} | more)


def until_refused(gateway: Gateway, key: str, **more: Any) -> tuple[int, Any]:
    for number in range(500):
        answer = ask(gateway, key, stream=number % 2 == 1, **more)
        if answer.status != 200:
            return number, answer
    raise AssertionError("never refused")


def test_a_budget_ends_with_the_arithmetic(paying):
    count, refused = until_refused(paying, "some")
    assert refused.status == 429
    assert (refused.error["type"], refused.error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    told = refused.error["budget"]
    assert (told["name"], float(told["limit_usd"]), float(told["held_usd"])) == ("some", 0.01, 0)
    assert float(told["spent_usd"]) == pytest.approx(count * COST_NUSD / 1e9)
    assert float(told["spent_usd"]) + float(told["asked_usd"]) > 0.01, "the one that was refused did not fit"
    assert count * COST_NUSD < 10_000_000
    assert "$0.01" in refused.error["message"]


def test_concurrent_requests_never_go_over(paying, upstream):
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: ask(paying, "crowd", stream=number % 2 == 0), range(400)))
    served = [answer for answer in answers if answer.status == 200]
    assert {answer.status for answer in answers} == {200, 429}
    assert len(served) * COST_NUSD <= 10_000_000
    count, _ = until_refused(paying, "crowd")
    spent = (len(served) + count) * COST_NUSD
    assert spent <= 10_000_000
    assert spent >= 0.9 * 10_000_000, "what was held for the worst is given back"


def test_the_sdk_does_not_try_again(paying, upstream):
    client = openai.OpenAI(base_url=paying.base_url, api_key=secret("one-call"), max_retries=3)
    messages: Any = [{"role": "user", "content": "hello"}]
    calls = 0
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(200):
            client.chat.completions.create(model="chat-openai", messages=messages, max_tokens=FEW)
            calls += 1
    assert calls >= 1
    assert len(upstream.requests("up-openai")) == calls
    assert caught.value.code == "insufficient_quota"


def test_the_budget_above_counts_as_well(paying):
    _, refused = until_refused(paying, "child")
    assert refused.error["budget"]["name"] == "parent"


def test_one_request_may_cost_so_much(paying, upstream):
    refused = ask(paying, "capped", max_tokens=5000)
    assert (refused.status, refused.error["code"]) == (400, "request_too_expensive")
    assert upstream.requests("up-openai") == []
    assert ask(paying, "capped").status == 200


def test_answers_are_shortened_where_the_operator_wants_that(paying, upstream):
    answer = ask(paying, "shrinking", max_tokens=100_000)
    assert answer.status == 200
    lowered = int(answer.headers["x-signalbox-max-tokens"])
    (request,) = upstream.requests("up-openai")
    assert json.loads(request.body)["max_tokens"] == lowered
    assert 100 < lowered < 2000


def test_what_nobody_knows_the_price_of_is_not_paid_for(paying):
    refused = ask(paying, "unpriced", "sim/no-price-for-this")
    assert (refused.status, refused.error["code"]) == (403, "model_unpriced")


def test_beyond_the_soft_limit_requests_go_elsewhere(paying, upstream):
    seen = []
    for _ in range(200):
        answer = ask(paying, "soft", "both")
        if answer.status != 200:
            break
        seen.append((answer.headers["x-signalbox-model"], "x-signalbox-budget-warning" in answer.headers))
    moved = seen.index(("oa/up-second", True))
    assert seen[0] == ("oa/up-first", False)
    assert set(seen[moved:]) == {("oa/up-second", True)}


def test_the_budget_of_a_route_moves_requests_as_well(paying):
    for _ in range(200):
        answer = ask(paying, "headers", "second-choice")
        if answer.headers.get("x-signalbox-model") == "oa/up-second":
            return
        assert answer.status == 200, answer.body
    raise AssertionError("never moved")


def test_tags_pay(paying):
    tagged = {"x-signalbox-tags": "team=a, project=x"}
    _, refused = until_refused(paying, "tagged", headers=tagged)
    assert refused.error["budget"]["name"] == "tagged"
    assert ask(paying, "tagged").status == 200
    assert ask(paying, "headers", headers=tagged).status == 429, "whatever the key"


def test_each_key_has_its_own(paying):
    until_refused(paying, "each-1")
    assert ask(paying, "each-1").status == 429
    assert ask(paying, "each-2").status == 200


def test_what_is_left_is_told_to_who_asks(paying):
    answer = ask(paying, "headers", headers={"x-signalbox-budget": "1"})
    shown = answer.headers["x-signalbox-budget"]
    assert shown.startswith("headers;remaining_usd=0.99")
    assert ";limit_usd=1;reset_s=" in shown
    assert "x-signalbox-budget" not in ask(paying, "headers").headers


def test_requests_per_minute(paying):
    answers = [ask(paying, "three") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    remaining = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:3]]
    assert remaining == ["2", "1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    error = answers[3].error
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert answers[3].headers["x-should-retry"] == "true"
    assert 0 < int(answers[3].headers["retry-after-ms"]) <= 61_000
    assert answers[0].headers["x-ratelimit-reset-requests"] == "1m0s"
    refused = answers[3].headers
    assert (refused["x-ratelimit-limit-requests"], refused["x-ratelimit-remaining-requests"]) == ("3", "0")


def test_tokens_per_minute_settle_to_what_was_used(paying):
    used = 0
    while (answer := ask(paying, "tokens", max_tokens=300)).status == 200:
        used += PROMPT_TOKENS + COMPLETION_TOKENS
    assert answer.error["type"] == "tokens"
    assert 600 <= used <= 1000, "what was held for long answers came back"


def test_requests_at_once(paying, upstream):
    upstream.script("up-openai", silent())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, paying, "one-at-once", headers={"x-signalbox-timeout-ms": "1000"})
        upstream.wait_requests(1, model="up-openai")
        assert ask(paying, "one-at-once").error["code"] == "rate_limit_exceeded"
        assert first.result().status == 504
    assert ask(paying, "one-at-once").status == 200


def test_who_may_wait_is_served_in_turn(paying):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(paying, "patient"), range(16)))
    assert {answer.status for answer in answers} == {200}, [a.error for a in answers if a.status != 200]


def test_those_who_wait_leave_room_for_others(paying, upstream):
    """A quarter of 64 places; whoever comes after that is told to come back."""
    impatient = {"x-signalbox-timeout-ms": "1500"}
    upstream.script("up-openai", silent())
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(ask, paying, "greedy", headers=impatient) for _ in range(60)]
        upstream.wait_requests(1, model="up-openai")
        assert ask(paying, "headers", "first").status == 200
        answers = [one.result() for one in waiting]
    statuses = [answer.status for answer in answers]
    assert statuses.count(429) >= 60 - 1 - 16
    assert {answer.error["code"] for answer in answers if answer.status == 429} == {"rate_limit_exceeded"}
