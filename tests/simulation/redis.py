"""A Redis that does as it is told: what its scripts do, in Python, behind a network that is slow, loses, or is gone.

The store over it is the real one, with all it does when Redis does not answer. Of the scripts there is what scenarios
need: budgets without a window and places. Leases are longer than a scenario.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError

from policies.stores.degraded import FallbackStore
from policies.stores.redis import RedisStore
from policies.stores.redis_link import Script
from tests.simulation.scenario import RedisPlan, Trouble

_NAMES = {Script.load(name).sha: name for name in ("hold", "extend", "apply")}
_BEGAN = b"1"
_FULL = "OOM command not allowed when used memory > 'maxmemory'. -OOM"
_LATENCIES_S = {Trouble.NONE: (0.0, 0.0, 0.01), Trouble.SLOW: (0.01, 0.1, 0.2, 0.4)}


@dataclass(slots=True)
class Account:
    """What is spent and held of a meter, and its limit as it was told last."""

    kind: str
    limit: int = 0
    bounds: list[float] = field(default_factory=list)
    spent: int = 0
    held: int = 0

    def state(self) -> list[bytes]:
        """As the scripts tell it."""
        numbers = [*self.bounds, self.spent, self.held, 0, 0] if self.kind == "c" else [self.held, 0]
        return [self.kind.encode(), *(b"%.17g" % number for number in numbers)]


class ScriptedRedis:
    """`run` stands in for what a link sends over its connections. `accounts` is what it has, by the id of a meter."""

    def __init__(self, plan: RedisPlan, loop: asyncio.AbstractEventLoop, wall: Callable[[], float], seed: int) -> None:
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, list[tuple[str, int]]] = {}
        self.troubles = 0
        # By hold: how long somebody waited for answers, and how often they asked for it.
        self.waited_s: defaultdict[str, float] = defaultdict(float)
        self.asked: Counter[str] = Counter()
        self._over: set[str] = set()
        self._plan, self._loop, self._wall = plan, loop, wall
        self._began_s = loop.time()
        self._rng = Random(f"redis network {seed}")
        self._under_way = 0

    def timed(self, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The `run` of a link, with a look at the clock before and after."""

        async def run(script: Script, key: str, body: bytes, timeout_s: float | None = None) -> Any:
            began_s = self._loop.time()
            try:
                return await ask(script, key, body, timeout_s)
            finally:
                name, hold_id = _NAMES[script.sha], orjson.loads(body).get("id", "")
                self.asked[hold_id] += name == "hold"
                if name != "apply":
                    self.waited_s[hold_id] += self._loop.time() - began_s

        return run

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way to it, also of those who did not wait."""
        return not self._under_way

    async def run(self, script: Script, key: str, body: bytes) -> list[Any]:
        """One exchange. What was sent is done whether or not somebody waits for the answer."""
        rng, plan, now_s = self._rng, self._plan, self._loop.time() - self._began_s
        trouble = plan.trouble if plan.from_s <= now_s < plan.until_s else Trouble.NONE
        self.troubles += trouble is not Trouble.NONE
        if trouble is Trouble.GONE:
            raise ConnectionRefusedError("nobody listens")
        is_lost = trouble is Trouble.LOSSY and rng.random() < 0.5
        if is_lost and rng.random() < 0.5:
            raise LostConnectionError("the connection was closed")
        latencies_s = _LATENCIES_S.get(trouble, _LATENCIES_S[Trouble.NONE])
        there_s = plan.until_s - now_s if trouble is Trouble.FROZEN else rng.choice(latencies_s)
        if trouble is Trouble.FULL:
            await asyncio.sleep(there_s)
            raise ResponseError(_FULL)
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self._under_way += 1
        self._loop.call_later(there_s, self._arrives, done, _NAMES[script.sha], orjson.loads(body))
        answer = await done
        await asyncio.sleep(rng.choice(latencies_s))
        if is_lost:
            raise LostConnectionError("the answer never came")
        return answer

    def _arrives(self, done: "asyncio.Future[list[Any]]", name: str, told: dict[str, Any]) -> None:
        self._under_way -= 1
        answer = [b"%.17g" % self._wall(), [], *getattr(self, f"_{name}")(told)]
        if not done.done():
            done.set_result(answer)

    def _open(self, line: list[Any]) -> Account:
        account = self.accounts.setdefault(line[0], Account(line[1]))
        account.limit = line[2]
        account.bounds = line[5:7] if line[1] == "c" else []
        return account

    def _hold(self, told: dict[str, Any]) -> list[Any]:
        lines = told["lines"]
        opened = [self._open(line) for line in lines]
        if told["id"] in self.holds:
            return [b"granted", _BEGAN, [account.limit - account.spent - account.held for account in opened]]
        if told["id"] in self._over:
            return [b"over"]
        left = [account.limit - account.spent - account.held - line[3] for account, line in zip(opened, lines)]  # noqa: B905
        for at, room in enumerate(left):
            if room < 0:
                return [b"denied", at, opened[at].state()]
        for account, line in zip(opened, lines, strict=True):
            account.held += line[3]
        self.holds[told["id"]] = [(line[0], line[3]) for line in lines]
        return [b"granted", _BEGAN, left]

    def _extend(self, told: dict[str, Any]) -> list[Any]:
        rows = self.holds.get(told["id"])
        if rows is None:
            return [b"gone"]
        left = []
        for at, ((name, had), wanted) in enumerate(zip(rows, told["amounts"], strict=True)):
            account = self.accounts[name]
            room = account.limit - account.spent - account.held - (wanted - had)
            if room < 0 and wanted > had:
                return [b"denied", at, account.state()]
            left.append(room)
        for (name, had), wanted in zip(rows, told["amounts"], strict=True):
            self.accounts[name].held += wanted - had
        self.holds[told["id"]] = [(name, wanted) for (name, _), wanted in zip(rows, told["amounts"], strict=True)]
        return [b"granted", left]

    def _apply(self, told: dict[str, Any]) -> list[Any]:
        for what, *rest in told["ops"]:
            if what == "settle":
                self._settle(*rest)
        return [b"done"]

    def _settle(self, id: str, held_in: str, is_final: int, amounts: list[int], _at: float, lines: list[Any]) -> None:
        rows = self.holds.pop(id, None)
        if rows is not None:
            for number, (name, had) in enumerate(rows):
                account = self.accounts[name]
                account.held -= had
                if account.kind == "c":
                    account.spent += amounts[number] if number < len(amounts) else 0
        elif lines and held_in != _BEGAN.decode() and id not in self._over:
            self._over.add(id)
            for line, amount in zip(lines, amounts, strict=True):
                if line[1] == "c":
                    self._open(line).spent += amount
        if is_final:
            self._over.add(id)


def shared_store(
    plan: RedisPlan,
    loop: asyncio.AbstractEventLoop,
    wall: Callable[[], float],
    seed: int,
    kind: type[RedisStore] = RedisStore,
) -> tuple[FallbackStore, ScriptedRedis]:
    """The real store over a scripted Redis."""
    redis = ScriptedRedis(plan, loop, wall, seed)
    remote = kind("redis://redis.test", wall=wall, clock=loop.time, chance=Random(f"link {seed}").random)
    remote.link._run = redis.run  # type: ignore[method-assign]
    remote.link.run = redis.timed(remote.link.run)  # type: ignore[method-assign]
    return FallbackStore(remote, wall, lambda: 1), redis
