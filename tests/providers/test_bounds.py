"""A prompt has never more tokens than its bound: any text, any shape, nonsense included; and what callers allow."""

import base64
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.bounds import (
    MAX_IMAGE_TOKENS,
    MAX_SEARCHES,
    asked_tier,
    bound_prompt,
    max_output_of,
    max_searches,
    most_image_tokens,
)
from providers.tokens import count_prompt
from tests.providers.test_tokens import WEATHER_TOOL

MODELS = ("gpt-4", "gpt-5")
texts = st.text(max_size=300)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(("system", "user", "assistant", "tool")), "content": texts})
    | st.fixed_dictionaries(
        {
            "role": st.just("user"),
            "content": st.lists(st.builds(lambda t: {"type": "text", "text": t}, texts), max_size=3),
        }
    ),
    max_size=6,
)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def image(url: str, **members: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **members}}


@given(messages, st.lists(st.just(WEATHER_TOOL), max_size=3), st.sampled_from(MODELS))
def test_no_prompt_has_more_tokens_than_its_bound(messages: list, tools: list, model: str) -> None:
    body = {"messages": messages, **({"tools": tools} if tools else {})}
    assert count_prompt(body, model) <= bound_prompt(body)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "text",
    ["\x00\x01\x02" * 999, "\U0001f9d1‍\U0001f680" * 500, "ỿỾﷺ" * 500, '"\\\n' * 999, "Ā́" * 999, "a" * 9999],
    ids=["control", "emoji", "rare", "escapes", "combining", "run"],
)
def test_nor_has_text_that_takes_many_tokens(text: str, model: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    assert count_prompt(body, model) <= bound_prompt(body)


def test_random_bytes_as_text() -> None:
    rng = random.Random(5)
    for _ in range(50):
        text = rng.randbytes(2_000).decode("utf-8", "replace")
        body = {"input": [text, [1, 2, 3, 100_000]], "model": "text-embedding-3-small"}
        assert count_prompt(body, "text-embedding-3-small") <= bound_prompt(body)


@given(st.dictionaries(st.sampled_from(("messages", "input", "tools", "prompt", "n", "max_tokens", "x")), jsons))
def test_nothing_raises(body: dict[str, Any]) -> None:
    assert bound_prompt(body) > 0
    assert max_searches(body) >= 0
    assert (max_output_of(body) or 1) >= 1
    asked_tier(body)


def test_what_json_cannot_say_has_a_bound_too() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for odd in ("\ud800" * 9, 2**80, nested, {1: 2}):
        assert bound_prompt({"messages": [{"role": "user", "content": "x" * 50}], "odd": odd}) >= 50


def test_an_image_counts_as_an_image_and_not_as_its_base64() -> None:
    data = "data:image/png;base64," + "A" * 1_000_000
    text = bound_prompt(user({"type": "text", "text": "?"}))
    for part in (
        image(data),
        image("https://x.example/a.png"),
        {"type": "input_image", "image_url": data},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}},
    ):
        assert MAX_IMAGE_TOKENS <= bound_prompt(user(part)) <= MAX_IMAGE_TOKENS + text + 200
        assert 1_000 <= bound_prompt(user(part), image_tokens=1_000) <= 1_000 + text + 200
    assert bound_prompt(user(image(data, detail="low"))) < 6_000
    in_a_tool = {"type": "tool_result", "tool_use_id": "t", "content": [image(data)]}
    assert MAX_IMAGE_TOKENS <= bound_prompt(user(in_a_tool)) <= MAX_IMAGE_TOKENS + text + 200


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("gpt-4o-mini", 48_169), ("gpt-4o", 3_779), ("claude-opus-4-7", 4_784), ("google/gemini-3-pro", 4_784),
     ("gpt-5.6", 30_000), ("gpt-5.4-mini", 10_000), ("gpt-6", 30_000), ("llava", 48_169)],
)  # fmt: skip
def test_the_most_that_an_image_costs_by_model(model: str, tokens: int) -> None:
    assert most_image_tokens(model) == tokens


def test_sound_and_documents_are_bounded_by_their_bytes() -> None:
    sound = base64.b64encode(bytes(64_000)).decode()  # two seconds of 16 kHz, 16 bits
    bound = bound_prompt(user({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}))
    assert 2 * 32 < bound < 6_500
    page = base64.b64encode(bytes(50_000)).decode()
    inside = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{page}"}}
    assert 50 * 7_784 < bound_prompt(user(inside)) < 70 * 7_784
    named = {"type": "file", "file": {"file_id": "file-1"}}
    assert bound_prompt(user(named)) > 1_000_000, "nothing says how long it is"
    assert bound_prompt(user({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}})) > 1_000_000


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({}, None),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
        ({"max_output_tokens": 7}, 7),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": 2, "best_of": 5, "prompt": "x"}, 50),
        ({"max_tokens": 10, "prompt": ["a", "b"]}, 20),
        ({"max_tokens": 10, "prompt": [1, 2, 3]}, 10),
        ({"max_tokens": 0}, None),
        ({"max_tokens": True, "max_completion_tokens": "5"}, None),
        ({"max_tokens": 5, "n": None}, 5),
    ],
)
def test_how_much_a_caller_allows(body: dict[str, Any], limit: int | None) -> None:
    assert max_output_of(body) == limit


@pytest.mark.parametrize(
    ("body", "searches"),
    [
        ({"tools": [WEATHER_TOOL]}, 0),
        ({"web_search_options": {}}, MAX_SEARCHES),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}, 3),
        ({"tools": [{"type": "web_search"}, {"type": "web_search_preview"}]}, 2 * MAX_SEARCHES),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, 2),
        ({"tools": [{"googleSearch": {}}]}, MAX_SEARCHES),
        ({"plugins": [{"id": "web", "max_results": 5}]}, MAX_SEARCHES),
        ({"tools": "web_search"}, 0),
    ],
)
def test_how_often_a_request_lets_search(body: dict[str, Any], searches: int) -> None:
    assert max_searches(body) == searches
    assert bound_prompt(body) >= bound_prompt({}) + searches * 10_000


@pytest.mark.parametrize(
    ("body", "tier"),
    [({}, None), ({"service_tier": "priority"}, "priority"), ({"speed": "fast"}, "fast"), ({"service_tier": 5}, None)],
)
def test_the_tier_that_is_asked_for(body: dict[str, Any], tier: str | None) -> None:
    assert asked_tier(body) == tier
