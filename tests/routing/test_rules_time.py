"""Rules about the time of day: zones, ranges over midnight, and the days on which they began."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.ask import Ask
from tests.routing.test_rules import rule

# 2026-11-16 is a Monday.
MONDAY, TUESDAY, FRIDAY, SATURDAY, SUNDAY = 16, 17, 20, 21, 22
OFFICE = {"after": "08:00", "before": "18:00", "days": ["mon", "tue", "wed", "thu", "fri"]}
NIGHT = {"after": "22:00", "before": "06:00"}


def _holds(time: dict[str, Any], day: int, clock: str, zone: str = "UTC") -> bool:
    hours, minutes, *seconds = map(int, clock.split(":"))
    moment = datetime(2026, 11, day, hours, minutes, *seconds, tzinfo=ZoneInfo(zone))
    return rule({"time": time}).matches(Ask("auto", {}, arrived_s=moment.timestamp()))


@pytest.mark.parametrize(
    ("time", "day", "clock", "expected"),
    [
        (OFFICE, MONDAY, "08:00", True),
        (OFFICE, MONDAY, "07:59:59", False),
        (OFFICE, FRIDAY, "17:59:59", True),
        (OFFICE, FRIDAY, "18:00", False),
        (OFFICE, SATURDAY, "12:00", False),
        ({"after": "18:00"}, MONDAY, "18:00", True),
        ({"after": "18:00"}, MONDAY, "17:59", False),
        ({"after": "18:00"}, MONDAY, "00:00", False),
        ({"before": "08:00"}, MONDAY, "00:00", True),
        ({"before": "08:00"}, MONDAY, "08:00", False),
        ({"days": ["sun"]}, SUNDAY, "00:00", True),
        ({"days": ["sun"]}, MONDAY, "00:00", False),
        (NIGHT, MONDAY, "22:00", True),
        (NIGHT, MONDAY, "05:59", True),
        (NIGHT, MONDAY, "06:00", False),
        (NIGHT, MONDAY, "21:59", False),
        ({**NIGHT, "days": ["fri"]}, FRIDAY, "23:00", True),
        ({**NIGHT, "days": ["fri"]}, SATURDAY, "05:59", True),
        ({**NIGHT, "days": ["fri"]}, FRIDAY, "05:59", False),
        ({**NIGHT, "days": ["fri"]}, SATURDAY, "23:00", False),
        ({**NIGHT, "days": ["sun"]}, MONDAY, "01:00", True),
        ({"after": "22:00", "before": "00:00", "days": ["mon"]}, MONDAY, "23:59", True),
        ({"after": "22:00", "before": "00:00", "days": ["mon"]}, TUESDAY, "00:00", False),
    ],
)
def test_time_of_day(time: dict[str, Any], day: int, clock: str, expected: bool) -> None:
    assert _holds(time, day, clock) is expected


def test_the_zone_decides_hour_and_day() -> None:
    tokyo = {**OFFICE, "timezone": "Asia/Tokyo"}
    assert _holds(tokyo, SUNDAY, "23:00")  # Monday, 08:00 in Tokyo
    assert not _holds(tokyo, FRIDAY, "23:00")  # Saturday there
    assert _holds(tokyo, MONDAY, "08:00", zone="Asia/Tokyo")


def test_summer_time() -> None:
    berlin = rule({"time": {"after": "08:00", "before": "09:00", "timezone": "Europe/Berlin"}})
    for month, hour in ((1, 7), (7, 6)):
        moment = datetime(2026, month, 15, hour, 30, tzinfo=UTC)
        assert berlin.matches(Ask("auto", {}, arrived_s=moment.timestamp()))
        assert not berlin.matches(Ask("auto", {}, arrived_s=moment.timestamp() + 3600))


_CLOCK = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@given(_CLOCK, _CLOCK, st.floats(0, 4e9))
def test_a_range_and_its_complement_share_out_the_day(start: str, end: str, arrived_s: float) -> None:
    if start == end:
        return
    moment = Ask("auto", {}, arrived_s=arrived_s)
    inside, outside = ({"after": a, "before": b} for a, b in ((start, end), (end, start)))
    assert rule({"time": inside}).matches(moment) is not rule({"time": outside}).matches(moment)
