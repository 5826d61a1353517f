"""What no likeness makes up for: two prompts that differ in one of these have different answers."""

from enum import StrEnum

from policies.cache.semantic import questions
from policies.cache.semantic.alignment import Alignment, align
from policies.cache.semantic.english.antonyms import WEAK
from policies.cache.semantic.english.kinds import KINDS, STRICT
from policies.cache.semantic.opposites import are_opposites
from policies.cache.semantic.text import Text


class Guard(StrEnum):
    """Why a kept answer is not given, whatever the score."""

    UNFIT = "unfit"
    CODE = "code"
    VERSION = "version"
    QUOTE = "quote"
    ANTONYM = "antonym"
    NEGATION = "negation"
    PERCENT = "percent"
    UNIT = "unit"
    NUMBER = "number"
    EXCLUSIVE_SET = "exclusive_set"
    NAME = "name"
    DIRECTION = "direction"
    ROLE = "role"
    QUESTION_WORD = "question_word"
    TENSE = "tense"


_PERSONS = {"me": "i", "him": "he", "her": "she", "us": "we", "them": "they"}
_ARTICLES = frozenset(["a", "an", "the"])
_NO_VERBS = frozenset("and or is are was were do does did".split())  # noqa: SIM905


def refusal(asked: Text, kept: Text) -> Guard | None:
    """The first reason why the two may not share an answer; None where none is known. Symmetric."""
    if not asked.is_fit or not kept.is_fit:
        return Guard.UNFIT
    if asked.words == kept.words and asked.roles == kept.roles and asked.units == kept.units:
        return _of_equal_words(asked, kept)
    aligned = align(asked, kept)
    return (
        _to_the_letter(asked, kept)
        or _opposite(asked, kept, aligned)
        or _amount(asked, kept)
        or _values(asked, kept, aligned)
        or _order(asked, kept, aligned)
        or _asking(asked, kept, aligned)
    )


def _of_equal_words(asked: Text, kept: Text) -> Guard | None:
    if asked.quotes != kept.quotes:
        return _quotes(asked, kept)
    if questions.are_different(asked.question, kept.question):
        return Guard.QUESTION_WORD
    if asked.degree and kept.degree and asked.degree != kept.degree:
        return Guard.EXCLUSIVE_SET
    return Guard.TENSE if _is_other_tense(asked, kept) else None


def _to_the_letter(asked: Text, kept: Text) -> Guard | None:
    if asked.versions != kept.versions and sorted(asked.versions) != sorted(kept.versions):
        return Guard.VERSION
    if asked.codes != kept.codes and sorted(asked.codes) != sorted(kept.codes):
        return Guard.CODE
    return _quotes(asked, kept) if asked.quotes != kept.quotes else None


def _quotes(asked: Text, kept: Text) -> Guard | None:
    """What stands in quotes must stand in the other as well, with quotes or without."""
    for one, other in ((asked, kept), (kept, asked)):
        if other.quotes:
            if sorted(one.quotes) != sorted(other.quotes) and one.quotes:
                return Guard.QUOTE
            if not one.quotes and not set(other.content) <= set(one.words):
                return Guard.QUOTE
    return None


def _opposite(asked: Text, kept: Text, aligned: Alignment) -> Guard | None:
    """Two words that deny each other, unless one of them is itself denied: "not correct", "wrong"."""
    surplus = len(asked.negated) - len(kept.negated)
    has_antonym = False
    for left, right in _opposites(aligned):
        if surplus > 0 and left in asked.negated:
            surplus -= 1
        elif surplus < 0 and right in kept.negated:
            surplus += 1
        else:
            has_antonym = True
    if surplus:
        return Guard.NEGATION
    if has_antonym:
        return Guard.ANTONYM
    for left, right in zip(sorted(asked.negated), sorted(kept.negated), strict=False):
        if left != right and left in kept.words and right in asked.words:
            return Guard.NEGATION
    return None


def _opposites(aligned: Alignment) -> list[tuple[str, str]]:
    """Pairs of words left over that deny each other; little words only where nothing else is left."""
    return [
        (left, right)
        for left in aligned.ours
        for right in aligned.theirs
        if are_opposites(left, right) or (not aligned.has_content and right in WEAK.get(left, ()))
    ]


