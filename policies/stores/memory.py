"""Holds in the memory of one process: exact, because nothing here waits between the check and the booking."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf
from operator import gt

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
from policies.stores.groups import Asked, Group

_GROUPS_KEPT = 10_000
_LATE_KEPT = 10_000  # leases that ended, so that what comes late can still be set right


class Held:
    """An open hold: its accounts with where they are charged, and the amounts. One that was read has no `group`."""

    __slots__ = (
        "accounts",
        "amounts",
        "granted",
        "group",
        "is_dispatched",
        "is_ended",
        "lease_until_s",
        "marks",
        "meters",
    )

    def __init__(
        self,
        meters: Sequence[Meter],
        accounts: Sequence[CalendarAccount | RollingAccount],
        marks: Sequence[float],
        amounts: Sequence[int],
        granted: Granted,
        lease_until_s: float,
        is_dispatched: bool,
        group: Group | None = None,
    ) -> None:
        self.meters = meters
        self.accounts = accounts
        self.marks = marks
        self.amounts = amounts  # another list whenever they change
        self.granted = granted
        self.lease_until_s = lease_until_s
        self.is_dispatched = is_dispatched
        self.is_ended = False  # its lease is over
        self.group = group


class MemoryStore:
    """The store of a single process. What it knows ends with it; `sqlite` adds a journal. `now` gives Unix seconds."""

    is_remote = False

    def __init__(self, now: Callable[[], float]) -> None:
        self.reports = Reports()
        self._now = now
        self._accounts: dict[str, CalendarAccount | RollingAccount] = {}
        self._holds: dict[str, Held] = {}
        self._late: OrderedDict[str, Held] = OrderedDict()
        self._groups: dict[int, Group] = {}  # by the identity of their meters
        self._next_end_s = inf

    def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        known = self._holds.get(hold_id)
        if known is not None:
            return known.granted
        now_s = self._now()
        if now_s >= self._next_end_s:
            self._reap(now_s)
        if type(lines) is Asked:
            group = self._groups.get(id(lines.meters))
            if group is None or group.meters is not lines.meters or not group.from_s <= now_s < group.until_s:
                group = self._group(lines.meters, now_s)
            amounts = lines.amounts
        else:
            group = Group(*self._accounts_of([meter for meter, _ in lines], now_s))
            amounts = [amount for _, amount in lines]
        accounts = group.accounts
        left = [
            limit - account.spent - account.held - amount
            for account, limit, amount in zip(accounts, group.limits, amounts, strict=True)
        ]
        if left and min(left) < 0:
            at = next(at for at, room in enumerate(left) if room < 0)
            return _denied(group.meters[at], accounts[at], amounts[at], now_s)
        for account, amount in zip(accounts, amounts, strict=True):
            account.held += amount
        until_s = now_s + lease_s
        self._next_end_s = min(self._next_end_s, until_s)
        granted = Granted(tuple(left))
        self._holds[hold_id] = Held(
            group.meters, accounts, group.marks, amounts, granted, until_s, is_dispatched, group
        )
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
        for account, amount in zip(held.accounts, amounts, strict=True):
            account.held += amount
        held.amounts = [had + more for had, more in zip(held.amounts, amounts, strict=True)]
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
        self._groups.clear()
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

    def _settle(self, settlement: Settlement) -> tuple[Held, Sequence[int]] | None:
        """Book what was used. The hold, and what this charged to each of its meters; None where it was settled before.

        What was used of a hold whose lease had ended is set right: less than 0 where it was charged in full.
        """
        hold_id, used = settlement.id, settlement.amounts
        held = self._holds.pop(hold_id, None)
        if held is None:
            return self._settle_late(settlement)
        group, amounts, charges = held.group, held.amounts, used
        if group is None or group.has_returned:
            charges = [0 if meter.is_returned else actual for meter, actual in zip(held.meters, used, strict=True)]
        for account, amount, charge, mark in zip(held.accounts, amounts, charges, held.marks, strict=True):
            account.held -= amount
            if type(account) is CalendarAccount:
                account.spent += charge
            elif charge:
                account.charge(charge, mark)
        if any(map(gt, used, amounts)):
            self.reports.overruns += [
                (hold_id, meter.id, actual - amount)
                for meter, actual, amount in zip(held.meters, used, amounts, strict=True)
                if actual > amount
            ]
        return held, charges

    def _settle_late(self, settlement: Settlement) -> tuple[Held, Sequence[int]] | None:
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

    def _group(self, meters: tuple[Meter, ...], now_s: float) -> Group:
        """The group of these meters for this moment."""
        group = Group(*self._accounts_of(meters, now_s))
        if len(self._groups) >= _GROUPS_KEPT:
            self._groups.clear()
        self._groups[id(meters)] = group
        return group

    def _accounts_of(
        self, meters: Sequence[Meter], now_s: float
    ) -> tuple[Sequence[Meter], list[CalendarAccount | RollingAccount]]:
        return meters, [self._account(meter, now_s) for meter in meters]

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
        self._groups.clear()  # some may have the one before
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
