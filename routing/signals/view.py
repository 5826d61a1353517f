"""What all signals look at: the text, tokenised once, with every dictionary consulted once."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.signals.turn import Turn

MAX_WORDS = 400
_HEAD_WORDS = 270
# A run of letters, a run of digits, or one character of anything else that is not blank; Chinese, Japanese and Korean
# are not divided by blanks, so there each character counts. One class per branch and no backtracking: linear.
_WORD = re.compile("[^\\W\\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|\\d+|\\S")
_ASCII_WORD = re.compile("[a-z]+|[0-9]+|[^ \\t-\\r]")  # the same for ASCII in lower case, at half the cost

Lexicon = Mapping[str, frozenset[str]]


@dataclass(slots=True)
class View:
    """One request as signals see it. `words` are lower-case; `counts` has how often each occurs; `hits` how many words
    belong to a word class. The three labels and the tokens are filled in before anything is measured.
    """

    body: Mapping[str, Any]
    turn: Turn
    text: str
    words: list[str]
    counts: Counter[str]
    hits: dict[str, int]
    language: str = ""
    task_type: str = ""
    tool_stage: str = ""
    tokens: int = 0


def index(lexicons: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Word classes turned round: word -> its classes."""
    classes: dict[str, list[str]] = {}
    for name, words in lexicons.items():
        for word in words:
            classes.setdefault(word, []).append(name)
    return {word: tuple(names) for word, names in classes.items()}


def look(body: Mapping[str, Any], turn: Turn, classes: Mapping[str, tuple[str, ...]]) -> View:
    """Tokenise the turn and look its words up in `classes`, as made by `index`."""
    text = turn.text
    words = (_ASCII_WORD if text.isascii() else _WORD).findall(text.lower())
    if len(words) > MAX_WORDS:
        words[_HEAD_WORDS : _HEAD_WORDS - MAX_WORDS] = ()
    counts = Counter(words)
    hits: dict[str, int] = {}
    for word in counts.keys() & classes.keys():
        for name in classes[word]:
            hits[name] = hits.get(name, 0) + counts[word]
    return View(body, turn, text, words, counts, hits)


def words_of(text: str) -> frozenset[str]:
    """The words of a word list that is written as text."""
    return frozenset(text.split())
