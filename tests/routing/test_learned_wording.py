"""What the trained router counts of the wording: figures as they are written, kinds of words, the last question."""

import math

import pytest

np = pytest.importorskip("numpy")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from routing.features import extract_text  # noqa: E402
from routing.learned import wording  # noqa: E402


def counted(text: str) -> dict[str, float]:
    """The counts by name, without their logarithm."""
    found = wording.measure(extract_text(text).words)
    return {name: round(math.expm1(value), 3) for name, value in zip(wording.NAMES, found.tolist(), strict=True)}


def test_figures_as_they_are_written() -> None:
    found = counted("Pens cost $4.00 or $2.50, a house $1,250,000; it opens at 8:30 and has 3 rooms.")
    assert (found["numbers"], found["decimals"], found["whole_decimals"]) == (6, 2, 1)
    assert found["largest"] == pytest.approx(1_250_000, rel=1e-4)
    assert found["smallest"] == pytest.approx(2.5, abs=0.01)
    assert found["clock_times"] == 1
    assert found["money_decimals"] == 2


def test_a_point_or_comma_between_sentences_is_none_of_a_number() -> None:
    found = counted("He has 3. 400 more came, 20, 30 and 1,50 left.")
    assert found["decimals"] == 1  # nobody can tell "3. 400" from "3.400" by its words
    assert found["largest"] == pytest.approx(50, abs=0.01)


def test_the_last_question_is_what_follows_the_last_sentence() -> None:
    found = counted("How much is it? Tom has 2.5 kg of twice as many apples. How many are left?")
    assert (found["asks_how_many"], found["asks_how_much"]) == (1, 0)
    assert found["last_words"] == 5
    assert (found["multiples"], found["as"], found["rest"]) == (1, 1, 1)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_has_finite_counts(text: str) -> None:
    assert np.isfinite(wording.measure(extract_text(text + "٣9" * 40).words)).all()
