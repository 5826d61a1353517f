"""Every kind of store behind one synchronous face, on a clock that the test moves."""

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from policies.ledger import Entry
from policies.stores.base import Balance, Line, Lines, Meter, OpenHold, Settlement, Store, Unit, Verdict
from policies.stores.groups import Asked
from policies.stores.memory import MemoryStore
from policies.stores.redis import RedisStore
from policies.stores.sqlite import SqliteStore
from policies.stores.sqlite_shared import SharedSqliteStore
from policies.windows import Calendar, CalendarWindow, NoWindow, RollingWindow

NOON = 1_782_000_000.0 - 1_782_000_000.0 % 86_400 + 43_200  # a Saturday in June 2026, 12:00 UTC


class Clock:
    """Unix seconds that pass only when told."""

    def __init__(self, now_s: float = NOON) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Driver:
    """A store, whether it answers at once or later. `pass_time` moves its own clock."""

    def __init__(
        self, store: Store, clock: Clock, runner: asyncio.Runner, settled: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self._runner = runner
        self._settled = settled  # waits until what the store was told without an answer has taken effect
        self._meters: dict[tuple[Meter, ...], tuple[Meter, ...]] = {}
        self._holds = 0

    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def hold(
        self, hold_id: str, *lines: tuple[Meter, int], lease_s: float = 120.0, is_dispatched: bool = False
    ) -> Verdict:
        self._holds += 1
        return self._now(self.store.hold(hold_id, self._lines(lines), lease_s, is_dispatched=is_dispatched))

    def _lines(self, lines: Sequence[tuple[Meter, int]]) -> Lines:
        """Two of three times as the gateway gives them: with the same meters as before."""
        if not self._holds % 3:
            return [Line(*line) for line in lines]
        meters = tuple(meter for meter, _ in lines)
        return Asked(self._meters.setdefault(meters, meters), [amount for _, amount in lines])

    def extend(self, hold_id: str, *amounts: int) -> Verdict:
        return self._now(self.store.extend(hold_id, amounts))

    def dispatched(self, hold_id: str) -> None:
        self._told(lambda: self.store.dispatched(hold_id))

    def settle(self, hold_id: str, *amounts: int, entries: Sequence[Entry] = ()) -> None:
        self._told(lambda: self.store.settle(Settlement(hold_id, amounts, entries)))

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        self._told(lambda: self.store.renew(hold_ids, lease_s))

    def balance(self, meter: Meter) -> Balance:
        return self._now(self.store.balances([meter]))[0]

    def open_holds(self) -> list[OpenHold]:
        return list(self._now(self.store.open_holds()))

    def raise_limit(self, meter: Meter, amount: int) -> Balance:
        return self._now(self.store.raise_limit(meter, amount))

    def reset(self, meter: Meter) -> Balance:
        return self._now(self.store.reset(meter))

    def close(self) -> None:
        self._runner.run(self.store.close())

    def _now(self, answer: Any) -> Any:
        async def wait() -> Any:
            return await answer

        return self._runner.run(wait()) if inspect.isawaitable(answer) else answer

    def _told(self, tell: Callable[[], None]) -> None:
        async def within_the_loop() -> None:
            tell()
            if self._settled is not None:
                await self._settled()

        self._runner.run(within_the_loop())


def budget(limit: int = 1000, unit: Calendar = Calendar.DAY, name: str = "team", carry_max: int = 0) -> Meter:
    return Meter(f"budget/{name}/{unit}", Unit.NUSD, limit, CalendarWindow(unit, UTC), carry_max)


def per_minute(limit: int = 60, name: str = "team") -> Meter:
    return Meter(f"limit/{name}/requests/60", Unit.REQUESTS, limit, RollingWindow(60.0), on_error="local")


def at_once(limit: int = 2, name: str = "team") -> Meter:
    return Meter(f"limit/{name}/slots", Unit.SLOTS, limit, NoWindow(), on_error="local")


def memory(runner: asyncio.Runner) -> Driver:
    clock = Clock()
    return Driver(MemoryStore(clock), clock, runner)


def sqlite(runner: asyncio.Runner, folder: Path) -> Driver:
    clock = Clock()
    return Driver(SqliteStore(folder, clock), clock, runner)


def sqlite_shared(runner: asyncio.Runner, folder: Path) -> Driver:
    clock = Clock()
    store = SharedSqliteStore(folder, clock, max_wait_s=20.0)  # on a busy machine too
    return Driver(store, clock, runner, store.flush)


def redis(runner: asyncio.Runner, url: str) -> Driver:
    clock = Clock()
    store = RedisStore(url, now=clock, namespace=uuid.uuid4().hex, timeout_s=20.0)  # on a busy machine too
    return Driver(store, clock, runner, store.told)
