"""What the layer is told of a candidate."""

from dataclasses import dataclass
from math import log1p
from typing import Final

NAMES: Final = (
    "one",
    "verifier",
    "cosine",
    "overlap",
    "entry_right",
    "entry_wrong",
    "template_right",
    "template_wrong",
    "group_right",
    "group_wrong",
    "agreeing",
    "margin",
)
_MOST_LOGIT = 8.0


@dataclass(slots=True)
class Counts:
    """Labels of something: how many were right and wrong."""

    right: float = 0.0
    wrong: float = 0.0

    def learn(self, *, is_right: bool) -> None:
        """One label."""
        if is_right:
            self.right += 1.0
        else:
            self.wrong += 1.0


def row_of(
    logit: float,
    cosine: float | None,
    overlap: float,
    entry: Counts,
    template: tuple[float, float],
    group: Counts,
    agreeing: float,
    margin: float,
) -> tuple[float, ...]:
    """As many as `NAMES`. `agreeing`: share of the other candidates that are known to be answered alike. `margin`: how
    much nearer this one is than the nearest that is not.
    """
    return (
        1.0,
        max(-_MOST_LOGIT, min(_MOST_LOGIT, logit)),
        0.0 if cosine is None else 10.0 * (cosine - 0.85),
        overlap,
        log1p(entry.right),
        log1p(entry.wrong),
        log1p(template[0]),
        log1p(template[1]),
        log1p(group.right),
        log1p(group.wrong),
        agreeing,
        10.0 * margin,
    )
