"""How much there is to read: an estimate of tokens, and words."""

from math import log1p

from providers.tokens import estimate
from routing.signals.view import View

NAMES = ("log_tokens", "log_words", "mean_word_chars")


def measure(view: View) -> tuple[float, ...]:
    """Logarithms of tokens and words, and the letters of an average word."""
    count = len(view.words)
    letters = len("".join(view.words))
    return (log1p(view.tokens), log1p(count), letters / count if count else 0.0)


ALONE = {"log_tokens": lambda view: (log1p(view.tokens),)}


def tokens(view: View) -> int:
    """Estimated tokens of the whole turn, of which only a part is looked at closely. Within 30 % for English."""
    seen = len(view.text)
    counted = estimate(view.text)
    return counted * view.turn.chars // seen if view.turn.chars > seen > 0 else counted