def _amount(asked: Text, kept: Text) -> Guard | None:
    if asked.numbers == kept.numbers and asked.units == kept.units and asked.measures == kept.measures:
        return None
    if sorted(asked.numbers) != sorted(kept.numbers):
        percents = [
            sorted(number for number, unit in zip(one.numbers, one.units, strict=True) if unit == "percent")
            for one in (asked, kept)
        ]
        return Guard.PERCENT if percents[0] != percents[1] else Guard.NUMBER
    ours, theirs = ({unit for unit in (*one.units, *one.measures) if unit} for one in (asked, kept))
    if other := ours ^ theirs:
        if "percent" in other:
            return Guard.PERCENT
        return Guard.EXCLUSIVE_SET if other <= {"am", "pm"} else Guard.UNIT
    if sorted(zip(asked.numbers, asked.units, strict=True)) != sorted(zip(kept.numbers, kept.units, strict=True)):
        return Guard.DIRECTION
    return None


def _values(asked: Text, kept: Text, aligned: Alignment) -> Guard | None:
    ours, theirs = aligned.our_members, aligned.their_members
    if ours or theirs:
        our_kinds, their_kinds = ({kind for value in side for kind in KINDS.get(value, ())} for side in (ours, theirs))
        if our_kinds & their_kinds:
            return Guard.EXCLUSIVE_SET
        sure = (*(value for value in ours if value in asked.members), *(v for v in theirs if v in kept.members))
        if any(kind in STRICT for value in sure for kind in KINDS.get(value, ())):
            return Guard.EXCLUSIVE_SET
    if aligned.names or (aligned.our_unknown and aligned.their_unknown):
        return Guard.NAME
    return None


def _order(asked: Text, kept: Text, aligned: Alignment) -> Guard | None:
    if asked.roles != kept.roles and _are_swapped(asked, kept):
        return Guard.DIRECTION
    if asked.words != kept.words and _are_turned(asked.words, kept.words):
        return Guard.ROLE
    if aligned.has_content or asked.question != kept.question:
        return None
    # "Who manages Ann?", "Who does Ann manage?"
    if (
        asked.has_do != kept.has_do
        and asked.question in ("who", "what", "which")
        and ("by" in asked.words) == ("by" in kept.words)
    ):
        return Guard.ROLE
    # "your name", "my name"; whoever asks how something is done says either
    return Guard.ROLE if {asked.persons, kept.persons} == {1, 2} and asked.question != "how" else None


def _are_swapped(asked: Text, kept: Text) -> bool:
    """Whether shared values of one sort change places or roles."""
    ours, theirs = dict(asked.roles), dict(kept.roles)
    shared = [value for value in ours if value in theirs]
    for value in shared:
        if {ours[value], theirs[value]} == {"from", "to"}:
            return True
    if len(shared) < 2:
        return False
    place = {value: number for number, value in enumerate(theirs)}
    for number, left in enumerate(shared):
        for right in shared[number + 1 :]:
            if place[left] < place[right] or not _is_one_sort(left, right, asked, kept):
                continue
            if not (ours[left] and ours[right] and ours[left] == theirs[left] and ours[right] == theirs[right]):
                return True
            if ours[left] == ours[right] and ours[left] not in ("between", "in", "on"):
                return True
    return False


def _is_one_sort(left: str, right: str, asked: Text, kept: Text) -> bool:
    """Whether one could stand where the other stands. Of names nobody knows what they are of."""
    if left in KINDS or right in KINDS:
        return not set(KINDS.get(left, ())).isdisjoint(KINDS.get(right, ()))
    if left in asked.numbers or right in asked.numbers:
        units = dict(zip(asked.numbers, asked.units, strict=True))
        return units.get(left, left) == units.get(right, right) or {units.get(left), units.get(right)} == {
            "",
            "percent",
        }
    names = (*asked.names, *kept.names)
    return (left in names) == (right in names)


def _are_turned(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether the same words change sides of one of them: "cats chase dogs", "dogs chase cats"."""
    left, right = ([_PERSONS.get(word, word) for word in side if word not in _ARTICLES] for side in (ours, theirs))
    if sorted(left) != sorted(right) or len(set(left)) < len(left):
        return False
    if "than" in left and left[0] == right[0] and left != right:
        return True  # "What is heavier than gold?", "What is gold heavier than?"
    place = {word: number for number, word in enumerate(right)}
    spots = [place[word] for word in left if word not in _NO_VERBS]
    return any(max(spots[:middle]) > spots[middle] > min(spots[middle + 1 :]) for middle in range(1, len(spots) - 1))


def _asking(asked: Text, kept: Text, aligned: Alignment) -> Guard | None:
    if questions.are_different(asked.question, kept.question):
        return Guard.QUESTION_WORD
    if aligned.has_content:
        return None
    if asked.degree and kept.degree and asked.degree != kept.degree:
        return Guard.EXCLUSIVE_SET
    return Guard.TENSE if _is_other_tense(asked, kept) else None


def _is_other_tense(asked: Text, kept: Text) -> bool:
    return "past" in (asked.tense, kept.tense) and asked.tense != kept.tense and bool(asked.tense and kept.tense)
