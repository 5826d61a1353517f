"""The ledger beside Redis, for calls whose process is gone: what was charged has a line, and what was undone too."""

import asyncio
import uuid

import pytest

from policies.ledger import Purpose
from policies.stores.base import Line, Settlement
from policies.stores.redis import RedisStore
from tests.policies.stores.kinds import Clock, budget, per_minute

DAY, COMPANY, MINUTE = budget(1_000), budget(5_000, name="company"), per_minute(100)


class Replicas:
    """Two processes on one Redis, and one ledger of what both of them write."""

    def __init__(self, url):
        self.clock = Clock()
        self.entries = []
        namespace = uuid.uuid4().hex
        self.gone, self.other = (
            RedisStore(url, now=self.clock, namespace=namespace, timeout_s=20.0, ledger=self.entries.extend)
            for _ in range(2)
        )

    @property
    def cost(self):
        return sum(entry.cost_nusd for entry in self.entries)

    async def spent(self):
        return (await self.other.balances([DAY]))[0].spent

    async def close(self):
        await self.gone.close()
        await self.other.close()


@pytest.fixture
def story(redis_server, runner):
    def run(told):
        async def whole():
            replicas = Replicas(redis_server.url)
            await told(replicas)
            await replicas.close()

        runner.run(whole())

    return run


def test_a_lease_that_ended_and_was_charged_has_a_flagged_line(story):
    async def told(replicas):
        lines = [Line(DAY, 60), Line(COMPANY, 60), Line(MINUTE, 1)]
        await replicas.gone.hold("sent", lines, 120, is_dispatched=True)
        await replicas.gone.hold("not sent", [Line(DAY, 10)], 120)
        await replicas.gone.hold("free", [Line(MINUTE, 1)], 120, is_dispatched=True)
        replicas.clock.now_s += 121
        assert await replicas.spent() == 60
        (entry,) = replicas.entries
        assert (entry.id, entry.request_id, entry.cost_nusd) == ("sent/lease_ended", "sent", 60)
        assert (entry.is_flagged, entry.is_estimated, entry.ending) == (True, True, "lease_ended")
        assert (entry.at_s, entry.purpose) == (replicas.clock.now_s, Purpose.ANSWER)
        assert await replicas.spent() == 60
        assert len(replicas.entries) == 1

    story(told)


@pytest.mark.parametrize("used", [0, 25, 60, 80])
def test_what_is_settled_after_all_takes_that_line_back(story, used):
    async def told(replicas):
        await replicas.gone.hold("late", [Line(DAY, 60)], 120, is_dispatched=True)
        replicas.clock.now_s += 121
        assert await replicas.spent() == replicas.cost == 60
        for _ in range(2):
            replicas.gone.settle(Settlement("late", (used,)))  # the entries of its calls come to `used`
            await replicas.gone.told()
        assert await replicas.spent() == used
        assert (replicas.cost, sum(entry.is_flagged for entry in replicas.entries)) == (0, 1)
        assert len({entry.id for entry in replicas.entries}) == 2
        await asyncio.gather(replicas.gone.open_holds(), replicas.other.open_holds())
        assert len(replicas.entries) == 2
        assert [hold.id for hold in replicas.other.reports.expired] == ["late"]
        assert replicas.gone.reports.expired == []

    story(told)
