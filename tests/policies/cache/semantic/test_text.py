"""One prompt, taken apart."""

import sys
from dataclasses import fields
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.text import MOST_CHARS, analyse

HOSTILE = (
    "'a",
    '"',
    "`",
    "a-",
    "1,",
    "((",
    "f(",
    "a.b",
    "==1",
    "1+",
    "é",
    "a'b'",
    "<>",
    "twenty ",
    "a b ",
    "-to-",
    "\u00bd",
)


def test_numbers_are_read_however_they_are_written() -> None:
    cases = {
        "twenty-five": ("25",),
        "two hundred and five thousand": ("205000",),
        "1,250,000": ("1250000",),
        "20k": ("20000",),
        "1.5 million people": ("1500000",),
        "a hundred": ("100",),
        "the second row": ("2",),
        "from 1 to 10": ("1", "10"),
        "half a cup": ("0.5",),
        "which one is it": (),
        "order 007": ("007",),
    }
    assert {text: analyse(text).numbers for text in cases} == cases


def test_units_stand_with_their_numbers() -> None:
    cases = {
        "5 kilometres": ("km",),
        "5km": ("km",),
        "$5": ("usd",),
        "5 bucks": ("usd",),
        "5 per cent": ("percent",),
        "5%": ("percent",),
        "7 a.m.": ("am",),
    }
    assert {text: analyse(text).units for text in cases} == cases


def test_names_are_told_from_beginnings_and_titles() -> None:
    assert analyse("Please ask Ingrid about it. Then call").names == ("ingrid",)
    assert analyse("How To Cook Rice And Beans At Home").names == ()


def test_templates_mask_values() -> None:
    one, other = analyse("Flights from Oslo to Rome at 5 pm"), analyse("flights from rome to cairo at 7 pm")
    assert one.template == other.template
    assert one.slots == ("oslo", "rome", "5")


def test_what_is_not_for_this_tier() -> None:
    unfit = [
        "",
        "?!",
        "Wie ist das Wetter in Berlin?",
        "¿Dónde está la estación?",
        "今天天气怎么样",
        "word " * 65,
        "a" * 513,
    ]
    assert [text for text in unfit if analyse(text).is_fit] == []
    assert not analyse("Quelle est la capitale du Kenya ?").is_known_language
    assert analyse("capital of Kenya").is_known_language


def test_answers_of_the_moment_and_of_the_caller() -> None:
    timely = ["Is it raining now?", "latest news", "Who won last night?", "What is the weather at the moment?"]
    assert [text for text in timely if not analyse(text).is_timely] == []
    personal = ["What is my balance?", "Where is my order?", "Did I get paid?", "When is our invoice due?"]
    assert [text for text in personal if not analyse(text).is_personal] == []
    neither = ["How do I reset my password?", "What is the capital of Kenya?", "Explain recursion to me"]
    assert [text for text in neither if analyse(text).is_timely or analyse(text).is_personal] == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=600))
def test_nothing_raises(text: str) -> None:
    found = analyse(text)
    assert found == analyse(text)
    assert found.is_known_language or not found.is_fit


def test_hostile_text_takes_no_time() -> None:
    began = process_time()
    for piece in HOSTILE:
        analyse((piece * MOST_CHARS)[:MOST_CHARS])
        assert not analyse(piece * 200_000).is_fit
    assert process_time() - began < 1.0


def test_a_text_is_small() -> None:
    text = analyse("What is the monthly installment for a loan of 200,000 borrowed at 4.5% for 30 years?")
    values = [getattr(text, field.name) for field in fields(text)]
    assert sys.getsizeof(text) + sum(sys.getsizeof(value) for value in values) < 3000
