"""Meters as the scripts read them, and what the scripts tell as the protocol of stores has it."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from policies.ledger import Entry, Purpose
from policies.stores.accounts import CalendarAccount, RollingAccount
from policies.stores.base import Balance, Denied, Meter, OpenHold
from policies.windows import CalendarWindow, Period, RollingWindow

MOST = 2**53 - 1  # whole numbers that a double still tells apart: nine million dollars in nano-dollars
_BUDGETS = "budget/"  # what the ids of meters of money begin with
_NEVER = 1e18  # JSON knows no infinity
_Account = CalendarAccount | RollingAccount


class Periods:
    """The present and the next window of each calendar, as far as this process knows the time of the store.

    A script takes the one its own clock is in. Where that is neither, it says what time it is, and `shift` holds that.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.shift_s = 0.0  # the store's clock is so much ahead of ours
        self._wall = wall
        self._known: dict[CalendarWindow, tuple[float, list[Any]]] = {}

    def learn(self, store_now_s: float) -> None:
        """The store's clock shows this now."""
        self.shift_s = store_now_s - self._wall()
        self._known.clear()

    def bounds(self, window: CalendarWindow) -> list[Any]:
        """Start and end of the present window, and of the next one where there is one; then what calendar that is."""
        now_s = self._wall() + self.shift_s
        until_s, known = self._known.get(window, (0.0, []))
        if now_s < until_s and now_s >= known[0]:
            return known
        present = window.period(now_s)
        bounds: list[Any] = [present.start_s, min(present.end_s, _NEVER)]
        if present.end_s != inf:
            bounds += [*window.period(present.end_s), f"{window.unit} {window.zone}"]
        self._known[window] = present.end_s, bounds
        return bounds


def line(meter: Meter, amount: int, periods: Periods) -> list[Any]:
    """One line of a script's input, of JSON types."""
    window = meter.window
    limit = min(meter.limit, MOST)
    amount = min(amount, MOST)
    if isinstance(window, CalendarWindow):
        return [meter.id, "c", limit, amount, min(meter.carry_max, MOST), *periods.bounds(window)]
    if isinstance(window, RollingWindow):
        return [meter.id, "r", limit, amount, window.bucket_s, window.buckets]
    return [meter.id, "s", limit, amount]


def account(meter: Meter, state: Sequence[bytes]) -> _Account:
    """The account that a script described, for its arithmetic: what it shows, and when something is free."""
    kind, *numbers = state
    if kind == b"c":
        start_s, end_s = float(numbers[0]), float(numbers[1])
        calendar = CalendarAccount(Period(start_s, inf if end_s == _NEVER else end_s), int(numbers[5]))
        calendar.spent, calendar.held, calendar.raised = int(numbers[2]), int(numbers[3]), int(numbers[4])
        return calendar
    if isinstance(meter.window, RollingWindow):
        rolling = RollingAccount(meter.window)
        rolling.held, rolling.raised = int(numbers[0]), int(numbers[1])
        buckets = sorted((int(numbers[at]), int(numbers[at + 1])) for at in range(2, len(numbers), 2))
        for number, amount in buckets:
            rolling.charge(amount, float(number))
        return rolling
    slots = CalendarAccount(Period(0.0, inf))
    slots.held, slots.raised = int(numbers[0]), int(numbers[1])
    return slots


def balance(meter: Meter, state: Sequence[bytes], now_s: float) -> Balance:
    """What to show of a meter at a time of the store."""
    return account(meter, state).balance(meter, now_s)


def denied(meter: Meter, state: Sequence[bytes], amount: int, now_s: float) -> Denied:
    """Why this much of a meter was denied at a time of the store."""
    found = account(meter, state)
    shown = found.balance(meter, now_s)
    retry_s = None if meter.is_returned else found.free_in(meter, amount, now_s)
    return Denied(meter, shown.limit, shown.spent, shown.held, amount, shown.end_s, retry_s)


def open_hold(row: Sequence[Any]) -> OpenHold:
    """A hold as scripts list it: id, end of the lease, whether it was sent, then meters with their amounts."""
    hold_id, until, sent, *parts = row
    amounts = {parts[at].decode(): parts[at + 1] for at in range(0, len(parts), 2)}
    return OpenHold(hold_id.decode(), amounts, float(until), is_dispatched=bool(sent))


def is_taken_back(row: Sequence[Any]) -> bool:
    """Whether this tells that the charge at the end of a lease was taken back, because it was settled after all."""
    return bool(row[2] < 0)


def ended_entry(hold: OpenHold, at_s: float, *, is_back: bool = False) -> Entry | None:
    """The ledger's line for a call that was sent and never settled, or for taking that back (`is_back`): less than 0
    then, because the first line may be in the ledger of another gateway. None where it held no money.

    Who asked for what is not known here: `request_id` is the id of the hold, and the rest is empty.
    """
    amounts = [amount for meter_id, amount in hold.amounts.items() if meter_id.startswith(_BUDGETS)]
    if not amounts:
        return None
    cost = max(amounts)
    return Entry(
        id=f"{hold.id}/lease_ended" + ("/settled" if is_back else ""), request_id=hold.id, at_s=at_s, key="", team=None,
        tags=(), asked="", route=None, model="", deployment="", provider="", operation="", purpose=Purpose.ANSWER,
        ending="lease_ended", usage=None, cost_nusd=-cost if is_back else cost, is_estimated=True,
        is_flagged=not is_back,
    )  # fmt: skip
