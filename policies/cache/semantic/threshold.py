"""From which score on an answer is served: as low as labels show that few enough are wrong."""

from collections.abc import Iterable
from math import inf, sqrt


def interval(wrong: float, total: float, z: float) -> tuple[float, float]:
    """Both ends of Wilson's interval of a share (1927); `z` is the one-sided normal quantile. (0, 1) of nothing."""
    if total <= 0:
        return 0.0, 1.0
    share = min(1.0, wrong / total)
    spread = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    centre = share + z * z / (2 * total)
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def lowest(scored: Iterable[tuple[float, bool, float]], most_wrong: float, z: float) -> float:
    """The lowest score from which on the upper end of the share of wrong labels is at most `most_wrong`.

    `scored` are (score, whether right, weight). Infinite where no evidence suffices: nothing may be served then.
    Labels with weights count as fewer, as Kish has it: (sum w)^2 / sum w^2.
    """
    best = inf
    total = squares = wrong = 0.0
    rows = sorted(scored, key=lambda row: -row[0])
    for place, (score, is_right, weight) in enumerate(rows):
        total += weight
        squares += weight * weight
        if not is_right:
            wrong += weight
        if place + 1 < len(rows) and rows[place + 1][0] == score:
            continue
        effective = total * total / squares
        if interval(wrong / total * effective, effective, z)[1] <= most_wrong:
            best = score
    return best
