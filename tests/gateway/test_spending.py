"""Spending is followed by calendar window, up the chain of budgets, and makes cost count more when it runs ahead."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import KeyConfig
from config.schema_policies import BudgetConfig
from gateway.spending import SpendingBook, window_at
from tests.routing.scene import ask

NOON = datetime(2026, 3, 11, 12, tzinfo=UTC).timestamp()
USD = 1_000_000_000


def key(name, budget):
    return KeyConfig(name=name, sha256="0" * 64, budget=budget)


def book(**budgets):
    found = SpendingBook()
    found.use({name: BudgetConfig(**one) for name, one in budgets.items()}, [key("k", "team"), key("other", None)])
    return found


def pressure(found, at=NOON, name="k"):
    return found.pressure(ask("m", key=name, arrived_s=at))


def test_cost_counts_more_when_spending_runs_ahead():
    found = book(team={"limit_usd": 10, "window": "day"})
    assert pressure(found) == 1.0
    found.note("k", 4 * USD, NOON)
    assert pressure(found) == 1.0  # 40 % of the money in 50 % of the day
    found.note("k", 4 * USD, NOON)
    assert pressure(found) > 2.0
    assert pressure(found, name="other") == pressure(found, name="nobody") == 1.0
    assert pressure(found, NOON + 86_400) == 1.0  # another day


def test_the_most_pressed_budget_of_the_chain_decides():
    found = book(
        team={"limit_usd": 1000, "window": "day", "parent": "company"}, company={"limit_usd": 1, "window": "day"}
    )
    found.note("k", 9 * USD // 10, NOON)
    assert pressure(found) > 2.0


def test_a_reload_goes_on_where_the_window_is_the_same():
    found = book(team={"limit_usd": 10, "window": "day"})
    found.note("k", 9 * USD, NOON)
    assert pressure(found) > 2.0
    found.use({"team": BudgetConfig(limit_usd=1000, window="day")}, [key("k", "team")])
    assert pressure(found) == 1.0
    found.use({"team": BudgetConfig(limit_usd=10, window="day")}, [key("k", "team")])
    assert pressure(found) > 2.0
    found.use({"team": BudgetConfig(limit_usd=10, window="hour")}, [key("k", "team")])
    assert pressure(found) == 1.0


@given(st.sampled_from(["hour", "day", "week", "month"]), st.floats(0, 4e9))
def test_a_window_holds_its_moment_and_follows_the_one_before(window, now_s):
    start, end = window_at(window, now_s)
    assert start <= now_s < end
    assert window_at(window, end)[0] == end


@pytest.mark.parametrize(("window", "days"), [("day", 1), ("week", 7), ("month", 31)])
def test_lengths(window, days):
    start, end = window_at(window, NOON)
    assert end - start == days * 86_400
