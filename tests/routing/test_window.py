"""Whether a request fits: what bytes prove, what the estimate is trusted with, and what happens in between."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Target
from providers.tokens import count_prompt, estimate_prompt
from routing.ask import Ask
from routing.constraints import NO_LIMITS, screen
from routing.decision import Deployment, Reason, Rejection
from routing.window import IMPOSSIBLE, SURE, Size

ROOT = Path(__file__).parents[2]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
WORDS = "The quick brown fox jumps over the lazy dog near the river bank. "


def made(name, window=None, most=None):
    return Deployment(name, name, name, "p", Target(name, context_window=window, max_output_tokens=most), None)


def ask(content="hi", *, has_bytes=True, **more):
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    return Ask("m", body, len(json.dumps(body)) if has_bytes else 0)


def screened(request, *deployments):
    """Names of the candidates, and the reasons of the others."""
    good, rejections = screen(deployments, request, NO_LIMITS, lambda _: (None, None))
    assert all(isinstance(rejection, Rejection) for rejection in rejections)
    return [d.id for d in good], {r.deployment.id: r.reason for r in rejections}


class Uncounted(Ask):
    """A request that must not be counted."""

    def input_tokens(self):
        raise AssertionError("counted")


def test_what_fits_by_its_bytes_is_not_counted():
    request = ask(WORDS)
    sure = Uncounted("m", request.body, request.body_bytes)
    assert Size(sure).filled(Target("m", context_window=request.body_bytes + 256)) == 0
    assert Size(sure).filled(Target("m")) == 0
    with pytest.raises(AssertionError, match="counted"):
        Size(sure).filled(Target("m", context_window=request.body_bytes + 255))


def test_bytes_prove_nothing_of_images_nor_where_they_are_unknown():
    for request in (ask([IMAGE]), ask(has_bytes=False)):
        counted = Uncounted("m", request.body, request.body_bytes)
        with pytest.raises(AssertionError, match="counted"):
            Size(counted).filled(Target("m", context_window=10_000))
    assert Size(ask([IMAGE] * 10)).filled(Target("m", context_window=4_000)) > IMPOSSIBLE


def test_too_long_for_one_goes_to_the_other():
    request = ask(WORDS * 1000)
    tokens = request.input_tokens()
    small, large = made("small", tokens // 2), made("large", tokens * 2)
    assert screened(request, small, large) == (["large"], {"small": Reason.CONTEXT_WINDOW})
    assert screened(request, small) == ([], {"small": Reason.CONTEXT_WINDOW})
    assert screened(request, small, made("unknown")) == (["unknown"], {"small": Reason.CONTEXT_WINDOW})


def test_near_the_window_the_provider_has_the_last_word_only_where_nobody_larger_is():
    request = ask(WORDS * 1000)
    tokens = request.input_tokens()
    near, large = made("near", round(tokens * 0.9) + 256), made("large", tokens * 2)
    assert screened(request, near, large) == (["large"], {"near": Reason.CONTEXT_WINDOW})
    assert screened(request, near, made("small", 500)) == (["near"], {"small": Reason.CONTEXT_WINDOW})


def test_the_output_limit_counts_whole():
    request = ask(WORDS, max_tokens=4_000)
    assert screened(request, made("m", 8_000))[0] == ["m"]
    assert screened(ask(WORDS, max_tokens=8_000), made("m", 8_000)) == ([], {"m": Reason.CONTEXT_WINDOW})
    assert screened(ask(WORDS, max_completion_tokens=8_000), made("m", 8_000, most=1_000), made("l", 9_000))[0] == ["l"]


def test_an_output_limit_that_a_model_does_not_reach():
    request = ask(max_tokens=2_000)
    low, high = made("low", 8_000, most=1_000), made("high", 8_000, most=2_000)
    assert screened(request, low, high) == (["high"], {"low": Reason.OUTPUT_LIMIT})
    assert screened(request, low) == (["low"], {}), "its dialect lowers the limit, or its provider says so"


@pytest.mark.parametrize("member", ["prompt", "input"])
def test_each_of_many_inputs_has_the_window_to_itself(member):
    operation = "embeddings" if member == "input" else "completions"
    window = Target("m", context_window=1_256)
    for value, share in [
        ([WORDS * 20] * 50, 0.3),
        (WORDS * 1000, 13),
        ([[7] * 500, [7] * 1_000], 1),
        ([7] * 1_000, 1),
        ([], 0),
        ([None], 0),
    ]:
        request = Ask("m", {"model": "m", member: value}, 10**9, operation)
        assert Size(request).filled(window) == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize(
    "path", ["docs/reference/headers.md", "providers/tokens.py", "README.md", "docs/decisions/0009-strict-yaml.md"]
)
def test_the_margins_hold_for_usual_text(path):
    body = ask((ROOT / path).read_text("utf-8")).body
    share = estimate_prompt(body) / count_prompt(body, "gpt-5")
    assert SURE < share < IMPOSSIBLE


@pytest.mark.parametrize("text", ["Мы шли по берегу реки и говорили о погоде. ", "我们沿着河边走着。", WORDS.upper()])
def test_nothing_usual_is_refused_that_would_fit(text):
    body = ask(text * 300).body
    assert estimate_prompt(body) / count_prompt(body, "gpt-5") < IMPOSSIBLE


_VALUES = (
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)


@given(
    body=st.dictionaries(
        st.sampled_from(["messages", "max_tokens", "max_completion_tokens", "input", "prompt"]), _VALUES
    ),
    body_bytes=st.integers(0, 10**9),
    operation=st.sampled_from(["chat", "completions", "embeddings"]),
    window=st.integers(1, 10**7),
    most=st.none() | st.integers(1, 10**6),
)
def test_any_body_has_a_size(body, body_bytes, operation, window, most):
    filled = Size(Ask("m", body, body_bytes, operation)).filled(
        Target("m", context_window=window, max_output_tokens=most)
    )
    larger = Size(Ask("m", body, body_bytes, operation)).filled(
        Target("m", context_window=window * 2, max_output_tokens=most)
    )
    assert 0 <= larger <= filled
