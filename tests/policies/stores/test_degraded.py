"""While Redis is away: who is answered from memory, how much that may use, and what Redis is told afterwards."""

import asyncio
import time
import uuid

import pytest

from policies.stores.base import Denied, Granted, Line, Meter, Settlement, StoreError, Unavailable, Unit
from policies.stores.degraded import FallbackStore
from policies.stores.redis import RedisStore
from policies.windows import RollingWindow
from tests.fakes.redis import RedisServer
from tests.policies.stores.kinds import Clock, at_once, budget, per_minute


def _local(limit=10_000, name="soft"):
    meter = budget(limit, name=name)
    return Meter(meter.id, meter.unit, limit, meter.window, on_error="local")


@pytest.fixture
def server():
    with RedisServer() as running:
        yield running


class Away:
    """A store whose Redis the test takes away and brings back; its own clock, and that of Redis, pass when told."""

    def __init__(self, server, replicas=4, namespace=None):
        self.namespace = namespace or uuid.uuid4().hex
        self.server = server
        self.clock = Clock()
        self.breaker_s = 0.0
        self.is_gone = False
        self.remote = RedisStore(
            server.url,
            now=self.clock,
            namespace=self.namespace,
            timeout_s=5.0,
            clock=lambda: self.breaker_s,
            chance=lambda: 0.0,
        )
        self.store = FallbackStore(self.remote, self.clock, lambda: replicas)

    def leave(self):
        self.is_gone = True
        self.server.kill()

    async def come_back(self):
        self.is_gone = False
        self.server.revive()
        self.breaker_s += 10.0
        await asyncio.wait_for(self.remote.told(), 20)

    async def hold(self, hold_id, *lines):
        return await self.store.hold(hold_id, [Line(*line) for line in lines], 60, is_dispatched=True)

    def settle(self, hold_id, *amounts):
        self.store.settle(Settlement(hold_id, amounts))

    async def spent(self, *meters):
        return [balance.spent for balance in await self.store.balances(meters)]


def _story(server, story, **options):
    async def run():
        away = Away(server, **options)
        await story(away)
        if away.is_gone:
            await away.come_back()
        await away.store.close()

    asyncio.run(run())


def test_money_is_denied_unless_the_operator_says_otherwise(server):
    async def story(away):
        strict, soft, minute = budget(10_000), _local(), per_minute(400)
        await away.hold("a", (strict, 10), (soft, 10))
        away.leave()
        assert isinstance(await away.hold("b", (strict, 10)), Unavailable)
        assert isinstance(await away.hold("c", (soft, 10), (strict, 10)), Unavailable)
        assert isinstance(await away.hold("d", (soft, 10), (minute, 1), (at_once(8), 1)), Granted)
        with pytest.raises(StoreError):
            await away.store.balances([strict])

    _story(server, story)


def test_a_process_alone_uses_its_share_of_what_was_left(server):
    async def story(away):
        soft = _local(10_000)
        await away.hold("before", (soft, 2_000))
        away.settle("before", 2_000)
        await away.remote.told()
        await away.hold("last known", (soft, 0))
        away.leave()
        assert isinstance(await away.hold("a", (soft, 1_500)), Granted)
        denied = await away.hold("b", (soft, 501))
        assert isinstance(denied, Denied), "8,000 were left for 4"
        assert (denied.meter, denied.limit, denied.held) == (soft, 2_000, 1_500)
        assert isinstance(await away.hold("c", (soft, 500)), Granted)
        away.settle("a", 1_000)
        assert isinstance(await away.hold("d", (soft, 500)), Granted)
        away.settle("c", 500)
        away.settle("d", 0)
        await away.come_back()
        assert await away.spent(soft) == [3_500]
        assert await away.store.open_holds() == [
            hold for hold in await away.remote.open_holds() if hold.id == "last known"
        ]

    _story(server, story)


def test_a_share_is_not_given_twice_when_redis_flaps(server):
    async def story(away):
        soft = _local(8_000)
        await away.hold("known", (soft, 0))
        used = 0
        for outage in range(2):
            away.leave()
            number = 0
            while isinstance(await away.hold(f"{outage}.{number}", (soft, 100)), Granted):
                away.settle(f"{outage}.{number}", 100)
                number += 1
                used += 100
            await away.come_back()
            assert await away.spent(soft) == [used]
            left = 8_000 - used
            assert isinstance(await away.hold(f"known {outage}", (soft, 0)), Granted)
            assert left >= 8_000 * 0.75 ** (outage + 1) - 100, "a quarter of what was left, each time"

    _story(server, story)


def test_replicas_that_knew_the_same_stay_within_the_budget_together(server):
    async def story(away):
        soft = _local(10_000)
        others = [Away(server, namespace=away.namespace) for _ in range(3)]
        for at, each in enumerate((away, *others)):
            await each.hold(f"first {at}", (soft, 1_000))
            each.settle(f"first {at}", 700)
            await each.remote.told()
        for at, each in enumerate((away, *others)):
            await each.hold(f"known {at}", (soft, 0))
        away.leave()
        granted = 0
        for number in range(20):
            for at, each in enumerate((away, *others)):
                if isinstance(await each.hold(f"{at}.{number}", (soft, 300)), Granted):
                    each.settle(f"{at}.{number}", 300)
                    granted += 1
        await away.come_back()
        for each in others:
            each.breaker_s += 10
            await each.remote.told()
            await each.store.close()
        assert granted == 24, "7,200 were left, 1,800 for each"
        assert await away.spent(soft) == [10_000]

    _story(server, story)


