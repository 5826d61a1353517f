"""Holds in Redis, for several processes and machines: exact, because a script looks at every meter and books in one go.

Time is that of Redis. A hold is one round trip and so is a settlement, which nobody waits for. Needs Redis 6 or Valkey;
all keys share a hash tag, and with it a slot of a cluster. How exact budgets are after a crash of Redis depends on what
it keeps (`appendonly yes`, `maxmemory-policy noeviction`; `appendfsync everysec` may lose two seconds, `always`
nothing): where it comes back without data, windows begin at zero, and only what was held then is still charged to them.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from policies.ledger import Entry
from policies.stores import redis_codec as codec
from policies.stores.accounts import check_raise
from policies.stores.base import (
    Balance,
    Granted,
    Line,
    Lines,
    Meter,
    OpenHold,
    Reports,
    Settlement,
    Unavailable,
    Verdict,
)
from policies.stores.redis_journal import RedisJournal
from policies.stores.redis_link import LinkError, LinkState, RedisLink, Script
from policies.stores.redis_queue import RedisQueue

# What a request may spend waiting for Redis, with all of its calls; and what each of these may all the same.
_IN_ALL_S, _LEAST_S = 0.2, 0.01
_HOLDS_AT_ONCE = 1_000  # read in one round trip, so that nobody else waits for long
_ELSEWHERE = "elsewhere"  # where a hold was taken that Redis never had

_GIVEN_UP = "this hold was given up, or its lease has ended"

_HOLD = Script.load("hold")
_EXTEND = Script.load("extend")
_ACCOUNTS = Script.load("accounts")
_HOLDS = Script.load("holds")


@dataclass(slots=True, frozen=True)
class StoreStatus:
    """For /readyz and metrics. `for_s`: how long it has been so. `waiting` is what Redis has not been told yet,
    `dropped` what found no room to wait (a journal has it for the next start) or what Redis calls wrong.
    """

    state: LinkState
    for_s: float
    reason: str
    waiting: int
    dropped: int


class _Held:
    """What this process knows of a hold that it took."""

    __slots__ = ("amounts", "at_s", "began", "is_doubtful", "lines", "rows", "waited_s")

    def __init__(
        self, lines: Lines, rows: list[list[Any]], began: str, at_s: float, waited_s: float, *, is_doubtful: bool
    ) -> None:
        self.lines = lines
        self.rows = rows
        self.amounts = [amount for _, amount in lines]
        self.began = began
        self.at_s = at_s
        self.waited_s = waited_s  # for the answers about it so far
        self.is_doubtful = is_doubtful  # it may be taken once more, by a request that is still under way


class RedisStore:
    """The store of several processes. `journal` keeps settlements that Redis does not have yet; without one they wait
    in memory. `ledger` is given the entries of every settlement.

    `wall` is this machine's clock (Unix seconds), good enough to guess which calendar windows Redis is in; `now`
    replaces the time of Redis altogether. Raises ValueError for a URL that is none.
    """

    is_remote = True

    def __init__(
        self,
        url: str,
        journal: RedisJournal | None = None,
        now: Callable[[], float] | None = None,
        *,
        namespace: str = "default",
        timeout_s: float = 0.15,
        connections: int = 16,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        ledger: Callable[[Sequence[Entry]], None] | None = None,
    ) -> None:
        self.reports = Reports()
        self.link = RedisLink(url, timeout_s=timeout_s, connections=connections, clock=clock, chance=chance)
        self._key = f"{{signalbox:{namespace}}}"
        self._now = now
        self._clock = clock
        self._in_all_s = max(_IN_ALL_S, timeout_s)
        self._periods = codec.Periods(now or wall)
        self._queue = RedisQueue(self.link, self._key, now, journal, self._note)
        self._held: dict[str, _Held] = {}
        self._ledger = ledger

    async def start(self) -> None:
        """Hand over what earlier processes left in the journal. Ends within a second whether Redis answers or not."""
        await self._queue.start(self._ledger)

    @property
    def is_up(self) -> bool:
        """Whether Redis answered last."""
        return self.link.state is LinkState.OK

    @property
    def unreported(self) -> int:
        """How many charges Redis does not have yet."""
        return self._queue.charges

    @property
    def status(self) -> StoreStatus:
        """Whether Redis answers, and what it still has to be told."""
        link = self.link
        queue = self._queue
        dropped = queue.dropped + queue.refused
        return StoreStatus(link.state, self._clock() - link.since_s, link.reason, queue.waiting, dropped)

    async def hold(self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False) -> Verdict:
        if self._queue.is_released(hold_id):
            return Unavailable(_GIVEN_UP)
        body = {"id": hold_id, "lease": lease_s, "sent": int(is_dispatched)}
        began_s = self._clock()
        try:
            answer, was_repeated, rows = await self._ask(_HOLD, body, lines)
        except LinkError as error:
            if error.may_have_run:
                self._give_up(hold_id)
            return Unavailable(str(error))
        except asyncio.CancelledError:
            self._give_up(hold_id)
            raise
        now_s = float(answer[0])
        match answer[2]:
            case b"granted":
                waited_s = self._clock() - began_s
                self._held[hold_id] = _Held(lines, rows, answer[3].decode(), now_s, waited_s, is_doubtful=was_repeated)
                return Granted(tuple(answer[4]))
            case b"denied":
                meter, amount = lines[answer[3]]
                return codec.denied(meter, answer[4], amount, now_s)
        return Unavailable(_GIVEN_UP)

    async def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict:
        held = self._held.get(hold_id)
        if held is None:
            return Unavailable("its lease has ended")
        wanted = [old + more for old, more in zip(held.amounts, amounts, strict=True)]
        body = {"id": hold_id, "amounts": wanted, "limits": [meter.limit for meter, _ in held.lines]}
        began_s = self._clock()
        try:
            answer, _, _ = await self._ask(_EXTEND, body, (), held.waited_s)
        except LinkError as error:
            return Unavailable(str(error))
        finally:
            held.waited_s += self._clock() - began_s
        match answer[2]:
            case b"granted":
                held.amounts = wanted
                return Granted(tuple(answer[3]))
            case b"denied":
                at = answer[3]
                return codec.denied(held.lines[at][0], answer[4], amounts[at], float(answer[0]))
        return Unavailable("its lease has ended")

    def dispatched(self, hold_id: str) -> None:
        self._queue.tell(["dispatched", hold_id])

    def settle(self, settlement: Settlement) -> None:
        self._settle(settlement)
        self._write(settlement.entries)

    def _settle(self, settlement: Settlement) -> None:
        held = self._held.pop(settlement.id, None)
        amounts = [min(amount, codec.MOST) for amount in settlement.amounts]
        if held is None:
            if amounts:
                self._queue.tell_for_good(["settle", settlement.id, "", 0, amounts, 0, []], settlement.entries)
            return
        for (meter, _), had, used in zip(held.lines, held.amounts, amounts, strict=True):
            if used > had:
                self.reports.overruns.append((settlement.id, meter.id, used - had))
        is_final = int(held.is_doubtful)
        op = ["settle", settlement.id, held.began, is_final, amounts, held.at_s, held.rows]
        self._queue.tell_for_good(op, settlement.entries)

    def charge(self, charge_id: str, lines: Lines, at_s: float, entries: Sequence[Entry] = ()) -> None:
        """Add what was used without a hold, at `at_s` (Unix seconds): once per id, and the id is that of no hold."""
        rows = [codec.line(meter, 0, self._periods) for meter, _ in lines]
        amounts = [min(amount, codec.MOST) for _, amount in lines]
        self._queue.charge(["settle", charge_id, _ELSEWHERE, 0, amounts, at_s, rows], entries)
        self._write(entries)

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        if hold_ids:
            self._queue.tell(["renew", list(hold_ids), lease_s])

    async def balances(self, meters: Sequence[Meter]) -> list[Balance]:
        return await self._accounts(meters, {})

    async def open_holds(self) -> list[OpenHold]:
        """The holds that are not settled, in the order in which their leases end. Raises StoreError.

        What is taken or settled while they are read may be missing.
        """
        answer, _, _ = await self._ask(_HOLDS, {}, ())
        ids = [hold_id.decode() for hold_id in answer[3]]
        found: list[OpenHold] = []
        for at in range(0, len(ids), _HOLDS_AT_ONCE):
            answer, _, _ = await self._ask(_HOLDS, {"ids": ids[at : at + _HOLDS_AT_ONCE]}, ())
            found += [codec.open_hold(row) for row in answer[3]]
        return found

    async def raise_limit(self, meter: Meter, amount: int) -> Balance:
        """What may be used more until the window ends. Raises StoreError, and ValueError for what cannot be counted."""
        check_raise(meter, amount)
        return (await self._accounts([meter], {"raise": amount, "id": secrets.token_hex(8)}))[0]

    async def reset(self, meter: Meter) -> Balance:
        return (await self._accounts([meter], {"reset": True}))[0]

    def lines(self, hold_id: str) -> Lines:
        """What this process took for a hold that is not settled; nothing where it took none."""
        held = self._held.get(hold_id)
        return held.lines if held is not None else ()

    async def told(self) -> None:
        """Wait until Redis has taken all it was told."""
        await self._queue.told()

    async def close(self) -> None:
        await self._queue.close()
        await self.link.close()

    def _write(self, entries: Sequence[Entry]) -> None:
        """Hand entries to the ledger, after the journal has them: what a crash keeps from it, the next start does."""
        if self._ledger is not None and entries:
            self._ledger(entries)

    def _give_up(self, hold_id: str) -> None:
        """Nobody knows whether it was taken: free it, and see to it that it is not taken any more."""
        self._queue.release(hold_id)

    async def _accounts(self, meters: Sequence[Meter], body: dict[str, Any]) -> list[Balance]:
        answer, _, _ = await self._ask(_ACCOUNTS, body, [Line(meter, 0) for meter in meters])
        now_s = float(answer[0])
        if answer[2] == b"range":
            check_raise(meters[0], body["raise"], int(answer[3]))
        return [codec.balance(meter, state, now_s) for meter, state in zip(meters, answer[3], strict=True)]

    async def _ask(
        self, script: Script, body: dict[str, Any], lines: Lines, waited_s: float = 0.0
    ) -> tuple[list[Any], bool, list[list[Any]]]:
        """The answer, whether it was asked for twice, and the lines as they were sent. `waited_s` is what the request
        has waited before. Raises LinkError.
        """
        until_s = self._clock() + self._in_all_s - waited_s
        if self._now is not None:
            body["now"] = self._now()
        was_repeated = is_second = False
        while True:
            body["lines"] = rows = [codec.line(meter, amount, self._periods) for meter, amount in lines]
            timeout_s = max(_LEAST_S, min(self.link.timeout_s, until_s - self._clock()))
            answer = await self.link.run(script, self._key, orjson.dumps(body), timeout_s)
            was_repeated = was_repeated or answer.was_repeated
            self._note(answer.value)
            if answer.value[2] != b"time":
                return answer.value, was_repeated, rows
            if is_second:
                raise LinkError("Redis and this machine disagree about the time", may_have_run=False)
            self._periods.learn(float(answer.value[0]))
            is_second = True

    def _note(self, answer: list[Any]) -> None:
        """Holds whose lease has ended. Whoever hears of one writes the line of the ledger, once among all gateways."""
        for row in answer[1]:
            hold, is_back = codec.open_hold(row), codec.is_taken_back(row)
            if not is_back:
                self.reports.expired.append(hold)
            entry = codec.ended_entry(hold, float(answer[0]), is_back=is_back) if hold.is_dispatched else None
            if entry is not None and self._ledger is not None:
                self._ledger([entry])
