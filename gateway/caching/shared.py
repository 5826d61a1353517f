"""Kept answers in Redis, for all processes and machines of a namespace.

Nobody waits for Redis longer than `wait_s`, and while it does not answer it is left alone: then an answer is looked for
in memory only, and what is new is not written. Answers are written when their requests are over, a few at a time.
"""

import asyncio
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from gateway.caching.shared_notes import MOST_NOTES, Fetched, Note, NoteFollower, written
from gateway.caching.shared_purges import PurgeFollower, SharedPurgeQueue, heard
from gateway.caching.shared_scripts import READ, WRITE
from policies.cache.purge import Purge
from policies.cache.purge_log import PurgeLog
from policies.cache.rules import CacheRules
from policies.cache.sealed import ForgedError, Sealed, name_of, seal, unseal
from policies.cache.shelf import Entry
from policies.stores.redis_link import LinkError, LinkState, RedisLink

FORMAT = 2  # of names and values: another version has another place
_WRITE_S = 1.0
_LEARN_S = 0.5
_MOST_WAITING = 1_000
_MOST_WAITING_BYTES = 16 * 1024 * 1024
_AT_ONCE, _AT_ONCE_BYTES = 32, 1024 * 1024
_LONG = 64 * 1024  # bytes from which on compressing is a thread's work


class Lookup(StrEnum):
    """How a look-up ended; a closed set."""

    HIT = "hit"
    MISS = "miss"
    SKIPPED = "skipped"  # Redis is left alone, because it did not answer before
    FAILED = "failed"  # no answer in time
    REFUSED = "refused"  # what is there was not written by a gateway like this one, or not for this place


class Place(NamedTuple):
    """Where the answer to one request is. `secret` binds it to whom it is for and to who may answer."""

    key: bytes
    loose_key: bytes | None
    partition: str
    secret: bytes

    def holds(self, entry: Entry) -> bool:
        """Whether an answer is one to this request."""
        return entry.partition == self.partition and (
            entry.key == self.key or (self.loose_key is not None and entry.loose_key == self.loose_key)
        )


@dataclass(slots=True)
class _Waiting:
    """An answer to be written, to be found until then (Unix seconds), with a note for those who look by meaning."""

    kept: Sealed
    place: Place
    until_s: float
    note: Note | None = None


