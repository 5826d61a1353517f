"""The entries whose answers may be given to like questions, and all that was learnt about them.

One namespace holds what was asked under the same conditions (callers, model, system prompt, history, parameters), so
that only the last text differs. It serves nothing until labels show that it may.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from policies.cache.semantic.features import features
from policies.cache.semantic.guards import Guard, refusal
from policies.cache.semantic.layer import Labelled, Prior
from policies.cache.semantic.learner import Learner, Z
from policies.cache.semantic.lessons import Lesson, Record, State
from policies.cache.semantic.lexical import Lexical
from policies.cache.semantic.rows import NAMES, Counts, row_of
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.templates import Templates, family
from policies.cache.semantic.text import Text
from policies.cache.semantic.threshold import interval
from policies.cache.semantic.vectors import Vectors
from policies.cache.semantic.verifier import Verifier

_T = TypeVar("_T")
_CANDIDATES = 5
_LEAST_COSINE = 0.70
_LEXICAL_POOL = 32
_HAND = 32  # places that are looked at for one to give up
_DOUBTED = 2_000  # families of a State
_RECENT = 256  # texts whose answer may be kept before or after it is known whom it is like
PRIOR = Prior(
    weights=(-3.0, 1.0, 0.0, 0.0, 0.5, -0.5, 0.5, -0.5, 0.5, -0.5, 1.0, 0.5),
    curvature=tuple(tuple(0.1 if i == j else 0.0 for j in range(len(NAMES))) for i in range(len(NAMES))),
)


@dataclass(slots=True)
class _Entry:
    """`group`: entries of one group are known to be answered alike. `value`: how often it was of use, lately."""

    key: bytes
    text: Text
    group: Counts
    counts: Counts
    value: float = 0.0


@dataclass(slots=True, frozen=True)
class Candidate:
    """One kept answer that might do. `score` is the log odds of being right; None where a guard refuses it.

    `is_blocked`: texts of these two wordings were answered differently, too often and too lately.
    """

    key: bytes
    guard: Guard | None
    cosine: float | None
    score: float | None
    is_blocked: bool
    family: str
    row: tuple[float, ...]


@dataclass(slots=True, frozen=True)
class Look:
    """What a look-up found. `candidates` nearest first; `best` is the one that no guard refuses with the highest score.

    `is_served`: the answer of `best` may be given. `needs_label`: whoever gets a fresh answer all the same is asked to
    compare it with that of `best` and to tell by `Namespace.learn(look, is_right, look.weight)`: every miss with a
    `best`, and some of the hits, which count for those that were not checked.
    """

    asked: Text
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    threshold: float
    is_served: bool
    needs_label: bool
    weight: float


@dataclass(slots=True, frozen=True)
class Measured:
    """`hits` served so far, `checked` of them, `wrong` of those; ends of the interval of the share of wrong ones."""

    hits: int
    checked: float
    wrong: float
    lower: float
    upper: float


class Namespace:
    """`random` gives numbers from 0 to 1, evenly. Not for several threads."""

    def __init__(self, rules: SemanticRules, has_embedder: bool, random: Callable[[], float]) -> None:
        self.rules = rules
        self.has_embedder = has_embedder
        self.hits = 0
        self._random = random
        self._checked = Counts()
        self._learner = Learner(PRIOR, rules.max_wrong_hits)
        self._templates = Templates()
        self._lexical = Lexical()
        self._vectors = Vectors(rules.max_entries)
        self._entries: dict[int, _Entry] = {}
        self._places: dict[bytes, int] = {}
        self._free: list[int] = []
        self._hand = 0
        self._recent: OrderedDict[int, tuple[Text, int]] = OrderedDict()
        self._alike: OrderedDict[int, tuple[Text, Counts]] = OrderedDict()
        self._verifier = Verifier.load(has_embedder)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def threshold(self) -> float:
        """Log odds of being right from which on answers are served; infinite while nothing is."""
        return self._learner.threshold

    def look(self, asked: Text, vector: Sequence[float] | None = None) -> Look:
        """`vector` of the text if and only if there is an embedder."""
        threshold = self._learner.threshold
        if not asked.is_fit or (vector is not None and not self._vectors.fits(vector)):
            return Look(asked, (), None, threshold, is_served=False, needs_label=False, weight=1.0)
        candidates = self._candidates(asked, self._nearest(asked, vector))
        best = _best(candidates)
        if best is None or best.is_blocked or best.score is None or best.score < threshold:
            return Look(asked, candidates, best, threshold, is_served=False, needs_label=best is not None, weight=1.0)
        self.hits += 1
        self._entries[self._places[best.key]].value += 1.0
        is_checked = self._random() < self.rules.shadow_share
        weight = 1.0 / self.rules.shadow_share if is_checked else 1.0
        return Look(asked, candidates, best, threshold, is_served=True, needs_label=is_checked, weight=weight)

    def add(self, key: bytes, text: Text, vector: Sequence[float] | None = None) -> None:
        """An answer is kept under `key`, in place of the one that was.

        With the very object that was looked up it is learnt, before or after, whose answers it is like.
        """
        self.drop(key)
        if not text.is_fit or (vector is not None and not self._vectors.fits(vector)):
            return
        if len(self._entries) >= self.rules.max_entries:
            self._evict()
        place = self._free.pop() if self._free else len(self._entries)
        _, group = self._alike.pop(id(text), (text, Counts()))
        self._entries[place] = _Entry(key, text, group, Counts())
        _remember(self._recent, text, place)
        self._places[key] = place
        self._lexical.add(place, text.words)
        if vector is not None:
            self._vectors.add(place, vector)

    def drop(self, key: bytes) -> None:
        """The answer is gone; what it taught stays."""
        place = self._places.pop(key, None)
        if place is None:
            return
        entry = self._entries.pop(place)
        self._lexical.drop(place, entry.text.words)
        self._vectors.drop(place)
        self._free.append(place)

    def learn(self, look: Look, is_right: bool, weight: float = 1.0) -> None:
        """Whether the answer of `look.best` was right. `weight` as the look-up has it."""
        lesson = lesson_of(look, is_right=is_right, weight=weight)
        if lesson is not None:
            self.take(lesson, look.asked)

    def take(self, lesson: Lesson, asked: Text | None = None) -> None:
        """One label, also of a look-up in another process. `asked` is the very text of one that was made here."""
        if lesson.is_served:
            self._checked.learn(is_right=lesson.is_right)
        place = self._places.get(lesson.kept)
        if place is not None:
            self._learn_entry(self._entries[place], lesson, asked)
        self._templates.learn(lesson.family, is_right=lesson.is_right)
        if not lesson.is_blocked:
            self._learner.learn(Labelled(lesson.row, lesson.is_right, lesson.weight))

    def measured(self) -> Measured:
        """By the checks of hits."""
        checked = self._checked.right + self._checked.wrong
        lower, upper = interval(self._checked.wrong, checked, Z)
        return Measured(self.hits, checked, self._checked.wrong, lower, upper)

    @property
    def fits(self) -> int:
        """How often weights and threshold were made anew."""
        return self._learner.fits

    def state(self) -> State:
        """What was made of all lessons so far."""
        counts = self.hits, self._checked.right, self._checked.wrong
        return State(*self._learner.state(), self._templates.doubted(_DOUBTED), counts)

    def restore(self, records: Iterable[Record]) -> None:
        """In place of what was learnt: lessons in their order, and between them what was made of those before. Entries
        learn nothing of it. Some 10 us each, as nothing is fitted.
        """
        self._learner, self._templates = Learner(PRIOR, self.rules.max_wrong_hits), Templates()
        self.hits, self._checked = 0, Counts()
        for record in records:
            if isinstance(record, State):
                self._learner.restore(record.threshold, record.found, record.weights, record.since)
                for family_counts in record.doubted:
                    self._templates.restore(*family_counts)
                hits, right, wrong = record.counts
                self.hits, self._checked = int(hits), Counts(right, wrong)
                continue
            if record.is_served:
                self._checked.learn(is_right=record.is_right)
            self._templates.learn(record.family, is_right=record.is_right)
            if not record.is_blocked:
                self._learner.note(Labelled(record.row, record.is_right, record.weight))

    def _learn_entry(self, entry: _Entry, lesson: Lesson, asked: Text | None) -> None:
        entry.counts.learn(is_right=lesson.is_right)
        entry.group.learn(is_right=lesson.is_right)
        if not lesson.is_right:
            return
        entry.value += 1.0
        if asked is None:
            added = self._entries.get(self._places.get(lesson.asked, -1))
        else:
            _, place = self._recent.get(id(asked), (asked, -1))
            added = self._entries.get(place)
            if added is None or added.text is not asked:
                _remember(self._alike, asked, entry.group)
                return
        if added is not None and added is not entry:
            added.group = entry.group

    def _nearest(self, asked: Text, vector: Sequence[float] | None) -> list[tuple[int, float | None]]:
        if vector is not None and self._vectors.is_searchable:
            return [*self._vectors.nearest(vector, _CANDIDATES, _LEAST_COSINE)]
        places = self._lexical.nearest(asked.words, _LEXICAL_POOL)
        slots = set(asked.slots)
        ranked = sorted(
            places,
            key=lambda place: (
                slots == set(self._entries[place].text.slots),
                _gram_overlap(asked, self._entries[place].text),
            ),
            reverse=True,
        )[:_CANDIDATES]
        if vector is None:
            return [(place, None) for place in ranked]
        return [*zip(ranked, self._vectors.cosines(vector, ranked), strict=True)]

    def _candidates(self, asked: Text, places: Sequence[tuple[int, float | None]]) -> tuple[Candidate, ...]:
        entries = [self._entries[place] for place, _ in places]
        nearness = [
            _gram_overlap(asked, entry.text) if cosine is None else cosine
            for entry, (_, cosine) in zip(entries, places, strict=True)
        ]
        guards = [refusal(asked, entry.text) for entry in entries]
        found = []
        for at, (entry, guard) in enumerate(zip(entries, guards, strict=True)):
            cosine = places[at][1]
            if guard is not None:
                found.append(Candidate(entry.key, guard, cosine, None, is_blocked=False, family="", row=()))
                continue
            others = [i for i in range(len(entries)) if i != at and guards[i] is None]
            alike = sum(entries[i].group is entry.group for i in others)
            rival = max((nearness[i] for i in others if entries[i].group is not entry.group), default=_LEAST_COSINE)
            name = family(asked, entry.text)
            row = row_of(
                self._verifier.logit(features(asked, entry.text, cosine)),
                cosine,
                self._overlap(asked, entry.text),
                entry.counts,
                self._templates.counts(name),
                entry.group,
                alike / len(others) if others else 0.0,
                nearness[at] - rival,
            )
            is_blocked = self._templates.is_blocked(name)
            found.append(Candidate(entry.key, None, cosine, self._learner.score(row), is_blocked, name, row))
        return tuple(found)

    def _overlap(self, asked: Text, kept: Text) -> float:
        ours, theirs = set(asked.words), set(kept.words)
        shared = sum(map(self._lexical.idf, ours & theirs))
        return shared / (sum(map(self._lexical.idf, ours | theirs)) or 1.0)

    def _evict(self) -> None:
        """Of the next places of a round the one of least use goes; that of the others halves."""
        size = len(self._entries)
        places = [(self._hand + step) % size for step in range(min(_HAND, size))]
        self._hand = (self._hand + len(places)) % size
        victim = min(places, key=lambda place: self._entries[place].value)
        for place in places:
            self._entries[place].value /= 2
        self.drop(self._entries[victim].key)


def lesson_of(look: Look, *, is_right: bool, weight: float = 1.0, asked: bytes = b"") -> Lesson | None:
    """What a look-up teaches, where it had a candidate. `asked` is the key of the fresh answer, where one is kept."""
    best = look.best
    if best is None:
        return None
    return Lesson(best.key, asked, best.family, best.row, is_right, best.is_blocked, look.is_served, weight)


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    """Blocked ones only where there is no other."""
    scored = [one for one in candidates if one.score is not None]
    return max(scored, key=lambda one: (not one.is_blocked, one.score), default=None)


def _remember(recent: OrderedDict[int, tuple[Text, _T]], text: Text, what: _T) -> None:
    """By the identity of a text, which holds as long as it is remembered."""
    recent[id(text)] = (text, what)
    if len(recent) > _RECENT:
        recent.popitem(last=False)


def _gram_overlap(asked: Text, kept: Text) -> float:
    return (asked.grams & kept.grams).bit_count() / ((asked.grams | kept.grams).bit_count() or 1)
