"""Which store keeps the spending of this process, by its settings."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from config.settings import Settings
from gateway.money.desk import Desk
from gateway.money.soft import SoftLimits
from gateway.money.till import Till
from policies.ledger import Entry
from policies.stores.base import Settlement, Store
from policies.stores.entries import Ledger, MemoryLedger
from policies.stores.memory import MemoryStore

_KEEP_DAYS = 400.0  # a year and a month of entries


@dataclass(slots=True)
class Books:
    """The store of holds, the ledger to read, and what to call with entries where the store writes none itself."""

    store: Store
    ledger: Ledger
    add: Callable[[Sequence[Entry]], None] | None = None
    keeps_all: bool = True  # every call is written down, also those that no budget pays for
    also_close: Store | None = None

    def write(self, entries: Sequence[Entry]) -> None:
        """Lines of the ledger that nothing was held for, at least one."""
        if self.add is not None:
            self.add(entries)
        else:
            self.store.settle(Settlement(entries[0].id, (), entries))

    async def close(self) -> None:
        """Hand over what is still under way."""
        await self.store.close()
        if self.also_close is not None:
            await self.also_close.close()


async def open_books(settings: Settings, shared: Path | None) -> Books:
    """Redis where it is configured, else SQLite in the state folder, else memory. Raises StoreError, ValueError.

    Several processes of one machine share SQLite, workers as well as one that takes over from another: without a state
    folder in `shared`, which ends with them.
    """
    folder = settings.state_dir
    is_shared = settings.workers > 1 or settings.reuse_port
    if folder is None and is_shared and shared is not None:
        folder = shared / "state"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.redis_url is not None:
        return await _open_redis(settings, settings.redis_url.get_secret_value(), folder)
    if folder is None:
        ledger = MemoryLedger()
        return Books(MemoryStore(time.time), ledger, ledger.add, keeps_all=False)
    if is_shared:
        from policies.stores.sqlite_shared import SharedSqliteStore  # noqa: PLC0415 - each imports what it needs

        store = await asyncio.to_thread(SharedSqliteStore, folder, keep_days=_KEEP_DAYS)
        return Books(store, Ledger(folder), keeps_all=settings.state_dir is not None)
    from policies.stores.sqlite import SqliteStore  # noqa: PLC0415

    return Books(await asyncio.to_thread(SqliteStore, folder, keep_days=_KEEP_DAYS), Ledger(folder))


async def _open_redis(settings: Settings, url: str, folder: Path | None) -> Books:
    """Redis for the holds; what each call cost is kept beside every gateway, in its own state folder."""
    from policies.stores.degraded import FallbackStore  # noqa: PLC0415
    from policies.stores.redis import RedisStore  # noqa: PLC0415
    from policies.stores.redis_journal import RedisJournal  # noqa: PLC0415
    from policies.stores.shares import Shares  # noqa: PLC0415
    from policies.stores.sqlite_shared import SharedSqliteStore  # noqa: PLC0415

    if folder is None:
        ledger = MemoryLedger()
        remote = RedisStore(url, namespace=settings.redis_namespace, ledger=ledger.add)
        store = FallbackStore(remote, time.time, lambda: settings.workers * settings.replicas)
        await store.start()
        return Books(store, ledger, keeps_all=False)
    local = await asyncio.to_thread(SharedSqliteStore, folder, keep_days=_KEEP_DAYS)

    def write(entries: Sequence[Entry]) -> None:
        if entries:
            local.settle(Settlement(f"{entries[0].id}#", (), entries))

    remote = RedisStore(url, RedisJournal(folder), namespace=settings.redis_namespace, ledger=write)
    store = FallbackStore(remote, time.time, lambda: settings.workers * settings.replicas, Shares(folder))
    await store.start()
    return Books(store, Ledger(folder), also_close=local)


def open_desk(books: Books, loop: asyncio.AbstractEventLoop, soft: SoftLimits) -> Desk:
    """The desk of this process over its books."""
    till = Till(books.store, loop, time.time, _hold_ids())
    return Desk(till, soft, time.time, keeps_ledger=books.keeps_all, add=books.add)


def _hold_ids() -> Callable[[], str]:
    """Ids that no other process gives, and no client can choose."""
    prefix = secrets.token_hex(8)
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers):x}"
