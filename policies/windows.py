"""The periods in which limits hold: calendar windows in a time zone, rolling ones, and none at all."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from math import floor, inf
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
        """The window around a moment (Unix seconds). Days of a zone that changes its clock have 23 or 25 hours.

        An hour that is repeated is a window of its own; one that a change of half an hour cuts ends, or begins, there.
        """
        if self.unit is Calendar.TOTAL:
            return Period(0.0, inf)
        second = floor(now_s)  # `datetime` rounds, to the next window where that is near
        seconds = _SECONDS.get(self.unit)
        if seconds is not None:
            return _of_clock(second, self.zone, seconds)
        start, end = _BOUNDS[self.unit](datetime.fromtimestamp(second, self.zone))
        return Period(start.timestamp(), end.timestamp())

    def before(self, period: Period) -> Period | None:
        """The window that ended where this one began; None where there is none."""
        return None if self.unit is Calendar.TOTAL else self.period(period.start_s - 1)


@dataclass(slots=True, frozen=True)
class RollingWindow:
    """The last `length_s` seconds, kept in `buckets` parts; the oldest counts in full until all of it is outside.

    So what counts is never less than the window, and at most one part more: traffic gets more than 99 % of its limit.
    `bucket_s` are the seconds per part.
    """

    length_s: float
    buckets: int = 120
    bucket_s: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bucket_s", self.length_s / self.buckets)


@dataclass(slots=True, frozen=True)
class NoWindow:
    """What is taken is given back when the request ends: for requests at the same time."""


Window = CalendarWindow | RollingWindow | NoWindow


def _of_clock(now_s: int, zone: tzinfo, seconds: int) -> Period:
    # In seconds, not in what the clock shows: that goes back when it is changed.
    offset = _offset(now_s, zone)
    local = now_s + offset
    start = local - local % seconds - offset
    end = start + seconds
    if _offset(start, zone) != offset:
        start = _change(start, now_s, zone)
    if _offset(end - 1, zone) != offset:
        end = _change(now_s, end - 1, zone)
    return Period(float(start), float(end))


def _offset(at_s: int, zone: tzinfo) -> int:
    """How far the clock of the zone is ahead of UTC."""
    ahead = datetime.fromtimestamp(at_s, zone).utcoffset()
    return 0 if ahead is None else int(ahead.total_seconds())


def _change(before: int, after: int, zone: tzinfo) -> int:
    """The first second of the offset that holds `after`; another one held `before`."""
    offset = _offset(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after


def _of_day(now: datetime) -> tuple[datetime, datetime]:
    start = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return start, start + timedelta(days=1)


def _of_week(now: datetime) -> tuple[datetime, datetime]:
    monday = _of_day(now)[0] - timedelta(days=now.weekday())
    return monday, monday + timedelta(days=7)


def _of_month(now: datetime) -> tuple[datetime, datetime]:
    first = _of_day(now)[0].replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


_SECONDS = {Calendar.MINUTE: 60, Calendar.HOUR: 3600}
_BOUNDS = {
    Calendar.DAY: _of_day,
    Calendar.WEEK: _of_week,
    Calendar.MONTH: _of_month,
}
