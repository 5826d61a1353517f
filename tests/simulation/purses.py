"""The money of one scenario: budgets, places, the real desk over a real store, and what has to hold of them."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from itertools import count

from gateway.money.desk import Desk
from gateway.money.soft import SoftLimits
from gateway.money.till import Till
from gateway.runtime import Caller
from gateway.telemetry.logs import Logger
from policies.ledger import Entry
from policies.outcome import Outcome
from policies.scopes import Scope
from policies.stores.base import Meter, Unit
from policies.stores.memory import MemoryStore
from policies.windows import Calendar, CalendarWindow, NoWindow
from tests.simulation.scenario import Purse

_EVER = CalendarWindow(Calendar.TOTAL, UTC)
_ALL = "budget/all/total"


class Treasury:
    """`problems` are in words."""

    def __init__(self, purse: Purse, store: MemoryStore, loop: asyncio.AbstractEventLoop, logger: Logger) -> None:
        self.problems: list[str] = []
        self.entries: list[Entry] = []
        self._store, self._loop = store, loop
        numbers = count(1)
        self._till = Till(store, loop, loop.time, lambda: f"hold-{next(numbers)}")
        soft = SoftLimits(loop.time, lambda work, _: work.close(), logger)
        self.desk = Desk(self._till, soft, loop.time, keeps_ledger=True, add=self.entries.extend)
        self._all = _budget("all", purse.all_nusd, purse)
        self._each = {name: _budget(name, purse.each_nusd, purse) for name in ("one", "two", "three")}
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

    def look(self) -> None:
        """Whether anything is beyond its limit at this moment."""
        for balance in self._store.balances([scope.meter for scope in self._scopes()]):
            if balance.spent + balance.held > balance.limit:
                self.problems.append(
                    f"{balance.meter_id} has {balance.spent} spent and {balance.held} held, of {balance.limit}"
                )

    def at_the_end(self, outcomes: list[Outcome]) -> Iterator[str]:
        """What is wrong when every request is over."""
        self.look()
        yield from self.problems
        if self._store.open_holds() or self._till.open_tabs or self._till.turns.queues:
            yield f"holds are left: {self._store.open_holds()}, {self._till.open_tabs}"
        spent = dict.fromkeys((_ALL, *(scope.meter.id for scope in self._each.values())), 0)
        for outcome in outcomes:
            for meter_id in (_ALL, self._each[outcome.caller].meter.id):
                spent[meter_id] += outcome.cost_nusd or 0
        for balance in self._store.balances([scope.meter for scope in self._scopes()]):
            if balance.held or balance.spent != spent.get(balance.meter_id, 0):
                yield (
                    f"{balance.meter_id} has {balance.held} held and {balance.spent} spent; the calls cost "
                    f"{spent.get(balance.meter_id, 0)}"
                )
        written = sum(entry.cost_nusd or 0 for entry in self.entries)
        if written != spent[_ALL] or len({entry.id for entry in self.entries}) != len(self.entries):
            yield f"the ledger has {written} in {len(self.entries)} entries; the calls cost {spent[_ALL]}"
        overruns = [own for own in self._store.reports.overruns if own[1].startswith("budget/")]
        if overruns:
            yield f"more was used than held: {overruns}"

    def _scopes(self) -> list[Scope]:
        return [self._all, *self._each.values(), *self._places]


def _budget(name: str, limit_nusd: int, purse: Purse) -> Scope:
    meter = Meter(f"budget/{name}/total", Unit.NUSD, limit_nusd, _EVER)
    return Scope(name, meter, is_shrinking=purse.is_shrinking)
