"""The tier that answers a question with the answer to another that means the same, where that was shown to be right.

What is compared, and when it may be served, is decided in policies/cache/semantic; here it meets the answers in memory,
the embedder and the calls that show whether it was right.
"""

from collections.abc import Callable, Collection
from hashlib import sha256
from math import exp
from typing import Any

from gateway.caching.own_calls import OwnCalls
from gateway.caching.question import Question
from gateway.caching.semantic.labels import Asked, Labels
from gateway.caching.semantic.spaces import Spaces
from gateway.caching.semantic.vectors import Embedder, Vector
from gateway.caching.tiers import Found
from policies.cache.semantic.fit import Unfit, fingerprint, last_text, unfit_text
from policies.cache.semantic.namespace import Look
from policies.cache.semantic.settings import SemanticChoice, SemanticSettings
from policies.cache.semantic.text import Text, analyse
from policies.cache.shelf import Entry, Shelf
from policies.outcome import CacheUse

# Candidates whose answers have left memory unnoticed, in one look-up.
_MOST_GONE = 3


class Prepared:
    """One question as this tier sees it, and what it found. (A `tiers.Look`.)"""

    __slots__ = ("_tier", "candidate", "fingerprint", "found", "look", "said", "text", "vector", "whose")

    def __init__(
        self,
        tier: "SemanticTier",
        fingerprint: bytes,
        said: str,
        text: Text,
        vector: Vector | None,
        whose: tuple[str, str, str],
    ) -> None:
        self._tier = tier
        self.said = said
        self.fingerprint = fingerprint
        self.text = text
        self.vector = vector
        self.whose = whose
        self.look: Look | None = None
        self.candidate: tuple[Entry, Text] | None = None  # the best one, where memory still has it
        self.found: Found | None = None

    def keep(self, entry: Entry) -> None:
        """Compared with from now on; and a label, where there was a candidate."""
        self._tier.keep(self, entry)


