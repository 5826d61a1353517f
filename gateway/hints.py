"""Breakers of replicas tell each other when they open: what one has seen fail needs one more failure elsewhere.

That is all a hint does. Nobody waits for one, and one that is lost, late or made up opens no breaker by itself.
"""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable

import orjson
from redis.exceptions import RedisError

from gateway.availability import Guard
from policies.stores.redis_link import connector

_TIMEOUT_S = 0.15
_PAUSE_S = (0.5, 2.0)  # before connecting again
_LONGEST_S = 120.0
_MOST_WAITING = 100


class Hints:
    """Between one process and all others on the same Redis and namespace. `run` it as a task; `chance` from 0 to 1.

    Raises ValueError for a URL that is none.
    """

    def __init__(
        self, url: str, guard: Guard, *, namespace: str = "default", chance: Callable[[], float] = random.random
    ) -> None:
        self._connect = connector(url, _TIMEOUT_S)
        self._channel = f"{{signalbox:{namespace}}}:trips"
        self._guard = guard
        self._chance = chance
        self._name = secrets.token_hex(8)
        self._waiting: deque[tuple[str, float]] = deque(maxlen=_MOST_WAITING)
        self._has_news = asyncio.Event()
        self.is_listening = asyncio.Event()
        guard.on_trip.append(self._tripped)

    async def run(self) -> None:
        """Tell and listen until cancelled; without Redis, try again every now and then."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._again_and_again(self._listen))
                both.create_task(self._again_and_again(self._tell))
        finally:
            self._guard.on_trip.remove(self._tripped)

    def _tripped(self, id: str, open_s: float) -> None:
        self._waiting.append((id, open_s))
        self._has_news.set()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (RedisError, OSError, TimeoutError):
                shortest, longest = _PAUSE_S
                await asyncio.sleep(shortest + (longest - shortest) * self._chance())

    async def _listen(self) -> None:
        connection = self._connect({})
        try:
            await connection.send_command("SUBSCRIBE", self._channel)
            while True:
                message = await connection.read_response()
                if message[0] == b"subscribe":
                    self.is_listening.set()
                elif message[0] == b"message":
                    self._hear(message[2])
        finally:
            self.is_listening.clear()
            await connection.disconnect(nowait=True)

    async def _tell(self) -> None:
        connection = self._connect({})
        try:
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                while self._waiting:
                    deployment, open_s = self._waiting.popleft()
                    message = orjson.dumps({"from": self._name, "id": deployment, "for_s": open_s})
                    async with asyncio.timeout(_TIMEOUT_S):
                        await connection.send_command("PUBLISH", self._channel, message)
                        await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)

    def _hear(self, data: bytes) -> None:
        try:
            message = orjson.loads(data)
            sender, deployment, for_s = message["from"], message["id"], float(message["for_s"])
        except (ValueError, TypeError, KeyError):
            return  # of another version, or of somebody else
        if sender != self._name and isinstance(deployment, str) and for_s > 0:
            self._guard.hint(deployment, min(for_s, _LONGEST_S))
