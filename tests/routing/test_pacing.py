"""How cost counts more as a budget runs ahead of its window."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pacing import Pace, pressure

DAY_S = 86_400.0
LIMIT = 50_000_000_000
SPENT = st.integers(0, 2 * LIMIT)
ELAPSED = st.floats(-DAY_S, 2 * DAY_S)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_on_schedule_and_behind_it_cost_counts_as_usual(share):
    assert pressure(share * LIMIT, LIMIT, share * DAY_S, DAY_S) == pytest.approx(1.0)
    assert pressure(share * LIMIT / 2, LIMIT, share * DAY_S, DAY_S) == 1.0


def test_the_first_requests_of_a_window_are_no_alarm():
    assert 1.0 < pressure(LIMIT // 100, LIMIT, 0.0, DAY_S) < 1.1


def test_running_ahead_counts_more_the_further_and_the_longer_it_has_to_last():
    ahead = [pressure(share * LIMIT, LIMIT, DAY_S / 2, DAY_S) for share in (0.5, 0.55, 0.6, 0.65, 0.7)]
    assert ahead == sorted(ahead)
    assert ahead[1] == pytest.approx((0.5 / 0.45) ** 8)
    assert pressure(0.6 * LIMIT, LIMIT, DAY_S / 2, DAY_S) > pressure(0.6 * LIMIT, LIMIT, 0.55 * DAY_S, DAY_S)


@pytest.mark.parametrize("spent", [LIMIT, LIMIT + 1, 10 * LIMIT])
def test_no_money_left_is_the_highest_factor_until_the_window_ends(spent):
    assert pressure(spent, LIMIT, DAY_S / 2, DAY_S) == 100.0
    assert pressure(spent, LIMIT, DAY_S, DAY_S) == 1.0


def test_a_limit_or_a_window_of_nothing_is_no_error():
    assert pressure(0, 0, 0.0, DAY_S) == 100.0
    assert pressure(0, LIMIT, 0.0, 0.0) == 1.0


@given(spent=SPENT, elapsed_s=ELAPSED)
def test_the_factor_stays_between_1_and_100(spent, elapsed_s):
    assert 1.0 <= pressure(spent, LIMIT, elapsed_s, DAY_S) <= 100.0


@given(spent=SPENT, more=SPENT, elapsed_s=ELAPSED)
def test_more_spent_never_counts_less(spent, more, elapsed_s):
    assert pressure(spent + more, LIMIT, elapsed_s, DAY_S) >= pressure(spent, LIMIT, elapsed_s, DAY_S)


@given(spent=SPENT, elapsed_s=ELAPSED, later_s=st.floats(0, DAY_S))
def test_time_passing_without_spending_never_counts_more(spent, elapsed_s, later_s):
    now, later = (pressure(spent, LIMIT, at_s, DAY_S) for at_s in (elapsed_s, elapsed_s + later_s))
    assert later <= now * (1 + 1e-9)


@given(share=st.floats(0.0, 0.99), elapsed=st.floats(0.0, 0.99))
def test_the_factor_has_no_jump(share, elapsed):
    here, beside = (pressure(s * LIMIT, LIMIT, elapsed * DAY_S, DAY_S) for s in (share, share + 1e-6))
    assert math.isclose(here, beside, rel_tol=1e-2)


def test_a_pace_is_the_pressure_of_its_window():
    pace = Pace(limit_nusd=LIMIT, start_s=1_700_000_000.0, end_s=1_700_000_000.0 + DAY_S)
    assert pace.multiplier(0, 1_699_999_000.0) == 1.0
    assert pace.multiplier(LIMIT * 6 // 10, 1_700_000_000.0 + DAY_S / 2) == pytest.approx((0.5 / 0.4) ** 8)
    assert pace.multiplier(LIMIT, 1_700_000_000.0 + DAY_S / 2) == 100.0