class RedisAnswers:
    """One per process. `run` it as a task. `forget` is told what the others purge; `clock` gives monotonic seconds,
    `wall_clock` Unix seconds. Raises ValueError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        forget: Callable[[Purge], object],
        *,
        namespace: str = "default",
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.key = f"{{signalbox:{namespace}}}:cache{FORMAT}"
        self.link = RedisLink(url, connections=16, clock=clock, chance=chance)
        self.log = PurgeLog()
        self.purges = SharedPurgeQueue(self.link, self.key, self.learn, lambda: (self.log.era, self.log.seq))
        self.lookups: Counter[Lookup] = Counter()
        self.written = 0
        self.dropped = 0  # no room to wait or in Redis, or that away
        self.has_room = True
        self.is_on = False
        self.wait_s = 0.03
        self.max_entry_bytes = 256 * 1024
        self._follower = PurgeFollower(url, self.key, self.learn, lambda: self.log.seq, self._learn_room, chance)
        self.notes = NoteFollower(url, self.key, self.fetch, chance)
        self._forget = forget
        self._wall_clock = wall_clock
        self._asking: dict[bytes, asyncio.Task[list[Sealed | None]]] = {}
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._has_news = asyncio.Event()
        self._was_on = asyncio.Event()

    def use(self, rules: CacheRules | None) -> None:
        """Other limits from now on; None where no answers are kept."""
        self.is_on = rules is not None and rules.is_shared
        if rules is not None and rules.is_shared:
            self.wait_s, self.max_entry_bytes = rules.shared_wait_s, rules.max_shared_bytes
            self._was_on.set()
        else:
            self.notes.use(None)

    @property
    def is_up(self) -> bool:
        """Whether Redis answered last."""
        return self.link.state is LinkState.OK

    async def find(self, place: Place) -> Sealed | None:
        """What is kept there. Those who ask for the same at the same time are one look-up."""
        asking = self._asking.get(place.key)
        if asking is None:
            if self.link.wait_s():
                self.lookups[Lookup.SKIPPED] += 1
                return None
            asking = self._asking[place.key] = asyncio.get_running_loop().create_task(self.find_all((place,)))
            asking.add_done_callback(lambda _: self._asking.pop(place.key, None))
        return (await asyncio.shield(asking))[0]

    async def find_all(self, places: Sequence[Place]) -> list[Sealed | None]:
        """What is kept at each of these places, in one round trip."""
        nothing: list[Sealed | None] = [None] * len(places)
        wanted = [
            (name_of(one.key, one.secret), name_of(one.loose_key, one.secret) if one.loose_key is not None else "")
            for one in places
        ]
        try:
            values = await self._ask(wanted, self.wait_s)
        except LinkError as error:
            self.lookups[Lookup.FAILED if error.may_have_run or error.is_refused else Lookup.SKIPPED] += len(places)
            return nothing
        return [self._open(value, place) for value, place in zip(values, places, strict=True)]

    async def learn(self) -> None:
        """Hear of the purges that were missed. Raises LinkError."""
        await self._ask((), _LEARN_S)

    async def _ask(self, wanted: Sequence[tuple[str, str]], timeout_s: float) -> list[bytes]:
        """The values at these names, empty where there is none; on the way what was purged. Raises LinkError."""
        era, seq = self.log.era, self.log.seq
        body = {"era": era, "seq": seq, "new_era": secrets.token_hex(8), "wanted": wanted}
        answer = await self.link.run(READ, self.key, orjson.dumps(body), timeout_s)
        try:
            epoch, rows, values = answer.value
            self._hear(epoch, rows)
            return [bytes(value) for value in values]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise LinkError(f"Redis has something else at {self.key}", may_have_run=False, is_refused=True) from error

    def _hear(self, epoch: bytes, rows: Sequence[Any]) -> None:
        """What Redis says about purges. Raises ValueError and its like where that is nothing of ours."""
        era, _, seq = epoch.decode("ascii").rpartition("/")
        for purge in self.log.hear(era, int(seq), heard(rows)):
            self._forget(purge)

    def put(self, entry: Entry, era: str, seq: int, place: Place, ttl_s: float) -> None:
        """Write an answer soon, which saw the purges of `era` up to `seq`, to be found for so long."""
        if len(entry.body) > self.max_entry_bytes:
            return
        size = self._waiting_bytes + entry.size
        # Without an era nobody knows which purges it has seen: Redis did not answer when it was asked for.
        if (
            not era
            or not self.has_room
            or self.link.wait_s()
            or len(self._waiting) >= _MOST_WAITING
            or size > _MOST_WAITING_BYTES
        ):
            self.dropped += 1
            return
        self._waiting.append(_Waiting(Sealed(entry, era, seq), place, self._wall_clock() + ttl_s))
        self._waiting_bytes = size
        self._has_news.set()

    def tell(self, note: Note) -> None:
        """Let the others compare with the answer that was put right before, if it is going to be written."""
        if self._waiting and self._waiting[-1].kept.entry.key == note.key:
            self._waiting[-1].note = note

    async def fetch(self, wanted: Sequence[Fetched]) -> list[Sealed | None]:
        """The answers that notes are about. Raises LinkError."""
        places = [Place(one.note.key, None, one.partition, one.secret) for one in wanted]
        values = await self._ask([(name_of(one.key, one.secret), "") for one in places], _LEARN_S)
        return [self._opened(value, place)[1] for value, place in zip(values, places, strict=True)]

    async def run(self) -> None:
        """Write what waits, tell purges and hear of those of others, from when it is on until cancelled."""
        await self._was_on.wait()
        async with asyncio.TaskGroup() as all_of_it:
            all_of_it.create_task(self.purges.run())
            all_of_it.create_task(self._follower.run())
            all_of_it.create_task(self.notes.run())
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                while self._waiting:
                    await self._write(self._next())

    async def close(self) -> None:
        await self.link.close()

    def _learn_room(self, has_room: bool) -> None:
        self.has_room = has_room

    def _open(self, value: bytes, place: Place) -> Sealed | None:
        """What a value says, if it is one for this place and was not purged."""
        result, kept = self._opened(value, place)
        self.lookups[result] += 1
        return kept

    def _opened(self, value: bytes, place: Place) -> tuple[Lookup, Sealed | None]:
        if not value:
            return Lookup.MISS, None
        try:
            kept = unseal(value, place.secret, self.max_entry_bytes)
        except ForgedError:
            return Lookup.REFUSED, None
        if not place.holds(kept.entry):
            # A renewed answer is not found by its words any more, while what pointed to the old one is still there.
            is_renewed = place.loose_key is not None and kept.entry.loose_key is None
            return Lookup.MISS if is_renewed else Lookup.REFUSED, None
        if not self.log.allows(kept.entry, kept.era, kept.seq) or self.purges.takes(kept.entry):
            return Lookup.MISS, None
        return Lookup.HIT, kept

    def _next(self) -> list[_Waiting]:
        """Those to be written together, of one era."""
        batch: list[_Waiting] = []
        size, era = 0, self._waiting[0].kept.era
        while self._waiting and len(batch) < _AT_ONCE and self._waiting[0].kept.era == era:
            entry = self._waiting[0].kept.entry
            if batch and size + entry.size > _AT_ONCE_BYTES:
                break
            size += entry.size
            batch.append(self._waiting.popleft())
        self._waiting_bytes -= size
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        rows: list[list[Any]] = []
        values: list[bytes] = []
        now_s = self._wall_clock()
        for one in batch:
            try:
                value, note = await _as_bytes(one)
            except ValueError:
                self.dropped += 1
                continue
            entry, secret = one.kept.entry, one.place.secret
            if one.until_s > now_s and not self.purges.takes(entry):
                loose = name_of(entry.loose_key, secret) if entry.loose_key is not None else ""
                ttl_ms = max(1, int((one.until_s - now_s) * 1000))
                whose = orjson.dumps([entry.asked, entry.partition]).decode() if note else ""
                rows.append([name_of(entry.key, secret), loose, ttl_ms, len(value), whose, len(note)])
                values += (value, note)
        told = orjson.dumps({"era": batch[0].kept.era, "most_notes": MOST_NOTES, "rows": rows})
        try:
            answer = await self.link.run(WRITE, self.key, b"%08x%b%b" % (len(told), told, b"".join(values)), _WRITE_S)
        except LinkError:
            self.dropped += len(rows)
            return
        if answer.value == [1]:
            self.written += len(rows)
        else:
            self.dropped += len(rows)


async def _as_bytes(one: _Waiting) -> tuple[bytes, bytes]:
    """An answer and its note, empty where it has none. Raises ValueError."""
    is_long, secret = len(one.kept.entry.body) >= _LONG, one.place.secret
    value = await asyncio.to_thread(seal, one.kept, secret) if is_long else seal(one.kept, secret)
    return value, b"" if one.note is None else written(one.note, secret)
