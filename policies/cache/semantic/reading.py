"""Tokens as what they stand for: phrases, basic forms, values of numbers, members of sets that exclude each other."""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from policies.cache.semantic.english.forms import KNOWN, base
from policies.cache.semantic.english.kinds import CAPITALISED, KINDS, SPELLED
from policies.cache.semantic.english.quantities import ORDINALS, OTHERS, PLAIN, SCALES, SMALL, SUFFIXES, TENS, UNITS
from policies.cache.semantic.english.synonyms import CONCEPTS, FRAMES, HOW_FRAMES
from policies.cache.semantic.english.vocabulary import COURTESY, FUNCTION
from policies.cache.semantic.splitting import BREAK, CODE, NUMBER, WORD, Token

_FRAME, _HOW, _CONCEPT = range(3)
_NUMBER_STARTS = frozenset(["a", *SMALL, *TENS, *ORDINALS, *OTHERS])
_SCALES_OF_HEAT = ("celsius", "fahrenheit", "kelvin")
_PARTICLES = frozenset(["on", "off", "up", "down", "in", "out", "back", "away"])
_WIDEST_SPLIT = 4
_DETERMINERS = frozenset(["the", "a", "an", "this", "that", "my", "your", "our", "his", "her", "their"])


def _phrases() -> dict[str, list[tuple[tuple[str, ...], int, str]]]:
    """By the first word, long ones first."""
    found: dict[str, dict[tuple[str, ...], tuple[int, str]]] = {}

    def add(words: tuple[str, ...], kind: int, value: str) -> None:
        words = tuple(map(base, words))
        found.setdefault(words[0], {}).setdefault(words[1:], (kind, value))

    for kind, frames in ((_HOW, HOW_FRAMES), (_FRAME, FRAMES)):
        for frame in frames:
            add(tuple(frame.split("_")), kind, "")
    for words, member in SPELLED.items():
        if len(words) > 1:
            add(words, _CONCEPT, member)
    for words, concept in CONCEPTS.items():
        if len(words) > 1:
            add(words, _CONCEPT, concept)
    return {
        first: [(rest, *what) for rest, what in sorted(rests.items(), key=lambda one: -len(one[0]))]
        for first, rests in found.items()
    }


_PHRASES = _phrases()
_SPLIT = {
    (words[0], words[1]): concept for words, concept in CONCEPTS.items() if len(words) == 2 and words[1] in _PARTICLES
}
_SPLIT_VERBS = frozenset(verb for verb, _ in _SPLIT)
_SINGLE = {base(words[0]): base(concept) for words, concept in reversed(CONCEPTS.items()) if len(words) == 1}
_MEMBER = {base(words[0]): member for words, member in reversed(SPELLED.items()) if len(words) == 1} | {
    words[0]: member for words, member in reversed(SPELLED.items()) if len(words) == 1
}


def concept_of(word: str) -> str:
    """What stands for a word, or for several words together with `_`."""
    if "_" in word:
        return CONCEPTS.get(tuple(word.split("_")), word)
    basic = base(word)
    return _MEMBER.get(word) or _MEMBER.get(basic) or _SINGLE.get(basic, basic)


@dataclass(slots=True)
class Item:
    """`value`: what it stands for. `surface`: as it was written, in lower case. `kinds`: the sets it is a member of.
    `maybe`: the member that it would be, written like a name.
    """

    kind: int
    value: str
    surface: str
    unit: str = ""
    kinds: tuple[str, ...] = ()
    maybe: str = ""
    is_name: bool = False
    is_rare: bool = False
    is_function: bool = False


@dataclass(slots=True)
class Reading:
    """`items` without what only says that something is asked; `words` are the basic forms of all of it,
    `spoken` the same as they were written. `known`: how many of them the lists know.
    """

    items: list[Item] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    has_how: bool = False
    known: int = 0


