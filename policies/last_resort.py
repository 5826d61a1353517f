"""What may answer when every candidate has failed."""

from typing import Protocol

from policies.outcome import Outcome


class LastResort(Protocol):
    """Knows answers of before. Asked for requests that are not streamed, once nobody else can be: after every candidate
    failed, and where none may be called because of its breaker or a pause.
    """

    def answer(self, outcome: Outcome) -> bool:
        """Make the reply one that was right once, of this caller's own; False where there is none, or it may not be
        used.

        Neither waits nor raises: a failure must not take longer for it.
        """
        ...


class NoLastResort:
    """Nothing is kept."""

    def answer(self, outcome: Outcome) -> bool:  # noqa: ARG002
        """False."""
        return False
