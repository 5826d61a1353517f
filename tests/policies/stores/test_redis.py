"""What is of Redis alone: round trips, scripts that it forgot, its clock, its restarts, and a cluster."""

import asyncio
import time
import uuid
from datetime import UTC

import pytest

from policies.stores.base import Denied, Granted, Line, Meter, Settlement, StoreError, Unavailable, Unit
from policies.stores.redis import RedisStore
from policies.stores.redis_link import LinkState
from policies.windows import Calendar, CalendarWindow, RollingWindow
from tests.fakes.gateway import free_port
from tests.fakes.loops import both_loops
from tests.fakes.redis import RedisServer
from tests.policies.stores.kinds import Clock, at_once, budget, per_minute


def _store(url, **options):
    return RedisStore(url, **{"namespace": uuid.uuid4().hex, "timeout_s": 20.0, **options})


def _lines(*meters, amount=100):
    return [Line(meter, amount) for meter in meters]


@both_loops
async def test_a_hold_is_one_round_trip_and_so_is_its_settlement(redis_server):
    store = _store(redis_server.url)
    lines = [*_lines(budget(1000), budget(2000, name="company"), per_minute(500)), Line(at_once(1), 1)]
    await store.hold("first", lines, 60)
    store.settle(Settlement("first", (100, 100, 100, 1)))
    await store.told()
    redis_server.ask("CONFIG", "RESETSTAT")
    before = store.link.round_trips
    await store.hold("second", lines, 60, is_dispatched=True)
    assert (redis_server.calls("evalsha"), store.link.round_trips - before) == (1, 1)
    store.settle(Settlement("second", (1, 1, 1, 1)))
    await store.told()
    assert (redis_server.calls("evalsha"), store.link.round_trips - before) == (2, 2)
    assert redis_server.calls("eval") == 0
    await store.close()


@both_loops
async def test_settlements_that_come_together_share_a_round_trip(redis_server):
    store = _store(redis_server.url)
    day = budget(100_000)
    for number in range(100):
        await store.hold(str(number), _lines(day), 60)
    before = store.link.round_trips
    for number in range(100):
        store.settle(Settlement(str(number), (7,)))
    await store.told()
    assert store.link.round_trips - before <= 4
    assert (await store.balances([day]))[0].spent == 700
    await store.close()


@both_loops
async def test_scripts_that_redis_forgot_are_sent_again(redis_server):
    store = _store(redis_server.url)
    day = budget(1000)
    assert isinstance(await store.hold("a", _lines(day), 60), Granted)
    redis_server.ask("SCRIPT", "FLUSH")
    assert await store.hold("b", _lines(day), 60) == Granted((800,))
    redis_server.ask("SCRIPT", "FLUSH")
    store.settle(Settlement("a", (30,)))
    await store.told()
    assert (await store.balances([day]))[0].spent == 30
    await store.close()


@pytest.mark.parametrize("wrong_by_s", [-90_000, -86_400, 86_400, 40 * 86_400])
def test_a_wrong_clock_here_costs_one_round_trip_and_nothing_else(redis_server, wrong_by_s):
    async def story():
        store = _store(redis_server.url, wall=lambda: time.time() + wrong_by_s)
        day = budget(1000)
        assert isinstance(await store.hold("a", _lines(day), 60), Granted)
        balance = (await store.balances([day]))[0]
        assert balance.start_s <= time.time() + 1 and time.time() - 1 <= balance.end_s
        before = store.link.round_trips
        assert await store.hold("b", _lines(day), 60) == Granted((800,))
        assert store.link.round_trips == before + 1, "what time it is there is known now"
        await store.close()

    asyncio.run(story())


@both_loops
async def test_leases_end_by_the_clock_of_redis(redis_server):
    namespace = uuid.uuid4().hex
    store, other = (_store(redis_server.url, namespace=namespace) for _ in range(2))
    day = budget(1000)
    await store.hold("sent", _lines(day, amount=600), 0.05, is_dispatched=True)
    await store.hold("unsent", _lines(day, amount=300), 0.05)
    for _ in range(500):
        if not await other.open_holds():
            break
        await asyncio.sleep(0.02)
    assert (await other.balances([day]))[0].spent == 600
    found = {hold.id: hold.is_dispatched for hold in store.reports.expired + other.reports.expired}
    assert found == {"sent": True, "unsent": False}
    await store.close()
    await other.close()


@both_loops
async def test_amounts_stay_exact_up_to_nine_million_dollars(redis_server):
    store = _store(redis_server.url)
    total = budget(2**53 + 10, Calendar.TOTAL)
    odd = 2**52 + 1
    assert await store.hold("a", _lines(total, amount=odd), 60) == Granted((2**53 - 1 - odd,))
    store.settle(Settlement("a", (odd,)))
    await store.told()
    assert isinstance(await store.hold("b", _lines(total, amount=2**60), 60), Denied)
    assert await store.hold("c", _lines(total, amount=1), 60) == Granted((2**53 - 2 - odd,))
    assert (await store.balances([total]))[0].spent == odd
    await store.close()


