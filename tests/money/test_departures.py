"""Clients that leave at any moment, before the hold as well as behind the last byte: nothing stays held."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisLine, RedisServer
from tests.fakes.upstream import FakeUpstream
from tests.money.crowd import Client
from tests.money.provider import Provider
from tests.money.setup import balance, money_config, secret, wait_entries, wait_no_holds

pytestmark = pytest.mark.e2e
CLIENTS = 200
LIMIT_NUSD = 100_000_000


def config(upstream: FakeUpstream) -> dict[str, Any]:
    budgets = {"all": {"limit_usd": LIMIT_NUSD / 1e9, "window": "total"}}
    keys = {"payer": {"budget": "all", "limits": "some"}}
    return money_config(upstream, budgets, keys, limits={"some": {"concurrency": 100, "wait_s": 20}})


async def leave_any_time(client: Client, seed: int) -> None:
    """As many requests at once, each given up after a time of its own."""
    rng = random.Random(seed)

    async def one(number: int) -> None:
        kind = rng.choice(("plain", "streamed", "again", "failing", "hedged"))
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(0.0, 0.4)):
                await client.ask(kind)

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_nothing_stays_held_or_is_forgotten(upstream: FakeUpstream, store: str) -> None:
    with RedisServer() as redis, RedisLine(redis.port) as line:
        env = {"SIGNALBOX_REDIS_URL": line.url} if store == "redis" else {}
        line.latency_s = 0.005
        with Gateway(config(upstream), env=env, workers=2) as gateway:
            provider = Provider(upstream)
            client = Client(gateway.port, secret("payer"), provider)
            assert asyncio.run(client.ask("plain")).status == 200
            asyncio.run(leave_any_time(client, 7))
            wait_no_holds(gateway)
            now = balance(gateway, "all")
            assert now["held"] == 0
            limits = gateway.admin("limits").json["data"]
            assert [(row["used"], row["held"]) for row in limits] == [(0, 0)], limits
            assert now["spent"]
            wait_entries(gateway.folder / "state", "payer", now["spent"])
            assert asyncio.run(client.ask("plain")).status == 200
            assert "internal error" not in gateway.output()
