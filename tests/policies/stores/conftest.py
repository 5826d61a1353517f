"""The stores under test: one suite, every kind."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.policies.stores import kinds


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(params=["memory"])
def store(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[kinds.Driver]:
    driver = getattr(kinds, request.param)(runner)
    yield driver
    driver.close()
