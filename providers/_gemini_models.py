"""What differs between Gemini's model generations, read from the model's name.

Levels and budgets: https://ai.google.dev/gemini-api/docs/thinking and
https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

_NAME = re.compile(r"gemini-(?P<major>\d+)(?:\.(?P<minor>\d+))?(?:-|$)")
# Names without a number ("gemini-flash-latest") point at the newest models, which are of the third generation or later.
_NEWEST = (99, 0)
_LAST_MINIMAL_FLASH = (3, 6)  # "Gemini 3.7 Flash: LOW, MEDIUM, HIGH"; up to 3.6 MINIMAL was there too

# "behind the scenes we map to 1K, 8K, and 24K": what Google's own compatible endpoint does with an effort.
# https://ai.google.dev/gemini-api/docs/openai#thinking
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}


@dataclass(slots=True, frozen=True)
class Thinking:
    """How an effort is said to a model: a level, a budget in tokens, or (both None) not at all."""

    level: str | None = None
    budget: int | None = None
    is_exact: bool = True  # False: the model has only a neighbour of what was asked


@dataclass(slots=True, frozen=True)
class Traits:
    """`thinking` tells which control a model has; `is_strict` that calls must carry ids and thought signatures."""

    version: tuple[int, int]
    is_pro: bool
    is_lite: bool
    thinking: Literal["level", "budget", "none"]

    @property
    def is_strict(self) -> bool:
        return self.thinking == "level"

    def effort(self, effort: str) -> Thinking:
        """The control for one of OpenAI's efforts: none, minimal, low, medium, high, xhigh or max."""
        if self.thinking == "level":
            return self._level(effort)
        if self.thinking == "budget":
            return self._budget(effort)
        return Thinking(is_exact=False)

    def _level(self, effort: str) -> Thinking:
        if effort in ("none", "minimal"):
            has_minimal = not self.is_pro and (self.is_lite or self.version <= _LAST_MINIMAL_FLASH)
            # Thinking of these models cannot be turned off; the least there is comes nearest.
            return Thinking("minimal" if has_minimal else "low", is_exact=has_minimal and effort == "minimal")
        if effort == "medium" and self.is_pro and self.version == (3, 0):
            return Thinking("high", is_exact=False)  # "Gemini 3 Pro: low, high"
        if effort in ("low", "medium", "high"):
            return Thinking(effort)
        return Thinking("high", is_exact=False)

    def _budget(self, effort: str) -> Thinking:
        # Ranges: 2.5 Pro 128-32768 and never off, Flash 0-24576, Flash-Lite 0 or 512-24576.
        if effort == "none":
            return Thinking(budget=128, is_exact=False) if self.is_pro else Thinking(budget=0)
        if effort in _BUDGETS:
            return Thinking(budget=_BUDGETS[effort])
        return Thinking(budget=32768 if self.is_pro else 24576, is_exact=self.is_pro)


@lru_cache(maxsize=1024)
def traits(model: str) -> Traits:
    """What is known of a model by its name, with or without `models/`."""
    name = model.rpartition("/")[2].lower()
    found = _NAME.match(name)
    version = (int(found["major"]), int(found["minor"] or 0)) if found else _NEWEST
    thinking: Literal["level", "budget", "none"]
    if not name.startswith("gemini-") or version < (2, 5):
        thinking = "none"
    else:
        thinking = "level" if version[0] >= 3 else "budget"
    return Traits(version, is_pro="-pro" in name, is_lite="-lite" in name, thinking=thinking)
