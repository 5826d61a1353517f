"""Keys in a SQLite file of the state folder, shared by all processes of one machine."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.keys.record import KeyRecord
from gateway.keys.stores import KeyStoreError, Loaded, Reader, Where

_BUSY_S = 2.0
_NO_FILE = -1
_SCHEMA = "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
T = TypeVar("T")


class SqliteStore:
    """One connection, used by one thread. It is opened at the first use, and again after an error."""

    where: Where = "sqlite"
    poll_s = 0.25

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "keys")
        self._connection: sqlite3.Connection | None = None
        self._reader = Reader()
        self._seen: int | None = None  # data_version of what was loaded last

    async def load(self) -> Loaded | None:
        return await self._run(self._load)

    async def put(self, record: KeyRecord, before: KeyRecord | None) -> bool:
        if before is None:
            return await self._change(
                "INSERT INTO keys (name, record) VALUES (?, ?) ON CONFLICT DO NOTHING", (record.name, record.to_json())
            )
        return await self._change(
            "UPDATE keys SET record = ? WHERE name = ? AND record = ?",
            (record.to_json(), before.name, before.to_json()),
        )

    async def remove(self, record: KeyRecord) -> bool:
        return await self._change("DELETE FROM keys WHERE name = ? AND record = ?", (record.name, record.to_json()))

    async def close(self) -> None:
        def end() -> None:
            if self._connection is not None:
                self._connection.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, end)
        self._thread.shutdown(wait=False)

    async def _change(self, statement: str, values: tuple[object, ...]) -> bool:
        def change() -> bool:
            self._seen = None
            return self._opened().execute(statement, values).rowcount == 1

        return await self._run(change)

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = self._seen = None
                raise KeyStoreError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _load(self) -> Loaded | None:
        if self._connection is None and not self._path.exists():
            was_seen, self._seen = self._seen == _NO_FILE, _NO_FILE  # it is made for the first key
            return None if was_seen else Loaded()
        connection = self._opened()
        # It changes with every commit of another connection; own changes forget what was seen.
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen:
            return None
        stored = dict(connection.execute("SELECT name, record FROM keys ORDER BY name"))
        self._seen = version
        return self._reader.read(stored)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # for its owner only
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a secret is shown once: its key must survive a power cut
            connection.execute(_SCHEMA)
            self._connection = connection
        return self._connection
