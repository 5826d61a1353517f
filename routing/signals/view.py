"""What all signals look at: the text, tokenised once, with every dictionary consulted once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.signals.turn import Turn

MAX_WORDS = 400
_HEAD_WORDS = 270
# A run of letters, a run of digits, or one character of anything else that is not blank; Chinese, Japanese and Korean
# are not divided by blanks, so there each character counts. One class per branch and no backtracking: linear.
_WORD = re.compile("[^\\W\\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|\\d+|\\S")
_ASCII_WORD = re.compile("[a-z]+|[0-9]+|[^ \\t-\\r]")  # the same for ASCII in lower case, at half the cost

_PLAIN = b"abcdefghijklmnopqrstuvwxyz \t\n\v\f\r"
# Digits, and what only `str.split` takes for a blank.
_FUSED = frozenset(b"0123456789\x1c\x1d\x1e\x1f")
_APART = [(chr(code), f" {chr(code)} ") for code in range(128)]

Lexicon = Mapping[str, frozenset[str]]


@dataclass(slots=True)
class View:
    """One request as signals see it. `words` are lower-case, and single characters of what is neither letter nor digit;
    `hits` says how many of them belong to each word class that has any. `distinct` is how many differ, `numbers` are
    those of digits alone. `choices`, the tokens and the two labels are filled in before anything is measured.
    """

    body: Mapping[str, Any] = field(compare=False)  # two are equal that look the same to every signal
    turn: Turn
    text: str
    words: list[str]
    hits: Mapping[str, int]
    distinct: int
    numbers: list[str]
    is_ascii: bool
    choices: int = 0
    task_type: str = ""
    tool_stage: str = ""
    tokens: int = 0


class Index:
    """Word classes turned round, so that one look-up per word counts the words of every class.

    Half of all words are in no class, and most texts have words of few classes: only what is there is counted.
    """

    def __init__(self, lexicons: Lexicon) -> None:
        self.names = tuple(lexicons)
        classes: dict[str, tuple[str, ...]] = {}
        for name, words in lexicons.items():
            for word in words:
                classes[word] = (*classes.get(word, ()), name)
        alike: dict[tuple[str, ...], tuple[str, ...]] = {}  # words of the same classes share them: fewer cache lines
        self._classes = {word: alike.setdefault(found, found) for word, found in classes.items()}.get

    def count(self, words: Sequence[str]) -> dict[str, int]:
        """How many of `words` belong to each class; classes without any are left out."""
        hits: dict[str, int] = {}
        for classes in filter(None, map(self._classes, words)):
            for name in classes:
                hits[name] = hits[name] + 1 if name in hits else 1
        return hits


def look(body: Mapping[str, Any], turn: Turn, index: Index) -> View:
    """Tokenise the turn and look its words up."""
    text = turn.text
    is_ascii = text.isascii()
    words, may_have_numbers = _ascii_words(text.lower()) if is_ascii else (_WORD.findall(text.lower()), True)
    if len(words) > MAX_WORDS:
        words[_HEAD_WORDS : _HEAD_WORDS - MAX_WORDS] = ()
    numbers = list(filter(str.isdecimal, words)) if may_have_numbers else []
    return View(body, turn, text, words, index.count(words), len(set(words)), numbers, is_ascii)


def _ascii_words(text: str) -> tuple[list[str], bool]:
    """What `_ASCII_WORD` finds in lower-case text, and whether numbers may be among it. Where no digit may stand beside
    a letter, that is what blanks divide once there are some around everything else: two thirds of the time for a
    question, a fifth for three thousand characters.
    """
    others = set(text.encode().translate(None, _PLAIN))
    if not others.isdisjoint(_FUSED):
        return _ASCII_WORD.findall(text), True
    for other in others:
        old, new = _APART[other]
        text = text.replace(old, new)
    return text.split(), False


def words_of(text: str) -> frozenset[str]:
    """The words of a word list that is written as text."""
    return frozenset(text.split())
