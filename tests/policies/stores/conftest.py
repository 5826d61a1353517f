"""The stores under test: one suite, every kind."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes.redis import RedisServer
from tests.policies.stores import kinds


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests that leave it alone; each takes a namespace of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "sqlite_shared", "redis"])
def store(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[kinds.Driver]:
    if request.param == "redis":
        driver = kinds.redis(runner, request.getfixturevalue("redis_server").url)
    elif request.param == "memory":
        driver = kinds.memory(runner)
    else:
        driver = getattr(kinds, request.param)(runner, request.getfixturevalue("tmp_path"))
    yield driver
    driver.close()
