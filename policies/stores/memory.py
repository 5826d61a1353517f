"""Holds in the memory of one process: exact, because nothing here waits between the check and the booking."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf

from policies.stores.accounts import CalendarAccount, RollingAccount, check_raise, open_account
from policies.stores.base import (
    Balance,
    Denied,
    Granted,
    Lines,
    Meter,
    OpenHold,
    Reports,
    Settlement,
    Unavailable,
    Verdict,
)

_LATE_KEPT = 10_000  # leases that ended, so that what comes late can still be set right


class Held:
    """An open hold: its accounts with where they are charged, and the amounts."""

    __slots__ = ("accounts", "amounts", "granted", "is_dispatched", "is_ended", "lease_until_s", "marks", "meters")

    def __init__(
        self,
        meters: list[Meter],
        accounts: list[CalendarAccount | RollingAccount],
        marks: list[float],
        amounts: list[int],
        granted: Granted,
        lease_until_s: float,
        is_dispatched: bool,
    ) -> None:
        self.meters = meters
        self.accounts = accounts
        self.marks = marks
        self.amounts = amounts
        self.granted = granted
        self.lease_until_s = lease_until_s
        self.is_dispatched = is_dispatched
        self.is_ended = False  # its lease is over


class MemoryStore:
    """The store of a single process. What it knows ends with it; `sqlite` adds a journal. `now` gives Unix seconds."""

    is_remote = False

    def __init__(self, now: Callable[[], float]) -> None:
        self.reports = Reports()
        self._now = now
        self._accounts: dict[str, CalendarAccount | RollingAccount] = {}
        self._holds: dict[str, Held] = {}
        self._late: OrderedDict[str, Held] = OrderedDict()
        self._next_end_s = inf

    def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        known = self._holds.get(hold_id)
        if known is not None:
            return known.granted
        now_s = self._now()
        if now_s >= self._next_end_s:
            self._reap(now_s)
        known_accounts = self._accounts
        meters: list[Meter] = []
        accounts: list[CalendarAccount | RollingAccount] = []
        amounts: list[int] = []
        left: list[int] = []
        for meter, amount in lines:
            account = known_accounts.get(meter.id)
            if account is None or not account.from_s <= now_s < account.until_s:
                account = self._account(meter, now_s)
            room = meter.limit + account.carried + account.raised - account.spent - account.held - amount
            if room < 0:
                return _denied(meter, account, amount, now_s)
            meters.append(meter)
            accounts.append(account)
            amounts.append(amount)
            left.append(room)
        marks: list[float] = []
        for account, amount in zip(accounts, amounts, strict=True):
            account.held += amount
            marks.append(account.mark)
        until_s = now_s + lease_s
        self._next_end_s = min(self._next_end_s, until_s)
        granted = Granted(tuple(left))
        self._holds[hold_id] = Held(meters, accounts, marks, amounts, granted, until_s, is_dispatched)
        return granted

    def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        held = self._holds.get(hold_id)
        if held is None:
            return Unavailable("its lease has ended")
        now_s = self._now()
        left: list[int] = []
        for meter, account, amount in zip(held.meters, held.accounts, amounts, strict=True):
            room = account.limit(meter) - account.used(now_s) - amount
            if room < 0 and amount > 0:
                return _denied(meter, account, amount, now_s)
            left.append(room)
        for at, amount in enumerate(amounts):
            held.accounts[at].held += amount
            held.amounts[at] += amount
        return Granted(tuple(left))

    def dispatched(self, hold_id: str) -> None:
        held = self._holds.get(hold_id)
        if held is not None:
            held.is_dispatched = True

    def settle(self, settlement: Settlement) -> None:
        self._settle(settlement)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        until_s = self._now() + lease_s
        for hold_id in hold_ids:
            held = self._holds.get(hold_id)
            if held is not None:
                held.lease_until_s = until_s

    def balances(self, meters: Sequence[Meter]) -> list[Balance]:
        now_s = self._now()
        if now_s >= self._next_end_s:
            self._reap(now_s)
        return [self._account(meter, now_s).balance(meter, now_s) for meter in meters]

    def open_holds(self) -> list[OpenHold]:
        self._reap(self._now())
        return [shown(hold_id, held) for hold_id, held in self._holds.items()]

    def raise_limit(self, meter: Meter, amount: int) -> Balance:
        """What may be used more until the window ends. Raises ValueError for what cannot be counted."""
        check_raise(meter, amount)
        now_s = self._now()
        account = self._account(meter, now_s)
        check_raise(meter, amount, account.raised)
        self._before_raise(meter, amount)
        account.raised += amount
        return account.balance(meter, now_s)

    def reset(self, meter: Meter) -> Balance:
        now_s = self._now()
        account = self._account(meter, now_s)
        self._before_reset(meter)
        if isinstance(account, RollingAccount):
            account.forget()
        else:
            account.spent = 0
        return account.balance(meter, now_s)

    async def close(self) -> None:
        """Nothing is under way."""

    def _settle(self, settlement: Settlement) -> tuple[Held, list[int]] | None:
        """Book what was used. The hold, and what this charged to each of its meters; None where it was settled before.

        What was used of a hold whose lease had ended is set right: less than 0 where it was charged in full.
        """
        hold_id, used = settlement.id, settlement.amounts
        held = self._holds.pop(hold_id, None)
        if held is None:
            return self._settle_late(settlement)
        charges: list[int] = []
        for account, meter, mark, amount, actual in zip(
            held.accounts, held.meters, held.marks, held.amounts, used, strict=True
        ):
            account.held -= amount
            if actual > amount:
                self.reports.overruns.append((hold_id, meter.id, actual - amount))
            if meter.is_returned:
                charges.append(0)
                continue
            if actual:
                account.charge(actual, mark)
            charges.append(actual)
        return held, charges

    def _settle_late(self, settlement: Settlement) -> tuple[Held, list[int]] | None:
        held = self._late.pop(settlement.id, None)
        if held is None:
            return None
        charges: list[int] = []
        for at, account in enumerate(held.accounts):
            charged = held.amounts[at] if held.is_dispatched else 0
            charge = 0 if held.meters[at].is_returned else settlement.amounts[at] - charged
            if charge:
                account.charge(charge, held.marks[at])
            charges.append(charge)
        return held, charges

    def _account(self, meter: Meter, now_s: float) -> CalendarAccount | RollingAccount:
        """The account for this moment."""
        account = self._accounts.get(meter.id)
        if account is None:
            return self._open(meter, now_s)
        if not account.from_s <= now_s < account.until_s:
            if type(account) is not RollingAccount:
                return self._open(meter, now_s)
            account.turn(now_s)
        return account

    def _open(self, meter: Meter, now_s: float) -> CalendarAccount | RollingAccount:
        last = self._accounts.get(meter.id)
        account = open_account(meter, now_s, last if isinstance(last, CalendarAccount) else None)
        if isinstance(account, RollingAccount):
            account.turn(now_s)
        self._accounts[meter.id] = account
        return account

    def _reap(self, now_s: float) -> None:
        """End the leases whose time is over: what was sent is charged in full, the rest is free again."""
        over = [(hold_id, held) for hold_id, held in self._holds.items() if held.lease_until_s <= now_s]
        for hold_id, held in over:
            del self._holds[hold_id]
            self.reports.expired.append(shown(hold_id, held))
            self._late[hold_id] = held
            held.is_ended = True
            for at, account in enumerate(held.accounts):
                account.held -= held.amounts[at]
                if held.is_dispatched and not held.meters[at].is_returned:
                    account.charge(held.amounts[at], held.marks[at])
            self._ended(hold_id, held)
        while len(self._late) > _LATE_KEPT:
            self._late.popitem(last=False)
        self._next_end_s = min((held.lease_until_s for held in self._holds.values()), default=inf)

    def _ended(self, hold_id: str, held: Held) -> None:
        """A lease ended; for stores that write it down."""

    def _before_raise(self, meter: Meter, amount: int) -> None:
        """The window is open and its limit will be raised; for stores that write it down first."""

    def _before_reset(self, meter: Meter) -> None:
        """The window is open and its spending will be forgotten; the same."""


def _denied(meter: Meter, account: CalendarAccount | RollingAccount, amount: int, now_s: float) -> Denied:
    balance = account.balance(meter, now_s)
    retry_s = None if meter.is_returned else account.free_in(meter, amount, now_s)
    return Denied(meter, balance.limit, balance.spent, balance.held, amount, balance.end_s, retry_s)


def shown(hold_id: str, held: Held) -> OpenHold:
    """A hold as operators see it."""
    amounts = {meter.id: amount for meter, amount in zip(held.meters, held.amounts, strict=True)}
    return OpenHold(hold_id, amounts, held.lease_until_s, held.is_dispatched)
