"""Spending is followed by calendar window, up the chain of budgets, and makes cost count more when it runs ahead."""

from datetime import UTC, datetime

from config.schema import KeyConfig
from config.schema_money import BudgetConfig
from gateway.spending import SpendingBook
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
