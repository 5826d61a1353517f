"""How the text is built: lines, sentences, questions, lists, choices."""

import re
from math import log1p

from routing.signals.view import View

NAMES = ("log_lines", "log_sentences", "words_per_sentence", "questions", "bullets", "choices", "quotes", "variety")

COUNTS = {"log_sentences": "sentence_end", "quotes": "quote"}

LEXICON = {
    "sentence_end": frozenset(".?!"),
    "question_mark": frozenset("?"),
    "quote": frozenset('"“'),
}

_CHOICE = re.compile(r"\n\(?([A-Fa-f])[.)]")
_BULLET = re.compile(r"\n *(?:[-*•]|[0-9]{1,2}[.)]) ")


def measure(view: View) -> tuple[float, ...]:
    """Logarithms of counts, ratios to words, and question marks up to 4."""
    hits, text = view.hits, view.text
    words = len(view.words) or 1
    lines = text.count("\n")
    return (
        log1p(lines),
        words / (hits.get("sentence_end", 0) + 1),
        min(hits.get("question_mark", 0), 4),
        log1p(len(_BULLET.findall(text))) if lines else 0.0,
        view.choices,
        view.distinct / words,
    )


ALONE = {"variety": lambda view: (view.distinct / (len(view.words) or 1),)}


def choices(view: View) -> int:
    """How many answers are offered as A, B, C, ..., each at the start of a line."""
    text = view.text
    return len(set(_CHOICE.findall(text))) if "\n" in text else 0
