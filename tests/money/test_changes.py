"""Budgets that change while they are spent from: the file is edited, and keys are made, with several workers."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.upstream import FakeUpstream
from tests.money.crowd import Client, Result
from tests.money.hook import Hook
from tests.money.provider import Provider
from tests.money.setup import balance, check_bill, money_config, secret, wait_entries, wait_no_holds

pytestmark = pytest.mark.e2e
WORKERS = 3
CLIENTS = 32
LOW_NUSD, HIGH_NUSD = 2_000_000, 4_000_000
_PATIENCE_S = 20.0


def config(upstream: FakeUpstream, limit_nusd: int, **more: Any) -> dict[str, Any]:
    """One budget, of a key in the file and of those that are made later."""
    budgets = {"all": {"limit_usd": limit_nusd / 1e9, "window": "total", **more}}
    return money_config(upstream, budgets, {"payer": {"budget": "all"}})


async def spend_all(client: Client, *, at_least: int, then: Callable[[], None] | None = None) -> list[Result]:
    """Many at once until whole rounds are refused; `then` is called in the middle, when `at_least` were answered."""
    results: list[Result] = []
    while True:
        asked = [client.ask("plain" if n % 2 else "streamed") for n in range(CLIENTS)]
        if then is not None and sum(result.status == 200 for result in results) >= at_least:
            *wave, _ = await asyncio.gather(*asked, asyncio.to_thread(then))
            then = None
        else:
            wave = await asyncio.gather(*asked)
        results += wave
        if all(result.status == 429 for result in wave):
            return results


async def served(client: Client) -> Result:
    """A small request, repeated until every worker has heard of what changed."""
    deadline = time.monotonic() + _PATIENCE_S
    while (result := await client.ask("plain", text="hi", max_tokens=1)).status != 200:
        assert result.status in (401, 429), result
        assert time.monotonic() < deadline, result
        await asyncio.sleep(0.02)
    return result


def wait_limit(gateway: Gateway, limit_nusd: int) -> None:
    """Every worker has read the file: the kernel chooses who answers, so many agree in a row."""
    deadline, agreed = time.monotonic() + _PATIENCE_S, 0
    while agreed < 4 * WORKERS:
        agreed = agreed + 1 if balance(gateway, "all")["limit"] == limit_nusd else 0
        assert time.monotonic() < deadline, "a worker does not read the file"


def check_spent(gateway: Gateway, provider: Provider, limit_nusd: int) -> None:
    """All that was asked for is on the budget, and no more than it allows."""
    wait_no_holds(gateway)
    now = balance(gateway, "all")
    assert 0.95 * limit_nusd <= now["spent"] <= limit_nusd
    assert sum(charge.nusd for charge in provider.charges()) == now["spent"]


def test_the_limit_is_raised_in_the_file_while_it_is_spent(upstream: FakeUpstream) -> None:
    """And the operator is told that it is nearly used up: once, although every worker sees it again and again."""
    provider = Provider(upstream)
    with Hook() as hook, Gateway(config(upstream, LOW_NUSD, **hook.soft()), workers=WORKERS) as gateway:
        client = Client(gateway.port, secret("payer"), provider)
        higher = config(upstream, HIGH_NUSD, **hook.soft())

        async def story() -> list[Result]:
            first = await spend_all(client, at_least=10, then=lambda: gateway.write(higher))
            await asyncio.to_thread(wait_limit, gateway, HIGH_NUSD)
            return [*first, *await spend_all(client, at_least=0)]

        results = asyncio.run(story())
        assert set(Counter(result.status for result in results)) == {200, 429}
        check_spent(gateway, provider, HIGH_NUSD)
        rows = wait_entries(gateway.folder / "state", "payer", balance(gateway, "all")["spent"])
        check_bill(rows, provider.charges())
        gateway.write(config(upstream, LOW_NUSD))
        wait_limit(gateway, LOW_NUSD)
        assert asyncio.run(client.ask("plain", text="hi", max_tokens=1)).status == 429
        assert balance(gateway, "all")["left"] == 0
        hook.wait_told("all")


def test_a_key_made_meanwhile_spends_no_more_than_there_is(upstream: FakeUpstream) -> None:
    """Beside the key of the file, from the same budget; the file is edited after the key was made."""
    provider = Provider(upstream)
    with Gateway(config(upstream, LOW_NUSD), workers=WORKERS) as gateway:
        made = gateway.admin("keys", {"name": "fresh", "budget": "all"})
        assert made.status == 201, made.body
        fresh = Client(gateway.port, made.json["secret"], provider)
        payer = Client(gateway.port, secret("payer"), provider)

        async def story() -> None:
            await served(fresh)
            await asyncio.gather(spend_all(fresh, at_least=0), spend_all(payer, at_least=0))
            gateway.write(config(upstream, HIGH_NUSD))
            await asyncio.to_thread(wait_limit, gateway, HIGH_NUSD)
            await asyncio.gather(spend_all(fresh, at_least=0), spend_all(payer, at_least=0))

        asyncio.run(story())
        check_spent(gateway, provider, HIGH_NUSD)
