"""The way to Redis: few connections, hard deadlines, and no waiting for one that does not answer.

Three failures in a row and Redis is left alone for a moment; then one request finds out whether it is back. Only
`Connection` of redis-py is used: its client and pools retry, and take more time than the exchange itself.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from policies.stores.base import StoreError

_FAILURES_TO_SKIP = 3
_SKIP_S = (0.5, 2.0)
# What is wrong with the server, and not with what it was asked. Redis 6 wraps some of these in an error of the script.
_SERVER_TROUBLE = ("-OOM", "-READONLY", "-MISCONF", "BUSY ", "MISCONF ", "NOREPLICAS ", "UNKILLABLE ")


class LinkState(StrEnum):
    """Whether Redis answers."""

    OK = "ok"
    DEGRADED = "degraded"  # the last answer did not come, the next request tries again
    DOWN = "down"  # nobody asks until the pause is over


class LinkError(StoreError):
    """Redis did not answer. `may_have_run`: it may have done what it was asked all the same. `is_refused`: it answers,
    and calls this request itself wrong.
    """

    def __init__(self, message: str, *, may_have_run: bool, is_refused: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
        self.is_refused = is_refused


@dataclass(slots=True, frozen=True)
class Script:
    """A Lua script by its text, and by the name under which Redis keeps it."""

    text: bytes
    sha: str

    @classmethod
    def load(cls, name: str) -> "Script":
        """The script of this name, behind what all of them share."""
        folder = files("policies.stores").joinpath("redis_scripts")
        text = folder.joinpath("prelude.lua").read_bytes() + folder.joinpath(f"{name}.lua").read_bytes()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class Answer:
    """What a script returned. `was_repeated`: an attempt before this one may have run too, or may still do so."""

    value: list[Any]
    was_repeated: bool = False


def connector(url: str, timeout_s: float) -> Callable[[dict[str, Any]], AbstractConnection]:
    """Makes connections to a URL, or to another address of the same server. They connect within `timeout_s` when first
    used, repeat nothing, and wait for answers without an end. Raises ValueError for a URL that is none.
    """
    options: dict[str, Any] = dict(parse_url(url))
    kind: type[AbstractConnection] = options.pop("connection_class", Connection)
    options |= {
        "socket_timeout": None,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    return lambda elsewhere: kind(**options | elsewhere)


class RedisLink:
    """Runs scripts. `clock` gives monotonic seconds, `chance` numbers from 0 to 1.

    `timeout_s` bounds one request with all it needs: a free connection, connecting, asking twice where the first
    connection had died. Each script has to stand being run twice.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 0.15,
        connections: int = 16,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connector(url, timeout_s)
        self._moved: dict[str, Any] = {}  # where a cluster keeps our slot
        self.timeout_s = timeout_s
        self._places = asyncio.Semaphore(connections)
        self._idle: list[AbstractConnection] = []
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._skip_until = 0.0
        self._is_probing = False
        self.round_trips = 0
        self.failures = 0
        self.skipped = 0
        self.since_s = clock()  # when the present state began, by `clock`
        self.reason = ""

    @property
    def state(self) -> LinkState:
        """Whether Redis answers, as far as was seen."""
        if not self._failures:
            return LinkState.OK
        return LinkState.DOWN if self._failures >= _FAILURES_TO_SKIP else LinkState.DEGRADED

    def wait_s(self) -> float:
        """For how long Redis is left alone; 0 where it may be asked."""
        return max(0.0, self._skip_until - self._clock()) if self.state is LinkState.DOWN else 0.0

    async def run(self, script: Script, key: str, body: bytes, timeout_s: float | None = None) -> Answer:
        """What the script returns for one key and one argument. Raises LinkError, within `timeout_s`."""
        is_probe = self._enter()
        timeout_s = timeout_s or self.timeout_s
        until_s = self._clock() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask(script, key, body)
        except TimeoutError as error:
            if self._clock() > until_s + timeout_s:
                raise LinkError("this process was too busy to hear Redis", may_have_run=True) from error
            raise self._failed(error) from error
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        finally:
            if is_probe:
                self._is_probing = False
        if self._failures:
            self._failures = 0
            self.since_s, self.reason = self._clock(), ""
        return answer

    async def close(self) -> None:
        """Close what is open; requests after this connect anew."""
        await self._drop()

    def _enter(self) -> bool:
        """Whether this request is the one that finds out. Raises LinkError where Redis is left alone."""
        if self.state is not LinkState.DOWN:
            return False
        if self._is_probing or self._clock() < self._skip_until:
            self.skipped += 1
            raise LinkError(f"Redis is left alone for a moment, because: {self.reason}", may_have_run=False)
        self._is_probing = True
        return True

    def _failed(self, error: Exception) -> LinkError:
        message = f"{type(error).__name__}: {error}" if str(error) else f"no answer within {self.timeout_s:g} s"
        if type(error) is ResponseError and not any(trouble in message for trouble in _SERVER_TROUBLE):
            return LinkError(f"Redis refuses a request: {message}", may_have_run=False, is_refused=True)
        self.failures += 1
        now = self._clock()
        if not self._failures:
            self.since_s = now
        self._failures += 1
        self.reason = message
        self._moved = {}
        if self._failures >= _FAILURES_TO_SKIP and now >= self._skip_until:
            shortest, longest = _SKIP_S
            self._skip_until = now + shortest + (longest - shortest) * self._chance()
        return LinkError(f"Redis does not answer: {message}", may_have_run=True)

    async def _ask(self, script: Script, key: str, body: bytes) -> Answer:
        try:
            return Answer(await self._run(script, key, body))
        except MovedError as moved:
            await self._drop()
            self._moved = {"host": moved.host, "port": moved.port}
            return Answer(await self._run(script, key, body))
        except (LostConnectionError, OSError):
            await self._drop()  # when Redis restarts, all of them have died
            return Answer(await self._run(script, key, body), was_repeated=True)

    async def _run(self, script: Script, key: str, body: bytes) -> list[Any]:
        async with self._connection() as connection:
            try:
                answer: list[Any] = await self._exchange(connection, "EVALSHA", script.sha, 1, key, body)
            except NoScriptError:
                answer = await self._exchange(connection, "EVAL", script.text, 1, key, body)
            return answer

    async def _exchange(self, connection: AbstractConnection, *command: str | bytes | int) -> Any:
        self.round_trips += 1
        await connection.send_command(*command)
        return await connection.read_response()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        async with self._places:
            connection = self._idle.pop() if self._idle else self._connect(self._moved)
            try:
                yield connection
            except ResponseError:
                self._idle.append(connection)  # a complete answer: the connection is in order
                raise
            except BaseException:
                await connection.disconnect(nowait=True)  # its answer may still come, and must reach nobody else
                raise
            self._idle.append(connection)

    async def _drop(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)
