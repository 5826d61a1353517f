"""Carry-over, raises and resets, in every store; the calendar itself."""

from bisect import bisect
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.stores.base import Denied, Granted, Meter, Unit
from policies.windows import Calendar, CalendarWindow
from tests.policies.stores.kinds import budget, per_minute


def test_what_a_window_left_over_is_carried_into_the_next(store):
    day = budget(1000, carry_max=300)
    store.hold("a", (day, 900))
    store.settle("a", 900)
    store.pass_time(86_400)
    assert (store.balance(day).carried, store.balance(day).limit) == (100, 1100)
    store.pass_time(86_400)
    assert store.balance(day).carried == 300, "at most so much"


def test_days_without_any_spending_carry_over_as_well(store):
    day = budget(1000, carry_max=300)
    store.hold("a", (day, 1000))
    store.settle("a", 1000)
    store.pass_time(3 * 86_400)
    assert store.balance(day).carried == 300


@pytest.mark.parametrize("idle_days", [1, 2, 5])
def test_days_without_any_spending_leave_their_limit_and_no_more(store, idle_days):
    day = budget(50, carry_max=1000)
    store.balance(day)
    store.pass_time(idle_days * 86_400)
    assert (store.balance(day).carried, store.balance(day).limit) == (50, 100)


def test_a_raise_of_a_window_that_is_long_over_is_not_carried(store):
    day = budget(50, carry_max=1000)
    store.raise_limit(day, 200)
    store.pass_time(3 * 86_400)
    assert store.balance(day).carried == 50


def test_a_changed_time_zone_carries_nothing(store):
    in_utc = budget(50, carry_max=50)
    berlin = CalendarWindow(Calendar.DAY, ZoneInfo("Europe/Berlin"))
    store.hold("a", (in_utc, 10))
    store.settle("a", 10)
    store.pass_time(13 * 3600)
    assert store.balance(replace(in_utc, window=berlin)).carried == 0
    store.pass_time(86_400)
    assert store.balance(replace(in_utc, window=berlin)).carried == 50, "the windows follow each other again"


def test_a_changed_time_zone_carries_nothing_over_idle_days_either(store):
    in_utc = budget(50, carry_max=50)
    store.balance(in_utc)
    store.pass_time(5 * 86_400)
    berlin = CalendarWindow(Calendar.DAY, ZoneInfo("Europe/Berlin"))
    assert store.balance(replace(in_utc, window=berlin)).carried == 0


def test_a_first_window_has_nothing_to_carry(store):
    assert store.balance(budget(1000, carry_max=300)).carried == 0


def test_a_raise_holds_for_the_present_window(store):
    day = budget(1000)
    raised = store.raise_limit(day, 500)
    assert (raised.limit, raised.raised) == (1500, 500)
    assert isinstance(store.hold("a", (day, 1500)), Granted)
    store.settle("a", 1500)
    store.pass_time(86_400)
    assert isinstance(store.hold("b", (day, 1001)), Denied)
    assert store.raise_limit(day, -400).limit == 600


@pytest.mark.parametrize("meter", [budget(1000), per_minute(1000)], ids=["calendar", "rolling"])
def test_a_reset_forgets_the_spending_and_not_the_holds(store, meter):
    store.hold("a", (meter, 700))
    store.settle("a", 700)
    store.hold("b", (meter, 200))
    after = store.reset(meter)
    assert (after.spent, after.held) == (0, 200)
    assert isinstance(store.hold("c", (meter, 800)), Granted)


def test_a_total_never_ends(store):
    total = budget(1000, Calendar.TOTAL)
    store.hold("a", (total, 1000))
    store.settle("a", 1000)
    store.pass_time(400 * 86_400)
    denied = store.hold("b", (total, 1))
    assert isinstance(denied, Denied)
    assert (denied.reset_s, denied.retry_s) == (inf, None)


def test_more_than_the_whole_limit_will_never_fit(store):
    denied = store.hold("a", (budget(1000), 1001))
    assert isinstance(denied, Denied)
    assert denied.retry_s is None


def _at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("unit", "start", "end"),
    [
        (Calendar.MINUTE, "2026-12-31T23:59", "2027-01-01T00:00"),
        (Calendar.HOUR, "2026-12-31T23:00", "2027-01-01T00:00"),
        (Calendar.DAY, "2026-12-31T00:00", "2027-01-01T00:00"),
        (Calendar.WEEK, "2026-12-28T00:00", "2027-01-04T00:00"),
        (Calendar.MONTH, "2026-12-01T00:00", "2027-01-01T00:00"),
    ],
)
@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")], ids=str)
def test_calendar_windows(unit, start, end, zone):
    window = CalendarWindow(unit, zone)
    period = window.period(_at("2026-12-31T23:59:30", zone))
    assert period == (_at(start, zone), _at(end, zone))
    assert window.before(period).end_s == period.start_s


