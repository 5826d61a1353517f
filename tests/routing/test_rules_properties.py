"""What holds of rules for any request: they never raise, and what a text can cost is bounded."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.patterns import MAX_PATTERN_CHARS, MAX_PROGRAM_STEPS, compile_pattern
from providers.tokens import estimate_prompt
from routing.ask import Ask
from routing.rule_conditions import MOST_TOKENS_PER_BYTE
from tests.routing.test_rules import ask, rule, said

EVERYTHING = {
    "key": "anonymous",
    "has_tools": False,
    "response_format": "text",
    "max_output_tokens": {"ge": 1},
    "headers": {"x-team": "*"},
    "tags": "t",
    "time": {"after": "00:00"},
    "input_tokens": {"ge": 0},
    "has_images": False,
    "keywords_any": ["a"],
    "keywords_all": ["a"],
    "regex": "a|^",
}
EACH = [rule({name: value}) for name, value in EVERYTHING.items()]

_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)
_anything = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
_parts = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image_url", "input_audio", "file", "image"]) | _anything,
        "text": _anything,
        "image_url": _anything,
        "file": _anything,
    },
)
_messages = st.fixed_dictionaries(
    {}, optional={"role": st.just("user") | _anything, "content": st.lists(_parts | _anything) | _anything}
)
_bodies = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_messages | _anything, max_size=4) | _anything,
        "prompt": _anything,
        "input": _anything,
        "tools": _anything,
        "functions": _anything,
        "response_format": _anything,
        "max_tokens": _anything,
        "max_completion_tokens": _anything,
    },
)
_headers = st.dictionaries(st.sampled_from([b"x-team", b"x-signalbox-tags"]), st.binary(max_size=40))


@given(_bodies, _headers)
def test_no_request_makes_a_rule_raise(body: dict[str, Any], headers: dict[bytes, bytes]) -> None:
    request = Ask("auto", body, headers=headers)
    for one in EACH:
        assert one.matches(request) in (True, False)


@given(st.text(st.characters(), max_size=200))
@example("\ud800\udfff")
@example("İI ß")
def test_no_text_makes_a_rule_raise(text: str) -> None:
    for name in ("keywords_any", "keywords_all", "regex"):
        assert rule({name: EVERYTHING[name]}).matches(ask(said(text))) in (True, False)


@given(_bodies)
@example({"messages": [{"content": [{"type": "file"}] * 50}]})
@example({"input": [1] * 100})
@example({"messages": [{}] * 50})
@example({"tools": [1e15] * 50, "messages": []})
def test_the_length_of_a_body_bounds_its_tokens(body: dict[str, Any]) -> None:
    """Else the shortcut for short bodies would miss some."""
    length = len(orjson.dumps(body))
    assert estimate_prompt(body) <= length * MOST_TOKENS_PER_BYTE
    for least in (1, 100, 5_000):
        long = rule({"input_tokens": {"ge": least}})
        assert long.matches(Ask("auto", body, body_bytes=length)) is long.matches(Ask("auto", body))


def test_a_short_body_is_not_looked_at_for_a_high_bound() -> None:
    """What is there in place of a body would raise."""
    assert not rule({"input_tokens": {"gt": 100_000}}).matches(Ask("auto", None, body_bytes=500))  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)+$", r"(.*)*x", r"(a|aa)+$", r"(?:a?){100}a{100}$"])
def test_patterns_that_take_other_engines_for_ever_do_not(pattern: str) -> None:
    """At 3,000 characters these take `re` longer than any test would run; the text reaches no engine unclipped."""
    bomb = rule({"regex": pattern})
    assert not bomb.matches(ask(said("a" * 2_999 + "!")))
    assert not bomb.matches(ask(said("a" * 1_000_000 + "!")))


def test_what_a_pattern_may_cost_is_bounded() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_PATTERN_CHARS} characters"):
        compile_pattern("a" * (MAX_PATTERN_CHARS + 1))
    with pytest.raises(ValueError, match=f"at most {MAX_PROGRAM_STEPS} are allowed"):
        compile_pattern(r"\pL{20}")
    with pytest.raises(ValueError, match="pattern too large"):
        compile_pattern(r"\pL{900}")
    assert compile_pattern("|".join(["word"] * 200)).search(b"a word") is not None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", r"missing \)"),
        ("[z-a]", "invalid character class range"),
        ("a{1001}", "invalid repetition size"),
        (r"\Z", "invalid escape sequence"),
        ("(?=a)", "no look-around"),
        ("(?<!a)b", "no look-around"),
        (r"(a)\1", "no look-around and no back-references"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_a_pattern_that_is_none_has_a_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", [r"\(?=", r"\\1", "[(?=]", r"a\.b", r"(?P<year>\d{4})", "$NAME", "naïve"])
def test_what_only_looks_like_another_syntax_is_taken(pattern: str) -> None:
    compile_pattern(pattern)
