"""What a check found, before it is known which line that is: every step of loading speaks of paths or places only."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from config.diagnostics import Severity

_MAX_CANDIDATES = 100  # comparing words is slow
Path = tuple[str | int, ...]


@dataclass(slots=True, frozen=True)
class Span:
    """A place in the text; lines and columns count from 0, the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(slots=True, frozen=True)
class Finding:
    """One problem. Its place is `span`, or the key or value that `path` leads to, or the whole file."""

    severity: Severity
    code: str
    message: str
    path: Path | None = None
    at: Literal["key", "value"] = "value"
    span: Span | None = None
    hint: str | None = None


def dotted(path: Path) -> str:
    """How a path is written in messages: `routes.auto.tiers`, `rules[2].when`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, candidates: Collection[str]) -> str | None:
    """The candidate that was probably meant, or None."""
    import difflib  # noqa: PLC0415 - only broken files need it

    if len(candidates) > _MAX_CANDIDATES:
        alike = (name for name in candidates if name[:1] == word[:1] and abs(len(name) - len(word)) <= 2)
        candidates = sorted(alike)[:_MAX_CANDIDATES]
    by_lower = {candidate.lower(): candidate for candidate in sorted(candidates)}
    near = difflib.get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def suggestion(word: str, candidates: Collection[str], section: str | None = None) -> str | None:
    """A hint for an unknown word: the near name, else all names when they are few, else where to declare it."""
    near = nearest(word, candidates)
    if near is not None:
        return f"Did you mean '{near}'?"
    if 0 < len(candidates) <= 15:
        return f"Known are: {', '.join(sorted(candidates))}."
    return f"Declare it under '{section}'." if section is not None else None
