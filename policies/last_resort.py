"""What may answer when every candidate has failed."""

from typing import Protocol

from providers.base import Reply, Request


class LastResort(Protocol):
    """Knows answers of before. Asked for requests that are not streamed, once nobody else can be: after every candidate
    failed, and where none may be called because of its breaker or a pause.
    """

    def find(self, request: Request, caller: str) -> Reply | None:
        """An answer that was right once, of this caller's own; None where there is none, or it may not be used.

        Neither waits nor raises: a failure must not take longer for it.
        """
        ...


class NoLastResort:
    """Nothing is kept."""

    def find(self, request: Request, caller: str) -> Reply | None:  # noqa: ARG002
        """None."""
        return None
