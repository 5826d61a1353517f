"""Connections that wait for what other processes tell over Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MovedError, RedisError

from policies.stores.redis_link import LinkError, connector

ANSWER_S = 5.0
BLOCK_MS = 2_000
_PAUSE_S = (0.5, 2.0)  # before connecting again


class Listener:
    """A connection of its own, made again whenever it ends. `chance` from 0 to 1. Raises ValueError for a bad URL."""

    def __init__(self, url: str, chance: Callable[[], float]) -> None:
        self._connect = connector(url, ANSWER_S)
        self._elsewhere: dict[str, Any] = {}
        self._chance = chance

    async def run(self, listen: Callable[[AbstractConnection], Awaitable[None]]) -> None:
        """`listen` on one connection after the other, until cancelled; without Redis, try every now and then."""
        while True:
            try:
                connection = self._connect(self._elsewhere)
                try:
                    await listen(connection)
                finally:
                    await connection.disconnect(nowait=True)
            except MovedError as moved:
                self._elsewhere = {"host": moved.host, "port": moved.port}
            except (RedisError, LinkError, OSError, TimeoutError):
                self._elsewhere = {}
            shortest, longest = _PAUSE_S
            await asyncio.sleep(shortest + (longest - shortest) * self._chance())
