"""What works without a configuration and without a key: the built-in mock provider, driven by every client."""

import json

import pytest

from tests.clients.drivers import Client
from tests.e2e.test_client_matrix import CITY_FORMAT, WEATHER

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize


@pytest.fixture
def bare(gateways):
    """`signalbox serve` as a newcomer starts it."""
    return gateways.get(None)


@pytest.fixture
def brisk(gateways):
    """The same provider in a file: there it can be told not to dawdle, and to forget what it did in other tests."""
    return gateways.get({"providers": {"mock": {"kind": "mock", "pace": False, "retry_after_s": 0.2}}})


@pytest.fixture
def tell(client: Client, brisk):
    def run(op, text="Tell me a story", *, at=brisk, job=None, model="mock/any", **body):
        body |= {"messages": [{"role": "user", "content": text}]}
        address = {"base_url": at.base_url, "api_key": "unused", "retries": 0}
        return client.run({"op": op, "body": {"model": model} | body} | address | (job or {}))

    return run


@only("model", ["auto", "mock/any"])
def test_plain_and_streamed_say_the_same(tell, bare, model):
    whole = tell("create", at=bare, model=model)
    streamed = tell("stream", at=bare, model=model, stream_options={"include_usage": True})
    assert whole["text"]
    assert whole["text"] == streamed["text"]
    assert whole["finish"] == streamed["finish"] == "stop"
    assert [whole["usage"]] == streamed["usages"]
    assert whole["usage"]["total"] == whole["usage"]["prompt"] + whole["usage"]["completion"] > 2
    assert streamed["ids"] == 1
    assert streamed["count"] > 3


def test_tools(tell):
    whole = tell("create", "What is the weather in Paris?", model="mock/tools", tools=[WEATHER])
    assert whole["finish"] == "tool_calls"
    assert whole["calls"][0]["name"] == "get_weather"
    assert isinstance(whole["calls"][0]["arguments"]["city"], str)
    streamed = tell("stream", "What is the weather in Paris?", model="mock/tools", tools=[WEATHER])
    assert streamed["calls"] == whole["calls"]
    assert streamed["finish"] == "tool_calls"


def test_structured_output(tell):
    whole = tell("create", "a city", response_format=CITY_FORMAT)
    city = json.loads(whole["text"])
    assert isinstance(city["city"], str)
    assert isinstance(city["population"], int)
    assert isinstance(tell("parse", "a city")["parsed"]["population"], int)
    assert tell("parse_stream", "a city")["has_delta_events"]


def test_json(tell):
    assert isinstance(json.loads(tell("create", model="mock/json")["text"]), dict)


def test_refusal(tell):
    result = tell("create", model="mock/refuse")
    assert result["refusal"]
    assert not result["text"]


def test_n_stop_and_length(tell):
    assert len(tell("create", n=3)["texts"]) == 3
    assert tell("create", max_tokens=2)["finish"] == "length"
    text = tell("create")["text"]
    word = text.split()[3]
    stopped = tell("create", stop=word)
    assert stopped["finish"] == "stop"
    assert text.startswith(stopped["text"])
    assert word not in stopped["text"]


def test_embeddings(tell):
    made = tell("embed", job={"body": {"model": "mock/embed", "input": ["one", "two", "one"]}})
    first, second, third = made["vectors"]
    assert len(first) == len(second) > 10
    assert first == third != second
    floats = tell("embed", job={"body": {"model": "mock/embed", "input": "one", "encoding_format": "float"}})
    assert floats["vectors"][0] == pytest.approx(first, abs=1e-6)


@only(
    ("model", "status", "class_"),
    [
        ("mock/429", 429, "RateLimitError"),
        ("mock/500", 502, "InternalServerError"),
        ("mock/503", 503, "InternalServerError"),
        ("mock/401", 502, "InternalServerError"),
        ("mock/quota", 503, "InternalServerError"),
        ("mock/context", 400, "BadRequestError"),
        ("mock/garbage", 502, "InternalServerError"),
        ("mock/empty", 502, "InternalServerError"),
        ("mock/unreachable", 502, "InternalServerError"),
    ],
)
@only("op", ["create", "stream"])
def test_misbehaviour_before_the_first_byte(tell, op, model, status, class_):
    raised = tell(op, model=model)["raised"]
    assert raised["status"] == status
    assert raised["class"] in (class_, None)
    assert raised["request_id"]


@only("model", ["mock/cut-stream", "mock/reset-late", "mock/error-frame"])
def test_misbehaviour_in_a_stream(tell, model):
    result = tell("stream", model=model)
    assert result["text"]
    assert result["raised"]["message"]


def test_a_stale_connection_is_nobodys_business(tell):
    assert tell("create", model="mock/stale")["text"]
    assert tell("stream", model="mock/stale")["text"]


def test_models(tell, bare):
    assert "auto" in tell("models", at=bare)["ids"]


def test_leaving_a_stalled_stream(tell, bare):
    before = bare.metric("signalbox_client_gone_total")
    assert tell("leave_stream", at=bare, model="mock/stall")["text"]
    tell("leave_early", at=bare, model="mock/hang", job={"after_s": 0.2})
    bare.wait_metric("signalbox_client_gone_total", before + 2)
