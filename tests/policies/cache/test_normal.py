"""Which texts say the same in the same words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cache.normal import normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of Kenya?", "  what is  the capital of kenya"),
        ("Please summarise the 2023 report.", "summarise the 2023 report"),
        ("Explain recursion to me", "Hi! Explain recursion to me, thanks"),
        ("What's our refund policy?", "what is our refund policy"),
        ("Could you please tell me the time?", "could you tell me the time"),
        ("\uff28ello \uff37orld", "hello world"),
        ("I don\u2019t know", "i do not know"),
        ("Hey, thanks, thank you: how are you? Thanks a lot!", "how are you"),
        ("\u00c4rger in M\u00fcnchen?", "a\u0308rger in m\u00fcnchen"),
    ],
)
def test_the_same(one, other):
    assert normal(one) == normal(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tell us about it", "Tell US about it"),
        ("Is it polish?", "Is it Polish?"),
        ("2.5 mg", "25 mg"),
        ("-5 degrees", "5 degrees"),
        ("3 - 5", "3 + 5"),
        ("raise by 5%", "raise by 5"),
        ("cost in $", "cost in \u20ac"),
        ("thank you for smoking", "smoking"),
        ("can you swim", "swim"),
        ("please", "thanks"),
        ("10:30", "1030"),
        ("a/b", "ab"),
        ("what is 2*(3+4)?", "what is 2*3+4?"),
        ("what is 5!?", "what is 5?"),
        ("what is .5% of 200", "what is 5% of 200"),
        ("is a != b", "is a = b"),
        ("what is 2\u2075", "what is 25"),
        ("\u00b15", "5"),
        ("from A \u2192 B", "from A \u2190 B"),
        ("is it 5' tall", 'is it 5" tall'),
        ("what does \U0001f600 mean", "what does \U0001f62d mean"),
        ("\u0926\u093f\u0928", "\u0926\u0940\u0928"),  # Hindi: day, poor
        ("\u0e44\u0e21\u0e48", "\u0e44\u0e21\u0e49"),  # Thai: not, wood
        ("in Ma\u00dfen", "in Massen"),
        ("what is REST", "what is rest"),
        ("how do you say thank you?", "how do you say please?"),
        ("thank you in Japanese", "good morning in Japanese"),
        ("assistant manager duties", "manager duties"),
        ("well water contamination", "water contamination"),
    ],
)
def test_different(one, other):
    assert normal(one) is None or normal(one) != normal(other)


@pytest.mark.parametrize(
    "text",
    [
        "what does f(x) do?",
        "`ls`",
        "open src/main.py",
        "run it with -v",
        "see https://example.com/A",
        "first line\nsecond line",
        "what is camelCase",
        "a_b",
        "Translate: you are coming?",
        "Is the Grammar of this right: I has it",
        "x" * 3000,
        "",
        "  ?! ",
    ],
)
def test_the_letter_counts(text):
    assert normal(text) is None


@given(st.text(max_size=300))
def test_it_is_stable_and_never_fails(text):
    found = normal(text)
    if found is not None:
        assert found
        assert normal(f"  {text}  ") == found


def test_minimal_pairs_are_told_apart(shared_dir):
    rows = [json.loads(line) for line in (shared_dir / "cache/guard_smoke.jsonl").read_text().splitlines()]
    different = [row for row in rows if row["label"] == 0]
    assert len(different) == 28
    for row in different:
        assert normal(row["a"]) is None or normal(row["a"]) != normal(row["b"]), row


def test_labelled_pairs_of_different_meaning_are_told_apart(shared_dir):
    for line in (shared_dir / "cache/pairs_gw.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["label"] or normal(row["a"]) is None or normal(row["a"]) != normal(row["b"]), row


def test_a_stream_of_requests_is_answered_by_half_from_memory_and_never_wrongly(shared_dir):
    """The bar: .55 of the gateway stream, none of it wrong."""
    kept: dict[str, str] = {}
    total = hits = wrong = 0
    for line in (shared_dir / "cache/stream_gw.jsonl").read_text().splitlines():
        row = json.loads(line)
        total += 1
        text = normal(row["q"])
        places = [row["q"]] + ([] if text is None else [f"normal {text}"])
        found = next((kept[place] for place in places if place in kept), None)
        hits += found is not None
        wrong += found not in (None, row["c"])
        for place in places:
            kept.setdefault(place, row["c"])
    assert wrong == 0
    assert hits / total >= 0.55
