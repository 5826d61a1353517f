"""What is known of one prompt: computed once, kept with every entry, compared many times."""

from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from policies.cache.semantic import questions
from policies.cache.semantic.english.foreign import FOREIGN
from policies.cache.semantic.reading import Item, Reading, read
from policies.cache.semantic.splitting import CODE, NUMBER, VERSION, WORD, Token, split

MOST_CHARS = 512
MOST_WORDS = 64
_GRAM_BITS = 512
_NEGATIONS = frozenset(
    """
    not never no none neither nor without nobody nothing nowhere hardly barely scarcely non
    """.split()  # noqa: SIM905
)
# What the roles of two values are told by: words before them, and a "to" after them.
_ROLES = {
    "from": "from", "leave": "from", "leaving": "from", "departing": "from", "to": "to", "into": "to", "visit": "to",
    "towards": "to", "toward": "to", "arriving": "to", "reach": "to", "onto": "to", "depart": "from", "arrive": "to",
    "departure": "from", "with": "with", "for": "for", "than": "than", "before": "before", "after": "after", "by": "by",
    "between": "between", "of": "of", "over": "than", "against": "than", "versus": "than", "vs": "than", "in": "in",
    "at": "in", "on": "on", "using": "with", "via": "with",
}  # fmt: skip
_PASSED_OVER = frozenset(["the", "a", "an", "in", "at", "city", "of", "my", "our", "about"])


@dataclass(frozen=True, slots=True)
class Text:
    """One prompt, taken apart; about 1.5 KB.

    `words`: all that is said, in order and in basic forms, synonyms as one; `content`: those of them that carry
    meaning, without numbers. `numbers` with their `units` (aligned; empty where none stands there); `measures`: units
    that stand alone. `names`: written with an upper case; `rare`: words of no list; `members`: values of sets that
    exclude each other, `maybes`: such values where the word may be an ordinary one. `quotes`, `codes`, `versions` to
    the letter. `negated`: what follows each negation. `roles`: pairs of a value and its role ("from", "to" ...), in
    order. `template`: the words with values masked, `slots` the values in order. `grams`: letter triples as bits.

    `is_fit` is false where this tier must not be used: empty, too long, or in a language without word lists.
    """

    words: tuple[str, ...]
    content: tuple[str, ...]
    numbers: tuple[str, ...]
    units: tuple[str, ...]
    measures: tuple[str, ...]
    names: tuple[str, ...]
    rare: tuple[str, ...]
    members: tuple[str, ...]
    maybes: tuple[str, ...]
    quotes: tuple[str, ...]
    codes: tuple[str, ...]
    versions: tuple[str, ...]
    negated: tuple[str, ...]
    roles: tuple[tuple[str, str], ...]
    question: str
    tense: str
    persons: int
    has_do: bool
    degree: str
    template: str
    slots: tuple[str, ...]
    grams: int
    is_known_language: bool
    is_timely: bool
    is_personal: bool
    is_fit: bool


_NOTHING = Text(
    *((),) * 14, question="", tense="", persons=0, has_do=False, degree="", template="", slots=(), grams=0,
    is_known_language=False, is_timely=False, is_personal=False, is_fit=False,
)  # fmt: skip


def analyse(text: str) -> Text:
    """Never raises. Texts beyond 512 characters or 64 tokens are not taken apart: nothing is known of them."""
    if len(text) > MOST_CHARS:
        return _NOTHING
    tokens, quotes = split(text)
    if not tokens or len(tokens) > MOST_WORDS:
        return _NOTHING
    reading = read(tokens)
    raw = reading.spoken
    items, words = reading.items, reading.words
    kind = questions.question(words, reading.has_how)
    is_known = _is_english(tokens, raw, reading)
    slots = tuple(item.value for item in items if _is_slot(item))
    return Text(
        words=tuple(item.value for item in items),
        content=tuple(item.value for item in items if item.kind == WORD and not item.is_function and not item.unit),
        numbers=tuple(item.value for item in items if item.kind == NUMBER),
        units=tuple(item.unit for item in items if item.kind == NUMBER),
        measures=tuple(item.value for item in items if item.kind == WORD and item.unit),
        names=tuple(item.value for item in items if item.is_name and not item.is_function and not item.kinds),
        rare=tuple(item.value for item in items if item.is_rare),
        members=tuple(item.value for item in items if item.kinds),
        maybes=tuple(item.maybe for item in items if item.maybe),
        quotes=tuple(quotes),
        codes=tuple(item.value for item in items if item.kind == CODE),
        versions=tuple(item.value for item in items if item.kind == VERSION),
        negated=_negated(items),
        roles=_roles(items),
        question=kind,
        tense=questions.tense(raw),
        persons=questions.persons(raw),
        has_do=not {"do", "does", "did"}.isdisjoint(raw),
        degree=questions.degree(raw, words),
        template=" ".join("#" if item.kind == NUMBER else "*" if _is_slot(item) else item.value for item in items),
        slots=slots,
        grams=_grams(items),
        is_known_language=is_known,
        is_timely=questions.is_timely(raw),
        is_personal=questions.is_personal(raw, kind),
        is_fit=is_known and bool(items),
    )


def _is_slot(item: Item) -> bool:
    return item.kind != WORD or item.is_name or item.is_rare or bool(item.kinds) or bool(item.unit)


def _is_english(tokens: list[Token], raw: list[str], reading: Reading) -> bool:
    """Whether the word lists know enough of it. Names and values alone say nothing against it."""
    if not raw:
        return any(token.kind == NUMBER for token in tokens)
    foreign = sum(word in FOREIGN or not word.isascii() for word in raw)
    if foreign * 4 > len(raw):
        return False
    names = sum(item.is_rare and item.is_name for item in reading.items)
    return reading.known * 2 >= len(raw) - names


def _negated(items: list[Item]) -> tuple[str, ...]:
    found = []
    for place, item in enumerate(items):
        if item.value in _NEGATIONS and not item.is_name:
            # "whether or not" denies nothing
            if item.value == "not" and place and items[place - 1].value == "or" and place + 1 == len(items):
                continue
            later = (other.value for other in items[place + 1 : place + 5] if not other.is_function)
            found.append(next(later, ""))
    return tuple(found)


def _roles(items: list[Item]) -> tuple[tuple[str, str], ...]:
    found = []
    for place, item in enumerate(items):
        if not (_is_slot(item) or item.maybe):
            continue
        role = ""
        for before in range(place - 1, max(place - 4, -1), -1):
            word = items[before].value
            role = _ROLES.get(word, "")
            if word in ("in", "at") and before and _ROLES.get(items[before - 1].value) in ("from", "to"):
                role = _ROLES[items[before - 1].value]
            if role or word not in _PASSED_OVER:
                break
        if (
            role in ("", "of", "with", "for", "in")
            and place + 1 < len(items)
            and items[place + 1].value in ("to", "into")
        ):
            role = "from"
        found.append((item.value, role))
    return tuple(found)


def _grams(items: list[Item]) -> int:
    bits = 0
    for item in items:
        if not item.is_function:
            bits |= _word_grams(item.surface)
    return bits


@lru_cache(maxsize=4096)
def _word_grams(word: str) -> int:
    """The letter triples of a word as bits, the same in every process."""
    padded = f" {word} ".encode("utf-8", "surrogatepass")
    bits = 0
    for place in range(len(padded) - 2):
        bits |= 1 << crc32(padded[place : place + 3]) % _GRAM_BITS
    return bits
