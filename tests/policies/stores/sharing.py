"""A worker that spends from a shared budget until nothing is left.

`python -m tests.policies.stores.sharing FOLDER NAME`. It says that it is ready, begins when it gets a line, and prints
a line for every call that it has settled: its id and what it cost.
"""

import asyncio
import sys
from pathlib import Path
from random import Random

from policies.stores.base import Denied, Granted, Line, Settlement
from policies.stores.sqlite_shared import SharedSqliteStore
from policies.windows import Calendar
from tests.policies.stores.crashes import entry
from tests.policies.stores.kinds import budget, per_minute

LIMIT = 750_000_000  # nano-dollars
BOUND = 2_000_000
LEASE_S = 2.0
TEAM = budget(LIMIT, Calendar.TOTAL)
COMPANY = budget(2 * LIMIT, Calendar.TOTAL, name="company")
REQUESTS = per_minute(1_000_000)
TASKS = 10


async def task(store, name, random):
    number = 0
    while True:
        number += 1
        hold_id = f"{name}-{number}"
        lines = [Line(TEAM, BOUND), Line(COMPANY, BOUND), Line(REQUESTS, 1)]
        verdict = await store.hold(hold_id, lines, LEASE_S, is_dispatched=True)
        if isinstance(verdict, Granted):
            await asyncio.sleep(random.uniform(0.005, 0.03))
            cost = random.randint(BOUND // 4, BOUND)
            store.settle(Settlement(hold_id, [cost, cost, 1], [entry(hold_id, cost, at_s=number)]))
            print(hold_id, cost, flush=True)
        elif isinstance(verdict, Denied) and not verdict.held:
            return
        else:
            await asyncio.sleep(0.02)  # what the others hold may come back


async def main():
    folder, name = Path(sys.argv[1]), sys.argv[2]
    store = SharedSqliteStore(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(task(store, f"{name}-{number}", Random(f"{name}{number}")) for number in range(TASKS)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
