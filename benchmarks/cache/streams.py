"""The labelled request streams, and what becomes of a policy that is asked them one after the other."""

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.cache.normal import normal
from policies.cache.semantic.namespace import Namespace
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.text import Text, analyse

_ROOT = Path(__file__).resolve().parents[2]
NAMES = ("gw", "banking77", "clinc")
Vector = NDArray[np.float32]


@dataclass(slots=True, frozen=True)
class Asked:
    """One request. `normal` is what the tier before sees of it; two may share an answer where `answer` is equal."""

    text: str
    normal: str
    answer: str


def folder() -> Path:
    """Where the files are; it may not exist."""
    return Path(os.environ.get("SIGNALBOX_SHARED", _ROOT.parent / "shared")) / "cache"


@cache
def stream(name: str) -> tuple[Asked, ...]:
    """In the order of the file."""
    lines = (folder() / f"stream_{name}.jsonl").read_text("utf-8").splitlines()
    return tuple(Asked(row["q"], normal(row["q"]) or row["q"], row["c"]) for row in map(json.loads, lines))


@cache
def text_of(text: str) -> Text:
    return analyse(text)


class Vectors:
    """Vectors of texts, made once by `python -m benchmarks.cache.embed`: `texts.json` and `embeddings.npy`."""

    def __init__(self, where: Path) -> None:
        texts = json.loads((where / "texts.json").read_bytes())
        self._rows = {text: at for at, text in enumerate(texts)}
        self._matrix: Any = np.load(where / "embeddings.npy")

    def __getitem__(self, text: str) -> Vector:
        row: Vector = self._matrix[self._rows[text]]
        return row


class Replayed(NamedTuple):
    """A request that a policy was asked for. `answers` are those of all requests; earlier ones may be compared with
    that of `at`.
    """

    at: int
    asked: Asked
    answers: Sequence[str]


class Policy(Protocol):
    """`look` gives the number of the earlier request whose answer is given, None for a miss; `learn` follows."""

    def look(self, asked: Asked) -> int | None: ...

    def learn(self, now: Replayed) -> None: ...


@dataclass(slots=True)
class Score:
    """Shares of all `requests`: answered by the normalised tier, by the policy behind it, and wrong ones of both."""

    requests: int
    normal_hits: int = 0
    normal_wrong: int = 0
    hits: int = 0
    wrong: int = 0
    checks: int = 0
    curve: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def hit_share(self) -> float:
        return (self.normal_hits + self.hits) / self.requests

    @property
    def wrong_of_hits(self) -> float:
        return (self.normal_wrong + self.wrong) / max(1, self.normal_hits + self.hits)

    @property
    def wrong_of_policy(self) -> float:
        return self.wrong / max(1, self.hits)

    def as_json(self) -> dict[str, float | int]:
        return {
            "requests": self.requests,
            "hits": round(self.hit_share, 4),
            "wrong_of_hits": round(self.wrong_of_hits, 5),
            "policy_hits": round(self.hits / self.requests, 4),
            "policy_wrong_of_hits": round(self.wrong_of_policy, 5),
            "checks": self.checks,
        }


def replay(policy: Policy | None, asked: Sequence[Asked], *, has_normal: bool = True) -> Score:
    """With an empty cache at the start. None: only the normalised tier, which `has_normal` puts before the policy."""
    score = Score(len(asked))
    answers = [one.answer for one in asked]
    kept: dict[str, int] = {}
    for at, one in enumerate(asked):
        earlier = kept.get(one.normal) if has_normal else None
        if earlier is not None:
            score.normal_hits += 1
            score.normal_wrong += answers[earlier] != one.answer
            continue
        found = None if policy is None else policy.look(one)
        if found is not None:
            score.hits += 1
            score.wrong += answers[found] != one.answer
        else:
            kept[one.normal] = at
        if policy is not None:
            policy.learn(Replayed(at, one, answers))
        if at % 250 == 249:
            score.curve.append((at + 1, score.normal_hits + score.hits, score.normal_wrong + score.wrong))
    if isinstance(policy, Semantic):
        score.checks = policy.checks
    return score


class Semantic:
    """The namespace under test. `wrong_labels`: share of labels that are turned round."""

    def __init__(self, vectors: Vectors | None, most_wrong: float, seed: int, wrong_labels: float = 0.0) -> None:
        self.namespace = Namespace(
            SemanticRules(max_wrong_hits=most_wrong), vectors is not None, random.Random(seed).random
        )
        self.checks = 0
        self._vectors = vectors
        self._noise = random.Random(seed + 1)
        self._wrong_labels = wrong_labels
        self._look: Any = None

    def look(self, asked: Asked) -> int | None:
        vector = None if self._vectors is None else self._vectors[asked.text]
        self._look = self.namespace.look(text_of(asked.text), vector)
        return int(self._look.best.key) if self._look.is_served else None

    def learn(self, now: Replayed) -> None:
        look, asked = self._look, now.asked
        if not look.is_served:
            vector = None if self._vectors is None else self._vectors[asked.text]
            self.namespace.add(b"%d" % now.at, text_of(asked.text), vector)
        if look.needs_label:
            self.checks += look.is_served
            is_right = now.answers[int(look.best.key)] == asked.answer
            if self._noise.random() < self._wrong_labels:
                is_right = not is_right
            self.namespace.learn(look, is_right, look.weight)
