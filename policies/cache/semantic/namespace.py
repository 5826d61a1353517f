"""The entries whose answers may be given to like questions, and all that was learnt about them.

One namespace holds what was asked under the same conditions (callers, model, system prompt, history, parameters), so
that only the last text differs. It serves nothing until labels show that it may.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, log1p
from typing import Any

from policies.cache.semantic.features import features
from policies.cache.semantic.guards import Guard, refusal
from policies.cache.semantic.layer import Labelled, Prior, fit, logit_of
from policies.cache.semantic.lexical import Lexical
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.templates import Templates, family
from policies.cache.semantic.text import Text
from policies.cache.semantic.threshold import interval, lowest
from policies.cache.semantic.vectors import Vectors
from policies.cache.semantic.verifier import Verifier

_CANDIDATES = 5
_LEAST_COSINE = 0.70
_LABELS = 1_200
_REFIT = 150
_FOLDS = 5
_Z = 1.28
_PRIOR = Prior(
    weights=(-3.0, 1.0, 0.0, 0.0, 0.5, -0.5, 0.5, -0.5),
    curvature=tuple(tuple(0.1 if i == j else 0.0 for j in range(8)) for i in range(8)),
)


@dataclass(slots=True)
class _Entry:
    key: bytes
    text: Text
    uses: int = 0
    right: float = 0.0
    wrong: float = 0.0


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


@dataclass(slots=True)
class Namespace:
    """`random` gives numbers from 0 to 1, evenly. Not for several threads."""

    rules: SemanticRules
    has_embedder: bool
    random: Callable[[], float]
    threshold: float = inf
    hits: int = 0
    _checked: float = 0.0
    _wrong: float = 0.0
    _since_fit: int = 0
    _weights: list[float] = field(default_factory=lambda: list(_PRIOR.weights))
    _labelled: deque[Labelled] = field(default_factory=lambda: deque(maxlen=_LABELS))
    _templates: Templates = field(default_factory=Templates)
    _lexical: Lexical = field(default_factory=Lexical)
    _vectors: Vectors = field(default_factory=Vectors)
    _entries: dict[int, _Entry] = field(default_factory=dict)
    _places: dict[bytes, int] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        self._verifier = Verifier.load(self.has_embedder)

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, asked: Text, vector: Sequence[float] | None = None) -> Look:
        """`vector` of the text if and only if there is an embedder."""
        if not asked.is_fit:
            return Look((), None, self.threshold, is_served=False, needs_label=False, weight=1.0)
        candidates = tuple(self._candidate(asked, place, cosine) for place, cosine in self._nearest(asked, vector))
        best = max(
            (one for one in candidates if one.score is not None),
            key=lambda one: (not one.is_blocked, one.score),
            default=None,
        )
        is_served = best is not None and not best.is_blocked and (best.score or 0.0) >= self.threshold
        if not is_served or best is None:
            return Look(candidates, best, self.threshold, is_served=False, needs_label=best is not None, weight=1.0)
        self.hits += 1
        self._entries[self._places[best.key]].uses += 1
        is_checked = self.random() < self.rules.shadow_share
        weight = 1.0 / self.rules.shadow_share if is_checked else 1.0
        return Look(candidates, best, self.threshold, is_served=True, needs_label=is_checked, weight=weight)

    def pair(self, asked: Text, key: bytes, vector: Sequence[float] | None = None) -> Look | None:
        """A look-up that finds just this entry, to learn from; None where it is gone."""
        place = self._places.get(key)
        if place is None:
            return None
        cosine = None if vector is None else self._vectors.cosines(vector, [place])[0]
        one = self._candidate(asked, place, cosine)
        best = one if one.score is not None else None
        return Look((one,), best, self.threshold, is_served=False, needs_label=False, weight=1.0)

    def add(self, key: bytes, text: Text, vector: Sequence[float] | None = None) -> None:
        """An answer is kept under `key`. In place of the one that was."""
        self.drop(key)
        if not text.is_fit:
            return
        if len(self._entries) >= self.rules.max_entries:
            self._evict()
        place = self._free.pop() if self._free else len(self._entries)
        self._entries[place] = _Entry(key, text)
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

    def learn(self, look: Look, is_right: bool, weight: float = 1.0, stored_as: bytes | None = None) -> None:
        """Whether the answer of `look.best` was right. `stored_as`: the key under which the fresh answer was added."""
        del stored_as
        best = look.best
        if best is None:
            return
        if look.is_served:
            self._checked += weight
            self._wrong += 0.0 if is_right else weight
        place = self._places.get(best.key)
        if place is not None:
            entry = self._entries[place]
            if is_right:
                entry.right += 1.0
            else:
                entry.wrong += 1.0
        self._templates.learn(best.family, is_right=is_right)
        if best.is_blocked:
            return
        self._labelled.append(Labelled(best.row, is_right, weight))
        self._since_fit += 1
        if self._since_fit >= _REFIT:
            self._refit()

    def measured(self) -> Measured:
        """By the checks of hits, each of which stands for several."""
        share = self.rules.shadow_share
        lower, upper = interval(self._wrong * share, self._checked * share, _Z)
        return Measured(self.hits, self._checked, self._wrong, lower, upper)

    def to_bytes(self) -> bytes:
        """What was learnt, without entries."""
        state = {
            "threshold": None if self.threshold == inf else self.threshold,
            "weights": self._weights,
            "labelled": [(one.row, one.is_right, one.weight) for one in self._labelled],
            "templates": self._templates.state(),
            "counts": [self.hits, self._checked, self._wrong, self._since_fit],
        }
        return json.dumps(state).encode()

    def from_bytes(self, state: bytes) -> None:
        """In place of what was learnt."""
        loaded: dict[str, Any] = json.loads(state)
        self.threshold = inf if loaded["threshold"] is None else loaded["threshold"]
        self._weights = loaded["weights"]
        self._labelled = deque((Labelled(tuple(row), *rest) for row, *rest in loaded["labelled"]), maxlen=_LABELS)
        self._templates.restore([tuple(one) for one in loaded["templates"]])
        self.hits, self._checked, self._wrong, self._since_fit = loaded["counts"]

    def _nearest(self, asked: Text, vector: Sequence[float] | None) -> list[tuple[int, float | None]]:
        if vector is not None and self._vectors.is_searchable:
            return [*self._vectors.nearest(vector, _CANDIDATES, _LEAST_COSINE)]
        places = self._lexical.nearest(asked.words, _CANDIDATES)
        if vector is None:
            return [(place, None) for place in places]
        return [*zip(places, self._vectors.cosines(vector, places), strict=True)]

    def _candidate(self, asked: Text, place: int, cosine: float | None) -> Candidate:
        entry = self._entries[place]
        guard = refusal(asked, entry.text)
        if guard is not None:
            return Candidate(entry.key, guard, cosine, None, is_blocked=False, family="", row=())
        name = family(asked, entry.text)
        right, wrong = self._templates.counts(name)
        row = (
            1.0,
            self._verifier.logit(features(asked, entry.text, cosine)),
            0.0 if cosine is None else 10.0 * (cosine - 0.85),
            self._overlap(asked, entry.text),
            log1p(entry.right),
            log1p(entry.wrong),
            log1p(right),
            log1p(wrong),
        )
        score = logit_of(self._weights, row)
        return Candidate(entry.key, None, cosine, score, self._templates.is_blocked(name), name, row)

    def _overlap(self, asked: Text, kept: Text) -> float:
        ours, theirs = set(asked.words), set(kept.words)
        shared = sum(map(self._lexical.idf, ours & theirs))
        return shared / (sum(map(self._lexical.idf, ours | theirs)) or 1.0)

    def _evict(self) -> None:
        """The one that was used least, and of those the oldest."""
        victim = min(self._entries.values(), key=lambda entry: entry.uses)
        self.drop(victim.key)

    def _refit(self) -> None:
        self._since_fit = 0
        observed = list(self._labelled)
        scored: list[tuple[float, bool, float]] = []
        for fold in range(_FOLDS):
            weights = fit(_PRIOR, (one for at, one in enumerate(observed) if at % _FOLDS != fold), self._weights)
            scored += [(logit_of(weights, one.row), one.is_right, one.weight) for one in observed[fold::_FOLDS]]
        self._weights = fit(_PRIOR, observed, self._weights)
        self.threshold = lowest(scored, self.rules.max_wrong_hits, _Z)
