"""What providers say of their limits, in the words that they really use, and the pauses that follow."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.throttle import Allowance, Throttle, allowance

# An answer of OpenAI with room for both.
_PLENTY = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "9ms",
}
_ANTHROPIC = {
    "date": "Sat, 10 Jan 2026 10:00:00 GMT",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-01-10T10:00:01Z",
    "anthropic-ratelimit-tokens-limit": "48000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-01-10T10:00:40Z",
}


def test_plenty_is_nothing_to_remember() -> None:
    assert allowance(_PLENTY) is None
    assert allowance({}) is None


@pytest.mark.parametrize(
    ("reset", "date", "pause_s"),
    [
        ("6m0s", "", 360.0),
        ("17ms", "", 0.017),
        ("2m59.56s", "", 179.56),  # Groq
        ("11.5", "", 11.5),
        ("1768039230000", "Sat, 10 Jan 2026 10:00:00 GMT", 30.0),  # OpenRouter: Unix milliseconds
        ("2026-01-10T10:00:30Z", "Sat, 10 Jan 2026 10:00:00 GMT", 30.0),
        ("5d", "", 3600.0),  # a quota of days: one call an hour finds out when it is raised
    ],
)
def test_no_requests_left_is_a_pause_until_the_reset(reset: str, date: str, pause_s: float) -> None:
    left = allowance(
        _PLENTY | {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset, "date": date}
    )
    assert left is not None
    assert left.pause_s == pytest.approx(pause_s)
    assert left.tokens == inf


@pytest.mark.parametrize(
    ("left", "limit", "is_heeded"),
    [
        ("120000", "150000", True),
        ("149000", "150000", False),
        ("1200000", "4000000", True),
        ("120000", None, True),
        ("120000", "much", True),
        ("12000000", "40000000", False),
        ("\u0661\u0662\u0663\u0664\u0665\u0666", "4000000", False),
    ],
)
def test_what_is_left_of_large_allowances_counts_for_long_requests(
    left: str, limit: str | None, is_heeded: bool
) -> None:
    headers = {"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": "20s"}
    if limit is not None:
        headers["x-ratelimit-limit-tokens"] = limit
    assert allowance(headers) == (Allowance(0.0, int(left), 20.0) if is_heeded else None)


@pytest.mark.parametrize("reset", ["", "soon", "-3s", "NaN", "2026-01-10T99:00:30Z", "2026-01-10T10:00:30"])
def test_without_a_reset_that_can_be_read_nothing_follows(reset: str) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "date": "Sat, 10 Jan 2026 10:00:00 GMT"}
    assert allowance(headers) is None
    left = allowance(headers | {"x-ratelimit-reset-requests": reset})
    assert left is None or reset == "-3s"  # signs are no part of a duration


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_of_nothing_is_no_limit(limit: str) -> None:
    none_left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "0"}
    limits = {"x-ratelimit-limit-requests": limit, "x-ratelimit-limit-tokens": limit}
    assert allowance(_PLENTY | none_left | limits) is None


@pytest.mark.parametrize("left", ["-1", "", "many", "1e3", "²"])
def test_what_is_no_count_is_no_allowance(left: str) -> None:
    assert allowance(_PLENTY | {"x-ratelimit-remaining-tokens": left}) is None


def test_few_tokens_are_known_until_the_reset() -> None:
    tight = _PLENTY | {"x-ratelimit-remaining-tokens": "1200", "x-ratelimit-reset-tokens": "20s"}
    assert allowance(tight) == Allowance(0.0, 1200, 20.0)


def test_anthropic_says_the_same_in_its_own_words() -> None:
    assert allowance(_ANTHROPIC) == Allowance(0.0, 0, 40.0)


@given(
    st.dictionaries(
        st.sampled_from(sorted({*_PLENTY, *_ANTHROPIC})),
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(["0", "-0", "7", "99999", "1s", "inf", "1e400", "9" * 400, *_ANTHROPIC.values()]),
        ),
    )
)
def test_no_header_raises_or_stops_the_deployment_for_more_than_an_hour(headers: dict[str, str]) -> None:
    left = allowance(headers)
    if left is not None:
        assert 0 <= left.pause_s <= 3600
        assert 0 <= left.tokens_s <= 3600
        assert left.tokens >= 0


def test_a_pause_ends_by_the_clock() -> None:
    throttle = Throttle()
    throttle.throttled(100, 7.0)
    assert throttle.wait_s(100) == 7
    assert throttle.wait_s(104.5) == 2.5
    assert throttle.wait_s(107) == 0
    assert throttle.ends_at() == 107


def test_the_longest_pause_holds() -> None:
    throttle = Throttle()
    throttle.throttled(100, 30.0)
    throttle.throttled(101, 1.0)
    throttle.overloaded(101, 2.0)
    assert throttle.ends_at() == 130
    assert not throttle.is_overload
    throttle.overloaded(101, 60.0)
    assert throttle.ends_at() == 161
    assert throttle.is_overload


def test_a_429_without_a_hint_is_a_second() -> None:
    throttle = Throttle()
    throttle.throttled(100, None)
    assert throttle.ends_at() == 101


def test_a_hint_of_nothing_is_no_pause() -> None:
    throttle = Throttle()
    throttle.throttled(100, 0.0)
    assert throttle.wait_s(100) == 0


def test_a_hint_of_a_week_is_an_hour() -> None:
    throttle = Throttle()
    throttle.throttled(100, 7 * 86_400.0)
    assert throttle.wait_s(100) == 3600


def test_only_requests_that_are_too_large_wait_for_tokens() -> None:
    throttle = Throttle()
    throttle.note(100, Allowance(0.0, 1200, 20.0))
    assert throttle.wait_s(100, 1200) == 0
    assert throttle.wait_s(100, 1201) == 20
    assert throttle.wait_s(120, 1201) == 0
    assert throttle.ends_at() == 120


def test_a_later_answer_replaces_the_token_allowance_but_no_pause() -> None:
    throttle = Throttle()
    throttle.note(100, Allowance(5.0, 10, 20.0))
    throttle.note(101, Allowance())
    assert throttle.wait_s(101, 500) == 4
    assert throttle.ends_at() == 105
