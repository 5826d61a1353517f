"""How demanding a request is, without any training: a score, a tier, and how sure that is.

The score is a logistic of a dozen numbers. The weights of the first eight come from a ridge regression on graded
outcomes of seven data sets (what a strong model gains over a cheaper one). Judged on the set that was left out its mean
APGR is .58, where .5 is random and length alone reaches .565. Words that ask for reasoning or name code carry next to
nothing there; their weights, and those of greetings and tool loops, which those sets do not contain, are set by hand
for everyday traffic, at a cost of .002.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, inf, log, log1p
from typing import NamedTuple

from routing.features import COUNTS, Features, reader
from routing.signals.task_type import TaskType
from routing.signals.tool_stage import AT_WORK
from routing.signals.view import View

# Logits per unit of the feature.
WEIGHTS: Mapping[str, float] = {
    "log_tokens": 0.31,
    "log_sentences": 0.41,
    "variety": -1.89,
    "connective_words": 0.35,
    "negations": 0.24,
    "obligations": 0.23,
    "hypothetical_words": 0.14,
    "operators": 0.14,
    "demanding_words": 1.2,
    "reasoning_words": 0.25,
    "code_words": 0.15,
    "code_talk": 0.15,
    "is_small_talk": -1.0,
    "is_tool_loop": 0.5,
}
_BIAS = -1.15
# Spread of what the same request scores when it is worded otherwise, in logits.
_NOISE = 0.12

# Any of these above zero tells something about the task; length tells from so many words on.
_TELLING = frozenset(
    {
        "bullets",
        "choices",
        "code_fences",
        "code_talk",
        "code_words",
        "connective_words",
        "demanding_words",
        "formats",
        "has_tools",
        "is_extraction",
        "is_multimodal",
        "is_small_talk",
        "is_writing",
        "latex",
        "maths_words",
        "obligations",
        "operators",
        "quantity_words",
        "questions",
        "reasoning_words",
    }
)
_TELLING_WORDS = 40
_SMALL_TALK_TYPE = TaskType.SMALL_TALK  # to look into an enumeration takes ten times as long as a name of the module

# Word classes are asked first: they nearly always tell something, and are counted already.
_TELLING_CLASSES = frozenset(COUNTS[name] for name in _TELLING & COUNTS.keys())
_telling_else = reader(sorted(_TELLING - COUNTS.keys()))
# What is weighed for its words is a class each; most texts have words of few.
_TOKENS, _SENTENCES, _VARIETY = (WEIGHTS[name] for name in ("log_tokens", "log_sentences", "variety"))
_SMALL_TALK, _TOOL_LOOP = (WEIGHTS[name] for name in ("is_small_talk", "is_tool_loop"))
_CLASSES = tuple((COUNTS[name], weight) for name, weight in list(WEIGHTS.items())[3:-2])


@dataclass(slots=True, frozen=True)
class Boundaries:
    """Tiers from the least to the most demanding, and the scores between them: one fewer, ascending.

    `default` is the tier of requests that say too little, or lie too near to a boundary. `logits` are the cuts in
    logits, between infinities: tier `i` lies between `logits[i]` and `logits[i + 1]`.
    """

    tiers: tuple[str, ...] = ("simple", "medium", "complex")
    cuts: tuple[float, ...] = (0.30, 0.60)
    default: str = "medium"
    min_confidence: float = 0.55
    logits: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.cuts) != len(self.tiers) - 1:
            raise ValueError(f"{len(self.tiers)} tiers need {len(self.tiers) - 1} cuts, not {len(self.cuts)}")
        if any(low > high for low, high in pairwise(self.cuts)):
            raise ValueError(f"cuts must ascend: {self.cuts}")
        if self.default not in self.tiers:
            raise ValueError(f"the default tier {self.default!r} is none of {', '.join(self.tiers)}")
        object.__setattr__(self, "logits", (-inf, *map(_logit, self.cuts), inf))


def _logistic(value: float) -> float:
    if value < -500.0:
        return 0.0
    return 1.0 / (1.0 + exp(-value))


def _logit(share: float) -> float:
    if share <= 0.0:
        return -inf
    return inf if share >= 1.0 else log(share / (1.0 - share))


DEFAULT_BOUNDARIES = Boundaries()


class Classification(NamedTuple):
    """`score` 0..1, `confidence` 0..1 that `nearest` is the tier a rewording would get as well.

    `tier` is the default one where `has_fired` is false (no signal) or confidence is low; `nearest` goes by score.
    """

    score: float
    tier: str
    nearest: str
    task_type: TaskType
    confidence: float
    has_fired: bool


def classify(features: Features, boundaries: Boundaries = DEFAULT_BOUNDARIES) -> Classification:
    """The tier of a request. Pure; some 6 us."""
    view = features.view
    logit = _logit_of(view)
    score = _logistic(logit)
    nearest = bisect_right(boundaries.cuts, score)
    fired = len(view.words) >= _TELLING_WORDS or not _TELLING_CLASSES.isdisjoint(view.hits) or any(_telling_else(view))
    confidence = _confidence(logit, boundaries.logits[nearest], boundaries.logits[nearest + 1]) if fired else 0.0
    is_sure = fired and confidence >= boundaries.min_confidence
    by_score = boundaries.tiers[nearest]
    tier = by_score if is_sure else boundaries.default
    return Classification(score, tier, by_score, features.task_type, confidence, fired)


def _logit_of(view: View) -> float:
    """The features of WEIGHTS, in their order, by their weights: what is zero, as most are, is not looked at."""
    hits, words = view.hits, len(view.words)
    logit = _TOKENS * log1p(view.tokens)
    logit += _SENTENCES * log1p(hits.get("sentence_end", 0))
    logit += _VARIETY * (view.distinct / (words or 1))
    for name, weight in _CLASSES:
        if name in hits:
            logit += weight * log1p(hits[name])
    if view.task_type is _SMALL_TALK_TYPE:
        logit += _SMALL_TALK
    if view.tool_stage in AT_WORK:
        logit += _TOOL_LOOP
    return _BIAS + logit


def calibrate(scores: Sequence[float], shares: Sequence[float]) -> tuple[float, ...]:
    """Cuts that give each tier, least demanding first, its share of requests with these scores.

    `shares` are positive and are scaled to a sum of 1. Equal scores stay together, so shares are met only as far as
    scores differ. Raises ValueError without scores or with a share that is not positive.
    """
    if not scores:
        raise ValueError("no scores to calibrate on")
    if not shares or min(shares) <= 0:
        raise ValueError("every tier needs a share above 0")
    ordered = sorted(scores)
    total = sum(shares)
    cuts = []
    reached = 0.0
    for share in shares[:-1]:
        reached += share / total
        at = min(len(ordered) - 1, max(1, round(reached * len(ordered))))
        cuts.append((ordered[at - 1] + ordered[at]) / 2 if len(ordered) > 1 else ordered[0])
    return tuple(cuts)


def _confidence(logit: float, low: float, high: float) -> float:
    """The chance to stay between the two boundaries when the logit moves by logistic noise."""
    above = _logistic((low - logit) / _NOISE) if low > -inf else 0.0
    below = _logistic((high - logit) / _NOISE) if high < inf else 1.0
    return max(0.0, below - above)
