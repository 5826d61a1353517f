"""A process that ends at a chosen write to its disk, and what has to be true afterwards."""

import os
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from policies.ledger import Entry, Purpose
from policies.stores.base import Granted, Line, Lines, Settlement
from policies.stores.groups import Asked
from policies.stores.journal import Disk
from policies.stores.sqlite import SqliteStore
from providers.base import Usage
from tests.policies.stores.kinds import Clock
from tests.policies.stores.model import METERS, Model

_SAME = tuple(METERS)
MODES = ("before", "within", "after")


class KilledError(BaseException):
    """Stands for the end of the process: nothing catches it."""


class MortalDisk(Disk):
    """Calls `end` before, within or after its call number `at`. Every write, sync, commit and removal counts."""

    def __init__(self, at: int, mode: str, end: Callable[[], Any]) -> None:
        self.calls = 0
        self._at = at
        self._mode = mode
        self._end = end

    def write(self, descriptor: int, data: bytes) -> int:
        if self.calls == self._at and self._mode == "within":
            os.write(descriptor, data[: len(data) // 2])
            self._end()
        return self._call(lambda: os.write(descriptor, data))

    def sync(self, descriptor: int) -> None:
        self._call(lambda: None)  # what it does to the machine cannot be seen here

    def remove(self, path: Any) -> None:
        self._call(lambda: Disk.remove(self, path))

    def commit(self, connection: Any) -> None:
        self._call(lambda: Disk.commit(self, connection))

    def _call(self, do: Callable[[], Any]) -> Any:
        is_last = self.calls == self._at
        self.calls += 1
        if is_last and self._mode == "before":
            self._end()
        result = do()
        if is_last:
            self._end()
        return result


def entry(entry_id: str, cost_nusd: int = 0, at_s: float = 1.0, **changed: Any) -> Entry:
    fields: dict[str, Any] = {
        "id": entry_id,
        "request_id": entry_id,
        "at_s": at_s,
        "key": "alice",
        "team": "research",
        "tags": ("batch",),
        "asked": "smart",
        "route": "smart",
        "model": "gpt-5-mini",
        "deployment": "openai/gpt-5-mini",
        "provider": "openai",
        "operation": "chat",
        "purpose": Purpose.ANSWER,
        "ending": "complete",
        "usage": Usage(input=10, output=5),
        "cost_nusd": cost_nusd,
    }
    return Entry(**{**fields, **changed})


def script(random: Random, length: int, first: int = 0) -> list[tuple[Any, ...]]:
    """Operations of a gateway and its writer: ids count from `first`."""
    steps: list[tuple[Any, ...]] = []
    number = first
    for _ in range(length):
        kind = random.choices(["hold", "settle", "extend", "pass", "admin", "write", "sync"], [8, 8, 2, 2, 1, 3, 3])[0]
        if kind == "hold" or (number == first and kind in ("settle", "extend")):
            number += 1
            steps.append(("hold", f"h{number}", random.randint(0, 200), random.random() < 0.5))
            if random.random() < 0.8:
                steps.append(("dispatched", f"h{number}"))
        elif kind == "settle":
            steps.append(("settle", f"h{random.randint(first + 1, number)}", random.randint(0, 250)))
        elif kind == "extend":
            steps.append(("extend", f"h{random.randint(first + 1, number)}", random.randint(-10, 100)))
        elif kind == "pass":
            steps.append(("pass", random.choice([1.0, 20.0, 40.0])))
        elif kind == "admin":
            steps.append(random.choice([("raise", random.randint(-50, 200)), ("reset",)]))
        else:
            steps.append((kind,))
    return steps


def do(store: SqliteStore, clock: Clock, step: tuple[Any, ...]) -> Any:
    """One step; True where something was granted."""
    match step:
        case ("hold", hold_id, amount, is_dispatched):
            lines: Lines = [Line(METERS[0], amount), Line(METERS[1], amount), Line(METERS[2], 1)]
            if len(hold_id) % 2 == 0:  # most of them, as the gateway gives them: with the same meters as before
                lines = Asked(_SAME, [amount, amount, 1])
            return isinstance(store.hold(hold_id, lines, 60.0, is_dispatched=is_dispatched), Granted)
        case ("dispatched", hold_id):
            store.dispatched(hold_id)
        case ("settle", hold_id, used):
            store.settle(Settlement(hold_id, [used, used, 1], [entry(hold_id, used)]))
        case ("extend", hold_id, more):
            store.balances(METERS)
            return isinstance(store.extend(hold_id, [more, more, 0]), Granted)
        case ("pass", seconds):
            clock.now_s += seconds
            store.balances(METERS)
        case ("raise", amount):
            store.raise_limit(METERS[0], amount)
        case ("reset",):
            store.balances(METERS)
            store.reset(METERS[0])
        case ("write",):
            store.write_down()
        case ("sync",):
            store._journal.sync()
            store.remove_applied()
    return None


def expect(model: Model, step: tuple[Any, ...]) -> Any:
    """The same step in the model."""
    model.end_leases()
    match step:
        case ("hold", hold_id, amount, is_dispatched):
            return model.hold(hold_id, [amount, amount, 1], 60.0, is_dispatched)
        case ("dispatched", hold_id):
            model.dispatched(hold_id)
        case ("settle", hold_id, used):
            model.settle(hold_id, [used, used, 1])
        case ("extend", hold_id, more):
            return hold_id in model.live and model.extend(hold_id, [more, more, 0])
        case ("pass", seconds):
            model.now_s += seconds
            model.end_leases()
        case ("raise", amount):
            model.raise_limit(METERS[0], amount)
        case ("reset",):
            model.reset(METERS[0])
    return None


def state(store: SqliteStore) -> Any:
    """What the store knows, to compare with `expected`."""
    balances = [(balance.limit, balance.spent, balance.held) for balance in store.balances(METERS)]
    return balances, sorted(hold.id for hold in store.open_holds())


def expected(model: Model) -> Any:
    model.end_leases()
    balances = [(model.limit(meter), model.spent(meter), model.held(meter)) for meter in METERS]
    return balances, sorted({**model.live, **model.left})


def abandon(store: SqliteStore) -> None:
    """As the end of its process would: everything it has open is closed, nothing is written."""
    store._connection.close()
    with suppress(OSError):  # it ended while it closed
        os.close(store._journal._descriptor)
    store._lock.release()
