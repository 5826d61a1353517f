"""What is learnt in one process, for all others and for the next one: lessons are put into a store and read from it.

Every namespace has a place of its own there, whose name tells nothing, and whose lessons are sealed with the secret of
the answers that they are about. They are read when the namespace is looked up for the first time, and then followed as
long as it is asked for. Nobody waits for that.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from itertools import count
from typing import NamedTuple, Protocol

import orjson

from gateway.caching.semantic.labels import Served
from gateway.caching.semantic.spaces import Space, Spaces
from policies.cache.sealed import ForgedError, closed, name_of, opened
from policies.cache.semantic.lessons import Lesson, Record, format_id, from_bytes, to_bytes
from policies.stores.base import StoreError

_PAUSE_S = 0.5
_TROUBLED_S = 2.0
_LAST_S = 0.4  # of a process that ends
_AT_ONCE = 16
_MANY = 100  # records that are read in a thread
_MOST_WAITING = 1_500
_MOST_HITS = 2_000
_FEW_TALKS = 64
_MOST_BYTES = 256 * 1024  # of a record
_ORIGIN_BYTES, _NUMBER_BYTES = 8, 6


class Told(NamedTuple):
    """To be put at the place `name`; what came behind `cursor` is wanted. "" is the beginning."""

    name: str
    cursor: str
    records: Sequence[bytes]


class Heard(NamedTuple):
    """What came behind the cursor, and where the next begins."""

    records: Sequence[bytes]
    cursor: str


class LessonStore(Protocol):
    """Each method raises OSError or StoreError where there is no store now."""

    async def exchange(self, told: Sequence[Told]) -> Sequence[Heard]:
        """First read, then write; what was written may be read next time."""

    async def discard(self, name: str) -> None:
        """What is at this place cannot be read: begin anew."""

    async def put_hits(self, hits: Sequence[tuple[str, bytes]]) -> None:
        """Each under its name, for an hour or as long as there is room."""

    async def take_hit(self, name: str) -> bytes:
        """Once; empty where there is none."""


@dataclass(slots=True)
class _Talk:
    """About one namespace: `space`, where it is in this process. `heard`: number of the last record of each process."""

    name: str
    secret: bytes
    space: Space | None = None
    cursor: str = ""
    is_loaded: bool = False
    fits: int = 0
    waiting: list[tuple[int, Record]] = field(default_factory=list)
    heard: dict[bytes, int] = field(default_factory=dict)


class Board:
    """Of one process. `run` it as a task. `warn` is told once what goes wrong, and of places that cannot be read."""

    def __init__(self, spaces: Spaces, warn: Callable[..., object]) -> None:
        self.heard = 0  # lessons of others
        self._spaces = spaces
        self._warn = warn
        self._store: LessonStore | None = None
        self._secret: Callable[[str, str], bytes] = lambda _, __: b""
        self._origin = secrets.token_bytes(_ORIGIN_BYTES)
        self._numbers = count(1)
        self._talks: dict[bytes, _Talk] = {}
        self._most_talks = _FEW_TALKS
        self._touched: dict[bytes, None] = {}
        self._hits: list[tuple[str, bytes]] = []
        self._has_news = asyncio.Event()
        self._is_troubled = False
        spaces.on_lesson = self._tell

    def __len__(self) -> int:
        return len(self._talks)

    def use(self, store: LessonStore | None, secret: Callable[[str, str], bytes]) -> None:
        """From now on. `secret` is that of answers of a model or route, for those who share a partition. What was
        learnt stays, also where its place is another one now.
        """
        is_other = type(store) is not type(self._store)
        self._store, self._secret = store, secret
        for fingerprint, talk in list(self._talks.items()):
            if talk.space is not None:
                now = self._talk_of(fingerprint, talk.space.name, talk.space.partition)
                if is_other or now.name != talk.name:
                    now.space, now.waiting, now.fits = talk.space, talk.waiting, talk.fits
                    self._talks[fingerprint] = now

    def touch(self, fingerprint: bytes) -> None:
        """Somebody looks something up there."""
        if self._store is not None:
            self._touched[fingerprint] = None
            self._has_news.set()

    def tell_absent(self, served: Served) -> None:
        """A lesson for a namespace that is not in this process."""
        self._put(served.fingerprint, served.name, served.partition, served.lesson)

    def note_hit(self, caller: str, request_id: str, served: Served) -> None:
        """So that feedback on it finds it, whichever process is told."""
        if self._store is None or len(self._hits) >= _MOST_HITS:
            return
        name, secret = self._place_of_hit(caller, request_id)
        told = [served.fingerprint.hex(), served.partition, served.name, served.entry_id, to_bytes(served.lesson).hex()]
        with suppress(TypeError):  # half a character in a name
            self._hits.append((name, closed(orjson.dumps(told), secret)))
            self._has_news.set()

    async def take_hit(self, caller: str, request_id: str) -> Served | None:
        """What a caller got from any process; None where no such hit is remembered."""
        store = self._store
        if store is None:
            return None
        name, secret = self._place_of_hit(caller, request_id)
        try:
            data = await store.take_hit(name)
            if not data:
                return None
            fingerprint, partition, model, entry_id, lesson = orjson.loads(opened(data, secret, _MOST_BYTES))
            record = from_bytes(bytes.fromhex(lesson))
            assert isinstance(record, Lesson)
            return Served(bytes.fromhex(fingerprint), partition, model, entry_id, record)
        except (OSError, StoreError, ValueError, TypeError, AssertionError) as error:
            self._complain(error)
            return None

    async def run(self) -> None:
        """Until cancelled; then what was learnt last is told."""
        try:
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                await asyncio.sleep(_PAUSE_S if await self.turn() else _TROUBLED_S)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self.turn()
            raise

    async def turn(self) -> bool:
        """Tell and hear once. False where the store is not there; then everything waits."""
        store, touched = self._store, list(self._touched)
        self._touched.clear()
        if store is None:
            return True
        self._forget()
        hits, self._hits = self._hits, []
        try:
            if hits:
                await store.put_hits(hits)
                hits = []
            while touched:
                await self._exchange(store, touched[:_AT_ONCE])
                del touched[:_AT_ONCE]
        except (OSError, StoreError) as error:
            self._complain(error)
            self._hits = (hits + self._hits)[:_MOST_HITS]
            self._touched |= dict.fromkeys(touched)
            self._has_news.set()
            return False
        self._is_troubled = False
        return True

    def _forget(self) -> None:
        """Conversations leave many namespaces, and those go."""
        if len(self._talks) > self._most_talks:
            for fingerprint in [one for one, talk in self._talks.items() if not talk.waiting]:
                if fingerprint not in self._spaces:
                    del self._talks[fingerprint]
            self._most_talks = 2 * len(self._talks) + _FEW_TALKS

    async def _exchange(self, store: LessonStore, fingerprints: Sequence[bytes]) -> None:
        talks = [(one, talk) for one in fingerprints if (talk := self._talk_about(one)) is not None]
        if not talks:
            return
        sent = [list(talk.waiting) for _, talk in talks]
        told = [
            Told(talk.name, talk.cursor, [self._closed(number, record, talk.secret) for number, record in records])
            for (_, talk), records in zip(talks, sent, strict=True)
        ]
        all_heard = await store.exchange(told)
        for (fingerprint, talk), records, heard in zip(talks, sent, all_heard, strict=True):
            if self._talks.get(fingerprint) is not talk:
                continue  # it has another place meanwhile
            if not await self._take(talk, heard):
                await store.discard(talk.name)
                self.touch(fingerprint)
                continue
            talk.waiting = [one for one in talk.waiting if one not in records]
            if fingerprint not in self._spaces and not talk.waiting:
                del self._talks[fingerprint]

    def _talk_about(self, fingerprint: bytes) -> _Talk | None:
        """None where nothing was asked yet. Where the namespace was forgotten meanwhile it begins anew."""
        talk, space = self._talks.get(fingerprint), self._spaces.find(fingerprint)
        if space is None or (talk is not None and talk.space is space):
            return talk
        waiting = [] if talk is None else talk.waiting
        talk = self._talks[fingerprint] = self._talk_of(fingerprint, space.name, space.partition)
        talk.space, talk.waiting = space, waiting
        return talk

    async def _take(self, talk: _Talk, heard: Heard) -> bool:
        """False where what was there before cannot be read."""
        if len(heard.records) >= _MANY:
            records, broken = await asyncio.to_thread(self._opened, heard.records, talk)
        else:
            records, broken = self._opened(heard.records, talk)
        if broken:
            self._warn("what was learnt elsewhere cannot be read, and is not used", place=talk.name, records=broken)
        if talk.space is None:
            return True
        if not talk.is_loaded:
            if broken:
                talk.heard.clear()
                return False
            self._load(talk.space, talk, records)
        else:
            for record in records:
                if isinstance(record, Lesson):
                    self.heard += talk.space.take(record)
        talk.cursor = heard.cursor
        return True

    def _load(self, space: Space, talk: _Talk, records: Sequence[Record]) -> None:
        """What others learnt before; then once more what was learnt here since."""
        talk.is_loaded = True
        if not records:
            return
        space.restore(records)
        self.heard += len(records)
        for _, record in talk.waiting:
            if isinstance(record, Lesson):
                space.take(record)
        talk.fits = space.namespace.fits

    def _opened(self, data: Sequence[bytes], talk: _Talk) -> tuple[list[Record], int]:
        """The records that are new here, and how many there are that nobody like us wrote."""
        found: list[Record] = []
        broken = 0
        for sealed in data:
            try:
                plain = opened(sealed, talk.secret, _MOST_BYTES)
                origin, rest = plain[:_ORIGIN_BYTES], plain[_ORIGIN_BYTES:]
                number, record = int.from_bytes(rest[:_NUMBER_BYTES]), from_bytes(rest[_NUMBER_BYTES:])
            except (ForgedError, ValueError):
                broken += 1
                continue
            is_own = origin == self._origin and talk.is_loaded
            if is_own or number <= talk.heard.get(origin, 0):
                continue
            talk.heard[origin] = number
            found.append(record)
        return found, broken

    def _closed(self, number: int, record: Record, secret: bytes) -> bytes:
        return closed(self._origin + number.to_bytes(_NUMBER_BYTES) + to_bytes(record), secret)

    def _tell(self, fingerprint: bytes, space: Space, lesson: Lesson) -> None:
        talk = self._put(fingerprint, space.name, space.partition, lesson)
        if talk is not None and talk.space is space and space.namespace.fits > talk.fits:
            talk.fits = space.namespace.fits
            talk.waiting.append((next(self._numbers), space.namespace.state()))

    def _put(self, fingerprint: bytes, name: str, partition: str, lesson: Lesson) -> _Talk | None:
        if self._store is None:
            return None
        talk = self._talks.get(fingerprint)
        if talk is None:
            talk = self._talks[fingerprint] = self._talk_of(fingerprint, name, partition)
        talk.waiting.append((next(self._numbers), lesson))
        if len(talk.waiting) > _MOST_WAITING:
            del talk.waiting[0]
        self.touch(fingerprint)
        return talk

    def _talk_of(self, fingerprint: bytes, name: str, partition: str) -> _Talk:
        return _Talk(*_place_of(format_id() + fingerprint, self._secret(name, partition)))

    def _place_of_hit(self, caller: str, request_id: str) -> tuple[str, bytes]:
        return _place_of(f"{caller}\0{request_id}".encode("utf-8", "surrogatepass"), self._secret("", ""))

    def _complain(self, error: Exception) -> None:
        if not self._is_troubled:
            self._is_troubled = True
            self._warn("what is learnt by meaning is not shared now", reason=f"{type(error).__name__}: {error}")


def _place_of(what: bytes, secret: bytes) -> tuple[str, bytes]:
    """A name, and the secret of what is there: what was copied to another place is refused."""
    name = name_of(sha256(what).digest(), secret)
    return name, blake2b(name.encode(), key=secret, digest_size=32).digest()
