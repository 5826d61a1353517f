"""256 requests at once on one budget that does not pay for all of them, on every store: the promise in nano-dollars."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import FakeUpstream
from tests.money.crowd import KINDS, Client, Kind, Result
from tests.money.hook import Hook
from tests.money.provider import Provider
from tests.money.setup import (
    balance,
    check_bill,
    check_sums,
    money_config,
    printed_entries,
    secret,
    wait_entries,
    wait_no_holds,
)

pytestmark = pytest.mark.e2e
CROWD = 256
LIMIT_NUSD = 8_000_000
_WARM = 64  # requests for each process, which knows after 40 what is slow
_AT_ONCE = 16  # of them: a crowd would teach it that everything is slow
_REFUSED = "insufficient_quota"


def config(upstream: FakeUpstream, **more: Any) -> dict[str, Any]:
    budgets = {"all": {"limit_usd": LIMIT_NUSD / 1e9, "window": "total", **more}}
    return money_config(upstream, budgets, {"payer": {"budget": "all"}, "warm": {}})


def kinds(seed: int) -> list[Kind]:
    found = [KINDS[number % len(KINDS)] for number in range(CROWD)]
    random.Random(seed).shuffle(found)
    return found


async def warm_up(client: Client, workers: int) -> None:
    """Every worker learns how long the hedged route usually takes; a key without a budget pays for that."""
    for _ in range(workers * _WARM // _AT_ONCE):
        await asyncio.gather(*(client.ask("hedged", text="usual") for _ in range(_AT_ONCE)))


async def spend_the_rest(client: Client) -> list[Result]:
    """One after the other until nothing fits: first as before, then ever smaller."""
    results = []
    for text, max_tokens in ((None, 100), ("hi", 20), ("hi", 1)):
        while True:
            result = await client.ask("plain", text=text, max_tokens=max_tokens)
            results.append(result)
            if result.status != 200:
                assert (result.status, result.code) == (429, _REFUSED), result
                break
    return results


def check_answers(results: Sequence[Result]) -> None:
    """Each kind of request was served. Nothing but the budget refuses one, or a call more of one that failed."""
    for result in results:
        if result.status == 429:
            assert result.code == _REFUSED, result
        elif result.kind == "cut-there" and result.status == 200:
            assert b"stream_interrupted" in result.body or b"[DONE]" in result.body
        elif result.kind == "cut-there":  # at a worker that has seen it fail every time
            assert b"breaker_open" in result.body, result
        elif result.kind == "silent":
            assert result.status == 0, result
        elif result.status != 200:
            assert result.kind in ("failing", "again", "hedged"), result  # what no call more was left for
            assert result.code not in (None, "internal_error"), result
    served = Counter(result.kind for result in results if result.status in (0, 200))
    assert set(served) == set(KINDS), served


def check_books(gateway: Gateway, provider: Provider, words: Sequence[str], *, has_ledger: bool) -> None:
    """Nothing is held; nothing above the limit was spent, by our books or the provider's; both say the same."""
    wait_no_holds(gateway)
    now = balance(gateway, "all")
    assert now["held"] == 0
    charges = provider.charges(words)
    assert sum(charge.nusd for charge in charges) <= LIMIT_NUSD
    assert 0.95 * LIMIT_NUSD <= now["spent"] <= LIMIT_NUSD
    if not has_ledger:
        check_sums(gateway, charges, now["spent"])
        return
    rows = wait_entries(gateway.folder / "state", "payer", now["spent"])
    check_bill(rows, charges)
    assert printed_entries(gateway.folder / "state", "payer") == rows


async def nothing() -> None:
    """No trouble."""


def run(
    gateway: Gateway,
    upstream: FakeUpstream,
    workers: int,
    *,
    has_ledger: bool = True,
    beside: Callable[[], Awaitable[None]] = nothing,
) -> None:
    """The whole story on one gateway; `beside` happens while the crowd is there."""
    provider = Provider(upstream)
    client = Client(gateway.port, secret("payer"), provider)

    async def story() -> list[Result]:
        await warm_up(Client(gateway.port, secret("warm"), provider), workers)
        crowd, _ = await asyncio.gather(client.ask_all(kinds(1)), beside())
        check_answers(crowd)
        return [*crowd, *await spend_the_rest(client)]

    words = [word for result in asyncio.run(story()) for word in result.words]
    check_books(gateway, provider, words, has_ledger=has_ledger)
    assert {charge.model for charge in provider.charges(words)} >= {"plain", "again", "slow", "quick", "silent"}


@pytest.mark.parametrize(("store", "workers"), [("memory", 1), ("sqlite", 1), ("sqlite", 4)])
def test_256_at_once(upstream: FakeUpstream, store: str, workers: int) -> None:
    env = {"SIGNALBOX_STATE_DIR": ""} if store == "memory" else {}
    with Gateway(config(upstream), env=env, workers=workers) as gateway:
        run(gateway, upstream, workers, has_ledger=store != "memory")


def test_256_at_once_on_redis(upstream: FakeUpstream) -> None:
    """Every worker sees that the budget is nearly used up, and the operator is told once."""
    with (
        Hook() as hook,
        RedisServer() as redis,
        Gateway(config(upstream, **hook.soft()), env={"SIGNALBOX_REDIS_URL": redis.url}, workers=4) as gateway,
    ):
        run(gateway, upstream, 4)
        hook.wait_told("all")


def test_256_at_once_while_redis_dies_and_comes_back(upstream: FakeUpstream) -> None:
    with (
        RedisServer() as redis,
        Gateway(config(upstream), env={"SIGNALBOX_REDIS_URL": redis.url}, workers=4) as gateway,
    ):

        async def trouble() -> None:
            await asyncio.to_thread(upstream.wait_requests, 30, model="up-plain")
            await asyncio.to_thread(redis.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(redis.revive)

        run(gateway, upstream, 4, beside=trouble)
