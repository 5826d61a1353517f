"""Token counts against tiktoken's own published figures, the shipped rank files, and the estimate's stated error."""

import base64
import hashlib
import os
import random
import subprocess
import sys
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import tokens
from providers.tokens import count, count_prompt, encoding_name, estimate, estimate_prompt, load_encoding

# The digests tiktoken itself expects: github.com/openai/tiktoken, tiktoken_ext/openai_public.py
DIGESTS = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
WEATHER_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_shipped_ranks_are_the_ones_tiktoken_expects(name: str) -> None:
    ranks = files("providers").joinpath("ranks", f"{name}.tiktoken").read_bytes()
    assert hashlib.sha256(ranks).hexdigest() == DIGESTS[name]


def test_split_patterns_are_tiktokens_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    assert tokens._SPLIT_PATTERNS["cl100k_base"] == openai_public.cl100k_base()["pat_str"]
    assert tokens._SPLIT_PATTERNS["o200k_base"] == openai_public.o200k_base()["pat_str"]


def test_licence_travels_with_the_ranks() -> None:
    assert "Copyright (c) 2022 OpenAI" in files("providers").joinpath("ranks", "LICENSE").read_text()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme::id", "cl100k_base"),
        ("ft:gpt-4o:acme::id", "o200k_base"),
        ("openai/gpt-4", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-5-mini", "o200k_base"),
        ("o3", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("claude-sonnet-4-5", "o200k_base"),
    ],
)
def test_encoding_follows_the_model_name(model: str, name: str) -> None:
    assert encoding_name(model) == name


def test_tokens_are_the_published_ones() -> None:
    assert load_encoding("cl100k_base").encode_ordinary("tiktoken is great!") == [83, 1609, 5963, 374, 2294, 0]
    assert load_encoding("o200k_base").encode_ordinary("hello world") == [24912, 2375]


@pytest.mark.parametrize(("model", "reported"), [("gpt-4", 105), ("gpt-4o", 101)])
def test_messages_with_tools_count_as_the_cookbook_saw_the_api_report(model: str, reported: int) -> None:
    # https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb, section 7
    assert count_prompt({"messages": WEATHER_MESSAGES, "tools": [WEATHER_TOOL]}, model) == reported


def test_a_million_blanks_neither_panic_nor_miscount() -> None:
    for text in (" " * 1_000_000, "\t" * 1_000_000, "\n" * 1_000_000):
        assert 0 < count(text, "gpt-4o") <= 70_000


def test_special_token_text_is_ordinary_text() -> None:
    assert count("<|endoftext|>", "gpt-4o") > 1


@given(
    st.lists(st.sampled_from(["word", " and", "  ", "\n", ";\n\n", " 12345", "x = 'y'", "日本", "\t"]), max_size=400)
)
def test_pieces_join_to_the_text_and_count_the_same(parts: list[str]) -> None:
    text = "".join(parts)
    original = tokens._PIECE_CHARS
    tokens._PIECE_CHARS = 64
    try:
        pieces = list(tokens._pieces(text))
    finally:
        tokens._PIECE_CHARS = original
    assert "".join(pieces) == text
    assert all(len(piece) <= 64 for piece in pieces)
    encode = load_encoding("o200k_base").encode_ordinary
    hard_cuts = sum(1 for piece in pieces if len(piece) == 64)
    assert abs(sum(len(encode(piece)) for piece in pieces) - len(encode(text))) <= 2 * hard_cuts


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": "hello world"}, 2),
        ({"input": ["hello world", "hello"]}, 3),
        ({"input": [1, 2, 3]}, 3),
        ({"input": [[1, 2], [3]]}, 3),
        ({"prompt": "hello world"}, 2),
        ({}, 0),
        ({"messages": [{"role": "user", "content": "hello"}]}, 8),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}, 8),
        ({"messages": [{"role": "user", "name": "hello", "content": "hello"}]}, 10),
    ],
)
def test_every_shape_of_prompt_is_counted(body: dict, expected: int) -> None:
    assert count_prompt(body, "gpt-4o") == expected


def test_images_cost_by_detail() -> None:
    def body(detail: str) -> dict:
        part = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": detail}}
        return {"messages": [{"role": "user", "content": [part]}]}

    assert estimate_prompt(body("low")) == 85 + 7
    assert estimate_prompt(body("high")) == 765 + 7


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KEYS = ["messages", "tools", "input", "prompt", "response_format", "content", "role", "function", "parameters", "type"]
KEYS += ["properties", "tool_calls", "json_schema", "image_url", "input_audio", "enum", "name", "text", "data"]
bodies = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from(KEYS), bodies, max_size=5))
def test_no_body_makes_the_estimate_fail(body: dict) -> None:
    assert estimate_prompt(body) >= 0


@pytest.mark.parametrize("text", ["", "a", "\ud800", "日本語", "🙂" * 100, "x" * 100_000])
def test_estimate_of_odd_texts(text: str) -> None:
    assert (estimate(text) == 0) == (text == "")


def test_estimate_is_within_its_stated_error() -> None:
    rng = random.Random(7)
    source = files("providers").joinpath("tokens.py").read_text()
    samples = {
        "english": (str(files("providers").joinpath("ranks", "LICENSE").read_text()), 0.25),
        "python": (source, 0.25),
        "japanese": ("ルーターは各リクエストを分類し、品質と費用と遅延によってモデルを選びます。" * 20, 0.30),
        "base64": (base64.b64encode(rng.randbytes(3_000)).decode(), 0.30),
    }
    for kind, (text, allowed) in samples.items():
        exact = count(text, "gpt-4o")
        assert abs(estimate(text) / exact - 1) <= allowed, (kind, estimate(text), exact)


def test_counting_needs_neither_network_nor_cache_folder_and_importing_loads_nothing() -> None:
    code = (
        "import sys, socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "import providers.tokens as t\n"
        "assert 'tiktoken' not in sys.modules\n"
        "assert t.count('hello world', 'gpt-4o') == 2\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TIKTOKEN")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
