"""Kept answers as the last resort."""

from policies.cache.shelf import Shelf
from policies.outcome import Outcome
from providers.base import Reply


class StaleAnswers:
    """A LastResort: answers that were good until lately, of requests whose answers may be kept."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def answer(self, outcome: Outcome) -> bool:
        """Whether one is the reply now."""
        entry = self._shelf.get(outcome.cache_key, is_stale_fine=True) if outcome.cache_key else None
        if entry is None:
            return False
        outcome.reply = Reply(entry.body, entry.usage, entry.finish_reason)
        outcome.head_lines += entry.head_lines(self._shelf.clock())
        return True
