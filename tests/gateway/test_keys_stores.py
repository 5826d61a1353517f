"""Where keys are kept: one suite over every store, and what is of one of them alone."""

import asyncio
import sqlite3
import stat
from dataclasses import dataclass, field

import pytest

from config.load import Loaded
from config.schema import Config
from config.settings import Settings
from gateway.assemble import Assembler
from gateway.keys.directory import ChangedMeanwhileError, KeyDirectory
from gateway.keys.record import change, make, rotate
from gateway.keys.redis_store import RedisStore
from gateway.keys.sqlite_store import SqliteStore
from gateway.keys.stores import KeyStore, KeyStoreError, MemoryStore
from tests.fakes.redis import RedisServer

NOW_S = 1_800_000_000.0


def record(name="one", **settings):
    return make({"name": name} | settings, NOW_S).record


@dataclass
class Place:
    """Stores at one place; `open` gives another process's view of it."""

    kind: str
    where: object
    opened: list[KeyStore] = field(default_factory=list)

    def open(self) -> KeyStore:
        if self.kind == "memory":
            store = MemoryStore()
        else:
            store = SqliteStore(self.where) if self.kind == "sqlite" else RedisStore(self.where)
        self.opened.append(store)
        return store

    async def close(self):
        for store in self.opened:
            await store.close()


@pytest.fixture(scope="module")
def server():
    with RedisServer() as running:
        yield running


def place_of(kind, request, tmp_path):
    if kind == "redis":
        server = request.getfixturevalue("server")
        server.ask("FLUSHALL")
        return Place("redis", server.url)
    return Place(kind, tmp_path / "state" / "keys.db")


@pytest.fixture(params=["memory", "sqlite", "redis"])
def place(request, tmp_path):
    return place_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def shared(request, tmp_path):
    """What several processes share."""
    return place_of(request.param, request, tmp_path)


def run(place, work):
    async def main():
        try:
            return await work()
        finally:
            await place.close()

    return asyncio.run(main())


def test_what_was_put_is_loaded(place):
    async def work():
        store = place.open()
        assert (await store.load()).records == {}
        one, two = record("one"), record("two", models=["m"])
        assert await store.put(two, None)
        assert await store.put(one, None)
        loaded = await store.load()
        assert loaded.records == {"one": one, "two": two}
        assert loaded.problems == ()

    run(place, work)


def test_nobody_overwrites_what_changed_meanwhile(place):
    async def work():
        store = place.open()
        first = record()
        assert await store.put(first, None)
        assert not await store.put(record(), None)
        second = change(first, {"disabled": True})
        assert await store.put(second, first)
        assert not await store.put(change(first, {"models": ["m"]}), first)
        assert not await store.remove(first)
        assert (await store.load()).records == {"one": second}
        assert await store.remove(second)
        assert not await store.put(second, first)
        assert (await store.load()).records == {}

    run(place, work)


def test_others_see_a_change_and_nothing_where_there_is_none(shared):
    async def work():
        here, there = shared.open(), shared.open()
        assert (await there.load()).records == {}
        assert await there.load() is None
        one = record()
        await here.put(one, None)
        assert (await there.load()).records == {"one": one}
        assert await there.load() is None
        await there.put(rotate(one, 60, NOW_S).record, one)
        assert (await here.load()).records == (await there.load()).records != {"one": one}
        assert (await shared.open().load()).records.keys() == {"one"}

    run(shared, work)


def test_of_two_who_change_the_same_one_wins(shared):
    async def work():
        here, there = shared.open(), shared.open()
        one = record()
        await here.put(one, None)
        done = await asyncio.gather(
            *(store.put(change(one, {"tags": [f"t{n}"]}), one) for n, store in enumerate((here, there) * 4))
        )
        assert sum(done) == 1

    run(shared, work)


def test_a_directory_notices_a_change_of_another_process(shared):
    async def work():
        told = asyncio.Event()
        here = KeyDirectory(shared.open())
        await here.refresh()
        here.tell = told.set
        following = asyncio.create_task(here.follow())
        await KeyDirectory(shared.open()).put(record(), None)
        async with asyncio.timeout(5):
            await told.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert list(here.records) == ["one"]

    run(shared, work)


