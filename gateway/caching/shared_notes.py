"""What gateways tell each other of answers that are found by meaning: a stream beside the answers in Redis.

A note has what a replica needs to compare questions with an answer it did not make: the text that was asked, its
vector, and where that is looked up. At its start a process reads all there are, and then follows. The answers
themselves are read from their places, so that what was purged, refused or has ended is in nobody's memory.
"""

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Sequence
from sys import byteorder
from typing import Any, NamedTuple, Protocol

import orjson
from redis.asyncio.connection import AbstractConnection

from gateway.caching.shared_listener import ANSWER_S, BLOCK_MS, Listener
from policies.cache.sealed import ForgedError, Sealed, closed, opened
from policies.cache.shelf import Entry

MOST_NOTES = 10_000
_AT_ONCE = 16
_MOST_BYTES = 64 * 1024
_FIRST = b"0-0"


class Note(NamedTuple):
    """`fingerprint` says where the answer under `key` is compared with questions, `route` is a label, `said` the text
    that was asked. `vector` is empty where there is no embedder.
    """

    fingerprint: bytes
    route: str
    key: bytes
    said: str
    vector: Sequence[float]


class NoteReader(Protocol):
    """Who makes something of notes: of one Runtime, so that it changes with the configuration."""

    def secret(self, name: str, partition: str) -> bytes:
        """That of answers of a model or route, for those who share the partition."""

    def is_wanted(self, note: Note) -> bool:
        """Whether it is new here."""

    def take(self, note: Note, entry: Entry) -> None:
        """An answer of another gateway, and what is compared with it."""


class Fetched(NamedTuple):
    """A note, and whose answer it is about."""

    note: Note
    partition: str
    secret: bytes


# Reads answers from their places, None where there is none any more. Raises LinkError.
Fetch = Callable[[Sequence[Fetched]], Awaitable[Sequence[Sealed | None]]]


def written(note: Note, secret: bytes) -> bytes:
    """As the stream has it. Raises ValueError for half a character."""
    vector = array("f", note.vector)
    if byteorder != "little":
        vector.byteswap()
    try:
        head = orjson.dumps([note.fingerprint.hex(), note.route, note.key.hex(), note.said])
    except TypeError as error:
        raise ValueError("its text has no form") from error
    return closed(b"%b%b%b" % (len(head).to_bytes(4), head, vector.tobytes()), secret)


def read(data: bytes, secret: bytes) -> Note:
    """Raises ForgedError."""
    plain = opened(data, secret, _MOST_BYTES)
    try:
        upto = 4 + int.from_bytes(plain[:4])
        fingerprint, route, key, said = orjson.loads(plain[4:upto])
        vector = array("f")
        vector.frombytes(plain[upto:])
        if byteorder != "little":
            vector.byteswap()
        return Note(bytes.fromhex(fingerprint), str(route), bytes.fromhex(key), str(said), vector.tolist())
    except (ValueError, TypeError) as error:
        raise ForgedError("no note of this version") from error


class NoteFollower:
    """Reads notes on a connection of its own, while there is a `reader`."""

    def __init__(self, url: str, key: str, fetch: Fetch, chance: Callable[[], float]) -> None:
        self.reader: NoteReader | None = None
        self.taken = 0
        self._listener = Listener(url, chance)
        self._stream = f"{key}:notes"
        self._fetch = fetch
        self._is_wanted = asyncio.Event()
        self._last = _FIRST  # the last note that was read

    def use(self, reader: NoteReader | None) -> None:
        """From now on; None where nothing is answered by meaning. Who comes after nobody is told everything anew."""
        if self.reader is None:
            self._last = _FIRST
        self.reader = reader
        if reader is not None:
            self._is_wanted.set()
        else:
            self._is_wanted.clear()

    async def run(self) -> None:
        """Until cancelled; without Redis, try again every now and then."""
        await self._listener.run(self._follow)

    async def _follow(self, connection: AbstractConnection) -> None:
        await self._is_wanted.wait()
        while self.reader is not None:
            async with asyncio.timeout(ANSWER_S):
                await connection.send_command(
                    "XREAD", "BLOCK", BLOCK_MS, "COUNT", 4 * _AT_ONCE, "STREAMS", self._stream, self._last
                )
                found = await connection.read_response()
                rows = found[0][1] if found else []
            for at in range(0, len(rows), _AT_ONCE):
                await self._take(rows[at : at + _AT_ONCE])
                self._last = rows[at : at + _AT_ONCE][-1][0]

    async def _take(self, rows: Sequence[Any]) -> None:
        reader = self.reader
        if reader is None:
            return
        wanted = []
        for _, members in rows:
            try:
                facts = dict(zip(members[::2], members[1::2], strict=True))
                name, partition = orjson.loads(facts[b"whose"])
                secret = reader.secret(name, partition)
                note = read(facts[b"note"], secret)
            except (ValueError, TypeError, LookupError, AttributeError):
                continue  # of another configuration, another version, or made up
            if reader.is_wanted(note):
                wanted.append(Fetched(note, partition, secret))
        if not wanted:
            return
        for one, kept in zip(wanted, await self._fetch(wanted), strict=True):
            if kept is not None:
                reader.take(one.note, kept.entry)
                self.taken += 1
                await asyncio.sleep(0)  # taking a text apart costs as much as a small request
