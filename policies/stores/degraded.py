"""What goes on while Redis does not: limits are counted by each process for itself, budgets where the operator says so.

A request whose meters all may be counted locally (`Meter.on_error`; limits of callers always are) is answered from
memory while Redis is away, against a share of what is left. What it used is told to Redis by id when that is back. All
replicas together can go over a budget by what the others spent between the last answer of Redis here and its failure.

What is left of a share outlives a restart in `Shares`. Without those, a process that has not heard of a budget from
Redis since its start does not pay from it: nobody knows what those before it spent.
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
    Lines,
    Meter,
    OpenHold,
    Settlement,
    Unavailable,
    Unit,
    Verdict,
)
from policies.stores.memory import MemoryStore
from policies.stores.redis import RedisStore, StoreStatus
from policies.stores.shares import Shares
from policies.windows import CalendarWindow, RollingWindow

_NOTED_EVERY_S = 5.0  # what Redis says, for the next start


class _Known(NamedTuple):
    """What Redis said was left of a meter at a time, and what this process had used of it on its own by then."""

    left: int
    used: int
    at_s: float


class _Local(NamedTuple):
    lines: Lines
    at_s: float


class FallbackStore:
    """Redis, and memory while it is away. `now` gives Unix seconds; `replicas` how many processes share the meters."""

    is_remote = True

    def __init__(
        self,
        remote: RedisStore,
        now: Callable[[], float],
        replicas: Callable[[], int],
        shares: Shares | None = None,
    ) -> None:
        self.remote = remote
        self.reports = remote.reports
        self._now = now
        self._replicas = replicas
        self._memory = MemoryStore(now)
        self._memory.reports = self.reports
        self._shares = shares
        self._known: dict[str, _Known] = {}
        self._unnoted: dict[str, Meter] = {}  # of which something newer is known than the shares say
        if shares is not None:
            count = max(1, replicas())
            self._known = {name: _Known(left * count, 0, at_s) for name, (left, at_s) in shares.known.items()}
        self._counted: set[str] = set()  # meters that were ever counted here
        self._local: dict[str, _Local] = {}  # holds that Redis does not know
        self._extras: dict[str, list[list[Line]]] = {}  # what was taken here for holds that Redis has

    @property
    def status(self) -> StoreStatus:
        """That of Redis."""
        return self.remote.status

    async def start(self) -> None:
        """Hand over what earlier processes left in the journal."""
        await self.remote.start()

    async def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        if hold_id not in self._local:
            verdict = await self.remote.hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)
            self._learn(lines, verdict)
            if not isinstance(verdict, Unavailable) or not self._may_be_here(lines):
                return verdict
        return self._hold_here(hold_id, lines, lease_s, is_dispatched=is_dispatched)

    async def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        if hold_id in self._local:
            return self._memory.extend(hold_id, amounts)
        verdict = await self.remote.extend(hold_id, amounts)
        if not isinstance(verdict, Unavailable) or self.remote.is_up:
            return verdict
        lines = self.remote.lines(hold_id)
        if not lines or not self._may_be_here(lines):
            return verdict
        more = [Line(meter, amount) for (meter, _), amount in zip(lines, amounts, strict=True) if amount > 0]
        extras = self._extras.setdefault(hold_id, [])
        taken = self._take(_extra_id(hold_id, len(extras)), more, inf, is_dispatched=True)
        if isinstance(taken, Denied):
            return taken
        extras.append(more)
        return Granted(tuple(0 for _ in lines))

    def dispatched(self, hold_id: str) -> None:
        (self._memory if hold_id in self._local else self.remote).dispatched(hold_id)

    def settle(self, settlement: Settlement) -> None:
        local = self._local.pop(settlement.id, None)
        if local is None:
            for number, more in enumerate(self._extras.pop(settlement.id, ())):
                self._memory.settle(Settlement(_extra_id(settlement.id, number), [0] * len(more)))
            self.remote.settle(settlement)
            return
        self._memory.settle(Settlement(settlement.id, settlement.amounts))
        self._note(local.lines)
        used = [
            Line(meter, amount)
            for (meter, _), amount in zip(local.lines, settlement.amounts, strict=True)
            if amount and not meter.is_returned
        ]
        # Redis may yet give up a hold of the same id, whose answer was lost: this is another one.
        self.remote.charge(f"{settlement.id}~", used, local.at_s, settlement.entries)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        self._memory.renew(hold_ids, lease_s)
        self.remote.renew([hold_id for hold_id in hold_ids if hold_id not in self._local], lease_s)

    async def balances(self, meters: Sequence[Meter]) -> list[Balance]:
        found = await self.remote.balances(meters)
        for meter, balance in zip(meters, found, strict=True):
            if _is_soft(meter):
                self._learn_one(meter, balance.limit - balance.spent - balance.held)
        return found

    async def open_holds(self) -> list[OpenHold]:
        """Those in Redis, then those here. Raises StoreError where Redis cannot be asked."""
        return [*await self.remote.open_holds(), *self._memory.open_holds()]

    async def raise_limit(self, meter: Meter, amount: int) -> Balance:
        return await self.remote.raise_limit(meter, amount)

    async def reset(self, meter: Meter) -> Balance:
        return await self.remote.reset(meter)

    async def close(self) -> None:
        self._note([Line(meter, 0) for meter in self._unnoted.values()])
        await self.remote.close()
        if self._shares is not None:
            self._shares.close()

    def _hold_here(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool) -> Verdict:
        verdict = self._take(hold_id, lines, lease_s, is_dispatched=is_dispatched)
        if isinstance(verdict, Granted) and hold_id not in self._local:
            self._local[hold_id] = _Local(lines, self._now())
        return verdict

    def _may_be_here(self, lines: Lines) -> bool:
        """Whether all may be counted locally, and enough is known of what others spent before."""
        if any(meter.on_error == "deny" for meter, _ in lines):
            return False
        money = [meter for meter, _ in lines if meter.unit is Unit.NUSD]
        return self._shares is not None or all(meter.id in self._known for meter in money)

    def _take(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool) -> Verdict:
        self._counted.update(meter.id for meter, _ in lines)
        shared = [Line(replace(meter, limit=self._share(meter)), amount) for meter, amount in lines]
        verdict = self._memory.hold(hold_id, shared, lease_s, is_dispatched=is_dispatched)
        if isinstance(verdict, Denied):
            asked = next(meter for meter, _ in lines if meter.id == verdict.meter.id)
            return replace(verdict, meter=asked)
        self._note(lines)
        return verdict

    def _share(self, meter: Meter) -> int:
        """What this process may use of a meter, counting what it has used here already."""
        replicas = max(1, self._replicas())
        known = self._known.get(meter.id)
        if known is not None and self._now() < _window_end(meter, known.at_s):
            return known.used + max(0, known.left) // replicas
        whole = meter.limit // replicas
        return whole if meter.unit is Unit.NUSD else max(whole, min(1, meter.limit))

    def _learn(self, lines: Lines, verdict: Verdict) -> None:
        """Keep what Redis says is left of budgets that may be counted here later."""
        if isinstance(verdict, Granted):
            for (meter, _), left in zip(lines, verdict.left, strict=True):
                if _is_soft(meter):
                    self._learn_one(meter, left)
        elif isinstance(verdict, Denied) and _is_soft(verdict.meter):
            self._learn_one(verdict.meter, verdict.limit - verdict.spent - verdict.held)

    def _learn_one(self, meter: Meter, left: int) -> None:
        now_s = self._now()
        if meter.id not in self._counted:
            self._known[meter.id] = _Known(left, 0, now_s)
        elif not self.remote.unreported:  # else what was spent here is missing from it
            here = self._memory.balances([meter])[0]
            self._known[meter.id] = _Known(left - here.held, here.spent + here.held, now_s)
        noted = self._shares.known.get(meter.id) if self._shares is not None else None
        if noted is None or not 0 <= now_s - noted.at_s < _NOTED_EVERY_S:
            self._note([Line(meter, 0)])
        else:
            self._unnoted[meter.id] = meter

    def _note(self, lines: Lines) -> None:
        """Write down what is left of the shares, for the process that comes after this one."""
        if self._shares is None:
            return
        for meter in [meter for meter, _ in lines if _is_soft(meter)]:
            here = self._memory.balances([meter])[0]
            self._shares.note(meter.id, max(0, self._share(meter) - here.spent - here.held), self._now())
            self._unnoted.pop(meter.id, None)


def _extra_id(hold_id: str, number: int) -> str:
    return f"{hold_id}+{number}"


def _is_soft(meter: Meter) -> bool:
    """Whether it is a budget that may be counted by each process for itself."""
    return meter.unit is Unit.NUSD and meter.on_error == "local"


def _window_end(meter: Meter, now_s: float) -> float:
    if isinstance(meter.window, CalendarWindow):
        return meter.window.period(now_s).end_s
    return now_s + meter.window.length_s if isinstance(meter.window, RollingWindow) else inf