def read(tokens: list[Token]) -> Reading:
    """What the tokens stand for, in order."""
    tokens = [token for token in tokens if token.kind != WORD or token.value not in COURTESY] or tokens
    reading = Reading()
    bases = [base(token.value) if token.kind == WORD else "" for token in tokens]
    reading.words = [word for word in bases if word]
    reading.spoken = [token.value for token in tokens if token.kind == WORD]
    has_capitals = _has_meaning(tokens)
    place = 0
    while place < len(tokens):
        place = _step(tokens, bases, place, reading, has_capitals)
    return reading


def _has_meaning(tokens: list[Token]) -> bool:
    """Whether an upper case tells something: not in a title, and not where everything is shouted."""
    capitals = sum(token.is_capital for token in tokens)
    words = sum(token.kind == WORD for token in tokens)
    return capitals * 2 <= words or capitals < 3


def _step(tokens: list[Token], bases: list[str], place: int, reading: Reading, has_capitals: bool) -> int:
    """Reads on from `place`; where to go on."""
    token = tokens[place]
    if token.kind != WORD:
        return _not_a_word(tokens, place, reading)
    if token.value in _NUMBER_STARTS and (after := _number_words(tokens, place, reading)) > place:
        return after
    if token.value == "not" and bases[place + 1 : place + 2] == ["only"]:
        return place + 2
    word = bases[place]
    if word in _PHRASES and (after := _phrase(bases, place, reading)) > place:
        return after
    if word in _SPLIT_VERBS:
        for other in range(place + 2, min(place + 2 + _WIDEST_SPLIT, len(bases))):
            if (word, bases[other]) in _SPLIT:
                word = _SPLIT[word, bases[other]]
                tokens[other].kind = BREAK
                bases[other] = ""
                break
    reading.items.append(_item(token, word, has_capitals, reading))
    return place + 1


def _item(token: Token, word: str, has_capitals: bool, reading: Reading) -> Item:
    is_name = token.is_capital and has_capitals
    surface = token.value
    member = _MEMBER.get(surface) or _MEMBER.get(word)
    maybe = ""
    if surface in CAPITALISED:
        member, maybe = (CAPITALISED[surface], "") if is_name else (None, CAPITALISED[surface])
    if member in KINDS:
        reading.known += 1
        return Item(WORD, member, surface, kinds=KINDS[member], is_name=is_name)
    if unit := _plain_unit(surface) or _plain_unit(word):
        reading.known += 1
        return Item(WORD, unit, surface, unit=unit)
    is_known = word in KNOWN or bool(maybe) or "_" in word
    reading.known += is_known
    if word in FUNCTION:
        return Item(WORD, word, surface, maybe=maybe, is_function=True)
    return Item(WORD, _SINGLE.get(word, word), surface, maybe=maybe, is_name=is_name, is_rare=not is_known)


def _phrase(bases: list[str], place: int, reading: Reading) -> int:
    second = bases[place + 1] if place + 1 < len(bases) else ""
    for rest, kind, value in _PHRASES[bases[place]]:
        if rest[0] != second:
            continue
        end = place + 1 + len(rest)
        if tuple(bases[place + 1 : end]) != rest or (kind != _CONCEPT and end >= len(bases)):
            continue
        reading.known += 1 + len(rest)
        if kind == _HOW:
            reading.has_how = True
        elif kind == _CONCEPT:
            reading.items.append(Item(WORD, value, " ".join((bases[place], *rest)), kinds=KINDS.get(value, ())))
        return end
    return place


