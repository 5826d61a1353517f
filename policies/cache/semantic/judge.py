"""Whether two answers say the same, where that can be told without asking anybody.

A label is worth something only if it is hardly ever wrong: where 5 % of them are, the tier closes itself. So answers
that say the same in very different words, and long ones with small differences, get none.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import orjson

from policies.cache.semantic.guards import Guard, refusal
from policies.cache.semantic.text import Text, analyse

_MOST_CHARS = 4_000  # of answers that are compared by their words
_SHORT = 60  # words of an answer that states facts and not much else
_WORD = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)?|\w+")
# Of Markdown, but not the same signs in formulas, paths and names.
_LINE_MARK = re.compile(r"^[ \t]*(?:(?:#{1,6}|>|[*+-])[ \t]+|```\w*$)", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\w)(\*\*\*|\*\*|\*|__|_)(?=\S)([^*_\n]+?)(?<=\S)\1(?!\w)")
_TICKS = re.compile(r"`+")
_CLOSING = re.compile(r"(?:(?<=\w)\.|(?<=[^\W\d])[.!]+)$")
# Signs that say something, and words whose letters' case does: MB and Mb. A line between letters says nothing.
_SIGN = re.compile(r"[<>=+*/^%$\u20ac\xa3\xa5&|~#@\\\[\]{}_]|(?<![^\W\d])-|-(?![^\W\d])|(?<=\d)!|!(?=\w)")
_INNER_CAPITAL = re.compile(r"\w+[A-Z]\w*")
_RAISED = {
    ord(sign): f"^{number}" for number, sign in enumerate("\u2070\xb9\xb2\xb3\u2074\u2075\u2076\u2077\u2078\u2079")
}
_ALIKE = 0.9  # share of words that two answers have in common from which on they say the same
_APART = 0.08  # the same below which they are about different things
_ENOUGH = 8  # words without which shares say little
_DEEPEST = 8  # of JSON that is looked at
_FEW = 2  # words of an answer that is a label or a name
_YES, _NO = frozenset({"yes", "yeah", "correct", "true"}), frozenset({"no", "nope", "incorrect", "false"})
_NEGATIONS = frozenset({"not", "no", "never", "none", "cannot", "can't", "don't", "isn't", "won't", "nicht", "kein"})
_EMPTY = frozenset(
    """
    a an the is are was were be been it its this that these those there here of to in on at for from by with and or as
    you your i we our they their he she his her so then do does did can could will would should may might has have had
    about into than also just very please sure certainly answer
    """.split()  # noqa: SIM905 - words, to be read as such
)
# In short answers these are no matter of wording.
_CLEAR = frozenset({Guard.NEGATION, Guard.ANTONYM, Guard.EXCLUSIVE_SET, Guard.PERCENT, Guard.VERSION})


def is_same(fresh: str, kept: str, questions: tuple[Text, Text]) -> bool | None:
    """True where both clearly say the same, False where they clearly do not, None where that is not clear.

    `questions` are those they answer: words that both have tell nothing about the answers. Some 0.1 ms for short ones.
    """
    if fresh == kept:
        return True
    ours, theirs = _plain(fresh), _plain(kept)
    one, other = ours.casefold(), theirs.casefold()
    if not one or not other or max(len(one), len(other)) > _MOST_CHARS:
        return None
    found = _by_json(fresh, kept)
    if found is None:
        found = one == other or _by_words(one, other, questions)
    return None if found and _details(ours) != _details(theirs) else found


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_RAISED))
    text = _TICKS.sub("", _EMPHASIS.sub(r"\2", _LINE_MARK.sub("", text)))
    return _CLOSING.sub("", " ".join(text.split()))


def _details(text: str) -> tuple[Counter[str], Counter[str]]:
    """What words alone do not tell."""
    return Counter(_SIGN.findall(text)), Counter(_INNER_CAPITAL.findall(text))


def _by_words(one: str, other: str, questions: tuple[Text, Text]) -> bool | None:
    words, others = _words(one), _words(other)
    if not words or not others:
        return None
    is_short = max(len(words), len(others)) <= _SHORT
    if is_short and ((words[0] in _YES and others[0] in _NO) or (words[0] in _NO and others[0] in _YES)):
        return False
    numbers, other_numbers = _numbers(words), _numbers(others)
    if is_short and _exclude(numbers, other_numbers):
        return False
    asked = _asked(questions[0]) & _asked(questions[1])
    told, told_other = _told(words, asked), _told(others, asked)
    ours, theirs = set(told), set(told_other)
    if numbers == other_numbers and _negations(words) == _negations(others):
        is_alike = _share(ours, theirs) >= _ALIKE and min(len(ours), len(theirs)) >= _ENOUGH
        is_equal = ours == theirs and bool(ours or numbers)
        if (is_alike or is_equal) and _in_order(told, theirs) == _in_order(told_other, ours):
            return _without_guard(one, other)
    return False if _are_apart(ours, theirs) or (is_short and _is_refused(one, other)) else None


def _words(text: str) -> list[str]:
    return [word.removesuffix("'s") for word in _WORD.findall(text)]


def _asked(question: Text) -> set[str]:
    return {word.removesuffix("'s") for word in question.words}


def _numbers(words: list[str]) -> Counter[str]:
    return Counter(word.replace(",", "") for word in words if word[0].isdigit())


def _exclude(ours: Counter[str], theirs: Counter[str]) -> bool:
    """Whether each has a number that the other has not; one that says more than the other may still be right."""
    return bool(ours.keys() - theirs.keys()) and bool(theirs.keys() - ours.keys())


def _negations(words: list[str]) -> int:
    return sum(word in _NEGATIONS or word.endswith("n't") for word in words) % 2


def _told(words: list[str], asked: Collection[str]) -> list[str]:
    """What an answer says beyond its question."""
    return [word for word in words if word not in _EMPTY and word not in asked and not word[0].isdigit()]


def _in_order(words: list[str], shared: set[str]) -> list[str]:
    """Those that both have, as they come: from one place to another is not the way back."""
    return [word for word in dict.fromkeys(words) if word in shared]


def _share(ours: set[str], theirs: set[str]) -> float:
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0


def _are_apart(ours: set[str], theirs: set[str]) -> bool:
    """Whether they are about different things: two names or labels, or texts with hardly a word in common."""
    sizes = sorted((len(ours), len(theirs)))
    if sizes[0] > 0 and sizes[1] <= _FEW:
        return ours.isdisjoint(theirs)
    return sizes[0] >= _ENOUGH and _share(ours, theirs) <= _APART


def _is_refused(one: str, other: str) -> bool:
    return refusal(analyse(one), analyse(other)) in _CLEAR


def _without_guard(one: str, other: str) -> bool | None:
    """True unless one of the few words that differ may be the one that matters."""
    ours, theirs = analyse(one), analyse(other)
    if not ours.is_fit or not theirs.is_fit:
        return None
    return True if refusal(ours, theirs) is None else None


def _by_json(fresh: str, kept: str) -> bool | None:
    """Of two JSON values: whether they are equal; different texts inside prove nothing."""
    if fresh.lstrip()[:1] not in "{[" or kept.lstrip()[:1] not in "{[":
        return None
    try:
        one, other = orjson.loads(fresh), orjson.loads(kept)
    except orjson.JSONDecodeError:
        return None
    if one == other:
        return True
    ours, theirs = dict(_facts(one)), dict(_facts(other))
    return False if any(ours[path] != theirs[path] for path in ours.keys() & theirs.keys()) else None


def _facts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Whole numbers, yes and no, and where they stand; texts and measures may differ and mean the same."""
    if isinstance(value, int):
        yield path, value
    elif isinstance(value, dict | list) and len(path) < _DEEPEST:
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _facts(part, (*path, name))
