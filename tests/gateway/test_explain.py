"""Explanations: they say what really happens, are complete, and change nothing; here over a real gateway as well."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from gateway.explain import explain, question_of
from gateway.wire.refusals import RefusedError
from routing.features import NAMES
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import Answer, send
from tests.routing.scene import EASY, HARD, ask, assembled, model

SMALL = model("s", price=(0.1, 0.4), context_window=8192)
LARGE = model("l", price=(3, 15))
TIERS = {"strategy": "complexity", "tiers": {"simple": ["small"], "medium": ["middle"], "complex": ["large"]}}
CONFIG = {
    "models": {"small": SMALL, "middle": model("m1", "m2", price=(1, 4)), "large": LARGE},
    "routes": {
        "auto": TIERS,
        "frugal": {"strategy": "balanced", "pool": ["small", "large"]},
        "lottery": {"strategy": "weighted", "pool": ["small", "middle", "large"]},
        "plain": {"pool": ["large", "small"]},
        "tight": {"pool": ["large", "middle"], "constraints": {"max_cost_usd": 0.000001}},
    },
    "rules": [
        {"name": "proofs", "when": {"route": "plain", "keywords_any": ["bounded sequence"]}, "use": "small"},
        {"name": "gold", "when": {"route": "auto", "tags": ["gold"]}, "tier": "complex"},
    ],
}


def told(runtime: Any, text: str = EASY, name: str = "auto", **more: Any) -> dict[str, Any]:
    return explain(runtime, question_of({"prompt": text, "route": name} | more, None), 1_800_000_000.0)


@pytest.fixture
def runtime() -> Any:
    return assembled(**CONFIG)[1]


@pytest.mark.parametrize("name", ["auto", "frugal", "lottery", "plain", "small", "sim/anything"])
@pytest.mark.parametrize("text", [EASY, HARD])
def test_it_says_what_the_next_request_gets(name: str, text: str) -> None:
    one, other = (assembled(**CONFIG)[1] for _ in range(2))
    found = told(one, text, name)
    decision = other.router.decide(ask(name, text))
    assert [c["deployment"] for c in found["candidates"]] == [c.id for c in decision.candidates]
    assert (found["summary"], found["strategy"]) == (decision.summary, decision.strategy)
    assert [c.id for c in one.router.decide(ask(name, text)).candidates] == [c.id for c in decision.candidates]


def test_chance_goes_on_as_if_nobody_had_asked(runtime: Any) -> None:
    state = runtime.router.world.rng.getstate()
    for _ in range(5):
        told(runtime, name="lottery")
        with pytest.raises(RefusedError):
            told(runtime, name="nobody")
        told(runtime, name="tight")
    assert runtime.router.world.rng.getstate() == state


@pytest.mark.parametrize("name", ["auto", "frugal", "lottery", "plain"])
def test_it_is_complete_whatever_the_strategy_needed(runtime: Any, name: str) -> None:
    found = told(runtime, HARD, name)
    assert 0 <= found["score"] <= 1
    assert 0 <= found["confidence"] <= 1
    assert found["tier"] in ("simple", "medium", "complex")
    assert isinstance(found["task_type"], str)
    assert set(NAMES) | {"language", "task_type", "modality", "tool_stage", "tokens"} <= found["features"].keys()
    assert found["input_tokens"] > 50
    for candidate in found["candidates"]:
        assert 0 <= candidate["quality"] <= 1
        assert candidate["quality"] == found["quality"][candidate["model"]]
        assert 0 < candidate["cost_usd"] < 0.1
    assert found["model"] == found["candidates"][0]["model"]


def test_the_dearer_model_is_taken_to_be_better_and_costs_more(runtime: Any) -> None:
    found = told(runtime, HARD, "frugal")
    by_model = {candidate["model"]: candidate for candidate in found["candidates"]}
    assert by_model["large"]["quality"] > by_model["small"]["quality"]
    assert by_model["large"]["cost_usd"] > 10 * by_model["small"]["cost_usd"]
    utilities = [candidate["utility"] for candidate in found["candidates"]]
    assert utilities == sorted(utilities, reverse=True)


def test_candidates_stand_with_their_tier_and_every_deployment(runtime: Any) -> None:
    found = told(runtime, HARD)
    tiers = {candidate["deployment"]: candidate["tier"] for candidate in found["candidates"]}
    assert tiers == {"sim/s": "simple", "sim/m1": "medium", "sim/m2": "medium", "sim/l": "complex"}


def test_a_rule_is_named(runtime: Any) -> None:
    found = told(runtime, HARD, "plain")
    assert (found["rule"], found["model"], found["route"]) == ("proofs", "small", "plain")
    assert told(runtime, EASY, "plain")["rule"] is None


def test_tags_and_headers_have_their_effect(runtime: Any) -> None:
    assert told(runtime)["tier"] != "complex"
    assert told(runtime, tags=["gold"])["tier"] == "complex"
    assert told(runtime, headers={"X-Signalbox-Tags": "gold"})["rule"] == "gold"
    assert told(runtime, application="chat")["application"] == "chat"


def test_what_was_left_out_is_there_with_its_reason_and_quality(runtime: Any) -> None:
    found = told(runtime, "word " * 60_000)
    assert {"model": "small", "deployment": "sim/s", "reason": "context_window"} in found["rejections"]
    assert "small" not in [candidate["model"] for candidate in found["candidates"]]
    assert set(found["quality"]) == {"small", "middle", "large"}


def test_a_request_that_nothing_can_take_is_explained_too(runtime: Any) -> None:
    found = told(runtime, HARD, "tight")
    assert (found["model"], found["candidates"]) == (None, [])
    assert found["error"]["constraint"] == "max_cost"
    assert {one["reason"] for one in found["rejections"]} == {"max_cost"}
    assert set(found["quality"]) == {"middle", "large"}


def test_a_rule_that_leaves_nothing_is_named(runtime: Any) -> None:
    found = told(runtime, "word " * 30_000 + "bounded sequence", "plain")
    assert (found["rule"], found["model"]) == ("proofs", None)
    assert found["rejections"] == [{"model": "small", "deployment": "sim/s", "reason": "context_window"}]


def test_models_of_the_request_itself_are_candidates(runtime: Any) -> None:
    found = told(runtime, name="small", models=["large"], provider={"sort": "price"})
    assert [candidate["model"] for candidate in found["candidates"]] == ["small", "large"]


def test_a_tool_result_tells_where_the_conversation_was() -> None:
    assembler, runtime = assembled(**CONFIG)
    messages = [{"role": "user", "content": HARD}, {"role": "assistant", "content": "x"}, {"role": "tool"}]
    session = runtime.router.decide(ask("auto", messages=messages)).session
    large = runtime.router.find("large").groups[0].deployments[0]
    from providers.base import Usage

    assembler.world.affinity.note(session, large, "complex", Usage(input=500, output=5))
    question = question_of({"messages": messages, "route": "auto"}, None)
    found = explain(runtime, question, 0.0)
    assert (found["stay"]["deployment"], found["stay"]["tier"], found["stay"]["turns"]) == ("sim/l", "complex", 1)
    assert found["model"] == "large"
    assert assembler.world.affinity.get(session).turns == 1


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "y"}]}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "y"}]}, "messages[0].role"),
        ({"prompt": "x", "tags": 5}, "tags"),
        ({"prompt": "x", "headers": {"a": 1}}, "headers"),
        ({"prompt": "x", "key": 1}, "key"),
        ({"prompt": "x", "key": "nobody"}, "key"),
        ({"prompt": "x", "route": "nowhere"}, "model"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
    ],
)
def test_a_question_that_cannot_be_understood_names_the_member(runtime: Any, given: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        explain(runtime, question_of(given, "auto"), 0.0)
    assert refused.value.refusal.error["param"] == param


def test_a_body_too_deep_to_be_written_is_refused(runtime: Any) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(RefusedError) as refused:
        explain(runtime, question_of({"prompt": "x", "metadata": {"a": deep}}, "auto"), 0.0)
    assert refused.value.refusal.error["code"] == "invalid_json"


# The same over a real gateway.

SECRET = "sk-ann"
KEYS = [
    {"name": "ann", "sha256": sha256(SECRET.encode()).hexdigest(), "candidates": ["small", "middle"]},
    {"name": "bob", "sha256": sha256(b"sk-bob").hexdigest(), "models": ["small"]},
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    off = {"kind": "openai", "api_key": "$NO_SUCH_KEY"}
    tiers = TIERS["tiers"] | {"complex": ["large", "secret"]}
    config = CONFIG | {
        "providers": {"sim": {"kind": "mock"}, "off": off},
        "keys": KEYS,
        "models": CONFIG["models"] | {"secret": model("x", provider="off")},
        "routes": CONFIG["routes"] | {"auto": TIERS | {"tiers": tiers}},
    }
    with Gateway(config) as running:
        yield running


def asked(gateway: Gateway, headers: dict[str, str], text: str = HARD, name: str = "auto", **more: Any) -> Answer:
    return gateway.chat(name, text, headers={"authorization": f"Bearer {SECRET}"} | headers, **more)


@pytest.mark.e2e
def test_the_running_gateway_explains_with_what_it_has_seen(gateway: Gateway) -> None:
    question = {"route": "auto", "prompt": f"{HARD} This is a conversation of its own.", "key": "ann"}
    sent = asked(gateway, {}, question["prompt"])
    assert sent.status == 200, sent.body
    answer = gateway.admin("explain", question)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json
    assert {"model": "large", "deployment": "sim/l", "reason": "not_allowed"} in found["rejections"]
    assert {"model": "secret", "deployment": "off/x", "reason": "disabled"} in found["rejections"]
    used = next(c for c in found["candidates"] if c["deployment"] == sent.headers["x-signalbox-model"])
    assert used["latency_s"] is not None
    assert found["stay"]["deployment"] == used["deployment"]
    assert found["stay"]["turns"] == 1
    assert gateway.admin("explain", question).json["stay"]["turns"] == 1


@pytest.mark.e2e
def test_only_the_admin_may_ask_and_mistakes_are_named(gateway: Gateway) -> None:
    url = f"{gateway.root_url}/admin/explain"
    assert send(url, {"prompt": "x"}).status == 401
    assert send(url, {"prompt": "x"}, headers={"authorization": f"Bearer {SECRET}"}).status == 401
    assert gateway.admin("explain", {}).error["param"] == "prompt"
    assert gateway.admin("explain", ["x"]).error["code"] == "invalid_json"
    assert gateway.admin("explain", {"prompt": "x", "model": "smal"}).status == 404
    assert gateway.admin("explain", {"prompt": "x", "model": "large", "key": "bob"}).status == 403
    assert ADMIN_KEY not in gateway.output()


@pytest.mark.e2e
def test_it_is_documented_with_an_example(gateway: Gateway) -> None:
    document = send(f"{gateway.root_url}/openapi.json").json
    content = document["paths"]["/admin/explain"]["post"]["requestBody"]["content"]["application/json"]
    example = content["example"] | {"key": "ann"}
    assert gateway.admin("explain", example).status == 200


@pytest.mark.e2e
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_caller_may_ask_for_the_gist(gateway: Gateway, is_stream: bool) -> None:
    text = "Is the sum of two odd numbers odd? Explain."
    answer = asked(gateway, {"x-signalbox-explain": "1"}, text, stream=is_stream)
    assert answer.status == 200, answer.body
    header = answer.headers["x-signalbox-explanation"]
    found = json.loads(header)
    assert found.keys() >= {"score", "tier", "confidence", "task_type", "candidates", "rejections"}
    assert answer.headers["x-signalbox-model"] in [candidate["model"] for candidate in found["candidates"]]
    assert f"tier={found['tier']}" in answer.headers["x-signalbox-decision"]
    assert header.isascii()
    assert header.isprintable()
    assert "odd" not in header
    # What its key does not allow is none of a caller's business.
    assert "sim/l" not in header
    assert "off/x" not in header


@pytest.mark.e2e
def test_nobody_else_gets_it(gateway: Gateway) -> None:
    for headers in ({}, {"x-signalbox-explain": "0"}):
        assert "x-signalbox-explanation" not in asked(gateway, headers).headers


@pytest.mark.e2e
def test_the_header_is_bounded() -> None:
    names = [f"model-with-a-long-name-{number}-é-{'x' * 60}" for number in range(60)]
    config = {
        "providers": {"sim": {"kind": "mock"}},
        "models": {name: model(name) for name in names},
        "routes": {"auto": {"pool": names}},
    }
    with Gateway(config) as running:
        answer = running.chat("auto", headers={"x-signalbox-explain": "1"})
    header = answer.headers["x-signalbox-explanation"]
    assert len(header) <= 2_000
    found = json.loads(header)
    assert found["is_cut"] is True
    assert found["candidates"][0]["model"] == f"sim/{names[0]}"
