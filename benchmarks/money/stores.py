"""What a hold and its settlement cost, by store: CPU time of the whole process, the writer's thread included.

    python -m benchmarks.money.stores                     # table, and benchmarks/results/money_stores.json
    python -m benchmarks.money.stores --output FILE.json

A request is under three budgets (key, team, company) and two limits (requests per minute, requests at the same time).
It holds all five, is marked as sent, and is settled to a part of what it held, with and without an entry of the ledger.
64 requests are under way at any time. The time a store needs to close is in its figure, so nothing is left for later.
Every round takes the stores in turn; the figure is the median of the rounds. Bars, the entry included: 15 us in memory,
60 us with SQLite's journal. `shared` has no bar: each of its holds is a transaction that other processes can see.
"""

import argparse
import asyncio
import inspect
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import machine
from policies.ledger import Entry, Purpose
from policies.stores.base import Granted, Meter, Settlement, Store, Unit
from policies.stores.groups import Asked
from policies.stores.memory import MemoryStore
from policies.stores.sqlite import SqliteStore
from policies.stores.sqlite_shared import SharedSqliteStore
from policies.windows import Calendar, CalendarWindow, NoWindow, RollingWindow
from providers.base import Usage

_RESULTS = Path(__file__).resolve().parents[1] / "results" / "money_stores.json"
_AT_ONCE = 64
_MUCH = 10**15

METERS = (
    *(
        Meter(f"budget/{name}", Unit.NUSD, _MUCH, CalendarWindow(Calendar.MONTH, UTC))
        for name in ("key", "team", "all")
    ),
    Meter("limit/key/requests", Unit.REQUESTS, 10**9, RollingWindow(60.0)),
    Meter("limit/key/slots", Unit.SLOTS, 10 * _AT_ONCE, NoWindow()),
)
ASKED = (900_000, 900_000, 900_000, 1, 1)
USED = (310_000, 310_000, 310_000, 1, 1)

# Each store in a folder of its own; `bar` in microseconds.
SUBJECTS: dict[str, tuple[Callable[[Path], Store], float | None]] = {
    "memory": (lambda _: MemoryStore(time.time), 15.0),
    "sqlite": (SqliteStore, 60.0),
    "sqlite shared": (lambda folder: SharedSqliteStore(folder, max_wait_s=60.0), None),
}


def entry(number: int) -> Entry:
    return Entry(
        id=f"entry-{number}",
        request_id=f"request-{number}",
        at_s=1_780_000_000.0 + number / 100,
        key="alice",
        team="research",
        tags=("batch",),
        asked="smart",
        route="smart",
        model="gpt-5-mini",
        deployment="openai/gpt-5-mini",
        provider="openai",
        operation="chat",
        purpose=Purpose.ANSWER,
        ending="complete",
        usage=Usage(input=812, cache_read=1024, output=211, reasoning=64),
        cost_nusd=310_000,
    )


async def requests(store: Store, first: int, count: int, entries: Sequence[Entry]) -> None:
    """`count` requests, each held, sent and settled, `_AT_ONCE` of them under way."""

    async def one(number: int) -> None:
        hold_id = f"hold-{number}"
        verdict: Any = store.hold(hold_id, Asked(METERS, ASKED), 120.0, is_dispatched=store.is_remote)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        assert isinstance(verdict, Granted), verdict
        if not store.is_remote:
            store.dispatched(hold_id)
        under_way.append(hold_id)
        if len(under_way) > _AT_ONCE:
            store.settle(Settlement(under_way.pop(0), USED, (entries[number - first],) if entries else ()))

    under_way: list[str] = []
    if store.is_remote:
        for begin in range(first, first + count, _AT_ONCE):
            await asyncio.gather(*(one(number) for number in range(begin, min(begin + _AT_ONCE, first + count))))
    else:
        for number in range(first, first + count):
            await one(number)
            if number % 1000 == 0:
                await asyncio.sleep(0)
    for hold_id in under_way:
        store.settle(Settlement(hold_id, USED))


async def cost_us(make: Callable[[Path], Store], count: int, with_entries: bool) -> float:
    """CPU microseconds per request, from the first hold to the end of `close`."""
    entries = [entry(number) for number in range(count)] if with_entries else []
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder))
        await requests(store, -1000, 1000, [])  # warm
        began = time.process_time()
        await requests(store, 0, count, entries)
        await store.close()
        return (time.process_time() - began) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]

    figures: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for name, (make, _bar) in SUBJECTS.items():
            for with_entries in (False, True):
                taken = asyncio.run(cost_us(make, options.requests, with_entries))
                figures.setdefault((name, with_entries), []).append(taken)

    table = Table("store", "hold + settle, us", "with a ledger entry, us", "bar, us")
    rows = []
    for name, (_make, bar) in SUBJECTS.items():
        alone, with_entry = figures[name, False], figures[name, True]
        table.add_row(name, f"{median(alone):.1f}", f"{median(with_entry):.1f}", "" if bar is None else f"{bar:.0f}")
        rows.append(
            {
                "store": name,
                "bar_us": bar,
                "hold_settle_us": round(median(alone), 2),
                "with_entry_us": round(median(with_entry), 2),
                "rounds_us": [round(value, 2) for value in alone],
                "rounds_with_entry_us": [round(value, 2) for value in with_entry],
            }
        )
    Console().print(table)
    facts = machine(load_before) | {"sqlite": sqlite3.sqlite_version}
    document = {"requests": options.requests, "at_once": _AT_ONCE, "machine": facts, "stores": rows}
    options.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
