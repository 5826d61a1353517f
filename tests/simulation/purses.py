"""The money of one scenario: budgets, places, the real desk over a real store, and what has to hold of them."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from itertools import count
from typing import Literal

from gateway.money.desk import Desk
from gateway.money.soft import SoftLimits
from gateway.money.till import Till
from gateway.runtime import Caller
from gateway.telemetry.logs import Logger
from policies.ledger import Entry
from policies.outcome import Outcome
from policies.scopes import Scope
from policies.stores.base import Meter, Unit
from policies.stores.degraded import FallbackStore
from policies.stores.memory import MemoryStore
from policies.windows import Calendar, CalendarWindow, NoWindow
from tests.simulation.redis import ScriptedRedis
from tests.simulation.scenario import Purse

_EVER = CalendarWindow(Calendar.TOTAL, UTC)
_ALL = "budget/all/total"
# For Redis, in all of a request: 0.2 s, and a moment for each further call; and for asking once more.
_MOST_WAITED_S, _MOST_ONCE_MORE_S = 0.25, 0.15


class Treasury:
    """`problems` are in words."""

    def __init__(
        self,
        purse: Purse,
        store: MemoryStore | FallbackStore,
        loop: asyncio.AbstractEventLoop,
        logger: Logger,
        *,
        redis: ScriptedRedis | None = None,
        is_local: bool = False,
    ) -> None:
        self.problems: list[str] = []
        self.entries: list[Entry] = []
        self.redis = redis
        self._store, self._loop, self._is_local = store, loop, is_local
        numbers = count(1)
        self._till = Till(store, loop, loop.time, lambda: f"hold-{next(numbers)}")
        soft = SoftLimits(loop.time, lambda work, _: work.close(), logger)
        self.desk = Desk(self._till, soft, loop.time, keeps_ledger=True, add=self.entries.extend)
        self._all = _budget("all", purse.all_nusd, purse, is_local=is_local)
        self._each = {
            name: _budget(name, purse.each_nusd, purse, is_local=is_local) for name in ("one", "two", "three")
        }
        self._places: tuple[Scope, ...] = ()
        if purse.places is not None:
            meter = Meter("limit/all/slots", Unit.SLOTS, purse.places, NoWindow())
            self._places = (Scope("places", meter, wait_s=purse.wait_s),)

    def callers(self, known: Mapping[str, Caller]) -> dict[str, Caller]:
        """The callers with what they pay from."""
        return {
            digest: replace(caller, scopes=(self._each[caller.name], self._all, *self._places))
            for digest, caller in known.items()
        }

    @property
    def is_troubled(self) -> bool:
        """Whether somebody asked a Redis that was not well."""
        return self.redis is not None and self.redis.troubles > 0

    def look(self) -> None:
        """Whether anything is beyond its limit at this moment."""
        if self.redis is not None and self._is_local:
            return  # what is counted here Redis does not know yet
        for name, (spent, held, limit) in self._counts().items():
            if spent + held > limit:
                self.problems.append(f"{name} has {spent} spent and {held} held, of {limit}")

    async def told(self) -> None:
        """Wait until Redis knows everything."""
        if isinstance(self._store, FallbackStore) and self.redis is not None:
            await self._store.remote.told()
            while not self.redis.is_idle:  # noqa: ASYNC110 - time is virtual, and nobody else is there
                await asyncio.sleep(0.1)

    def at_the_end(self, outcomes: list[Outcome]) -> Iterator[str]:
        """What is wrong when every request is over."""
        self.look()
        yield from self.problems
        held = self._store.open_holds() if isinstance(self._store, MemoryStore) else [*self._left_in_redis()]
        if held or self._till.open_tabs or self._till.turns.queues:
            yield f"holds are left: {held}, {self._till.open_tabs}"
        spent = dict.fromkeys((_ALL, *(scope.meter.id for scope in self._each.values())), 0)
        for outcome in outcomes:
            for meter_id in (_ALL, self._each[outcome.caller].meter.id):
                spent[meter_id] += outcome.cost_nusd or 0
        for name, (found, still_held, limit) in self._counts().items():
            if still_held or found != spent.get(name, 0):
                yield f"{name} has {still_held} held and {found} spent; the calls cost {spent.get(name, 0)}"
            if name.startswith("budget/") and found > limit:
                yield f"{name} has {found} spent, of {limit}"
        written = sum(entry.cost_nusd or 0 for entry in self.entries)
        if written != spent[_ALL] or len({entry.id for entry in self.entries}) != len(self.entries):
            yield f"the ledger has {written} in {len(self.entries)} entries; the calls cost {spent[_ALL]}"
        if self.redis is not None:
            for hold_id, waited_s in self.redis.waited_s.items():
                # Whoever waits for a place, or is content with less, asks for it once more.
                if waited_s > _MOST_WAITED_S + _MOST_ONCE_MORE_S * (self.redis.asked[hold_id] - 1):
                    yield f"somebody waited {waited_s:.2f} s for Redis"
        overruns = [own for own in self._store.reports.overruns if own[1].startswith("budget/")]
        if overruns:
            yield f"more was used than held: {overruns}"

    def _counts(self) -> dict[str, tuple[int, int, int]]:
        """What is spent and held of each meter, and its limit."""
        meters = [scope.meter for scope in self._scopes()]
        if self.redis is None:
            assert isinstance(self._store, MemoryStore)
            return {own.meter_id: (own.spent, own.held, own.limit) for own in self._store.balances(meters)}
        known = self.redis.accounts
        return {
            m.id: (known[m.id].spent, known[m.id].held, m.limit) if m.id in known else (0, 0, m.limit) for m in meters
        }

    def _left_in_redis(self) -> Iterator[str]:
        assert isinstance(self._store, FallbackStore)
        yield from self.redis.holds if self.redis is not None else ()
        yield from self._store._local

    def _scopes(self) -> list[Scope]:
        return [self._all, *self._each.values(), *self._places]


def _budget(name: str, limit_nusd: int, purse: Purse, *, is_local: bool) -> Scope:
    on_error: Literal["local", "deny"] = "local" if is_local else "deny"
    meter = Meter(f"budget/{name}/total", Unit.NUSD, limit_nusd, _EVER, on_error=on_error)
    return Scope(name, meter, is_shrinking=purse.is_shrinking)