def test_limits_are_counted_by_each_for_itself(server):
    async def story(away):
        away.leave()
        minute, slots, one = per_minute(40), at_once(8), per_minute(1, name="small")
        granted = 0
        for number in range(20):
            verdict = await away.hold(str(number), (minute, 1), (one, 0))
            granted += isinstance(verdict, Granted)
            away.settle(str(number), 1, 0) if isinstance(verdict, Granted) else None
        assert granted == 10
        assert isinstance(await away.hold("one", (one, 1)), Granted), "never less than one"
        assert isinstance(await away.hold("x", (slots, 2)), Granted)
        assert isinstance(await away.hold("y", (slots, 1)), Denied)
        away.settle("x", 2)
        assert isinstance(await away.hold("y", (slots, 1)), Granted)
        away.settle("y", 1)
        await away.come_back()
        assert await away.spent(minute, slots) == [10, 0], "told to Redis; slots are not"

    _story(server, story)


def test_what_was_held_in_redis_is_settled_there_and_only_once(server):
    async def story(away):
        soft = _local()
        await away.hold("across", (soft, 500))
        away.leave()
        away.settle("across", 300)
        away.settle("across", 300)
        await away.hold("here", (soft, 100))
        await away.come_back()
        assert await away.spent(soft) == [300]
        assert isinstance(await away.hold("there", (soft, 100)), Granted)
        away.settle("here", 70)
        away.settle("there", 80)
        await away.remote.told()
        assert await away.spent(soft) == [450]
        assert await away.store.open_holds() == []

    _story(server, story)


def test_more_for_a_hold_that_redis_has(server):
    async def story(away):
        soft, strict = _local(), budget(10_000)
        await away.hold("soft", (soft, 500))
        await away.hold("strict", (strict, 500))
        away.leave()
        assert isinstance(await away.store.extend("soft", [2_000]), Granted)
        assert isinstance(await away.store.extend("soft", [2_000]), Denied), "9,500 were left for 4"
        assert isinstance(await away.store.extend("strict", [1]), Unavailable)
        away.settle("soft", 2_300)
        await away.hold("local", (soft, 2_000))
        assert isinstance(await away.store.extend("local", [300]), Granted), (
            "what was taken for the other is free again"
        )
        away.settle("local", 2_100)
        await away.come_back()
        assert await away.spent(soft) == [4_400]

    _story(server, story)


def test_more_of_one_of_the_meters_of_a_hold_that_redis_has(server):
    async def story(away):
        soft, other = _local(), _local(name="other")
        await away.hold("both", (soft, 500), (other, 500))
        away.leave()
        assert isinstance(await away.store.extend("both", [1_000, 0]), Granted)
        away.settle("both", 900, 300)
        await away.come_back()
        assert await away.spent(soft, other) == [900, 300]

    _story(server, story)


def test_leases_are_renewed_where_they_are(server):
    async def story(away):
        soft = _local()
        await away.hold("there", (soft, 100))
        away.leave()
        await away.hold("here", (soft, 100))
        for _ in range(3):
            away.clock.now_s += 40
            away.store.renew(["there", "here"], 60)
        await away.come_back()
        away.store.renew(["there", "here"], 60)
        await away.remote.told()
        away.store.dispatched("here")
        assert sorted(hold.id for hold in await away.store.open_holds()) == ["here", "there"]
        assert away.store.reports.expired == []
        away.settle("there", 10)
        away.settle("here", 20)
        await away.remote.told()
        assert await away.spent(soft) == [30]

    _story(server, story)


def test_a_new_window_while_redis_is_away_has_a_share_of_the_whole_limit(server):
    async def story(away):
        soft, rolling = _local(10_000), Meter("r", Unit.NUSD, 4_000, RollingWindow(60.0), on_error="local")
        await away.hold("a", (soft, 9_000), (rolling, 4_000))
        away.settle("a", 9_000, 4_000)
        await away.remote.told()
        await away.hold("known", (soft, 0), (rolling, 0))
        away.leave()
        assert isinstance(await away.hold("b", (soft, 251)), Denied)
        assert isinstance(await away.hold("c", (rolling, 1)), Denied)
        away.clock.now_s += 86_400
        assert isinstance(await away.hold("d", (soft, 2_500), (rolling, 1_000)), Granted)
        assert isinstance(await away.hold("e", (soft, 1)), Denied)

    _story(server, story)


def test_nobody_waits_once_it_is_known_that_redis_is_away(server):
    async def story(away):
        away.leave()
        for number in range(3):
            await away.hold(f"finding out {number}", (per_minute(10**6), 1))
        began, asked = time.monotonic(), away.remote.link.round_trips
        for number in range(500):
            assert isinstance(await away.hold(str(number), (per_minute(10**6), 1)), Granted)
        assert away.remote.link.round_trips == asked
        assert time.monotonic() - began < 2.0

    _story(server, story)
