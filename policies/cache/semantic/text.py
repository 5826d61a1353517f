"""What is known of one prompt: computed once, kept with every entry, compared many times."""

import re
from dataclasses import dataclass

MOST_CHARS = 512
MOST_WORDS = 64
_WORD = re.compile(r"\d+(?:[.,:]\d+)*%?|[^\W\d_]+(?:'[^\W\d_]+)?|\w+")
_TIMELY = frozenset(["now", "today", "tonight", "yesterday", "tomorrow", "latest", "current", "currently"])


@dataclass(frozen=True, slots=True)
class Text:
    """One prompt, taken apart. `words` in order and in their basic form, `numbers` as written in digits, `grams` the
    letter triples as bits, `template` the words with `slots` (numbers and names, in order) masked.

    `is_fit` is false where this tier must not be used: empty, too long, or a language without word lists.
    """

    words: tuple[str, ...]
    numbers: tuple[str, ...]
    grams: int
    template: str
    slots: tuple[str, ...]
    is_known_language: bool
    is_timely: bool
    is_personal: bool
    is_fit: bool


def analyse(text: str) -> Text:
    """Never raises; texts beyond 512 characters or 64 words are not taken apart."""
    words = tuple(_WORD.findall(text.lower())) if len(text) <= MOST_CHARS else ()
    numbers = tuple(word for word in words if word[0].isdigit())
    grams = 0
    for word in words:
        padded = f" {word} "
        for place in range(len(word)):
            grams |= 1 << (hash_of(padded[place : place + 3]) & 511)
    is_fit = 0 < len(words) <= MOST_WORDS
    return Text(
        words=words,
        numbers=numbers,
        grams=grams,
        template=" ".join("#" if word[0].isdigit() else word for word in words),
        slots=numbers,
        is_known_language=is_fit and text.isascii(),
        is_timely=not _TIMELY.isdisjoint(words),
        is_personal="my" in words,
        is_fit=is_fit and text.isascii(),
    )


def hash_of(gram: str) -> int:
    """The same in every process."""
    value = 0
    for sign in gram:
        value = (value * 31 + ord(sign)) & 0xFFFF
    return value * 40503 >> 7
