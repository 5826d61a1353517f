"""Rolling windows are strict: in no interval as long as the window is more admitted than the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.stores.base import Denied, Granted, Line, Meter, Settlement, Unit
from policies.stores.memory import MemoryStore
from policies.windows import RollingWindow
from tests.policies.stores.kinds import Clock, per_minute

_TICK_S = 1e-5  # to less than that no clock is right
_gaps_s = st.one_of(
    st.floats(0, 2), st.sampled_from([0.0, 0.5, 1.0, 29.98, 59.5, 59.98, 60.0, 60.49]), st.floats(0, 90)
)


@given(
    st.sampled_from([RollingWindow(60.0), RollingWindow(60.0, 7), RollingWindow(7.0), RollingWindow(86_400.0)]),
    st.floats(0, 4e9),
    st.lists(st.tuples(_gaps_s, st.integers(1, 60), st.booleans()), min_size=2, max_size=40),
)
def test_no_interval_of_a_windows_length_has_more_than_the_limit(window, start_s, asked):
    meter = Meter("rolling", Unit.TOKENS, 60, window)
    clock = Clock(start_s)
    store = MemoryStore(clock)
    admitted = []
    for number, (gap, amount, is_settled) in enumerate(asked):
        clock.now_s += gap * window.length_s / 60
        if isinstance(store.hold(f"h{number}", [Line(meter, amount)], 1e6), Granted):
            admitted.append((clock.now_s, amount))
            if is_settled:
                store.settle(Settlement(f"h{number}", [amount]))
    for since_s, _ in admitted:
        until_s = since_s + window.length_s - _TICK_S
        assert sum(amount for at_s, amount in admitted if since_s <= at_s < until_s) <= 60


def test_what_was_spent_late_in_a_part_counts_for_a_whole_window(store):
    minute = per_minute(60)
    store.pass_time(0.999)
    store.hold("a", (minute, 60))
    store.settle("a", 60)
    store.pass_time(59.9)
    denied = store.hold("b", (minute, 1))
    assert isinstance(denied, Denied)
    assert (denied.spent, store.balance(minute).spent) == (60, 60)
    assert 0.1 <= denied.retry_s <= 0.11
    store.pass_time(denied.retry_s + 0.001)
    assert isinstance(store.hold("c", (minute, 60)), Granted)


def test_what_is_settled_while_its_part_is_leaving_still_counts(store):
    minute = per_minute(60)
    store.pass_time(0.4)
    store.hold("a", (minute, 30))
    store.pass_time(59.9)
    store.hold("b", (minute, 1))
    store.settle("b", 1)
    store.settle("a", 30)
    assert store.balance(minute).spent == 31
    store.pass_time(0.21)
    assert store.balance(minute).spent == 1


@pytest.mark.parametrize("offered", [1.1, 2, 10])
def test_even_traffic_above_the_limit_gets_99_percent_of_it(offered):
    clock, minute = Clock(), per_minute(600)
    store = MemoryStore(clock)
    admitted = 0
    for number in range(int(11 * 600 * offered)):
        if isinstance(store.hold(f"{number}", [Line(minute, 1)], 60.0), Granted):
            store.settle(Settlement(f"{number}", [1]))
            admitted += number >= 600 * offered  # the first window begins empty
        clock.now_s += 60 / (600 * offered)
    assert 0.99 * 6000 <= admitted <= 6000
