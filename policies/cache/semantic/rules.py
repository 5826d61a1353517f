"""What the configuration says about answers to like questions."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class SemanticRules:
    """`max_wrong_hits`: at most this share of the answers served here may be wrong, as far as labels tell; a target
    whose measured value is exported. `max_entries` of one namespace. `shadow_share` of hits are asked anew as well, so
    that somebody notices when they are wrong.
    """

    max_wrong_hits: float = 0.01
    max_entries: int = 10_000
    shadow_share: float = 0.03
