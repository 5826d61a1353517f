"""What all signals look at: the text, tokenised once, with every dictionary consulted once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import add
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

_SUMMED = 255  # words whose counts fit a byte

Lexicon = Mapping[str, frozenset[str]]


@dataclass(slots=True)
class View:
    """One request as signals see it. `words` are lower-case, and single characters of what is neither letter nor digit;
    `counts` says how many of them belong to each word class, in the order of the index, and `hits` by name where there
    are any. `distinct` is how many differ, `numbers` are those of digits alone. `choices`, the tokens and the two
    labels are filled in before anything is measured.
    """

    body: Mapping[str, Any] = field(compare=False)  # two are equal that look the same to every signal
    turn: Turn
    text: str
    words: list[str]
    counts: Sequence[int]
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

    A word stands for a number with a byte for each class, 1 where the word belongs to it: the sum over up to 255 words
    has all counts side by side. That takes a quarter of the time of counting words and then their classes.
    """

    def __init__(self, lexicons: Lexicon) -> None:
        self.names = tuple(lexicons)
        numbers: dict[str, int] = {}
        for place, words in enumerate(lexicons.values()):
            for word in words:
                numbers[word] = numbers.get(word, 0) | 1 << (8 * place)
        alike: dict[int, int] = {}  # words of the same classes share one number, which then is in the processor's cache
        self._number = {word: alike.setdefault(number, number) for word, number in numbers.items()}.get

    def count(self, words: Sequence[str]) -> Sequence[int]:
        """How many of `words` belong to each class, in the order of `names`."""
        if len(words) > _SUMMED:
            return list(map(add, self.count(words[:_SUMMED]), self.count(words[_SUMMED:])))
        return sum(filter(None, map(self._number, words))).to_bytes(len(self.names), "little")


def look(body: Mapping[str, Any], turn: Turn, index: Index) -> View:
    """Tokenise the turn and look its words up."""
    text = turn.text
    is_ascii = text.isascii()
    words = _ascii_words(text.lower()) if is_ascii else _WORD.findall(text.lower())
    if len(words) > MAX_WORDS:
        words[_HEAD_WORDS : _HEAD_WORDS - MAX_WORDS] = ()
    numbers = list(filter(str.isdecimal, words))
    counts, names = index.count(words), index.names
    # Few classes have a word in most texts: a place in a dictionary for every one of them costs more than this look.
    hits = dict(zip(compress(names, counts), filter(None, counts), strict=True))
    return View(body, turn, text, words, counts, hits, len(set(words)), numbers, is_ascii)


def _ascii_words(text: str) -> list[str]:
    """What `_ASCII_WORD` finds in lower-case text. Where no digit may stand beside a letter, that is what blanks divide
    once there are some around everything else: two thirds of the time for a question, a fifth for three thousand
    characters.
    """
    others = set(text.encode().translate(None, _PLAIN))
    if not others.isdisjoint(_FUSED):
        return _ASCII_WORD.findall(text)
    for other in others:
        text = text.replace(*_APART[other])
    return text.split()


def words_of(text: str) -> frozenset[str]:
    """The words of a word list that is written as text."""
    return frozenset(text.split())
