"""What was used of one meter: in a calendar window, over a rolling one, or at this moment.

Both kinds of account have the same face. What every request needs of it are plain attributes, as calls would cost as
much as the rest of a hold: the limit is `meter.limit + carried + raised`, used are `spent + held`, and what is held now
is charged at `mark` later. That holds from `from_s` to before `until_s`; at other times a rolling account has to `turn`
first, and a calendar account is over. `free_in` is how long to wait, `balance` what to show. Times are Unix seconds.
"""

from collections import deque
from math import inf

from policies.stores.base import Balance, Meter
from policies.windows import CalendarWindow, NoWindow, Period, RollingWindow

MOST = 2**53 - 1  # whole numbers that every store and JSON reader tells apart: nine million dollars in nano-dollars
_EARLY = 1 - 1e-12  # a part of a window is never taken as longer than a division by its length says


class CalendarAccount:
    """One calendar window of a meter, or of one without windows; the next window gets an account of its own."""

    __slots__ = ("carried", "from_s", "held", "mark", "period", "raised", "spent", "until_s")
    kind = "calendar"

    def __init__(self, period: Period, carried: int = 0) -> None:
        self.period = period
        self.from_s = -inf  # a clock that is set back does not open the window before again
        self.mark, self.until_s = period
        self.carried = carried
        self.raised = 0
        self.spent = 0
        self.held = 0

    def used(self, now_s: float) -> int:  # noqa: ARG002 - both kinds have the same face
        """What is spent and held, in units of the meter."""
        return self.spent + self.held

    def limit(self, meter: Meter) -> int:
        """What may be used: the meter's limit with what was carried over and raised."""
        return meter.limit + self.carried + self.raised

    def charge(self, amount: int, mark: float) -> None:  # noqa: ARG002
        """Add what was used (less than 0: give back)."""
        self.spent += amount

    def free_in(self, meter: Meter, amount: int, now_s: float) -> float | None:
        """In how many seconds so much could be free; None where nobody knows, or never."""
        if amount > meter.limit or self.period.end_s == inf:
            return None
        return max(0.0, self.period.end_s - now_s)

    def balance(self, meter: Meter, now_s: float) -> Balance:  # noqa: ARG002
        start_s, end_s = self.period
        limit = self.limit(meter)
        return Balance(meter.id, limit, self.spent, self.held, start_s, end_s, self.raised, self.carried)


class RollingAccount:
    """The last `length_s` seconds in buckets. The bucket that is leaving the window counts in full until it has left.

    Nobody knows when within the bucket its amount was used. To count the share that is still inside, as sliding window
    counters do, admits up to twice the limit within one window where all of it was used at the bucket's end.
    """

    __slots__ = ("_buckets", "from_s", "held", "mark", "raised", "spent", "until_s", "window")
    kind = "rolling"
    carried = 0

    def __init__(self, window: RollingWindow) -> None:
        self.window = window
        self.held = 0
        self.raised = 0
        self.spent = 0
        self.mark = 0.0
        self.from_s = self.until_s = -inf  # it turns before anything else
        self._buckets: deque[list[int]] = deque()  # [number of the bucket, amount], oldest first

    def turn(self, now_s: float) -> None:
        """Another bucket's time has come: those that have left the window count no longer."""
        window, buckets = self.window, self._buckets
        number = int(now_s / window.bucket_s)
        while buckets and buckets[0][0] + 1 + window.buckets <= number:
            self.spent -= buckets.popleft()[1]
        self.mark = float(number)
        self.from_s, self.until_s = now_s, (number + 1) * window.bucket_s * _EARLY

    def used(self, now_s: float) -> int:
        if not self.from_s <= now_s < self.until_s:
            self.turn(now_s)
        return self.spent + self.held

    def limit(self, meter: Meter) -> int:
        return meter.limit + self.raised

    def charge(self, amount: int, mark: float) -> None:
        buckets = self._buckets
        if buckets and buckets[-1][0] == mark:
            buckets[-1][1] += amount
            self.spent += amount
            return
        number = int(mark)
        at = len(buckets)
        while at and buckets[at - 1][0] > number:
            at -= 1
        if at and buckets[at - 1][0] == number:
            buckets[at - 1][1] += amount
        elif number + 1 + self.window.buckets <= self.mark:
            return  # held longer than the window: it has left it
        else:
            buckets.insert(at, [number, amount])
        self.spent += amount

    def free_in(self, meter: Meter, amount: int, now_s: float) -> float | None:
        if amount > self.limit(meter) or amount + self.held > self.limit(meter):
            return None
        missing = self.used(now_s) + amount - self.limit(meter)
        for number, spent in self._buckets:
            missing -= spent
            if missing <= 0:
                return max(0.0, (number + 1 + self.window.buckets) * self.window.bucket_s - now_s)
        return self.window.length_s

    def balance(self, meter: Meter, now_s: float) -> Balance:
        spent = self.used(now_s) - self.held
        end_s = now_s
        if self._buckets:
            end_s = (self._buckets[-1][0] + 1 + self.window.buckets) * self.window.bucket_s
        limit = self.limit(meter)
        return Balance(meter.id, limit, spent, self.held, now_s - self.window.length_s, end_s, self.raised)

    def forget(self) -> None:
        """Nothing was spent."""
        self._buckets.clear()
        self.spent = 0


def open_account(meter: Meter, now_s: float, last: "CalendarAccount | None" = None) -> CalendarAccount | RollingAccount:
    """The account of a meter's present window; `last` is that of the window before it, for what it left over."""
    window = meter.window
    if isinstance(window, RollingWindow):
        return RollingAccount(window)
    if isinstance(window, NoWindow):
        return CalendarAccount(Period(0.0, inf))
    return CalendarAccount(window.period(now_s), carried_over(meter, window, last, now_s))


def check_raise(meter: Meter, amount: int, raised: int = 0) -> None:
    """Raise ValueError for a raise that could not be counted exactly, alone or with what is `raised` already."""
    if abs(amount) > MOST:
        raise ValueError(f"a raise is at most {MOST} either way, and that of {meter.id} would be {amount}")
    if abs(raised + amount) > MOST:
        raise ValueError(f"raises of {meter.id} are together at most {MOST} either way; {raised} are there already")


def carried_over(meter: Meter, window: CalendarWindow, last: CalendarAccount | None, now_s: float) -> int:
    """What the window before left of the limit, at most `carry_max`.

    Nothing where the last account was that of another calendar: its time zone was changed, and nobody knows what was
    spent in the window that would have been the one before.
    """
    if not meter.carry_max or last is None:
        return 0
    if window.before(window.period(now_s)) == last.period:
        left = meter.limit + last.raised - last.spent - last.held
    elif last.period.end_s <= now_s and window.period(last.period.start_s) == last.period:
        left = meter.limit  # nothing at all was spent in the windows between
    else:
        left = 0
    return max(0, min(meter.carry_max, left))
