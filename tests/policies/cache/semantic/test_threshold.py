"""Nothing is served on thin evidence."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.threshold import interval, lowest

_LABELS = st.lists(
    st.tuples(st.integers(-20, 20).map(float), st.booleans(), st.sampled_from((1.0, 1.0, 33.0))), max_size=250
)


@settings(max_examples=50, deadline=None)
@given(_LABELS, st.floats(0.005, 0.3))
def test_what_would_be_served_shows_few_enough_wrong(
    labels: list[tuple[float, bool, float]], most_wrong: float
) -> None:
    score = lowest(labels, most_wrong, 1.28)
    served = [(is_right, weight) for at, is_right, weight in labels if at >= score]
    if score == inf:
        assert served == []
        return
    total = sum(weight for _, weight in served)
    wrong = sum(weight for is_right, weight in served if not is_right)
    assert wrong / total <= most_wrong
    # With few labels even a spotless record is not enough.
    assert len(served) >= 1.28**2 * (1 - most_wrong) / most_wrong


@given(st.integers(0, 500), st.floats(0, 1))
def test_the_interval_holds_the_share_that_was_seen(total: int, share: float) -> None:
    lower, upper = interval(total * share, total, 1.28)
    assert 0 <= lower <= upper <= 1
    if total:
        assert lower - 1e-9 <= share <= upper + 1e-9


def test_the_lowest_score_is_taken_even_where_a_higher_one_fails() -> None:
    labels = [(9.0, False, 1.0)] + [(5.0, True, 1.0)] * 1_000
    assert lowest(labels, 0.01, 1.28) == 5.0
    assert lowest(labels[:300], 0.01, 1.28) == inf
