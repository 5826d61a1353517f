"""How much more cost has to count, so that a budget lasts to the end of its window. Pure: times are given."""

import math
from dataclasses import dataclass

# How sharply cost counts as spending runs ahead. By `python -m benchmarks.routing.budget_pacing`: at 2 quality is
# lost late in the window to what was spent early, above 8 next to nothing is gained.
_SHARPNESS = 8.0
# Beyond this the cheapest candidate wins in any case.
_CAP = 100.0
_ROOT_OF_CAP = _CAP ** (1.0 / _SHARPNESS)


def pressure(spent_nusd: float, limit_nusd: float, elapsed_s: float, window_s: float) -> float:
    """By what factor cost counts more than usual, 1 to 100, with `spent_nusd` of the limit gone after `elapsed_s`.

    It is (share of the window that is left / share of the money that is left) ^ 8, and 1 while spending is on or behind
    the even schedule. What is left is compared, not what is gone: so the first requests of a window are no alarm, and
    the factor grows as the money ends. What was spent is the integral of what the factor steers, so it needs no
    integral part of its own.
    """
    left = 1.0 - max(0.0, elapsed_s) / window_s if window_s > 0 else 0.0
    money = 1.0 - spent_nusd / limit_nusd if limit_nusd > 0 else 0.0
    if left <= 0.0 or money >= left:
        return 1.0
    # Before the division: there may be no money left at all.
    if money * _ROOT_OF_CAP <= left:
        return _CAP
    return min(_CAP, math.pow(left / money, _SHARPNESS))


@dataclass(slots=True, frozen=True)
class Pace:
    """One window of a budget, from `start_s` to `end_s` (Unix seconds), with its limit.

    It keeps no state: replicas with the same ledger agree, and a restart forgets nothing.
    """

    limit_nusd: int
    start_s: float
    end_s: float

    def multiplier(self, spent_nusd: int, now_s: float) -> float:
        """By what factor cost counts more than usual now, 1 to 100. `spent_nusd` includes what is held."""
        return pressure(spent_nusd, self.limit_nusd, now_s - self.start_s, self.end_s - self.start_s)
