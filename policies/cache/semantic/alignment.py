"""What one prompt says and the other does not, misspelled words taken for what they stand for."""

from dataclasses import dataclass

from policies.cache.semantic.english.forms import KNOWN
from policies.cache.semantic.text import Text

_SHORTEST = 4


@dataclass(slots=True)
class Alignment:
    """Words, values, and unknown or capitalised words of each side that have no counterpart on the other. `names`:
    those of either side that are both. `typos`: how many
    words were taken for misspelled ones. `has_content`: whether words that carry meaning are left on either side.
    """

    ours: list[str]
    theirs: list[str]
    our_members: list[str]
    their_members: list[str]
    names: list[str]
    our_unknown: list[str]
    their_unknown: list[str]
    typos: int
    has_content: bool


def align(asked: Text, kept: Text) -> Alignment:
    """Compares by words; order does not count."""
    our_words, their_words = set(asked.words), set(kept.words)
    ours = [word for word in dict.fromkeys(asked.words) if word not in their_words]
    theirs = [word for word in dict.fromkeys(kept.words) if word not in our_words]
    typos = 0
    if ours and theirs and (asked.rare or kept.rare):
        typos = _match_typos(ours, theirs, asked, kept)
    our_left, their_left = set(ours), set(theirs)
    our_known, their_known = {*asked.words, *asked.maybes}, {*kept.words, *kept.maybes}
    return Alignment(
        ours=ours,
        theirs=theirs,
        our_members=[
            v for v in (*asked.members, *asked.maybes) if v not in their_known and v in our_left | {*asked.maybes}
        ],
        their_members=[
            v for v in (*kept.members, *kept.maybes) if v not in our_known and v in their_left | {*kept.maybes}
        ],
        names=_names(asked, our_left) + _names(kept, their_left),
        our_unknown=_unknown(asked, our_left, theirs),
        their_unknown=_unknown(kept, their_left, ours),
        typos=typos,
        has_content=not our_left.isdisjoint(asked.content) or not their_left.isdisjoint(kept.content),
    )


def _names(text: Text, left: set[str]) -> list[str]:
    return [word for word in text.names if word in left and word in text.rare]


def _unknown(text: Text, left: set[str], others: list[str]) -> list[str]:
    """Without common nouns and verbs of one stem on both sides: "fertilise", "fertiliser"."""
    return [
        word
        for word in dict.fromkeys((*text.rare, *text.names))
        if word in left and (word in text.names or not any(_is_one_stem(word, other) for other in others))
    ]


def _is_one_stem(left: str, right: str) -> bool:
    most = max(len(left), len(right)) * 3 // 5
    return most >= _SHORTEST and left[:most] == right[:most]


def _match_typos(ours: list[str], theirs: list[str], asked: Text, kept: Text) -> int:
    """Takes pairs of a word and its misspelling out of both lists; how many."""
    found = 0
    for left in tuple(ours):
        is_rare = left in asked.rare
        for right in theirs:
            if (is_rare or right in kept.rare) and _is_typo(left, right):
                ours.remove(left)
                theirs.remove(right)
                found += 1
                break
    return found


def _is_typo(left: str, right: str) -> bool:
    """Whether one is the other with two neighbours exchanged; or, where one is a known word and the other is not,
    with one letter more, less or changed.
    """
    if abs(len(left) - len(right)) > 1 or min(len(left), len(right)) < _SHORTEST:
        return False
    start = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        start += 1
    tail_left, tail_right = left[start:], right[start:]
    if len(left) == len(right):
        if tail_left[:2] == tail_right[1::-1] and tail_left[2:] == tail_right[2:]:
            return True
        is_near = tail_left[1:] == tail_right[1:]
    else:
        longer, shorter = (tail_left, tail_right) if len(left) > len(right) else (tail_right, tail_left)
        is_near = longer[1:] == shorter
    return is_near and (left in KNOWN) != (right in KNOWN)
