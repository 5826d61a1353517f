"""How far a budget is overspent by concurrent calls, by how it is checked.

    python -m benchmarks.money.overspend                  # table, and benchmarks/results/money_overspend.json
    python -m benchmarks.money.overspend --output FILE.json

4 processes with 40 tasks each spend from one budget of 1 USD. A call costs 0.0005 to 0.004 USD, which is known when it
is over, 5 to 50 ms later; before, only the bound of 0.005 USD is. Every task calls until it is refused for good.

- `check, then add`: a call is admitted while the counter is below the limit, and adds its cost at its end.
- `increment and shrink`: the bound is added and compared at once; the last calls are admitted with a reservation shrunk
  to what is left (one counter of LiteLLM's default). How far it goes over depends on how many calls come at the end.
- `hold and settle`: ours, with the store that processes share through SQLite.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from policies.stores.base import Denied, Granted, Line, Meter, Settlement, Unit
from policies.stores.sqlite_shared import SharedSqliteStore
from policies.windows import Calendar, CalendarWindow

_RESULTS = Path(__file__).resolve().parents[1] / "results" / "money_overspend.json"
_PROCESSES, _TASKS = 4, 40
_LIMIT, _BOUND, _LEAST, _MOST = 1_000_000_000, 5_000_000, 500_000, 4_000_000  # nano-dollars

Call = Callable[[], Awaitable[int]]  # to the upstream: what it cost
Ask = Callable[[str, Call], Awaitable[bool | None]]  # False: refused for good, None: not now


async def check_then_add(counter: "Synchronized[int]", call: Call) -> bool:
    if counter.value >= _LIMIT:
        return False
    cost = await call()
    with counter.get_lock():
        counter.value += cost
    return True


async def increment_and_shrink(counter: "Synchronized[int]", call: Call) -> bool:
    with counter.get_lock():
        reserved = min(_BOUND, _LIMIT - counter.value)
        if reserved <= 0:
            return False
        counter.value += reserved
    cost = await call()
    with counter.get_lock():
        counter.value += cost - reserved
    return True


async def hold_and_settle(store: SharedSqliteStore, meter: Meter, hold_id: str, call: Call) -> bool | None:
    verdict = await store.hold(hold_id, [Line(meter, _BOUND)], 120.0, is_dispatched=True)
    if isinstance(verdict, Denied) and not verdict.held:
        return False
    if not isinstance(verdict, Granted):
        return None
    store.settle(Settlement(hold_id, [await call()]))
    return True


async def spend(name: str, ask: Ask, bill: "Synchronized[int]") -> None:
    """One task: calls until it is refused. `bill` is the upstream's own."""
    random = Random(name)

    async def call() -> int:
        cost = random.randint(_LEAST, _MOST)
        await asyncio.sleep(random.uniform(0.005, 0.05))
        with bill.get_lock():
            bill.value += cost
        return cost

    number = 0
    while (admitted := await ask(f"{name}-{number}", call)) is not False:
        number += 1
        if admitted is None:
            await asyncio.sleep(0.01)


async def work(kind: str, process: int, folder: Path, counter: "Synchronized[int]", bill: "Synchronized[int]") -> None:
    store = None
    ask: Ask
    if kind == "hold and settle":
        store = shared = SharedSqliteStore(folder)
        meter = Meter("budget", Unit.NUSD, _LIMIT, CalendarWindow(Calendar.TOTAL, UTC))

        async def ask(hold_id: str, call: Call) -> bool | None:
            return await hold_and_settle(shared, meter, hold_id, call)

    else:
        check = check_then_add if kind == "check, then add" else increment_and_shrink

        async def ask(_: str, call: Call) -> bool | None:
            return await check(counter, call)

    await asyncio.gather(*(spend(f"{process}-{task}", ask, bill) for task in range(_TASKS)))
    if store is not None:
        await store.close()


def run_work(*args: Any) -> None:
    asyncio.run(work(*args))


def measure(kind: str) -> int:
    """The upstream's bill in nano-dollars."""
    context = multiprocessing.get_context("spawn")
    counter, bill = context.Value("q", 0), context.Value("q", 0)
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            context.Process(target=run_work, args=(kind, process, Path(folder), counter, bill))
            for process in range(_PROCESSES)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert all(worker.exitcode == 0 for worker in workers)
    return int(bill.value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    table = Table("check", "spent of 1 USD", "over the limit, %")
    rows = []
    for kind in ("check, then add", "increment and shrink", "hold and settle"):
        spent = measure(kind)
        over = max(0, spent - _LIMIT) / _LIMIT * 100
        table.add_row(kind, f"{spent / 1e9:.6f}", f"{over:.2f}")
        rows.append({"check": kind, "spent_nusd": spent, "limit_nusd": _LIMIT, "over_percent": round(over, 3)})
    Console().print(table)
    options.output.write_text(json.dumps({"processes": _PROCESSES, "tasks": _TASKS, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
