"""The periods in which limits hold: calendar windows in a time zone, rolling ones, and none at all."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from math import inf
from typing import NamedTuple


class Calendar(StrEnum):
    """Windows that begin with a unit of the calendar; weeks begin on Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"  # never ends


class Period(NamedTuple):
    """From the first second (Unix time) to the one after the last."""

    start_s: float
    end_s: float


@dataclass(slots=True, frozen=True)
class CalendarWindow:
    """Spending starts from zero when the next unit of the calendar begins in `zone`."""

    unit: Calendar
    zone: tzinfo

    def period(self, now_s: float) -> Period:
        """The window around a moment (Unix seconds). Days of a zone that changes its clock have 23 or 25 hours."""
        if self.unit is Calendar.TOTAL:
            return Period(0.0, inf)
        now = datetime.fromtimestamp(now_s, self.zone)
        start, end = _BOUNDS[self.unit](now)
        return Period(start.timestamp(), end.timestamp())

    def before(self, period: Period) -> Period | None:
        """The window that ended where this one began; None where there is none."""
        return None if self.unit is Calendar.TOTAL else self.period(period.start_s - 1)


@dataclass(slots=True, frozen=True)
class RollingWindow:
    """The last `length_s` seconds, kept in `buckets` parts; of the oldest that counts which is still inside."""

    length_s: float
    buckets: int = 60

    @property
    def bucket_s(self) -> float:
        """Seconds per part."""
        return self.length_s / self.buckets


@dataclass(slots=True, frozen=True)
class NoWindow:
    """What is taken is given back when the request ends: for requests at the same time."""


Window = CalendarWindow | RollingWindow | NoWindow


def _of_minute(now: datetime) -> tuple[datetime, datetime]:
    start = now.replace(second=0, microsecond=0)
    return start, start + timedelta(minutes=1)


def _of_hour(now: datetime) -> tuple[datetime, datetime]:
    # The hour that a clock change repeats is two windows: `fold` tells which of them this is.
    start = now.replace(minute=0, second=0, microsecond=0)
    return start, datetime.fromtimestamp(start.timestamp() + 3600, now.tzinfo)


def _of_day(now: datetime) -> tuple[datetime, datetime]:
    start = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return start, start + timedelta(days=1)


def _of_week(now: datetime) -> tuple[datetime, datetime]:
    monday = _of_day(now)[0] - timedelta(days=now.weekday())
    return monday, monday + timedelta(days=7)


def _of_month(now: datetime) -> tuple[datetime, datetime]:
    first = _of_day(now)[0].replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


_BOUNDS = {
    Calendar.MINUTE: _of_minute,
    Calendar.HOUR: _of_hour,
    Calendar.DAY: _of_day,
    Calendar.WEEK: _of_week,
    Calendar.MONTH: _of_month,
}
