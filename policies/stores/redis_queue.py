"""What Redis is told without anybody waiting for an answer: in order, many at once, again until it has them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from policies.ledger import Entry, entry_of
from policies.stores.redis_journal import RedisJournal
from policies.stores.redis_link import LinkError, RedisLink, Script

_AT_ONCE = 64
_MOST_WAITING = 100_000
_SHORTEST_PAUSE_S = 0.05
_START_S = 1.0
_CLOSE_S = 1.0
_SYNC_EVERY_S = 1.0

_APPLY = Script.load("apply")


class RedisQueue:
    """One per store. `heard` is given every answer. `now` replaces the time of Redis, for tests."""

    def __init__(
        self,
        link: RedisLink,
        key: str,
        now: Callable[[], float] | None,
        journal: RedisJournal | None,
        heard: Callable[[list[Any]], None],
    ) -> None:
        self.dropped = 0  # for want of room
        self.refused = 0  # by Redis, which calls them wrong
        self._link = link
        self._key = key
        self._now = now
        self._journal = journal
        self._heard = heard
        self._ops: deque[tuple[int, list[Any]]] = deque()  # number in the journal (0: not there), operation
        self._releases: set[str] = set()  # holds that wait to be freed
        self._charges: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._syncer: asyncio.Task[None] | None = None
        self._at_once = _AT_ONCE

    @property
    def charges(self) -> int:
        """Charges that Redis does not have yet."""
        return len(self._charges)

    @property
    def waiting(self) -> int:
        """Operations that Redis does not have yet."""
        return len(self._ops)

    async def start(self, ledger: Callable[[Sequence[Entry]], None] | None = None) -> None:
        """Take over what earlier processes left: their entries for `ledger`, which may have had no time to write them,
        and the rest for Redis, with some time to get there.
        """
        if self._journal is None:
            return
        for record in self._journal.replay():
            entries = _entries(record)
            self.tell_for_good(record["op"], entries)
            if entries and ledger is not None:
                ledger(entries)
        self._journal.adopt()
        self._syncer = asyncio.get_running_loop().create_task(self._sync())
        if self._ops:
            await asyncio.wait({self._sending()}, timeout=_START_S)

    def tell(self, op: list[Any], number: int = 0) -> None:
        """Send this soon."""
        if len(self._ops) >= _MOST_WAITING:
            self.dropped += 1
            return
        self._ops.append((number, op))
        self._sending()

    def tell_for_good(self, op: list[Any], entries: Sequence[Entry] = ()) -> None:
        """Send this soon, or after a crash. `entries` are in the same record: a crash leaves both or none."""
        number = 0
        if self._journal is not None:
            number = self._journal.append({"op": op, "entries": entries} if entries else {"op": op})
        self.tell(op, number)

    def charge(self, op: list[Any], entries: Sequence[Entry] = ()) -> None:
        """Like `tell_for_good`, and counted in `charges` until Redis has it."""
        self._charges.add(op[1])
        self.tell_for_good(op, entries)

    def release(self, hold_id: str) -> None:
        """Free a hold that may or may not be there, and keep it from being taken later. The next start does so as well:
        nobody is charged for a request that was refused.
        """
        self._releases.add(hold_id)
        self.tell_for_good(["settle", hold_id, "", 1, [], 0, []])

    def is_released(self, hold_id: str) -> bool:
        """Whether this hold was given up, and Redis may not know that yet."""
        return bool(self._releases) and hold_id in self._releases

    async def told(self) -> None:
        """Wait until Redis has everything."""
        while self._ops:
            await asyncio.wait({self._sending()})

    async def close(self) -> None:
        """Hand over what waits, for a second at most."""
        if self._ops:
            await asyncio.wait({self._sending()}, timeout=_CLOSE_S)
        for task in (self._sender, self._syncer):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._journal is not None:
            self._journal.close()

    def _sending(self) -> asyncio.Task[None]:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send())
        return self._sender

    async def _send(self) -> None:
        while self._ops:
            batch = [self._ops[at] for at in range(min(self._at_once, len(self._ops)))]
            body: dict[str, Any] = {"ops": [op for _, op in batch]}
            if self._now is not None:
                body["now"] = self._now()
            try:
                answer = await self._link.run(_APPLY, self._key, orjson.dumps(body))
            except LinkError as error:
                if not error.is_refused:
                    await asyncio.sleep(max(self._link.wait_s(), _SHORTEST_PAUSE_S))
                elif len(batch) == 1:
                    self.refused += 1
                    self._taken(batch)
                else:
                    self._at_once = 1  # one of them is bad: find it
                continue
            self._heard(answer.value)
            self._taken(batch)

    def _taken(self, batch: list[tuple[int, list[Any]]]) -> None:
        for _, op in batch:
            self._ops.popleft()
            if op[0] == "settle":
                self._charges.discard(op[1])
                self._releases.discard(op[1])
        self._at_once = _AT_ONCE
        if self._journal is not None and not self.dropped:  # those are told at the next start, so all has to be kept
            number = max(number for number, _ in batch)
            if number:
                self._journal.applied(number)

    async def _sync(self) -> None:
        """A power cut costs what was settled in the last second."""
        assert self._journal is not None
        while True:
            await asyncio.sleep(_SYNC_EVERY_S)
            await asyncio.to_thread(self._journal.sync)


def _entries(record: dict[str, Any]) -> list[Entry]:
    try:
        return [entry_of(data) for data in record.get("entries", ())]
    except (TypeError, KeyError, ValueError):
        return []  # of another version of this program: what it cost is charged all the same
