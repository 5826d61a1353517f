"""How often an operator hears of a budget that is nearly used up."""

from datetime import UTC
from types import SimpleNamespace

import pytest

from config.schema_money import SoftAction
from gateway.money.soft import SoftLimits
from gateway.money.terms import Terms
from policies.scopes import Scope
from policies.stores.base import Meter, Unit
from policies.windows import Calendar, CalendarWindow, RollingWindow

DAY_S = 86_400.0
HOUR, DAY, TOTAL = RollingWindow(3_600.0), CalendarWindow(Calendar.DAY, UTC), CalendarWindow(Calendar.TOTAL, UTC)


class Watched:
    """Soft limits with a clock that the test moves; counts the messages, and sends none."""

    def __init__(self, window):
        self.now_s = 20_000 * DAY_S
        self.messages = 0
        self._soft = SoftLimits(lambda: self.now_s, self._start, None)
        meter = Meter("budget/team", Unit.NUSD, 1_000, window)
        action = SoftAction(webhook="http://127.0.0.1:1/hook")
        self._scope = Scope("team", meter, None, soft_ratio=0.8, on_soft=action)

    def _start(self, work, _):
        work.close()
        self.messages += 1

    def see(self, left, after_s=0.0):
        """How many messages a hold that leaves so much of 1,000 brings."""
        self.now_s += after_s
        before = self.messages
        self._soft.look(SimpleNamespace(terms=Terms([self._scope]), left=[left]))
        return self.messages - before


@pytest.mark.parametrize("window", [HOUR, DAY, TOTAL])
def test_once_however_often_it_comes_near(window):
    watched = Watched(window)
    assert [watched.see(left) for left in (500, 200, 150, 600, 100, 900, 50)] == [0, 1, 0, 0, 0, 0, 0]


def test_every_calendar_window():
    watched = Watched(DAY)
    assert [watched.see(100), watched.see(90, DAY_S - 1), watched.see(100, 1), watched.see(90)] == [1, 0, 1, 0]


def test_a_rolling_window_once_per_its_length():
    watched = Watched(HOUR)
    assert [watched.see(100), watched.see(100, 3_599), watched.see(100, 1), watched.see(100)] == [1, 0, 1, 0]


def test_a_budget_without_windows_for_each_time_that_it_is_reached_again():
    watched = Watched(TOTAL)
    assert [watched.see(100), watched.see(100, 9 * DAY_S)] == [1, 0], "it was never below since"
    watched.see(900)
    assert [watched.see(100), watched.see(100)] == [1, 0], "raised or reset, and used up again"
    watched.see(900)
    assert [watched.see(100, DAY_S - 1), watched.see(100, 1)] == [0, 1], "and once a day at most"
