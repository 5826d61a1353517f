"""OpenRouter's request extensions and the limits of a route as callers meet them."""

import json

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET, key_row
from tests.fakes.http import send

pytestmark = pytest.mark.e2e
AUTH = {"authorization": f"Bearer {KEY}"}
PDF = [{"type": "file", "file": {"file_id": "file-1"}}]


def _price(usd):
    return {"input_usd_per_mtok": usd, "output_usd_per_mtok": usd}


def _config(upstream):
    url = f"{upstream.base_url}/v1"
    return {
        "providers": {
            "east": {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": url, "residency": "eu"},
            "west": {"kind": "anthropic", "api_key": UPSTREAM_SECRET, "base_url": upstream.base_url, "residency": "us"},
            "or": {"kind": "openrouter", "api_key": UPSTREAM_SECRET, "base_url": url},
        },
        "models": {
            "a": {"deployments": [{"provider": "east", "model": "up-a"}], "price": _price(1.0)},
            "b": {"deployments": [{"provider": "west", "model": "up-b"}], "price": _price(2.0)},
            "small": {
                "deployments": [{"provider": "east", "model": "up-small"}],
                "price": _price(0.1),
                "context_window": 1000,
                "capabilities": ["text", "streaming"],
            },
            # Nobody else asks these: what an answer is expected to cost follows what earlier ones did.
            "lowest": {"deployments": [{"provider": "east", "model": "up-lowest"}], "price": _price(1.0)},
            "dear": {"deployments": [{"provider": "west", "model": "up-dear"}], "price": _price(2.0)},
            "unpriced": {"deployments": [{"provider": "east", "model": "up-unpriced"}]},
        },
        "routes": {
            "both": {"pool": ["a", "b"]},
            "pair": {"pool": ["dear", "lowest"]},
            "eu": {"pool": ["b", "a"], "constraints": {"residency": "eu"}},
            "nowhere": {"pool": ["b"], "constraints": {"residency": "eu"}},
            "relaxed": {"pool": ["b"], "constraints": {"residency": "eu", "relax": ["residency"]}},
            "sized": {"pool": ["small", "a"]},
            "cheap": {"pool": ["b"], "constraints": {"max_output_usd_per_mtok": 1.5}},
            "little": {"pool": ["small"]},
        },
        "keys": [
            key_row("free", KEY),
            key_row("bound", f"{KEY}-bound", candidates=["a"]),
            key_row("narrow", f"{KEY}-narrow", models=["a"]),
        ],
    }


@pytest.fixture
def gateway(gateways, upstream):
    """Shared with tests that let something fail: whose breakers that opened start over."""
    gateway = gateways.get(_config(upstream))
    gateway.forget_trouble()
    return gateway


def ask(gateway, model, text="hello", *, key=KEY, headers=(), **body):
    """The status, the model that answered or else the error."""
    answer = gateway.chat(model, text, headers={"authorization": f"Bearer {key}", **dict(headers)}, **body)
    if answer.status == 200:
        return answer.headers["x-signalbox-model"]
    error = json.loads(answer.body)["error"]
    return answer.status, error["code"], error.get("constraint"), error["param"]


@pytest.mark.parametrize(
    ("model", "body", "answered_by"),
    [
        ("both", {"provider": {"order": ["west"]}}, "west/up-b"),
        ("both", {"provider": {"only": ["west"]}}, "west/up-b"),
        ("both", {"provider": {"ignore": ["east"]}}, "west/up-b"),
        ("both", {"provider": {"order": ["nobody", "west"]}}, "west/up-b"),
        ("pair:floor", {}, "east/up-lowest"),
        ("b", {"models": ["a"], "provider": {"only": ["east"]}}, "east/up-a"),
        ("b", {"models": ["a"], "provider": {"max_price": {"prompt": 1.5}}}, "east/up-a"),
        ("b", {"models": ["b", "a"], "route": "fallback"}, "west/up-b"),
    ],
)
def test_who_answers(gateway, model, body, answered_by):
    assert ask(gateway, model, **body) == answered_by


@pytest.mark.parametrize(
    ("model", "body", "refused"),
    [
        ("both", {"provider": {"only": ["nobody"]}}, (400, "no_candidate", "excluded", "provider")),
        ("both", {"provider": {"max_price": {"completion": "0.5"}}}, (400, "no_candidate", "max_price", None)),
        ("both", {"provider": {"sort": "best"}}, (400, "invalid_type", None, "provider.sort")),
        ("both", {"models": ["nobody"]}, (404, "model_not_found", None, "model")),
    ],
)
def test_who_cannot(gateway, model, body, refused):
    assert ask(gateway, model, **body) == refused


def test_models_alone(gateway, upstream):
    body = {"models": ["a", "b"], "messages": [{"role": "user", "content": "hi"}]}
    answer = send(f"{gateway.base_url}/chat/completions", json.dumps(body).encode(), headers=AUTH)
    assert (answer.status, answer.headers["x-signalbox-model"]) == (200, "east/up-a")
    assert json.loads(upstream.last.body) == {"messages": body["messages"], "model": "up-a"}


def test_a_key_reaches_no_further_model_than_it_may(gateway):
    assert ask(gateway, "a", key=f"{KEY}-narrow", models=["b"]) == (403, "model_not_allowed", None, "model")
    assert ask(gateway, "both", key=f"{KEY}-bound", provider={"order": ["west"]}) == "east/up-a"


def test_what_only_the_gateway_reads_is_not_sent_on(gateway, upstream):
    extras = {"models": ["b"], "route": "fallback", "provider": {"order": ["east"]}, "seed": 1}
    assert ask(gateway, "a", **extras) == "east/up-a"
    sent = json.loads(upstream.last.body)
    assert sent.keys() & {"models", "route", "provider"} == set()
    assert sent["seed"] == 1


def test_a_name_straight_to_openrouter_leaves_its_preferences_to_openrouter(gateway, upstream):
    wish = {"only": ["deepinfra/turbo"], "zdr": True}
    assert ask(gateway, "or/meta/llama:nitro", provider=wish) == "or/meta/llama:nitro"
    sent = json.loads(upstream.last.body)
    assert (sent["model"], sent["provider"]) == ("meta/llama:nitro", wish)
    assert ask(gateway, "or/meta/llama", provider={"only": ["or"]}, models=["a"]) == "or/meta/llama"
    assert "provider" not in json.loads(upstream.last.body)


def test_parameters_that_have_to_be_carried(gateway):
    assert ask(gateway, "b", logit_bias={"1": 1}) == "west/up-b"
    need = {"require_parameters": True}
    assert ask(gateway, "b", logit_bias={"1": 1}, models=["a"], provider=need) == "east/up-a"
    assert ask(gateway, "b", logit_bias={"1": 1}, provider=need)[0] == 400
    assert ask(gateway, "b", provider=need) == "west/up-b"


@pytest.mark.parametrize(
    ("model", "text", "body", "found"),
    [
        ("eu", "hi", {}, "east/up-a"),
        ("relaxed", "hi", {}, "west/up-b"),
        ("nowhere", "hi", {}, (400, "no_candidate", "residency", None)),
        ("cheap", "hi", {}, (400, "no_candidate", "max_price", None)),
        ("sized", "hi", {}, "east/up-small"),
        ("sized", "long " * 4000, {}, "east/up-a"),
        ("sized", "hi", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "east/up-a"),
        ("little", "long " * 4000, {}, (400, "context_length_exceeded", "context_window", "messages")),
        ("little", "hi", {"max_tokens": 5000}, (400, "context_length_exceeded", "context_window", "messages")),
        ("little", PDF, {}, (400, "unsupported_pdf", "no_pdf", "messages")),
    ],
)
def test_constraints(gateway, model, text, body, found):
    assert ask(gateway, model, text, **body) == found


def test_the_most_a_request_may_cost(gateway):
    def limited(usd, model="both"):
        return ask(gateway, model, headers={"x-signalbox-max-cost-usd": usd})

    assert limited("1") == "east/up-a"
    assert limited("0.0000001") == (400, "no_candidate", "max_cost", None)
    assert limited("1", "unpriced") == (400, "no_candidate", "unpriced", None)
    assert limited("much")[:2] == (400, "invalid_header")


def test_the_refusal_tells_everything(gateway):
    answer = send(
        f"{gateway.base_url}/chat/completions",
        json.dumps({"model": "nowhere", "messages": [{"role": "user", "content": "hi"}]}).encode(),
        headers=AUTH,
    )
    assert answer.headers["x-should-retry"] == "false"
    error = json.loads(answer.body)["error"]
    assert error["rejected"] == {"residency": 1}
    assert error["message"].startswith("'nowhere' cannot take this request: it runs nowhere where the data may go.")
    assert error["hint"] in error["message"]