class SemanticTier:
    """Against one Runtime; `spaces`, `shelf` and `labels` outlive it. `names` are the models and routes that may be
    labels. `is_under_way` tells whether somebody asks for the same already. `wall_clock` gives Unix seconds. `on_error`
    gets faults of ours.
    """

    def __init__(
        self,
        choice: SemanticChoice,
        spaces: Spaces,
        shelf: Shelf,
        labels: Labels,
        calls: OwnCalls,
        embedder: Embedder | None,
        names: Collection[str],
        is_under_way: Callable[[bytes], bool],
        wall_clock: Callable[[], float],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._choice = choice
        self._spaces = spaces
        self._shelf = shelf
        self._labels = labels
        self._calls = calls
        self._embedder = embedder
        self._names = names
        self._is_under_way = is_under_way
        self._wall_clock = wall_clock
        self._on_error = on_error
        self.on_new: Callable[[Prepared, Entry], None] | None = None  # is told of what is compared with from now on
        self.on_look: Callable[[bytes], None] = lambda _: None  # is told where something is looked up
        self._salts: dict[int, bytes] = {}

    async def look(self, question: Question) -> Prepared | None:
        """See `tiers.Tier`."""
        try:
            return await self._look(question)
        except Exception as error:  # a fault of ours in reading a text is no reason to leave a question unanswered
            self._on_error(error)
            return None

    def renewal(self, _: Question) -> None:
        """What is new under an old key is not compared with until it is asked for again."""

    async def _look(self, question: Question) -> Prepared | None:
        settings = self._choice.of(question.name)
        if settings is None:
            return None
        prepared = await self.prepare(question, settings)
        if type(prepared) is not Prepared or self._is_under_way(question.key):
            return None
        self.search(prepared, question, settings)
        look, candidate = prepared.look, prepared.candidate
        if look is None or candidate is None or not look.is_served or look.best is None:
            return prepared
        entry, kept_text = candidate
        score = 1.0 / (1.0 + exp(-min(700.0, max(-700.0, look.best.score or 0.0))))
        prepared.found = Found(entry, CacheUse.SEMANTIC, b"x-signalbox-cache-score: %.4f\r\n" % score)
        asked = Asked(prepared.fingerprint, look, prepared.text, kept_text, prepared.whose[1])
        self._labels.note_hit(question.caller.name, question.request.request_id, asked, entry)
        if look.needs_label and question.wish.may_ask:
            self._labels.check(self._calls, question.request, question.caller, question.headers, asked, entry)
        return prepared

    async def prepare(self, question: Question, settings: SemanticSettings) -> Prepared | Unfit | None:
        """The question taken apart, why it is not answered here, or None where there is no vector in time."""
        body = question.request.body
        said = last_text(question.request.operation, body, settings)
        if isinstance(said, Unfit):
            return said
        text = analyse(said)
        wrong = unfit_text(text, settings, body)
        if wrong is not None:
            return wrong
        vector: Vector | None = None
        if self._embedder is not None:
            vector = await self._embedder.vector(said, question.caller, question.request.request_id)
            if vector is None:
                return None
        salt = self._salt(settings)
        found = fingerprint(question.name, body, question.partition, question.more, text, salt)
        route = question.name if question.name in self._names else "direct"
        return Prepared(self, found, said, text, vector, (question.partition, route, question.name))

    def search(self, prepared: Prepared, question: Question, settings: SemanticSettings) -> None:
        """Look for what means the same, and whether memory still has it, young enough for everybody."""
        space = self._spaces.find(prepared.fingerprint)
        if space is None:
            return
        self.on_look(prepared.fingerprint)
        youngest_s = self._wall_clock() - min(settings.ttl_s, question.wish.max_age_s)
        for _ in range(_MOST_GONE):
            look = space.namespace.look(prepared.text, prepared.vector)
            prepared.look = look
            if look.best is None:
                return
            key = look.best.key
            entry, text = self._shelf.get(key), self._spaces.text_of(key)
            is_ours = entry is not None and (entry.partition, entry.name) == (question.partition, question.name)
            if entry is not None and is_ours and text is not None and entry.stored_s >= youngest_s:
                prepared.candidate = entry, text
                return
            if entry is not None and is_ours and entry.stored_s >= self._wall_clock() - settings.ttl_s:
                return  # too old for this caller only
            self._spaces.drop(key)

    def keep(self, prepared: Prepared, entry: Entry) -> None:
        """See `tiers.Look`."""
        try:
            self._keep(prepared, entry)
        except Exception as error:
            self._on_error(error)

    def _keep(self, prepared: Prepared, entry: Entry) -> None:
        settings = self._choice.of(entry.name)
        if settings is None or entry.finish_reason != "stop" or entry.key not in self._shelf:
            return
        rules, vector = settings.rules, prepared.vector
        self._spaces.add(prepared.fingerprint, rules, prepared.whose, entry.key, prepared.text, vector)
        if self.on_new is not None:
            self.on_new(prepared, entry)
        look, candidate = prepared.look, prepared.candidate
        if look is not None and candidate is not None:
            asked = Asked(prepared.fingerprint, look, prepared.text, candidate[1], prepared.whose[1])
            self._labels.compare(asked, entry, candidate[0])

    def has(self, key: bytes) -> bool:
        """Whether the answer under this key is compared with."""
        return self._spaces.text_of(key) is not None

    def take(self, fingerprint: bytes, route: str, said: str, vector: Vector | None, entry: Entry) -> None:
        """Another gateway made this answer, and memory has it: compared with from now on. It is no label."""
        try:
            settings = self._choice.of(entry.name)
            if settings is None or entry.finish_reason != "stop" or entry.key not in self._shelf:
                return
            if (vector is None) is (self._embedder is None):
                whose = entry.partition, route, entry.name
                self._spaces.add(fingerprint, settings.rules, whose, entry.key, analyse(said), vector)
        except Exception as error:
            self._on_error(error)

    async def explain(self, question: Question) -> dict[str, Any]:
        """What it would do with the question now, and why; nothing is counted."""
        settings = self._choice.of(question.name)
        if settings is None:
            return {"decided_by": Unfit.OFF}
        prepared = await self.prepare(question, settings)
        if prepared is None:
            return {"decided_by": "no_vector"}
        if isinstance(prepared, Unfit):
            return {"decided_by": prepared}
        self.search(prepared, question, settings)
        look, space = prepared.look, self._spaces.find(prepared.fingerprint)
        if look is None or space is None:
            return {"decided_by": "nothing_asked_alike", "compared_with": 0}
        space.namespace.hits -= look.is_served
        return {"decided_by": _reason(look, prepared.candidate is not None), "compared_with": len(space.namespace)} | {
            "threshold": _number(look.threshold),
            "labels": space.labels,
            "candidates": [
                {
                    "entry": one.key[:8].hex(),
                    "guard": one.guard,
                    "is_blocked": one.is_blocked,
                    "cosine": _number(one.cosine),
                    "score": _number(one.score),
                }
                for one in look.candidates
            ],
        }

    def _salt(self, settings: SemanticSettings) -> bytes:
        """What is learnt holds for one target and one embedder."""
        salt = self._salts.get(id(settings))
        if salt is None:
            embedder_id = b"" if self._embedder is None else self._embedder.id
            salt = self._salts[id(settings)] = sha256(embedder_id + repr(settings.rules).encode()).digest()
        return salt


def _reason(look: Look, has_answer: bool) -> str:
    """In a word, of a closed set: who decided."""
    if look.best is None:
        return "guard" if look.candidates else "nothing_alike"
    if not has_answer:
        return "answer_gone"
    if look.is_served:
        return "served"
    if look.best.is_blocked:
        return "wrong_before"
    return "not_learnt" if look.threshold == float("inf") else "score"


def _number(value: float | None) -> float | None:
    return None if value is None or abs(value) == float("inf") else round(value, 4)
