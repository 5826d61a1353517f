"""The classifier that nobody trained: order, tiers, doubt, calibration."""

from dataclasses import replace
from math import exp
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing import classifier
from routing.classifier import WEIGHTS, Boundaries, calibrate, classify
from routing.features import NAMES, extract, extract_text

_EASY = "hi!"
_HARD = (
    "Design a distributed rate limiter that must survive the loss of a region. Compare three approaches, because our "
    "callers would otherwise see errors, and prove that none of them loses a request."
)


def test_harder_requests_score_higher() -> None:
    texts = (_EASY, "What is the capital of France?", "Refactor this function, it has a bug: def f(x): return y", _HARD)
    scores = [classify(extract_text(text)).score for text in texts]
    assert scores == sorted(scores)
    assert 0.0 < scores[0] < 0.1
    assert 0.6 < scores[-1] < 1.0


def test_tiers_of_clear_cases() -> None:
    assert classify(extract_text(_EASY)).tier == "simple"
    assert classify(extract_text(_HARD)).tier == "complex"


@pytest.mark.parametrize("text", ["", "xyz", "blue"])
def test_without_a_signal_the_default_tier_not_the_cheapest(text: str) -> None:
    found = classify(extract_text(text))
    assert (found.tier, found.nearest, found.has_fired, found.confidence) == ("medium", "simple", False, 0.0)


def test_near_a_boundary_the_default_tier() -> None:
    score = classify(extract_text(_HARD)).score
    at_the_edge = Boundaries(tiers=("low", "high"), cuts=(score,), default="low")
    found = classify(extract_text(_HARD), at_the_edge)
    assert (found.tier, found.nearest) == ("low", "high")
    assert found.confidence == pytest.approx(0.5)


def test_confidence_grows_with_the_distance() -> None:
    found = [classify(extract_text(_HARD), Boundaries(("a", "b"), (cut,), "a")).confidence for cut in (0.6, 0.4, 0.2)]
    assert found == sorted(found)
    assert found[-1] > 0.99


def test_one_tier_is_always_right() -> None:
    found = classify(extract_text(_HARD), Boundaries(("only",), (), "only"))
    assert (found.tier, found.confidence) == ("only", 1.0)


def test_tool_loops_are_no_small_matter() -> None:
    asked = [{"role": "user", "content": "Find it"}]
    looping = [*asked, {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "x"}]
    assert classify(extract({"messages": looping})).score > classify(extract({"messages": asked})).score


def test_every_weight_belongs_to_a_feature() -> None:
    assert set(WEIGHTS) <= set(NAMES)


@given(st.text(alphabet="if must why Def+=?.3 \nthanks", max_size=80))
@example(_HARD)
@example("hello, thanks")
def test_the_score_is_the_weighted_sum_of_the_features(text: str) -> None:
    found = extract_text(text)
    for features in (found, replace(found, view=replace(found.view, tool_stage="result"), _values=None)):
        values = dict(zip(NAMES, features.values, strict=True))
        logit = classifier._BIAS + sum(weight * values[name] for name, weight in WEIGHTS.items())
        assert classify(features).score == pytest.approx(1 / (1 + exp(-logit)), rel=1e-9)


def test_calibration_meets_the_shares() -> None:
    rng = Random(7)
    scores = [rng.random() ** 3 for _ in range(1000)]
    cuts = calibrate(scores, (0.5, 0.3, 0.2))
    counts = [sum(low <= s < high for s in scores) for low, high in zip((0.0, *cuts), (*cuts, 2.0), strict=True)]
    assert counts == [500, 300, 200]


def test_calibration_with_equal_scores_stays_in_order() -> None:
    assert calibrate([0.4] * 10, (1, 1, 1)) == (0.4, 0.4)
    assert calibrate([0.4], (1, 1)) == (0.4,)


@pytest.mark.parametrize(("scores", "shares"), [([], (1,)), ([0.5], ()), ([0.5], (1, 0)), ([0.5], (1, -1))])
def test_calibration_refuses_nonsense(scores: list[float], shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"score|share"):
        calibrate(scores, shares)


@pytest.mark.parametrize(
    ("tiers", "cuts", "default"), [(("a", "b"), (), "a"), (("a", "b", "c"), (0.6, 0.3), "a"), (("a",), (), "z")]
)
def test_boundaries_that_make_no_sense_are_refused(
    tiers: tuple[str, ...], cuts: tuple[float, ...], default: str
) -> None:
    with pytest.raises(ValueError, match=r"cuts|default"):
        Boundaries(tiers, cuts, default)


@pytest.mark.parametrize(
    ("curt", "polite"),
    [
        (_HARD, f"Hi! {_HARD} Thanks!"),
        ("write a function that parses dates.", "Please help me write a function that parses dates. Thank you."),
        ("A train leaves at five and arrives at nine.", "Question: A train leaves at five and arrives at nine."),
    ],
)
def test_politeness_is_not_part_of_the_task(curt: str, polite: str) -> None:
    assert extract_text(polite).words == extract_text(curt).words


@pytest.mark.parametrize(
    "text", ["hi!", "hello there", "thanks", "Please help", "All humans are mortal, please discuss"]
)
def test_a_text_that_is_hardly_more_than_a_courtesy_keeps_it(text: str) -> None:
    assert len(extract_text(text).words) >= len(text.split())
