"""A process that spends from budgets in Redis as fast as it may: tests start several of them at once.

Arguments: url, namespace, seed. Prints what it spent, and ends when nothing fits any more.
"""

import asyncio
import random
import sys

from policies.stores.base import Granted, Line, Settlement, Unavailable
from policies.stores.redis import RedisStore
from tests.policies.stores.kinds import budget

MOST_NUSD = 4_000_000  # of one call
METERS = (
    budget(700_000_000, name="key"),
    budget(500_000_000, name="team"),
    budget(900_000_000, name="company"),
)
_TASKS = 40


async def _spend(store: RedisStore, name: str, chance: random.Random) -> int:
    spent = number = 0
    while True:
        number += 1
        hold_id = f"{name}.{number}"
        verdict = await store.hold(hold_id, [Line(meter, MOST_NUSD) for meter in METERS], 60, is_dispatched=True)
        if isinstance(verdict, Granted):
            await asyncio.sleep(chance.uniform(0.005, 0.02))
            used = chance.randint(500_000, MOST_NUSD)
            store.settle(Settlement(hold_id, [used] * len(METERS)))
            spent += used
        else:
            assert not isinstance(verdict, Unavailable), verdict
            if not verdict.held:
                return spent
            await asyncio.sleep(chance.uniform(0.01, 0.03))


async def _main(url: str, namespace: str, seed: str) -> None:
    store = RedisStore(url, namespace=namespace, timeout_s=20.0)
    chance = random.Random(seed)
    spent = await asyncio.gather(*(_spend(store, f"{seed}.{task}", chance) for task in range(_TASKS)))
    await store.told()
    await store.close()
    print(sum(spent))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
