"""The keys made at run time, as this process knows them: read at start, followed while it serves, changed by operators.

A store that is down changes nothing about keys that are known: they stay valid until it can be read again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.keys.record import KeyRecord
from gateway.keys.ring import KeyRing
from gateway.keys.stores import KeyStore, KeyStoreError, Loaded, MemoryStore, Where
from gateway.keys.table import Known, Parts, build_keys
from gateway.runtime import Runtime
from gateway.telemetry.logs import Logger


class ChangedMeanwhileError(Exception):
    """Somebody else has changed, made or removed the key in the meantime."""


@dataclass(slots=True, frozen=True)
class KeyStatus:
    """The state of the store. `stale_s` is for how long it could not be read, `error` why; None where all is well.
    `problems` are keys that cannot be used, and why.
    """

    where: Where
    count: int
    stale_s: float | None
    error: str | None
    problems: tuple[str, ...]


class KeyDirectory:
    """One per process. `clock` is monotonic seconds; `may_be_open` says whether a gateway that has no key at all
    answers everybody. `tell` is called after every change, of this process or of another.
    """

    def __init__(
        self,
        store: KeyStore | None = None,
        logger: Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        may_be_open: bool = True,
    ) -> None:
        self.store = store if store is not None else MemoryStore()
        self.tell: Callable[[], None] = lambda: None
        self._logger = logger
        self._clock = clock
        self._may_be_open = may_be_open
        self._loaded = Loaded()
        self._parts = Parts(KeyRing())
        self._is_read = store is None  # a memory of our own is empty
        self._failed_at: float | None = None
        self._error: str | None = None
        self._unusable: tuple[str, ...] = ()

    @property
    def records(self) -> Mapping[str, KeyRecord]:
        """By name."""
        return self._loaded.records

    @property
    def has_keys(self) -> bool:
        """Whether there are keys, or may be: a store that was never read may have some."""
        return bool(self.records) or not self._is_read

    @property
    def status(self) -> KeyStatus:
        stale_s = None if self._failed_at is None else self._clock() - self._failed_at
        problems = (*self._loaded.problems, *self._unusable)
        return KeyStatus(self.store.where, len(self.records), stale_s, self._error, problems)

    def prepare(self, ring: KeyRing) -> Parts:
        """Work out what keys may under another configuration, before it is used; from any thread."""
        parts = Parts(ring)
        build_keys(ring, Known(self.records), parts)
        self._parts = parts
        return parts

    def on(self, runtime: Runtime) -> Runtime:
        """The Runtime with the keys of its configuration and the ones that are known here."""
        ring = runtime.ring
        known = Known(self.records, is_sure=self._failed_at is None and self._is_read, may_be_open=self._may_be_open)
        parts = self._parts  # once: a reload may prepare others at this moment
        keys = build_keys(ring, known, parts if parts.ring is ring else self.prepare(ring))
        problems = [
            f"'{settings.name}': the configuration has a key of this name, which is used instead"
            for settings in ring.keys
            if settings.name in self.records
        ]
        unusable = {one.name: one.detail for one in keys.refused.values() if one.why == "unusable"}
        problems += [f"'{name}': {detail}" for name, detail in unusable.items()]
        if problems and tuple(problems) != self._unusable and self._logger is not None:
            self._logger.warning("keys not in use", problems=problems)
        self._unusable = tuple(problems)
        has_priority = any(caller.is_priority for caller in keys.values())
        has_others = len({caller.name for caller in keys.values()}) > 1
        overload = runtime.overload.for_keys(has_priority=has_priority, has_others=has_others)
        return replace(runtime, keys=keys, overload=overload)

    async def refresh(self) -> None:
        """Read what has changed in the store. Nothing is raised: what is known stays."""
        had_failed, was_read = self._failed_at is not None, self._is_read
        try:
            loaded = await self.store.load()
        except KeyStoreError as error:
            self._error = str(error)
            if self._failed_at is None:
                self._failed_at = self._clock()
                if self._logger is not None:
                    self._logger.warning("key store down", store=self.store.where, problem=self._error)
                self.tell()
            return
        self._failed_at = self._error = None
        self._is_read = True
        if had_failed and self._logger is not None:
            self._logger.info("key store back", store=self.store.where)
        if loaded is not None:
            self._loaded = loaded
        if had_failed or not was_read or loaded is not None:
            self.tell()

    async def follow(self) -> None:
        """Look for changes of other processes. Runs until cancelled; ends at once where there can be none."""
        while self.store.poll_s:
            await asyncio.sleep(self.store.poll_s)
            await self.refresh()

    async def put(self, record: KeyRecord, before: KeyRecord | None) -> None:
        """Make a key, or change `before`. Raises ChangedMeanwhileError; KeyStoreError, and then nobody knows whether it
        was done.
        """
        await self._done(await self.store.put(record, before))

    async def remove(self, record: KeyRecord) -> None:
        """Take a key away. Raises as `put`."""
        await self._done(await self.store.remove(record))

    async def _done(self, is_done: bool) -> None:
        await self.refresh()
        if not is_done:
            raise ChangedMeanwhileError

    @property
    def is_worth_telling(self) -> bool:
        """Whether /readyz has something to say of it: there are keys, or the store is down."""
        return bool(self.records) or self._failed_at is not None

    def describe(self) -> dict[str, Any]:
        """The state for /readyz, which is open to everybody: names and addresses are in the log only."""
        status = self.status
        shown: dict[str, Any] = {"store": status.where, "state": "current", "made": status.count}
        if status.stale_s is not None:
            shown |= {"state": "stale", "stale_s": round(status.stale_s, 1)}
        if status.problems:
            shown["unusable"] = len(status.problems)
        return shown
