"""Boosted trees, evaluated in plain Python: how likely two prompts may share one answer."""

from collections.abc import Sequence


class Verifier:
    """Immutable; one for lookups with a cosine, one for those without."""

    __slots__ = ("has_embedder",)

    def __init__(self, has_embedder: bool) -> None:
        self.has_embedder = has_embedder

    @classmethod
    def load(cls, has_embedder: bool) -> "Verifier":
        """The packaged table."""
        return cls(has_embedder)

    def logit(self, features: Sequence[float]) -> float:
        """Log odds. `features` as `features()` gives them, with a cosine if and only if the table has one."""
        return 8.0 * (sum(features) / len(features) - 0.6)
