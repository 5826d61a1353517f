"""The output limit that a budget sets, in the words of each dialect."""

import orjson
import pytest

from providers.base import Request, Target
from providers.output_cap import capped


def request(operation="chat", **body):
    body = {"model": "m", "messages": [], **body}
    return Request(operation, body, orjson.dumps(body), "m", False, False, "r")


@pytest.mark.parametrize(
    ("kind", "operation", "given", "expected"),
    [
        ("openai", "chat", {}, {"max_completion_tokens": 100}),
        ("openai", "completions", {}, {"max_tokens": 100}),
        ("openai_compatible", "chat", {}, {"max_tokens": 100}),
        ("openai", "chat", {"max_tokens": 50}, {"max_tokens": 50}),
        ("openai", "chat", {"max_tokens": 500}, {"max_tokens": 100}),
        ("openai", "chat", {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 100}),
        (
            "groq",
            "chat",
            {"max_tokens": 500, "max_completion_tokens": 90},
            {"max_tokens": 100, "max_completion_tokens": 90},
        ),
        ("openai", "embeddings", {}, {}),
        ("openai_compatible", "chat", {"max_tokens": -1}, {"max_tokens": 100}),
        ("openai_compatible", "chat", {"max_tokens": 0}, {"max_tokens": 100}),
        ("openai_compatible", "chat", {"max_tokens": True}, {"max_tokens": 100}),
        ("openai", "completions", {"max_tokens": 0}, {"max_tokens": 0}),
        ("openai", "completions", {"max_tokens": -1}, {"max_tokens": 100}),
    ],
)
def test_what_is_sent(kind, operation, given, expected):
    asked = request(operation, **given)
    sent = capped(asked, Target("m"), kind, 100)
    limits = {name: value for name, value in orjson.loads(sent.raw).items() if name.startswith("max_")}
    assert limits == {name: value for name, value in sent.body.items() if name.startswith("max_")} == expected
    assert asked.body == {"model": "m", "messages": [], **given}, "the caller's own body is shared by all attempts"


def test_a_target_that_writes_less_is_asked_for_less():
    assert capped(request(), Target("m", max_output_tokens=60), "openai", 100).body["max_completion_tokens"] == 60


def test_what_is_within_the_cap_stays_as_it_is():
    asked = request(max_tokens=100)
    assert capped(asked, Target("m"), "openai", 100) is asked
