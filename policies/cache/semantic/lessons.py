"""What a namespace was taught, in a form that other processes can learn from: no word of any prompt is in it."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import inf, isfinite
from struct import Struct, error
from typing import Any, Final, TypeAlias

import orjson

from policies.cache.semantic.rows import NAMES

_FORMAT = b"1"
_FAMILY_BYTES = 9
# Right, blocked, served; weight, family, row, length of the key that was kept.
_HEAD: Final = Struct(f"<Bf{_FAMILY_BYTES}s{len(NAMES)}fB")
_RIGHT, _BLOCKED, _SERVED = 1, 2, 4
_LESSON, _STATE = b"L", b"S"
_MOST_WEIGHT = 1e6


@dataclass(slots=True, frozen=True)
class Lesson:
    """Whether the answer under the key `kept` was right for another question, whose own answer is under `asked` (empty
    where it has none). `family`, `row` and `is_blocked` are those of the look-up, `is_served` tells a check of a hit,
    which stands for `weight` look-ups.
    """

    kept: bytes
    asked: bytes
    family: str
    row: tuple[float, ...]
    is_right: bool
    is_blocked: bool = False
    is_served: bool = False
    weight: float = 1.0


@dataclass(slots=True, frozen=True)
class State:
    """What a namespace made of its lessons up to now. `doubted`: families that were wrong at least once, with their
    right and wrong labels; `counts`: hits, right and wrong checks of them.
    """

    threshold: float
    found: float
    weights: tuple[float, ...]
    since: int
    doubted: tuple[tuple[str, float, float], ...]
    counts: tuple[float, float, float]


Record: TypeAlias = Lesson | State


@cache
def format_id() -> bytes:
    """Lessons of gateways that agree on it can be learnt from: theirs were made with the same tables and features."""
    found = sha256(_FORMAT + orjson.dumps(NAMES))
    for table in ("lexical.json", "with_cosine.json"):
        found.update(files("policies.cache.semantic").joinpath("tables", table).read_bytes())
    return found.digest()


def to_bytes(record: Record) -> bytes:
    """For `from_bytes`; a lesson takes some 130 bytes."""
    if isinstance(record, State):
        return _STATE + orjson.dumps(
            [
                None if record.threshold == inf else record.threshold,
                None if record.found == inf else record.found,
                record.weights,
                record.since,
                record.doubted,
                record.counts,
            ]
        )
    flags = _RIGHT * record.is_right | _BLOCKED * record.is_blocked | _SERVED * record.is_served
    family = bytes.fromhex(record.family)
    head = _HEAD.pack(flags, record.weight, family, *record.row, len(record.kept))
    return _LESSON + head + record.kept + record.asked


def from_bytes(data: bytes) -> Record:
    """Raises ValueError for what is nothing of this version."""
    try:
        if data[:1] == _STATE:
            return _state(orjson.loads(data[1:]))
        if data[:1] != _LESSON:
            raise ValueError("neither a lesson nor what was made of some")
        flags, weight, family, *row, length = _HEAD.unpack_from(data, 1)
        keys = data[1 + _HEAD.size :]
        if len(keys) < length or not 0 < weight <= _MOST_WEIGHT or not all(map(isfinite, row)):
            raise ValueError("a lesson with impossible numbers")
    except (error, TypeError, LookupError) as problem:
        raise ValueError("half a lesson") from problem
    is_right, is_blocked, is_served = (bool(flags & one) for one in (_RIGHT, _BLOCKED, _SERVED))
    return Lesson(keys[:length], keys[length:], family.hex(), tuple(row), is_right, is_blocked, is_served, weight)


def _state(told: Any) -> State:
    threshold, found, weights, since, doubted, counts = told
    if len(weights) != len(NAMES) or len(counts) != 3:
        raise ValueError("weights of other features")
    return State(
        inf if threshold is None else float(threshold),
        inf if found is None else float(found),
        tuple(map(float, weights)),
        int(since),
        tuple((str(name), float(right), float(wrong)) for name, right, wrong in doubted),
        (float(counts[0]), float(counts[1]), float(counts[2])),
    )
