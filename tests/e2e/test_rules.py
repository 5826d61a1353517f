"""Rules as callers meet them: what a request carries decides who answers, and the decision names the rule."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import Gateway

pytestmark = pytest.mark.e2e

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
IMAGE = [
    {"type": "text", "text": "what is this"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
]
MODELS = ("plain", "headers", "tags", "key", "tools", "images", "words", "pattern", "long", "json", "hard")
CONFIG = {
    "providers": {"sim": {"kind": "mock"}},
    "models": {name: {"deployments": [{"provider": "sim", "model": name}]} for name in MODELS},
    "routes": {
        "auto": {"strategy": "ordered", "pool": ["plain"]},
        "tiered": {
            "strategy": "complexity",
            "tiers": {"simple": ["plain"], "complex": ["hard"]},
            "default_tier": "simple",
        },
    },
    "rules": [
        {"name": "by-header", "when": {"headers": {"X-Team": "red"}}, "use": "headers"},
        {"name": "by-tag", "when": {"tags": ["batch", "nightly"]}, "use": "tags"},
        {"name": "by-key", "when": {"key": "second"}, "use": "key"},
        {"name": "by-tools", "when": {"route": "auto", "has_tools": True}, "use": "tools"},
        {"name": "by-images", "when": {"has_images": True}, "use": "images"},
        {"name": "by-words", "when": {"keywords_any": ["prove that"]}, "use": "words"},
        {"when": {"regex": r"\d{4}-\d{2}-\d{2}"}, "use": "pattern"},
        {"name": "by-length", "when": {"input_tokens": {"gt": 5000}}, "use": "long"},
        {"name": "by-format", "when": {"response_format": "json_object"}, "use": "json"},
        {"name": "by-model", "when": {"model": "sim/old"}, "use": "plain"},
        {"name": "by-tier", "when": {"keywords_all": ["hard", "one"]}, "tier": "complex"},
    ],
    "keys": [key_row("first", KEY), key_row("second", f"{KEY}-2"), key_row("narrow", f"{KEY}-3", models=["auto"])],
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as running:
        yield running


def _decided(gateway: Gateway, model: str, text: Any = "hello", *, key: str = KEY, **more: Any) -> tuple[str, str]:
    headers = {"authorization": f"Bearer {key}"} | more.pop("headers", {})
    answer = gateway.chat(model, text, headers=headers, **more)
    assert answer.status == 200, answer.body
    return answer.headers["x-signalbox-model"].removeprefix("sim/"), answer.headers["x-signalbox-decision"]


@pytest.mark.parametrize(
    ("more", "model", "rule"),
    [
        ({"headers": {"X-TEAM": "red"}}, "headers", "by-header"),
        ({"headers": {"x-signalbox-tags": "slow, nightly"}}, "tags", "by-tag"),
        ({"key": f"{KEY}-2"}, "key", "by-key"),
        ({"tools": TOOLS}, "tools", "by-tools"),
        ({"text": IMAGE}, "images", "by-images"),
        ({"text": "PROVE that it holds"}, "words", "by-words"),
        ({"text": "since 2026-11-21"}, "pattern", '"rules[6]"'),
        ({"text": "word " * 20_000}, "long", "by-length"),
        ({"response_format": {"type": "json_object"}}, "json", "by-format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_request_carries_decides(gateway: Gateway, more: dict[str, Any], model: str, rule: str) -> None:
    answered, decision = _decided(gateway, "auto", **{"text": "hello", **more})
    assert answered == model
    assert f"rule={rule}" in decision


def test_what_no_rule_is_about_goes_on_as_asked(gateway: Gateway) -> None:
    assert _decided(gateway, "auto", headers={"x-team": "blue"}) == ("plain", "ordered;route=auto")
    assert _decided(gateway, "long")[0] == "long"


def test_a_rule_of_a_route_leaves_models_alone(gateway: Gateway) -> None:
    assert _decided(gateway, "plain", tools=TOOLS)[0] == "plain"
    assert _decided(gateway, "plain", "prove that")[0] == "words"


def test_a_key_gets_what_the_rule_says_for_a_name_it_may_ask_for(gateway: Gateway) -> None:
    assert _decided(gateway, "auto", "prove that", key=f"{KEY}-3")[0] == "words"
    refused = gateway.chat("words", "prove that", headers={"authorization": f"Bearer {KEY}-3"})
    assert refused.error["code"] == "model_not_allowed"


def test_a_direct_name_can_be_sent_elsewhere(gateway: Gateway) -> None:
    assert _decided(gateway, "sim/old")[0] == "plain"
    assert _decided(gateway, "sim/new")[0] == "new"
    assert _decided(gateway, "sim/new", "prove that")[0] == "words"


def test_a_tier_is_set_where_there_are_tiers(gateway: Gateway) -> None:
    answered, decision = _decided(gateway, "tiered", "a hard one")
    assert (answered, "tier=complex" in decision, "rule=by-tier" in decision) == ("hard", True, True)
    assert "rule" not in _decided(gateway, "auto", "a hard one")[1]
