"""Kept answers as the last resort."""

from policies.cache.shelf import Shelf
from policies.outcome import Outcome


class StaleAnswers:
    """A LastResort: answers that were good until lately, of requests whose answers may be kept."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def answer(self, outcome: Outcome) -> bool:
        """Whether one is the reply now."""
        key = outcome.call.key if outcome.call is not None else b""
        entry = self._shelf.get(key, is_stale_fine=True) if key else None
        if entry is None:
            return False
        outcome.reply = entry.reply()
        outcome.head_lines += entry.head_lines(self._shelf.clock())
        return True
