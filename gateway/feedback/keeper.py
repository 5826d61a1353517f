"""From the configuration's section to the book in use."""

from collections.abc import Callable
from pathlib import Path

from config.schema_feedback import FeedbackConfig
from gateway.feedback.book import FeedbackBook
from gateway.feedback.journal import Journal


class FeedbackKeeper:
    """Keeps the book across reloads that do not change its section; another section starts with an empty one.

    `folder` is what a relative path starts from. `on_lost` gets the error for every row that could not be written, from
    another thread; it may be replaced before the first row.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._section: FeedbackConfig | None = None
        self._book: FeedbackBook | None = None
        self.on_lost: Callable[[Exception], None] = lambda _: None

    def book(self, section: FeedbackConfig | None) -> FeedbackBook | None:
        """The book for this section; None without one."""
        if section != self._section:
            self._section = section
            self._book = None if section is None else self._open(section)
        return self._book

    def _open(self, section: FeedbackConfig) -> FeedbackBook:
        journal = Journal(self._folder / section.file, section.max_bytes, self._lost)
        return FeedbackBook(
            journal.append,
            self._clock,
            max_pending=section.max_pending,
            ttl_s=section.ttl_s,
            has_weak_labels=section.weak_labels,
        )

    def _lost(self, error: Exception) -> None:
        self.on_lost(error)