def _not_a_word(tokens: list[Token], place: int, reading: Reading) -> int:
    token = tokens[place]
    if token.kind == BREAK:
        return place + 1
    if token.kind != NUMBER:
        reading.items.append(Item(token.kind, token.value, token.value))
        return place + 1
    value, mark, end = token.value.replace(",", "") if _is_grouped(token.value) else token.value, token.mark, place + 1
    currency = mark[:1] if mark[:1] in UNITS and not mark[:1].isalpha() else ""
    suffix = mark[len(currency) :]
    unit = UNITS.get(currency, "")
    if suffix in SUFFIXES:
        value = _times(value, SUFFIXES[suffix])
    elif suffix in UNITS:
        unit = UNITS[suffix]
    elif suffix not in ("", "st", "nd", "rd", "th"):
        reading.items.append(Item(CODE, value + suffix, value + suffix))  # "5xx", "3d"
        return end
    while end < len(tokens) and tokens[end].kind == WORD and tokens[end].value in SCALES:
        value = _times(value, SCALES[tokens[end].value])
        end += 1
    return _with_unit(tokens, end, value, unit, reading)


def _with_unit(tokens: list[Token], end: int, value: str, unit: str, reading: Reading) -> int:
    if not unit and end < len(tokens) and tokens[end].kind == WORD:
        follower = tokens[end].value
        if follower == "per" and tokens[end + 1 : end + 2] and tokens[end + 1].value == "cent":
            unit, end = "percent", end + 2
        elif found := UNITS.get(follower) or UNITS.get(base(follower)):
            unit, end = found, end + 1
            if unit == "degree" and end < len(tokens) and (found := UNITS.get(tokens[end].value)) in _SCALES_OF_HEAT:
                unit, end = found, end + 1
    reading.items.append(Item(NUMBER, value, value, unit=unit))
    return end


def _is_grouped(number: str) -> bool:
    """Whether commas stand between thousands."""
    first, *rest = number.partition(".")[0].lstrip("+-").split(",")
    return bool(rest) and 0 < len(first) <= 3 and all(len(part) == 3 for part in rest)


def _times(value: str, factor: int) -> str:
    if len(value) > 30:
        return value
    try:
        return format((Decimal(value) * factor).normalize(), "f")
    except InvalidOperation:  # a date or a time before "million"
        return f"{value}e{factor}"


def _number_words(tokens: list[Token], place: int, reading: Reading) -> int:
    """Reads a number that is written in words; `place` itself where there is none."""
    words = [token.value if token.kind == WORD else "" for token in tokens[place : place + 12]]
    first = words[0]
    if first in ORDINALS and (first != "second" or place == 0 or tokens[place - 1].value in _DETERMINERS):
        reading.items.append(Item(NUMBER, str(ORDINALS[first]), first, unit="ordinal"))
        return place + 1
    if first in OTHERS:
        return _with_unit(tokens, place + 1, OTHERS[first], "", reading)
    used, value = _cardinal(words)
    if not used:
        return place
    # "one" alone is a number only where something is counted, or in front of a unit.
    if used == 1 and first == "one" and (len(words) < 2 or words[1] not in UNITS):
        return place
    return _with_unit(tokens, place + used, str(value), "", reading)


def _cardinal(words: list[str]) -> tuple[int, int]:
    """How many words a number takes, and its value."""
    total = current = used = 0
    start = 1 if words[0] == "a" and words[1:2] and words[1] in SCALES else 0
    current = start
    for place, word in enumerate(words[start:], start + 1):
        if word in TENS:
            if current % 100:
                break
            current += TENS[word]
        elif word in SMALL:
            if current % 10 or (10 <= current % 100 < 20) or (current and SMALL[word] > 9 and current % 100):
                break
            current += SMALL[word]
        elif word in SCALES and (used or start):
            if SCALES[word] == 100:
                current = max(current, 1) * 100
            else:
                total, current = total + max(current, 1) * SCALES[word], 0
        elif word == "and" and used and words[place : place + 1] and words[place] in SMALL.keys() | TENS.keys():
            if current % 100 or not current + total:
                break
            continue
        else:
            break
        used = place
    return used, total + current


def _plain_unit(word: str) -> str:
    """The unit that a word alone stands for, or nothing."""
    unit = UNITS.get(word, "")
    return unit if unit in PLAIN else ""
