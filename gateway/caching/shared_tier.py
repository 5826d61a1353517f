"""The tier of kept answers in Redis: between the memory of this process and a call of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.caching.bindings import Bindings
from gateway.caching.question import Question
from gateway.caching.semantic.tier import Prepared, SemanticTier
from gateway.caching.shared import Place, RedisAnswers
from gateway.caching.shared_notes import Note
from gateway.caching.tiers import Found
from gateway.memory import Pressure
from gateway.runtime import Runtime
from policies.cache.rules import CacheRules
from policies.cache.sealed import Sealed
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse

_MOST_VECTORS = 64  # of one request: more would take longer than anybody waits
_LEAST_TIMES = 4  # who has less time than this many waits for Redis does not wait for it


@dataclass(slots=True)
class SharedLook:
    """What Redis had for one question, and which purges were known then."""

    found: Found | None
    tier: "RedisTier"
    place: Place
    era: str
    seq: int

    def keep(self, entry: Entry) -> None:
        self.tier.put(entry, self.era, self.seq, self.place)


class MeaningReader:
    """A NoteReader: what other gateways made goes into memory here, and is compared with as if it was made here."""

    def __init__(self, shared: "RedisTier", answers: RedisAnswers, tier: SemanticTier) -> None:
        self._shared = shared
        self._tier = tier
        self.secret = shared.secret
        self.tell = answers.tell
        tier.on_new = self._tell

    def is_wanted(self, note: Note) -> bool:
        return not self._tier.has(note.key)

    def take(self, note: Note, entry: Entry) -> None:
        if self._shared.remember(entry):
            self._tier.take(note.fingerprint, note.route, note.said, note.vector or None, entry)

    def _tell(self, prepared: Prepared, entry: Entry) -> None:
        vector = () if prepared.vector is None else prepared.vector
        self.tell(Note(prepared.fingerprint, prepared.whose[1], entry.key, prepared.said, vector))


class RedisTier:
    """A Tier and a VectorStore over the answers of a namespace, for one Runtime. `wall_clock` gives Unix seconds."""

    def __init__(
        self,
        answers: RedisAnswers,
        runtime: Runtime,
        rules: CacheRules,
        shelf: Shelf,
        wall_clock: Callable[[], float],
        pressure: Pressure,
    ) -> None:
        self._answers = answers
        self._bindings = Bindings(runtime)
        self._rules = rules
        self._shelf = shelf
        self._wall_clock = wall_clock
        self._pressure = pressure

    async def look(self, question: Question) -> SharedLook | None:
        """None where the question has no time for it."""
        if question.timeout_s is not None and question.timeout_s < _LEAST_TIMES * self._answers.wait_s:
            return None
        place = Place(question.key, question.loose_key, question.partition, self._secret(question))
        entry = self._taken(await self._answers.find(place))
        found = None
        if entry is not None:
            found = Found(entry, CacheUse.HIT if entry.key == question.key else CacheUse.NORMALISED)
        log = self._answers.log
        return SharedLook(found, self, place, log.era, log.seq)

    def renewal(self, question: Question) -> SharedLook:
        """The old answer has to go, or it would come back when memory has lost the new one."""
        place, log = Place(question.key, None, question.partition, self._secret(question)), self._answers.log
        return SharedLook(None, self, place, log.era, log.seq)

    async def find(self, question: Question, keys: Sequence[bytes]) -> Sequence[Entry | None]:
        """Embeddings, of requests with few new inputs."""
        if len(keys) > _MOST_VECTORS:
            return [None] * len(keys)
        secret = self._secret(question)
        places = [Place(key, None, question.partition, secret) for key in keys]
        return [self._taken(kept) for kept in await self._answers.find_all(places)]

    def keep(self, entries: Sequence[Entry]) -> None:
        """Embeddings that are new."""
        log = self._answers.log
        for entry in entries[:_MOST_VECTORS]:
            secret = self._bindings.of(entry.asked, entry.partition)
            self.put(entry, log.era, log.seq, Place(entry.key, None, entry.partition, secret))

    def put(self, entry: Entry, era: str, seq: int, place: Place) -> None:
        """Write an answer that saw the purges of `era` up to `seq`."""
        ttl_s = entry.fresh_until_s - self._wall_clock() + self._rules.stale_s
        if ttl_s > 0:
            self._answers.put(entry, era, seq, place, ttl_s)

    def secret(self, name: str, partition: str) -> bytes:
        """That of answers of a model or route, for those who share the partition."""
        return self._bindings.of(name, partition)

    def remember(self, entry: Entry) -> bool:
        """Whether an answer of another gateway is in memory from now on."""
        if not self._pressure.allows_cache_fills or self._wall_clock() >= entry.fresh_until_s:
            return False
        self._shelf.put(entry)
        return True

    def _secret(self, question: Question) -> bytes:
        return self._bindings.of(question.name, question.partition)

    def _taken(self, kept: Sealed | None) -> Entry | None:
        """The entry where it is still fresh. From now on memory has it: also one that may only stand in when everybody
        fails.
        """
        if kept is None:
            return None
        entry, now_s = kept.entry, self._wall_clock()
        if self._pressure.allows_cache_fills and now_s < entry.fresh_until_s + self._rules.stale_s:
            self._shelf.put(entry)
        return entry if now_s < entry.fresh_until_s else None
