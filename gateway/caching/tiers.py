"""Where more tiers of the cache attach: after what this process has in memory, before anybody is asked.

The order for every question: memory under its key, memory under its normalised text, a call for the same that is under
way, then each Tier in turn, and at last a call of its own, whose answer is put into memory and told to the same tiers.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.caching.question import Question
from policies.cache.shelf import Entry
from policies.outcome import CacheUse


class Found(NamedTuple):
    """A kept answer that fits, and as what it counts. `head_lines` are finished header lines of its own."""

    entry: Entry
    use: CacheUse
    head_lines: bytes = b""


class Look(Protocol):
    """What one tier knows about one question from the look-up to the answer."""

    @property
    def found(self) -> Found | None:
        """What it would answer; None where it has nothing."""

    def keep(self, entry: Entry) -> None:
        """Nobody had an answer, and this is the new one; memory has it already. Called once at most, from the event
        loop; it must not block, and its errors are its own. It is not called for answers that may not be kept, nor for
        those that were asked for before a purge.
        """


class Tier(Protocol):
    """Another place with kept answers."""

    async def look(self, question: Question) -> Look | None:
        """Look there; None where this tier has no business with the question (then it hears nothing of the answer).

        It keeps its own time limit and raises nothing: a failure is a miss. It may be cancelled.
        """

    def renewal(self, question: Question) -> Look | None:
        """Somebody wants a new answer whatever is kept: who hears of it, None where this tier need not."""


class VectorStore(Protocol):
    """Another place with kept embeddings, each under the key of one input."""

    async def find(self, question: Question, keys: Sequence[bytes]) -> Sequence[Entry | None]:
        """An entry or None for each key, in their order. `question` is the whole request. It keeps its own time limit
        and raises nothing.
        """

    def keep(self, entries: Sequence[Entry]) -> None:
        """These are new; memory has them already. As `Look.keep`."""
