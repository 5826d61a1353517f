"""What a namespace learns from labels: the weights of its layer, and from which score on it may serve."""

from collections import deque
from collections.abc import Sequence
from math import inf

from policies.cache.semantic.layer import Labelled, Prior, fit, logit_of
from policies.cache.semantic.threshold import lowest

_LABELS = 1_200
_REFIT = 150
_CONFIRM = 60  # labels until a lower threshold is tried again
_FOLDS = 5
Z = 1.64  # one-sided, 95 %


class Learner:
    """Labels in, scores and a threshold out. A refit is spread over the labels that follow it, one fit each, so that no
    label takes long.

    A threshold comes down only as far as two refits in a row allow, the second with labels that the first had not seen;
    it goes up at once.
    """

    def __init__(self, prior: Prior, most_wrong: float) -> None:
        self._prior = prior
        self._most_wrong = most_wrong
        self._labelled: deque[Labelled] = deque(maxlen=_LABELS)
        self._since = 0
        self._observed: list[Labelled] = []
        self._scored: list[tuple[float, bool, float]] = []
        self._fold = _FOLDS + 1
        self.weights: list[float] = list(prior.weights)
        self.threshold = inf
        self._found = inf
        self.fits = 0  # refits that are over

    def __len__(self) -> int:
        return len(self._labelled)

    def score(self, row: Sequence[float]) -> float:
        """Log odds of being right."""
        return logit_of(self.weights, row)

    def learn(self, labelled: Labelled) -> None:
        """One label."""
        self._labelled.append(labelled)
        self._since += 1
        if self._since >= _REFIT:
            self._since = 0
            self._observed, self._scored, self._fold = list(self._labelled), [], 0
        if self._fold <= _FOLDS:
            self._fit()

    def _fit(self) -> None:
        """The next fold: its labels are scored by what was fitted without them. After the last the whole."""
        if self._fold < _FOLDS:
            others = [one for at, one in enumerate(self._observed) if at % _FOLDS != self._fold]
            weights = fit(self._prior, others, self.weights)
            held_out = self._observed[self._fold :: _FOLDS]
            self._scored += [(logit_of(weights, one.row), one.is_right, one.weight) for one in held_out]
        else:
            self.weights = fit(self._prior, self._observed, self.weights)
            found = lowest(self._scored, self._most_wrong, Z)
            self.threshold, self._found = max(found, self._found), found
            if found < self.threshold:
                self._since = max(self._since, _REFIT - _CONFIRM)
            self._observed, self._scored = [], []
            self.fits += 1
        self._fold += 1

    def note(self, labelled: Labelled) -> None:
        """A label of before, in the order of `learn`; nothing is made of it yet."""
        self._labelled.append(labelled)
        self._since += 1

    def state(self) -> tuple[float, float, tuple[float, ...], int]:
        """For `restore`: threshold, the one that was found last, weights, labels since. A refit under way is not in
        it.
        """
        return self.threshold, self._found, tuple(self.weights), self._since

    def restore(self, threshold: float, found: float, weights: Sequence[float], since: int) -> None:
        """What was made of the labels so far."""
        self.threshold, self._found, self.weights, self._since = threshold, found, list(weights), since
        self._observed, self._scored, self._fold = [], [], _FOLDS + 1
