"""Text without what does not change its meaning: case, width, politeness, punctuation.

For short plain prose only. Where it could be code or a formula with names, nothing is taken away; where an upper case
tells two words apart ("us" and "US"), it stays. English phrases of politeness are known; other languages lose case,
width and punctuation alone.
"""

import re
import unicodedata

_MOST_CHARS = 2000
# Code, markup, paths, several lines, names in camel case, options: every sign and the case may matter.
_EXACT = re.compile(r"[`{}\\|~_@#\[\]]|==|\n\s*\S|://|\w\(|\.\w{1,4}\b(?=\s|$)|\b[a-z]+[A-Z]|(?<!\w)--?[A-Za-z]")
# Numbers stay whole, and so does what stands for an operation between them.
_WORD = re.compile(r"[+-]?\d+(?:[.,:/]\d+)*%?|[$€£¥%=+*/<>^&×÷√≤≥≠−-]|[^\W\d_]+(?:'[^\W\d_]+)?\w*|\w+")
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")
# Words that mean something else with an upper case; in the middle of a sentence they keep it.
_TOLD_APART_BY_CASE = frozenset(
    """
    us it who polish may march august turkey china nice reading mobile apple windows word excel go mercury amazon will
    bill mark can am pm in or ok aids sap aws ram rom pin ice ms mb gb mw kb mm frank rich grant rose iris ivy dean pat
    sue gene art job chase target gap visa shell ford dodge lent tory slack teams zoom notion stripe square
    """.split()  # noqa: SIM905 - words, to be read as such
)
_CONTRACTIONS = {
    "ain't": "is not",
    "aren't": "are not",
    "can't": "can not",
    "cannot": "can not",
    "couldn't": "could not",
    "didn't": "did not",
    "doesn't": "does not",
    "don't": "do not",
    "hadn't": "had not",
    "hasn't": "has not",
    "haven't": "have not",
    "how's": "how is",
    "i'd": "i would",
    "i'll": "i will",
    "i'm": "i am",
    "i've": "i have",
    "isn't": "is not",
    "it's": "it is",
    "let's": "let us",
    "shouldn't": "should not",
    "that's": "that is",
    "they're": "they are",
    "wasn't": "was not",
    "we're": "we are",
    "weren't": "were not",
    "what're": "what are",
    "what's": "what is",
    "when's": "when is",
    "where's": "where is",
    "who's": "who is",
    "won't": "will not",
    "wouldn't": "would not",
    "you're": "you are",
}
_THANKS = ("please", "pls", "plz", "kindly", "thanks", "thank you", "thx", "ty")
_BEFORE = (
    *_THANKS,
    *("hi", "hello", "hey", "hi there", "hello there", "hey there", "good morning", "good afternoon", "good evening"),
    # Without "please" the others may ask what somebody is able to do.
    *("could you", "could you please", "can you please", "would you please", "will you please"),
    *(
        "quick question",
        "one question",
        "a question",
        "question",
        "sorry",
        "excuse me",
        "may i ask",
        "by the way",
        "btw",
    ),
    *("ok", "okay", "so", "well", "um", "dear assistant", "assistant", "just wondering", "i wonder", "i was wondering"),
    *("i would like to know", "i want to know", "tell me please"),
)
_AFTER = (
    *_THANKS,
    *("thanks a lot", "thank you very much", "thank you so much", "thanks in advance", "many thanks", "cheers"),
    "much appreciated",
)


def _by_word(phrases: tuple[str, ...], position: int) -> dict[str, list[tuple[str, ...]]]:
    """Phrases by their first or last word, long ones first."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for phrase in sorted((tuple(one.split()) for one in set(phrases)), key=len, reverse=True):
        found.setdefault(phrase[position], []).append(phrase)
    return found


_STARTS, _ENDS = _by_word(_BEFORE, 0), _by_word(_AFTER, -1)


def normal(text: str) -> str | None:
    """Equal for two texts that say the same in the same words; None where only the text itself will do."""
    if len(text) > _MOST_CHARS:
        return None
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).strip()
    if _EXACT.search(text):
        return None
    words: list[str] = []
    for place, word in enumerate(_WORD.findall(text)):
        small = word.casefold()
        if small in _CONTRACTIONS:
            words += _CONTRACTIONS[small].split()
        elif place and word != small and (small in _TOLD_APART_BY_CASE or len(word) == 1) and word not in ("I", "A"):
            words.append(word)
        else:
            words.append(small)
    return " ".join(_without_courtesy(words)) or None


def _without_courtesy(words: list[str]) -> list[str]:
    """Without phrases of politeness at both ends; something is always left."""
    is_done = not words
    while not is_done:
        is_done = True
        for phrase in _STARTS.get(words[0], ()):
            if len(phrase) < len(words) and tuple(words[: len(phrase)]) == phrase:
                del words[: len(phrase)]
                is_done = False
                break
        for phrase in _ENDS.get(words[-1], ()):
            if len(phrase) < len(words) and tuple(words[-len(phrase) :]) == phrase:
                del words[-len(phrase) :]
                is_done = False
                break
    return words
