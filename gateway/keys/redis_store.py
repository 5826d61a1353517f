"""Keys in Redis, shared by all replicas."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.keys.record import KeyRecord
from gateway.keys.stores import KeyStoreError, Loaded, Reader, Where

_TIMEOUT_S = 1.0
_CHANGE = """
local there = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if there ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('INCR', KEYS[2])
return 1
"""
_READ = "return {redis.call('GET', KEYS[2]) or '0', redis.call('HGETALL', KEYS[1])}"
# What was known before Redis lost its memory. Another replica may have been quicker: then that counts.
_RESTORE = """
local version = tonumber(redis.call('GET', KEYS[2]) or '0')
if version >= tonumber(ARGV[1]) then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
T = TypeVar("T")


class RedisStore:
    """A hash by name and a version that grows with every change, which is what replicas look at.

    A Redis that came back with a lower version has lost its memory: it gets back what this replica knows.
    """

    where: Where = "redis"
    poll_s = 0.5

    def __init__(self, url: str, *, namespace: str = "default") -> None:
        # One hash tag: both are in the same slot of a cluster.
        self._hash = f"{{signalbox:{namespace}}}:keys"
        self._version = f"{{signalbox:{namespace}}}:keys:version"
        # By itself the client repeats what fails, ten times: https://redis.io/docs/latest/develop/clients/redis-py/
        # With a `socket_timeout` it sends inside `asyncio.wait_for`, which up to Python 3.11 loses a cancellation that
        # comes when the bytes are just gone (https://github.com/python/cpython/issues/86296): whoever polled went on
        # for ever. The time of a whole request is bounded in `_run`.
        self._redis: Any = Redis.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_timeout=None, socket_connect_timeout=_TIMEOUT_S
        )
        self._seen: int | None = None
        self._newest = 0
        self._reader = Reader()
        self._records: dict[str, bytes] = {}

    async def load(self) -> Loaded | None:
        version = int(await self._run(self._redis.get(self._version)) or 0)
        if version < self._newest:
            pairs = [part for pair in self._records.items() for part in pair]
            await self._eval(_RESTORE, self._newest + 1, *pairs)
        elif version == self._seen:
            return None
        newest, flat = await self._eval(_READ)
        self._seen = self._newest = int(newest)
        read = [bytes(part) for part in flat]
        self._records = {
            name.decode("utf-8", "replace"): data for name, data in zip(read[::2], read[1::2], strict=True)
        }
        return self._reader.read(dict(sorted(self._records.items())))

    async def put(self, record: KeyRecord, before: KeyRecord | None) -> bool:
        there = b"" if before is None else before.to_json()
        return bool(await self._eval(_CHANGE, record.name, there, record.to_json()))

    async def remove(self, record: KeyRecord) -> bool:
        return bool(await self._eval(_CHANGE, record.name, record.to_json(), b""))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _eval(self, script: str, *values: object) -> Any:
        return await self._run(self._redis.eval(script, 2, self._hash, self._version, *values))

    async def _run(self, asking: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await asking
        except (RedisError, OSError, TimeoutError) as error:
            raise KeyStoreError(f"Redis: {type(error).__name__}: {error}".rstrip(": ")) from error
        except ValueError as error:
            raise KeyStoreError(f"Redis: {error}") from None
