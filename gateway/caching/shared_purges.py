"""Purges between processes that share a Redis: told until it has them, and heard by all others."""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import orjson
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from gateway.caching.shared_listener import ANSWER_S, BLOCK_MS, Listener
from gateway.caching.shared_scripts import MOST_PURGES, PURGE
from policies.cache.purge import Purge
from policies.cache.shelf import Entry
from policies.stores.redis_link import LinkError, RedisLink

_TELL_S = 0.5
_SHORTEST_PAUSE_S = 0.05
_MOST_OF_MEMORY = 0.8


class SharedPurgeQueue:
    """The purges of this process that Redis does not have yet. `learn` asks it for those that are new there, `known` is
    the era and the count of those that were heard of.

    One of them counts as untold until it was heard of as well: an answer that was read before it may arrive after it.
    """

    def __init__(
        self, link: RedisLink, key: str, learn: Callable[[], Awaitable[object]], known: Callable[[], tuple[str, int]]
    ) -> None:
        self._learn = learn
        self._known = known
        self._link = link
        self._key = key
        self._waiting: deque[Purge] = deque()
        self._has_news = asyncio.Event()
        self._is_told = asyncio.Event()

    def tell(self, purge: Purge) -> None:
        """Let the others know, as soon as Redis answers."""
        self._waiting.append(purge)
        self._is_told.clear()
        self._has_news.set()

    def takes(self, entry: Entry) -> bool:
        """Whether one that is still to be told takes this answer."""
        return bool(self._waiting) and any(purge.takes(entry) for purge in self._waiting)

    async def told(self, timeout_s: float) -> bool:
        """Whether Redis has all of them, within this time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting:
                    await self._is_told.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            while self._waiting:
                batch = list(self._waiting)
                purges = [orjson.dumps(purge.to_json()).decode() for purge in batch]
                era, seq = self._known()
                told = {"era": era, "seq": seq, "new_era": secrets.token_hex(8)}
                body = told | {"most": MOST_PURGES, "purges": purges}
                try:
                    await self._link.run(PURGE, self._key, orjson.dumps(body), _TELL_S)
                    await self._learn()
                except LinkError:
                    await asyncio.sleep(max(self._link.wait_s(), _SHORTEST_PAUSE_S))
                    continue
                for _ in batch:
                    self._waiting.popleft()
            self._is_told.set()


def heard(rows: Sequence[Any]) -> list[tuple[int, Purge | None]]:
    """Rows of the stream of purges: number, and purge (None where this version does not understand it). Raises
    ValueError and its like for a number that is none.
    """
    found: list[tuple[int, Purge | None]] = []
    for number, members in rows:
        purge = None
        with suppress(ValueError, TypeError, LookupError):  # of another version
            purge = Purge(**orjson.loads(dict(zip(members[::2], members[1::2], strict=True))[b"purge"]))
        found.append((int(number.partition(b"-")[0]), purge))
    return found


def is_nearly_full(info: bytes) -> bool:
    """Whether a Redis that throws nothing away (`noeviction`) has little room left. The rest is for those that need it
    more: when it is full, budgets and keys cannot be written either.
    """
    facts = dict(line.partition(b":")[::2] for line in info.splitlines())
    limit = int(facts.get(b"maxmemory", 0))
    is_strict = facts.get(b"maxmemory_policy", b"noeviction") == b"noeviction"
    return is_strict and limit > 0 and int(facts.get(b"used_memory", 0)) > _MOST_OF_MEMORY * limit


class PurgeFollower:
    """Hears of purges as they are made, on a connection of its own. `learn` asks Redis for those that were missed,
    `number` says how many are known, `has_room` is told every few seconds whether Redis has room for more answers.
    """

    def __init__(
        self,
        url: str,
        key: str,
        learn: Callable[[], Awaitable[object]],
        number: Callable[[], int],
        has_room: Callable[[bool], object],
        chance: Callable[[], float],
    ) -> None:
        self._has_room = has_room
        self._listener = Listener(url, chance)
        self._stream = f"{key}:purges"
        self._learn = learn
        self._number = number

    async def run(self) -> None:
        """Until cancelled; without Redis, try again every now and then."""
        await self._listener.run(self._follow)

    async def _follow(self, connection: AbstractConnection) -> None:
        """Wait for anything new, then read it the way everybody does. Every now and then look without any news: the
        stream may have begun anew.
        """
        while True:
            await self._learn()
            async with asyncio.timeout(ANSWER_S):
                await connection.send_command("INFO", "memory")
                with suppress(ResponseError):  # who may not look does not know
                    self._has_room(not is_nearly_full(await connection.read_response()))
            async with asyncio.timeout(ANSWER_S):
                after = f"{self._number()}-0"
                await connection.send_command("XREAD", "BLOCK", BLOCK_MS, "COUNT", 1, "STREAMS", self._stream, after)
                await connection.read_response()