def test_a_record_that_cannot_be_read_spoils_no_other(tmp_path):
    async def work():
        store = place.open()
        await store.put(record("good"), None)
        await store.put(record("bad"), None)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE keys SET record = ? WHERE name = 'bad'", (b'{"settings": {"new": 1}}',))
        loaded = await store.load()
        assert list(loaded.records) == ["good"]
        assert "bad" in loaded.problems[0]

    path = tmp_path / "keys.db"
    place = Place("sqlite", path)
    run(place, work)


def test_what_did_not_change_is_the_same_object(shared):
    async def work():
        here, there = shared.open(), shared.open()
        for name in ("one", "two"):
            await here.put(record(name), None)
        before = (await there.load()).records
        await here.remove(before["two"])
        after = (await there.load()).records
        assert list(after) == ["one"]
        assert after["one"] is before["one"]

    run(shared, work)


def test_another_configuration_is_prepared_beside_the_one_in_use():
    async def work():
        directory = KeyDirectory()
        await directory.put(record("one", team="shop"), None)
        without, within = runtime_of({}), runtime_of({"teams": {"shop": {"models": ["m"]}}})
        digest = directory.records["one"].settings.sha256
        directory.prepare(within.ring)
        assert directory.on(without).keys.refused[digest].why == "unusable"
        assert directory.status.problems
        assert directory.on(within).keys[digest].models == {"m"}
        assert not directory.status.problems

    asyncio.run(work())


def runtime_of(sections):
    config = {"providers": {"sim": {"kind": "mock"}}} | sections
    return Assembler(Settings.load({})).build(Config.model_validate(config), Loaded(None), "1")


def test_the_file_is_for_its_owner_and_made_for_the_first_key_only(tmp_path):
    async def work():
        store = place.open()
        await store.load()
        assert not path.exists()
        await store.put(record(), None)

    path = tmp_path / "state" / "keys.db"
    place = Place("sqlite", path)
    run(place, work)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    async def work():
        with pytest.raises(KeyStoreError, match=r"keys\.db"):
            await place.open().load()

    path = tmp_path / "keys.db"
    path.write_bytes(b"this is no database" * 100)
    place = Place("sqlite", path)
    run(place, work)


def test_a_redis_that_lost_its_memory_gets_the_keys_back():
    async def work():
        store = place.open()
        await store.load()
        one, two = record("one"), record("two")
        await store.put(one, None)
        await store.put(two, None)
        await store.remove(two)
        await store.load()
        server.ask("FLUSHALL")
        assert (await store.load()).records == {"one": one}
        assert (await place.open().load()).records == {"one": one}

    with RedisServer() as server:
        place = Place("redis", server.url)
        run(place, work)


def test_a_poll_that_is_cancelled_at_any_moment_ends(shared):
    """At every step of the event loop: one that lost its cancellation would hold up the end of the process."""

    async def work():
        store = shared.open()
        await store.put(record(), None)
        for steps in range(200):
            polling = asyncio.create_task(store.load())
            for _ in range(steps):
                await asyncio.sleep(0)
            if polling.done():
                break
            polling.cancel()
            await asyncio.wait([polling])
            assert polling.cancelled(), f"cancelled after {steps} steps"
        assert steps > 1

    run(shared, work)


def test_while_redis_is_gone_what_is_known_stays_and_is_called_stale():
    async def work():
        clock = [100.0]
        directory = KeyDirectory(place.open(), None, lambda: clock[0])
        assert directory.has_keys  # it was never read: there may be some
        await directory.refresh()
        assert not directory.has_keys
        one = record()
        await directory.put(one, None)
        told = []
        directory.tell = lambda: told.append(directory.status.error)
        server.kill()
        await directory.refresh()
        await directory.refresh()
        clock[0] += 30
        assert directory.records == {"one": one}
        assert directory.status.stale_s == 30
        assert "Redis" in directory.status.error
        assert directory.describe()["state"] == "stale"
        assert len(told) == 1
        with pytest.raises(KeyStoreError):
            await directory.put(record("two"), None)
        server.revive()
        await directory.refresh()
        assert directory.status.stale_s is None
        assert told == [told[0], None]
        with pytest.raises(ChangedMeanwhileError):
            await directory.put(record("one"), None)

    with RedisServer() as server:
        place = Place("redis", server.url)
        run(place, work)