@both_loops
async def test_what_is_held_is_charged_even_if_redis_comes_back_empty(redis_server):
    with RedisServer() as server:
        store = _store(server.url, timeout_s=5.0)
        day, minute = budget(10_000), per_minute(500)
        await store.hold("before", _lines(day), 60)
        store.settle(Settlement("before", (60,)))
        await store.told()
        await store.hold("across", _lines(day, minute), 60, is_dispatched=True)
        server.kill()
        server.revive(with_data=False)
        store.settle(Settlement("across", (40, 40)))
        store.settle(Settlement("across", (40, 40)))
        await store.told()
        assert [balance.spent for balance in await store.balances([day, minute])] == [40, 40], "but not what was before"
        assert await store.hold("after", _lines(day), 60) == Granted((9_860,))
        await store.close()


@both_loops
async def test_a_restart_with_its_data_changes_nothing(redis_server):
    with RedisServer() as server:
        store = _store(server.url, timeout_s=5.0)
        day = budget(10_000)
        await store.hold("a", _lines(day), 60, is_dispatched=True)
        server.kill()
        server.revive()
        assert await store.hold("b", _lines(day), 60) == Granted((9_800,))
        store.settle(Settlement("a", (60,)))
        await store.told()
        balance = (await store.balances([day]))[0]
        assert (balance.spent, balance.held) == (60, 100)
        await store.close()


@both_loops
async def test_a_hold_that_was_given_up_is_not_taken_any_more(redis_server):
    store = _store(redis_server.url)
    day = budget(1000)
    waiting = asyncio.ensure_future(store.hold("a", _lines(day), 60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await store.told()
    assert isinstance(await store.hold("a", _lines(day), 60), Unavailable)
    assert (await store.balances([day]))[0].held == 0
    await store.close()


@both_loops
async def test_what_was_used_elsewhere_is_charged_once_per_id_and_in_its_window(redis_server):
    clock = Clock()
    store = _store(redis_server.url, now=clock)
    day, minute = budget(1000), per_minute(500)
    for at_s in (clock.now_s, clock.now_s, clock.now_s - 86_400):
        store.charge("elsewhere", [Line(day, 30), Line(minute, 7)], at_s)
    store.charge("yesterday", [Line(day, 30), Line(minute, 7)], clock.now_s - 50_000)
    store.charge("half a minute ago", [Line(minute, 7)], clock.now_s - 30)
    assert store.unreported == 3
    await store.told()
    assert [balance.spent for balance in await store.balances([day, minute])] == [30, 14]
    clock.now_s += 31
    assert (await store.balances([minute]))[0].spent == 7
    assert store.unreported == 0
    await store.close()


@both_loops
async def test_every_open_hold_is_listed(redis_server):
    store = _store(redis_server.url)
    names = {str(number) for number in range(1_050)}
    await asyncio.gather(*(store.hold(name, _lines(budget(10**9)), 60) for name in names))
    found = await store.open_holds()
    assert (len(found), {hold.id for hold in found}) == (1_050, names)
    assert found[0].amounts == {budget().id: 100}
    store.settle(Settlement("7", (0,)))
    await store.told()
    assert len(await store.open_holds()) == 1_049
    await store.close()


@both_loops
async def test_a_raise_is_counted_once_and_keys_end(redis_server):
    store = _store(redis_server.url, namespace="keys")
    minute = Meter("keys/requests", Unit.REQUESTS, 10, RollingWindow(60.0))
    hour = Meter("keys/hour", Unit.NUSD, 1000, CalendarWindow(Calendar.HOUR, UTC))
    await store.hold("a", [Line(minute, 1), Line(hour, 1), Line(at_once(5), 1)], 60)
    store.settle(Settlement("a", (1, 1, 1)))
    await store.told()
    for key in redis_server.ask("KEYS", "{signalbox:keys}:m:*"):
        assert 3600 <= redis_server.ask("TTL", key) <= 90_100, key
    assert (await store.raise_limit(minute, 5)).limit == 15
    assert redis_server.ask("TTL", "{signalbox:keys}:m:keys/requests") == -1, "a raise of a rolling limit stays"
    redis_server.ask("FLUSHDB")
    await store.close()


def test_every_key_of_a_namespace_is_in_one_slot():
    with RedisServer("--cluster-enabled", "yes") as far, RedisServer("--cluster-enabled", "yes") as near:

        async def story():
            store = _store(near.url, timeout_s=20.0)
            day = budget(1000)
            assert isinstance(await store.hold("a", _lines(day, at_once(500)), 60), Granted)
            store.settle(Settlement("a", (30, 1)))
            await store.told()
            assert (await store.balances([day]))[0].spent == 30
            before = store.link.round_trips
            await store.hold("b", _lines(day), 60)
            assert store.link.round_trips == before + 1, "it stays with the node that has the slot"
            await store.close()

        far.ask("CLUSTER", "ADDSLOTS", *range(16_384))
        near.ask("CLUSTER", "MEET", "127.0.0.1", far.port)
        deadline = time.monotonic() + 20
        while any(b"cluster_state:ok" not in one.ask("CLUSTER", "INFO") for one in (far, near)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asyncio.run(story())


@both_loops
async def test_nobody_there(redis_server):
    store = _store(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.15)
    await store.start()
    day = budget(1000)
    for number in range(4):
        answer = await store.hold(str(number), _lines(day), 60)
        assert isinstance(answer, Unavailable)
    assert store.status.state is LinkState.DOWN
    assert "Connect" in store.status.reason
    with pytest.raises(StoreError):
        await store.balances([day])
    with pytest.raises(StoreError):
        await store.open_holds()
    await store.close()


def test_a_url_that_is_none():
    with pytest.raises(ValueError, match="redis://"):
        RedisStore("http://127.0.0.1:1/")
