"""What Retry-After says."""

from math import ceil

_LONGEST_S = 120  # SDKs heed no longer ones


def whole_seconds(wait_s: float) -> int:
    """At least a second, and no more than SDKs heed. Clocks are no better than a millisecond."""
    return min(_LONGEST_S, max(1, ceil(round(wait_s, 3))))
