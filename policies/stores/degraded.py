"""What goes on while Redis does not: limits are counted by each process for itself, budgets where the operator says so.

A request whose meters all may be counted locally (`Meter.on_error`; limits always are) is answered from memory while
Redis is away, against a share of what is left. What it used is told to Redis by id when that is back. All replicas
together can go over a budget by what the others spent between the last answer of Redis here and its failure.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple

from policies.stores.base import (
    Balance,
    Denied,
    Granted,
    Line,
    Meter,
    OpenHold,
    Settlement,
    Unavailable,
    Unit,
    Verdict,
)
from policies.stores.memory import MemoryStore
from policies.stores.redis import RedisStore, StoreStatus
from policies.windows import CalendarWindow, RollingWindow


class _Known(NamedTuple):
    """What Redis said was left of a meter at a time, and what this process had used of it on its own by then."""

    left: int
    used: int
    at_s: float


class _Local(NamedTuple):
    lines: Sequence[Line]
    at_s: float


class FallbackStore:
    """Redis, and memory while it is away. `now` gives Unix seconds; `replicas` how many processes share the meters."""

    is_remote = True

    def __init__(self, remote: RedisStore, now: Callable[[], float], replicas: Callable[[], int]) -> None:
        self.remote = remote
        self.reports = remote.reports
        self._now = now
        self._replicas = replicas
        self._memory = MemoryStore(now)
        self._memory.reports = self.reports
        self._known: dict[str, _Known] = {}
        self._counted: set[str] = set()  # meters that were ever counted here
        self._local: dict[str, _Local] = {}  # holds that Redis does not know
        self._extras: dict[str, list[str]] = {}  # what was taken here for holds that Redis has

    @property
    def status(self) -> StoreStatus:
        """That of Redis."""
        return self.remote.status

    async def start(self) -> None:
        """Hand over what earlier processes left in the journal."""
        await self.remote.start()

    async def hold(
        self, hold_id: str, lines: Sequence[Line], lease_s: float, *, is_dispatched: bool = False
    ) -> Verdict:
        if hold_id not in self._local:
            verdict = await self.remote.hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)
            self._learn(lines, verdict)
            if not isinstance(verdict, Unavailable) or not _may_be_local(lines):
                return verdict
        return self._hold_here(hold_id, lines, lease_s, is_dispatched=is_dispatched)

    async def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        if hold_id in self._local:
            return self._memory.extend(hold_id, amounts)
        verdict = await self.remote.extend(hold_id, amounts)
        if not isinstance(verdict, Unavailable) or self.remote.is_up:
            return verdict
        lines = self.remote.lines(hold_id)
        if not lines or not _may_be_local(lines):
            return verdict
        more = [Line(line.meter, amount) for line, amount in zip(lines, amounts, strict=True) if amount > 0]
        extras = self._extras.setdefault(hold_id, [])
        extra_id = f"{hold_id}+{len(extras)}"
        taken = self._take(extra_id, more, inf, is_dispatched=True)
        if isinstance(taken, Denied):
            return taken
        extras.append(extra_id)
        return Granted(tuple(0 for _ in lines))

    def dispatched(self, hold_id: str) -> None:
        (self._memory if hold_id in self._local else self.remote).dispatched(hold_id)

    def settle(self, settlement: Settlement) -> None:
        local = self._local.pop(settlement.id, None)
        if local is None:
            for extra_id in self._extras.pop(settlement.id, ()):
                self._memory.settle(Settlement(extra_id, [0] * len(settlement.amounts)))
            self.remote.settle(settlement)
            return
        self._memory.settle(Settlement(settlement.id, settlement.amounts))
        used = [
            Line(line.meter, amount)
            for line, amount in zip(local.lines, settlement.amounts, strict=True)
            if amount and not line.meter.is_returned
        ]
        # Redis may yet give up a hold of the same id, whose answer was lost: this is another one.
        self.remote.charge(f"{settlement.id}~", used, local.at_s, settlement.entries)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        self._memory.renew(hold_ids, lease_s)
        self.remote.renew([hold_id for hold_id in hold_ids if hold_id not in self._local], lease_s)

    async def balances(self, meters: Sequence[Meter]) -> list[Balance]:
        return await self.remote.balances(meters)

    async def open_holds(self) -> list[OpenHold]:
        """Those in Redis, then those here. Raises StoreError where Redis cannot be asked."""
        return [*await self.remote.open_holds(), *self._memory.open_holds()]

    async def raise_limit(self, meter: Meter, amount: int) -> Balance:
        return await self.remote.raise_limit(meter, amount)

    async def reset(self, meter: Meter) -> Balance:
        return await self.remote.reset(meter)

    async def close(self) -> None:
        await self.remote.close()

    def _hold_here(self, hold_id: str, lines: Sequence[Line], lease_s: float, *, is_dispatched: bool) -> Verdict:
        verdict = self._take(hold_id, lines, lease_s, is_dispatched=is_dispatched)
        if isinstance(verdict, Granted) and hold_id not in self._local:
            self._local[hold_id] = _Local(lines, self._now())
        return verdict

    def _take(self, hold_id: str, lines: Sequence[Line], lease_s: float, *, is_dispatched: bool) -> Verdict:
        shared = [Line(replace(meter, limit=self._share(meter)), amount) for meter, amount in lines]
        verdict = self._memory.hold(hold_id, shared, lease_s, is_dispatched=is_dispatched)
        if isinstance(verdict, Denied):
            asked = next(meter for meter, _ in lines if meter.id == verdict.meter.id)
            return replace(verdict, meter=asked)
        return verdict

    def _share(self, meter: Meter) -> int:
        """What this process may use of a meter, counting what it has used here already."""
        self._counted.add(meter.id)
        replicas = max(1, self._replicas())
        known = self._known.get(meter.id)
        if known is not None and self._now() < _window_end(meter, known.at_s):
            return known.used + max(0, known.left) // replicas
        whole = meter.limit // replicas
        return whole if meter.unit is Unit.NUSD else max(whole, min(1, meter.limit))

    def _learn(self, lines: Sequence[Line], verdict: Verdict) -> None:
        """Keep what Redis says is left of budgets that may be counted here later."""
        if isinstance(verdict, Granted):
            for line, left in zip(lines, verdict.left, strict=True):
                if line.meter.on_error == "local" and line.meter.unit is Unit.NUSD:
                    self._learn_one(line.meter, left)
        elif isinstance(verdict, Denied) and verdict.meter.on_error == "local" and verdict.meter.unit is Unit.NUSD:
            self._learn_one(verdict.meter, verdict.limit - verdict.spent - verdict.held)

    def _learn_one(self, meter: Meter, left: int) -> None:
        now_s = self._now()
        if meter.id not in self._counted:
            self._known[meter.id] = _Known(left, 0, now_s)
        elif not self.remote.unreported:  # else what was spent here is missing from it
            here = self._memory.balances([meter])[0]
            self._known[meter.id] = _Known(left - here.held, here.spent + here.held, now_s)


def _may_be_local(lines: Sequence[Line]) -> bool:
    return all(line.meter.unit is not Unit.NUSD or line.meter.on_error == "local" for line in lines)


def _window_end(meter: Meter, now_s: float) -> float:
    if isinstance(meter.window, CalendarWindow):
        return meter.window.period(now_s).end_s
    return now_s + meter.window.length_s if isinstance(meter.window, RollingWindow) else inf
