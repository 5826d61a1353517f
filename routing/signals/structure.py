"""How the text is built: lines, sentences, questions, lists, choices."""

import re
from math import log1p

from routing.signals.view import View

NAMES = ("log_lines", "log_sentences", "words_per_sentence", "questions", "bullets", "choices", "quotes", "variety")

_CHOICE = re.compile(r"\n\(?([A-Fa-f])[.)]")
_BULLET = re.compile(r"\n *(?:[-*•]|[0-9]{1,2}[.)]) ")


def measure(view: View) -> tuple[float, ...]:
    """Logarithms of counts, ratios to words, and question marks up to 4."""
    counts = view.counts
    count = counts.get  # asking a Counter for a missing word costs a call in Python
    words = len(view.words) or 1
    lines = view.text.count("\n")
    sentences = count(".", 0) + count("?", 0) + count("!", 0)
    return (
        log1p(lines),
        log1p(sentences),
        words / (sentences + 1),
        min(count("?", 0), 4),
        log1p(_bullets(view.text)),
        choices(view),
        log1p(count('"', 0) + count("“", 0)),
        len(counts) / words,
    )


def choices(view: View) -> int:
    """How many answers are offered as A, B, C, ..., each at the start of a line."""
    return len(set(_CHOICE.findall(view.text)))


def _bullets(text: str) -> int:
    return len(_BULLET.findall(text))