def test_days_of_a_clock_change_have_23_and_25_hours():
    window = CalendarWindow(Calendar.DAY, ZoneInfo("Europe/Berlin"))
    spring = window.period(_at("2026-03-29T12:00"))
    autumn = window.period(_at("2026-10-25T12:00"))
    assert (spring.end_s - spring.start_s, autumn.end_s - autumn.start_s) == (23 * 3600, 25 * 3600)


def test_the_hour_that_a_clock_change_repeats_is_two_windows():
    window = CalendarWindow(Calendar.HOUR, ZoneInfo("Europe/Berlin"))
    first = window.period(_at("2026-10-25T00:30"))
    second = window.period(_at("2026-10-25T01:30"))
    assert first.end_s == second.start_s
    assert second.end_s - second.start_s == 3600


def _changes(zone, years):
    """The moments (Unix seconds) in which the clock of a zone is changed."""
    at = int(datetime(years[0], 1, 1, tzinfo=UTC).timestamp())
    for day in range(at, at + len(years) * 366 * 86_400, 86_400):
        offsets = [datetime.fromtimestamp(moment, zone).utcoffset() for moment in (day, day + 86_400)]
        if offsets[0] != offsets[1]:
            seconds = range(day, day + 86_400)
            yield day + bisect(seconds, 0, key=lambda at, new=offsets[1]: _is_after(at, zone, new))


def _is_after(at, zone, offset):
    return int(datetime.fromtimestamp(at, zone).utcoffset() == offset)


_ZONES = (
    "Europe/Berlin", "America/New_York", "America/Havana", "America/St_Johns", "America/Nuuk", "Asia/Beirut",
    "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Chatham", "Atlantic/Azores", "Asia/Kathmandu",
)  # fmt: skip
_CHANGES = {name: list(_changes(ZoneInfo(name), range(2025, 2028))) for name in _ZONES}


@settings(max_examples=300)
@given(st.data(), st.sampled_from(sorted(name for name in _ZONES if _CHANGES[name])), st.floats(-7500, 7500))
def test_windows_around_a_clock_change_hold_their_moment_and_follow_each_other(data, name, beside_s):
    unit = data.draw(st.sampled_from([unit for unit in Calendar if unit is not Calendar.TOTAL]))
    now_s = data.draw(st.sampled_from(_CHANGES[name])) + beside_s
    window = CalendarWindow(unit, ZoneInfo(name))
    period = window.period(now_s)
    assert period.start_s <= now_s < period.end_s
    assert window.period(period.start_s) == window.period(period.end_s - 0.001) == period
    assert window.period(period.end_s).start_s == period.end_s
    assert window.before(period).end_s == period.start_s
    most_s = {Calendar.MINUTE: 60, Calendar.HOUR: 3600}.get(unit)
    assert most_s is None or period.end_s - period.start_s <= most_s


def test_the_half_hour_that_lord_howe_repeats_is_a_window():
    window = CalendarWindow(Calendar.HOUR, ZoneInfo("Australia/Lord_Howe"))
    change_s = _at("2026-04-04T15:00")
    first, second, third = (window.period(change_s + after_s) for after_s in (-1, 1, 1801))
    assert [period.end_s - period.start_s for period in (first, second, third)] == [3600, 1800, 3600]
    assert (first.end_s, second.end_s) == (second.start_s, third.start_s) == (change_s, change_s + 1800)


def test_a_minute_that_is_repeated_has_its_limit(store):
    minute = Meter("budget/x/minute", Unit.NUSD, 100, CalendarWindow(Calendar.MINUTE, ZoneInfo("Europe/Berlin")))
    store.pass_time(_at("2026-10-25T01:30:20") - store.clock.now_s)
    granted = [store.hold(f"h{number}", (minute, 100)) for number in range(3)]
    assert [type(one) for one in granted] == [Granted, Denied, Denied]
    assert granted[1].retry_s == 40


@given(st.sampled_from([unit for unit in Calendar if unit is not Calendar.TOTAL]), st.floats(0, 4e9))
def test_a_window_holds_its_moment_and_follows_the_one_before(unit, now_s):
    window = CalendarWindow(unit, ZoneInfo("America/Sao_Paulo"))
    start, end = window.period(now_s)
    assert start <= now_s < end
    assert window.period(end)[0] == end
