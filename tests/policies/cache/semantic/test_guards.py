"""What two prompts may not differ in."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.features import features
from policies.cache.semantic.guards import Guard, refusal
from policies.cache.semantic.text import analyse
from policies.cache.semantic.verifier import Verifier
from tests.policies.cache.semantic.prompts import ALIKE, DIFFERENT, EQUAL

_SHARED = Path(os.environ.get("SIGNALBOX_SHARED", Path(__file__).parents[5] / "shared"))
SMOKE = _SHARED / "cache" / "guard_smoke.jsonl"
# Which reasons fit a kind of difference.
FITTING = {
    "antonym": {"antonym", "exclusive_set", "number"},
    "case": {"code"},
    "code": {"code"},
    "direction": {"direction", "unit"},
    "entity": {"exclusive_set", "name", "quote"},
    "negation": {"negation"},
    "number": {"number"},
    "number-word": {"number"},
    "question-word": {"question_word"},
    "role-swap": {"direction", "role", "negation"},
    "tense": {"tense"},
    "time": {"antonym", "exclusive_set"},
    "version": {"version"},
}


def reason(a: str, b: str) -> str | None:
    found = refusal(analyse(a), analyse(b))
    return None if found is None else found.value


def test_different_prompts_are_refused_with_the_reason() -> None:
    wrong = [(a, b, reason(a, b)) for a, b, reasons in DIFFERENT if reason(a, b) not in reasons]
    assert wrong == []


def test_every_reason_has_a_case() -> None:
    assert {reason for _, _, reasons in DIFFERENT for reason in reasons} == set(Guard)


def test_equal_prompts_pass_and_score_high() -> None:
    lexical = Verifier.load(has_embedder=False)
    refused = [(a, b, reason(a, b)) for a, b in EQUAL + ALIKE if reason(a, b)]
    assert refused == []
    low = [(a, b) for a, b in EQUAL if lexical.logit(features(analyse(a), analyse(b))) < 0]
    assert low == []


def test_labelled_minimal_pairs() -> None:
    if not SMOKE.is_file():
        pytest.skip("the labelled pairs are not here")
    rows = [json.loads(line) for line in SMOKE.read_text("utf-8").splitlines()]
    passed = [row for row in rows if not row["label"] and reason(row["a"], row["b"]) not in FITTING[row["kind"]]]
    assert passed == []
    equal = [row for row in rows if row["label"]]
    lexical = Verifier.load(has_embedder=False)
    served = [
        row
        for row in equal
        if reason(row["a"], row["b"]) is None and lexical.logit(features(analyse(row["a"]), analyse(row["b"]))) > 2
    ]
    assert len(served) >= 8, [row for row in equal if row not in served]


_SAID = """
    how do i convert the price of 5 miles not never without from to Oslo Rome Anna Bob May rust "two words" 'x' f(x)
    a/b --flag 7pm twenty three hundred first $20 5% v1.2 2.31.0 \u00e9 \u4f60\u597d \u00bd x\u00b2 user_id turn on off
    than who is was why
"""
_WORDS = st.sampled_from(_SAID.split())
_PROMPTS = st.one_of(st.text(max_size=80), st.lists(_WORDS, max_size=14).map(" ".join))


@settings(max_examples=80, deadline=None)
@given(_PROMPTS, _PROMPTS)
def test_refusal_and_features_do_not_depend_on_who_asks(one: str, other: str) -> None:
    a, b = analyse(one), analyse(other)
    assert refusal(a, b) == refusal(b, a)
    assert features(a, b) == pytest.approx(features(b, a))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(_WORDS, max_size=8).map(" ".join),
    st.lists(_WORDS, max_size=8).map(" ".join),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["{}", "{}%", "${}", "{} km", "v{}", "x={}", "({})", "{}?", "id-{}", "'{}'", "{}.5", "{}th"]),
)
def test_another_number_never_passes(before: str, after: str, one: int, other: int, form: str) -> None:
    if one == other:
        return
    a, b = (analyse(f"what is {before} {form.format(number)} {after}") for number in (one, other))
    assert refusal(a, b) is not None


@settings(max_examples=50, deadline=None)
@given(_PROMPTS)
def test_a_prompt_is_not_refused_to_itself(text: str) -> None:
    found = analyse(text)
    assert refusal(found, analyse(text)) is (None if found.is_fit else Guard.UNFIT)
