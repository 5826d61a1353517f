"""From which score on an answer is served: as low as labels show that few enough are wrong."""

from collections.abc import Iterable
from math import inf, sqrt

_STEP = 1.25


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
    A label that stands for several look-ups weighs as many in the share, but is one label when it comes to how sure
    that is: one wrong check of a hit raises the threshold, and right ones prove no more than they are.

    Tried at some ten numbers of labels only, from the fewest that can suffice: whoever tries every score finds one that
    passes by luck (in simulations of 1,200 labels, above the bound 15 times in 100 instead of 3).
    """
    best = inf
    total = wrong = 0.0
    rows = sorted(scored, key=lambda row: -row[0])
    tried = z * z * (1 - most_wrong) / most_wrong
    for count, (score, is_right, weight) in enumerate(rows, 1):
        total += weight
        if not is_right:
            wrong += weight
        if count < tried or (count < len(rows) and rows[count][0] == score):
            continue
        while tried <= count:
            tried *= _STEP
        if interval(wrong / total * count, count, z)[1] <= most_wrong:
            best = score
    return best
