"""Where keys that were made at run time are kept: one protocol, and the choice between its implementations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from config.settings import Settings
from gateway.keys.record import KeyRecord

FILE = "keys.db"
Where = Literal["memory", "sqlite", "redis"]


class KeyStoreError(RuntimeError):
    """The store cannot be asked; the message is for the operator."""


@dataclass(slots=True, frozen=True)
class Loaded:
    """Every record, by name, and what is wrong with those that cannot be read."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class KeyStore(Protocol):
    """Every method raises KeyStoreError where the store cannot be asked."""

    where: Where
    poll_s: float  # how often to look for what others changed; 0: nobody else can

    async def load(self) -> Loaded | None:
        """Everything; None where nothing has changed since it was loaded last."""
        ...

    async def put(self, record: KeyRecord, before: KeyRecord | None) -> bool:
        """Write `record` in the place of `before` (None: there is none). False where another is there by now."""
        ...

    async def remove(self, record: KeyRecord) -> bool:
        """Take it away. False where another is there by now."""
        ...

    async def close(self) -> None: ...


class MemoryStore:
    """Keys that end with the process."""

    where: Where = "memory"
    poll_s = 0.0

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}

    async def load(self) -> Loaded | None:
        return Loaded(dict(self._records))

    async def put(self, record: KeyRecord, before: KeyRecord | None) -> bool:
        if self._records.get(record.name) != before:
            return False
        self._records[record.name] = record
        return True

    async def remove(self, record: KeyRecord) -> bool:
        if self._records.get(record.name) != record:
            return False
        del self._records[record.name]
        return True

    async def close(self) -> None: ...


def open_store(settings: Settings) -> KeyStore:
    """The store that these settings mean: Redis, else a file in the state folder, else memory. Nothing is read yet."""
    if settings.redis_url is not None:
        from gateway.keys.redis_store import RedisStore  # noqa: PLC0415 - only where it is configured

        return RedisStore(settings.redis_url.get_secret_value(), namespace=settings.redis_namespace)
    if settings.state_dir is not None:
        from gateway.keys.sqlite_store import SqliteStore  # noqa: PLC0415

        return SqliteStore(settings.state_dir / FILE)
    return MemoryStore()


async def may_have_keys(settings: Settings) -> bool:
    """Whether keys were made at run time; True as well where the store cannot be asked."""
    store = open_store(settings)
    try:
        loaded = await store.load()
        return loaded is not None and bool(loaded.records)
    except KeyStoreError:
        return True
    finally:
        await store.close()


class Reader:
    """Makes records of their stored form. A record that did not change is the same object as before."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[bytes, KeyRecord]] = {}

    def read(self, stored: Mapping[str, bytes]) -> Loaded:
        """All records, by name."""
        before, self._read = self._read, {}
        problems = []
        for name, data in stored.items():
            known = before.get(name)
            try:
                self._read[name] = (
                    known if known is not None and known[0] == data else (data, KeyRecord.from_json(data))
                )
            except ValueError as error:
                problems.append(f"'{name}': {error}")
        return Loaded({name: record for name, (_, record) in self._read.items()}, tuple(problems))
