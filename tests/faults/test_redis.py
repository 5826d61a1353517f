"""Rows 29 and 30: Redis is frozen, slow, gone, back or comes and goes, under requests that need it and others."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from threading import Event, Thread
from typing import Any

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisLine, RedisServer
from tests.fakes.upstream import FakeUpstream
from tests.money.crowd import Client, Result
from tests.money.provider import Provider
from tests.money.setup import balance, money_config, secret, wait_no_holds

pytestmark = pytest.mark.e2e
P95_S = 1.5
_PATIENCE_S = 20.0
_DEGRADED = "signalbox_redis_degraded"
_AT_ONCE = 8


def config(upstream: FakeUpstream) -> dict[str, Any]:
    budgets = {
        "strict": {"limit_usd": 1, "window": "total", "on_store_error": "deny"},
        "local": {"limit_usd": 1, "window": "total", "on_store_error": "allow_with_local_cap"},
    }
    keys = {"free": {"limits": "many"}, "local": {"budget": "local"}, "strict": {"budget": "strict"}}
    return money_config(upstream, budgets, keys, limits={"many": {"requests_per_minute": 100_000}})


def ask_strict(gateway: Gateway) -> Any:
    headers = {"authorization": f"Bearer {secret('strict')}"}
    return gateway.chat("plain", "w0 of the strict key", headers=headers, max_tokens=5)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def frozen(redis: RedisServer, line: RedisLine) -> Iterator[None]:
    redis.freeze()
    yield
    redis.thaw()


@contextmanager
def slow(redis: RedisServer, line: RedisLine) -> Iterator[None]:
    line.latency_s = 0.4
    yield
    line.latency_s = 0.0


@contextmanager
def gone(redis: RedisServer, line: RedisLine) -> Iterator[None]:
    redis.kill()
    yield
    redis.revive()


@contextmanager
def flapping(redis: RedisServer, line: RedisLine) -> Iterator[None]:
    """There and not there in turns, and connections that break after what they were for."""
    is_over = Event()

    def flap() -> None:
        while not is_over.wait(0.1):
            redis.freeze()
            is_over.wait(0.2)
            redis.thaw()

    line.resets = 0.5
    thread = Thread(target=flap)
    thread.start()
    yield
    is_over.set()
    thread.join()
    line.resets = 0.0


def load(gateway: Gateway, provider: Provider, rounds: int = 12) -> list[Result]:
    """Requests of keys that no budget holds up, several at a time, whole and streamed."""

    async def ask_all() -> list[Result]:
        clients = [Client(gateway.port, secret(name), provider, seed) for seed, name in enumerate(("free", "local"))]
        results: list[Result] = []
        for _ in range(rounds):
            results += await asyncio.gather(
                *(clients[n % 2].ask("plain" if n % 4 < 2 else "streamed") for n in range(_AT_ONCE))
            )
        return results

    return asyncio.run(ask_all())


def check_served(results: list[Result]) -> None:
    assert [result for result in results if result.status != 200] == []
    assert quantiles((result.took_s for result in results), n=20)[-1] < P95_S


@pytest.mark.parametrize("fault", [frozen, slow, gone, flapping])
def test_row_29_redis_in_trouble_and_back(upstream, fault):
    provider = Provider(upstream)
    with RedisServer() as redis, RedisLine(redis.port) as line:
        env = {"SIGNALBOX_REDIS_URL": line.url}
        with Gateway(config(upstream), env=env) as gateway:
            assert ask_strict(gateway).status == 200
            results = load(gateway, provider)
            with fault(redis, line):
                refused = [ask_strict(gateway)]
                results += load(gateway, provider)
                refused.append(ask_strict(gateway))
                if fault is not flapping:
                    gateway.wait_metric(_DEGRADED, 1)
            check_served(results)
            for answer in refused:
                if answer.status != 200:
                    assert (answer.status, answer.error["code"]) == (503, "budget_store_unavailable")
                    assert answer.headers["x-should-retry"] == "true"
            assert fault is flapping or refused[-1].status == 503
            wait_until(lambda: ask_strict(gateway).status == 200, "Redis is back, and the strict key is refused")
            wait_until(lambda: not gateway.metric(_DEGRADED), "Redis is back, and nobody says so")
            wait_no_holds(gateway)
            # What was spent meanwhile is told to Redis, once.
            spent = {"local": set(), "strict": {"w0"}}
            for number, result in enumerate(results):
                if number % 2:
                    spent["local"].update(result.words)
            for name, words in spent.items():
                bill = sum(charge.nusd for charge in provider.charges(list(words)))
                wait_until(
                    lambda name=name, bill=bill: balance(gateway, name)["spent"] == bill,
                    f"{name} is on the bill with {bill}, and in Redis with {balance(gateway, name)['spent']}",
                )


def test_row_30_redis_down_at_the_start(upstream):
    provider = Provider(upstream)
    with RedisServer() as redis:
        redis.kill()
        with Gateway(config(upstream), env={"SIGNALBOX_REDIS_URL": redis.url}) as gateway:
            gateway.wait_metric(_DEGRADED, 1)
            check_served(load(gateway, provider, rounds=25))
            refused = ask_strict(gateway)
            assert (refused.status, refused.error["code"]) == (503, "budget_store_unavailable")
            redis.revive()
            wait_until(lambda: ask_strict(gateway).status == 200, "Redis has come, and the strict key is refused")
            wait_until(lambda: not gateway.metric(_DEGRADED), "Redis has come, and nobody says so")
