"""The rules of holds once more, as plainly as they can be said: lists and sums, no windows kept up to date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from policies.stores.base import Meter, Unit
from policies.windows import Calendar, CalendarWindow, NoWindow, RollingWindow
from tests.policies.stores.kinds import NOON

LIMIT = 1000
METERS = (
    Meter("day", Unit.NUSD, LIMIT, CalendarWindow(Calendar.DAY, UTC)),
    Meter("hour", Unit.TOKENS, LIMIT, RollingWindow(3600.0)),
    Meter("slots", Unit.SLOTS, 6, NoWindow()),
)


@dataclass
class ModelHold:
    amounts: list[int]
    at_s: float
    until_s: float
    written_until_s: float
    is_dispatched: bool


class Model:
    """What a store of METERS must know. `live` are open holds of this process, `left` those of one that is gone."""

    def __init__(self) -> None:
        self.now_s = NOON
        self.live: dict[str, ModelHold] = {}
        self.left: dict[str, ModelHold] = {}
        self.late: dict[str, ModelHold] = {}
        self.charges: list[tuple[str, float, int]] = []  # (meter, moment of the hold, amount)
        self.raises: list[tuple[str, float, int]] = []
        self.entries: set[str] = set()

    def spent(self, meter: Meter) -> int:
        mine = [(at_s, amount) for meter_id, at_s, amount in self.charges if meter_id == meter.id]
        if isinstance(meter.window, CalendarWindow):
            return sum(amount for at_s, amount in mine if self._is_today(at_s))
        if isinstance(meter.window, NoWindow):
            return 0
        part_s, parts = meter.window.bucket_s, meter.window.buckets
        return sum(amount for at_s, amount in mine if at_s // part_s + 1 > self.now_s / part_s - parts)

    def held(self, meter: Meter) -> int:
        at = METERS.index(meter)
        is_daily = isinstance(meter.window, CalendarWindow)
        holds = (*self.live.values(), *self.left.values())
        return sum(hold.amounts[at] for hold in holds if not is_daily or self._is_today(hold.at_s))

    def limit(self, meter: Meter) -> int:
        is_daily = isinstance(meter.window, CalendarWindow)
        raises = (
            amount
            for meter_id, at_s, amount in self.raises
            if meter_id == meter.id and (not is_daily or self._is_today(at_s))
        )
        return meter.limit + sum(raises)

    def fits(self, amounts: Sequence[int]) -> bool:
        return all(
            self.spent(meter) + self.held(meter) + amount <= self.limit(meter)
            for meter, amount in zip(METERS, amounts, strict=True)
        )

    def hold(self, hold_id: str, amounts: Sequence[int], lease_s: float, is_dispatched: bool) -> bool:
        self.end_leases()
        if not self.fits(amounts):
            return False
        until_s = self.now_s + lease_s
        self.live[hold_id] = ModelHold(list(amounts), self.now_s, until_s, until_s, is_dispatched)
        return True

    def extend(self, hold_id: str, amounts: Sequence[int]) -> bool:
        hold = self.live[hold_id]
        fits = all(
            amount <= 0 or self.spent(meter) + self.held(meter) + amount <= self.limit(meter)
            for meter, amount in zip(METERS, amounts, strict=True)
        )
        if fits:
            hold.amounts = [had + more for had, more in zip(hold.amounts, amounts, strict=True)]
            hold.written_until_s = hold.until_s
        return fits

    def dispatched(self, hold_id: str) -> None:
        hold = self.live.get(hold_id)
        if hold is not None and not hold.is_dispatched:
            hold.is_dispatched = True
            hold.written_until_s = hold.until_s

    def settle(self, hold_id: str, amounts: Sequence[int]) -> None:
        self.entries.add(hold_id)
        hold = self.live.pop(hold_id, None)
        if hold is not None:
            self._charge(hold, amounts)
            return
        hold = self.late.pop(hold_id, None)
        if hold is not None:
            had = hold.amounts if hold.is_dispatched else [0] * len(amounts)
            self._charge(hold, [amount - before for amount, before in zip(amounts, had, strict=True)])

    def raise_limit(self, meter: Meter, amount: int) -> None:
        self.raises.append((meter.id, self.now_s, amount))

    def reset(self, meter: Meter) -> None:
        today = isinstance(meter.window, CalendarWindow)
        self.charges = [
            charge for charge in self.charges if charge[0] != meter.id or (today and not self._is_today(charge[1]))
        ]

    def end_leases(self) -> None:
        for holds in (self.live, self.left):
            for hold_id in [hold_id for hold_id, hold in holds.items() if hold.until_s <= self.now_s]:
                hold = holds.pop(hold_id)
                if hold.is_dispatched:
                    self._charge(hold, hold.amounts)
                if holds is self.live:
                    self.late[hold_id] = hold

    def restart(self) -> None:
        """What was sent stays held until its lease ends, as it was last written down; the rest is gone."""
        self.end_leases()
        for hold_id, hold in self.live.items():
            if hold.is_dispatched:
                hold.until_s = hold.written_until_s
                self.left[hold_id] = hold
        self.live, self.late = {}, {}
        self.end_leases()  # a renewal is not written down

    def _charge(self, hold: ModelHold, amounts: Sequence[int]) -> None:
        for meter, amount in zip(METERS, amounts, strict=True):
            if not meter.is_returned:
                self.charges.append((meter.id, hold.at_s, amount))

    def _is_today(self, at_s: float) -> bool:
        return at_s // 86_400 == self.now_s // 86_400
