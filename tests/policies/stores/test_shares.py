"""Restarts while Redis is away: what was left for a process is left for the one after it, and no more than that."""

import pytest

from policies.stores.base import Denied, Granted, Line, Meter, Settlement, Unavailable
from policies.stores.degraded import FallbackStore
from policies.stores.redis import RedisStore
from policies.stores.shares import Shares
from tests.fakes.redis import RedisServer
from tests.policies.stores.kinds import Clock, budget

NOWHERE = "redis://127.0.0.1:1/0"


def _local(limit, name="soft"):
    meter = budget(limit, name=name)
    return Meter(meter.id, meter.unit, limit, meter.window, on_error="local")


@pytest.fixture
def run(runner, tmp_path):
    return lambda story: runner.run(story(tmp_path))


class Gateway:
    """One process: it starts, and ends when it is told to."""

    def __init__(self, url, folder, clock, replicas=1):
        self.shares = Shares(folder) if folder is not None else None
        remote = RedisStore(url, now=clock, namespace="shares", timeout_s=5.0)
        self.store = FallbackStore(remote, clock, lambda: replicas, self.shares)

    async def spend(self, name, meter, amount, settled=True):
        verdict = await self.store.hold(name, [Line(meter, amount)], 60, is_dispatched=True)
        if isinstance(verdict, Granted) and settled:
            self.store.settle(Settlement(name, (amount,)))
        return verdict

    async def stop(self):
        await self.store.remote.link.close()
        self.store.remote._queue._ops.clear()  # nobody will hear them
        await self.store.close()

    def crash(self):
        self.shares.close()  # the file is what it was, and its lock is free


def test_a_share_is_given_once_whatever_restarts(run):
    async def story(folder):
        clock, granted, soft = Clock(), 0, _local(100)
        for number in range(4):
            gateway = Gateway(NOWHERE, folder, clock)
            while isinstance(verdict := await gateway.spend(f"{number}.{granted}", soft, 30), Granted):
                granted += 30
            assert isinstance(verdict, Denied)
            await gateway.stop()
        assert granted == 90
        clock.now_s += 86_400
        gateway = Gateway(NOWHERE, folder, clock)
        assert isinstance(await gateway.spend("next day", soft, 100), Granted)
        await gateway.stop()

    run(story)


def test_without_a_state_folder_nobody_knows_and_budgets_are_denied(run):
    async def story(_):
        gateway = Gateway(NOWHERE, None, Clock())
        assert isinstance(await gateway.spend("a", _local(100), 1), Unavailable)
        await gateway.stop()

    run(story)


def test_what_redis_said_last_is_known_after_a_restart(run):
    async def story(folder):
        clock, soft, seen = Clock(), _local(10_000), _local(500, "seen")
        with RedisServer() as server:
            gateway = Gateway(server.url, folder, clock, replicas=4)
            await gateway.spend("a", soft, 9_000)
            await gateway.store.remote.told()
            await gateway.spend("b", soft, 0)
            await gateway.store.balances([seen])
            await gateway.stop()
        gateway = Gateway(NOWHERE, folder, clock, replicas=4)
        assert isinstance(await gateway.spend("c", soft, 251), Denied), "1,000 were left for 4"
        assert isinstance(await gateway.spend("d", soft, 100), Granted)
        assert isinstance(await gateway.spend("e", soft, 50, settled=False), Granted)
        assert isinstance(await gateway.spend("f", seen, 126), Denied)
        gateway.crash()
        again = Gateway(NOWHERE, folder, clock, replicas=4)
        assert isinstance(await again.spend("g", soft, 101), Denied), "what was held may have been spent"
        assert isinstance(await again.spend("h", soft, 100), Granted)
        await again.stop()

    run(story)


def test_workers_inherit_from_one_each(tmp_path):
    first, second = Shares(tmp_path), Shares(tmp_path)
    first.note("m", 10, 1.0)
    second.note("m", 20, 1.0)
    first.close()
    second.close()
    after = [Shares(tmp_path) for _ in range(3)]
    assert sorted(shares.known["m"].left for shares in after[:2]) == [10, 20]
    assert after[2].known["m"].left in (10, 20), "and one more has no more than another"
    for shares in after:
        shares.close()
    assert len(list(tmp_path.glob("*.lock"))) == 3


def test_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("policies.stores.shares._REWRITTEN_EVERY", 50)
    shares = Shares(tmp_path)
    shares._journal._segment_bytes = 1_000
    for number in range(1_000):
        shares.note(f"m{number % 3}", number, 1.0)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) < 10_000
    shares.close()
    again = Shares(tmp_path)
    assert {name: share.left for name, share in again.known.items()} == {"m0": 999, "m1": 997, "m2": 998}
    again.close()
