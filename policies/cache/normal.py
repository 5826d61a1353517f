"""Text without what does not change its meaning: case, width, politeness, punctuation.

For short plain prose only. Where it could be code or a formula with names, nothing is taken away; where an upper case
tells two words apart ("us" and "US"), it stays. English phrases of politeness are known; other languages lose case,
width and punctuation alone.
"""

import re
import unicodedata

_MOST_CHARS = 2000
# Code, markup, paths, several lines, names in camel case, options: every sign and the case may matter.
_EXACT = re.compile(
    r"[`{}\\|~_@#\[\]]|[=!]=|\n\s*\S|://|\w\(|\.\w{1,4}\b(?=\s|$)|\b[a-z]+[A-Z]|(?<!\w)--?[A-Za-z]"
    # Formulas: groups of what is not words, factorials, feet and inches, decimals without a zero.
    r"|\([^()]*[\d+*/^=<>-][^()]*\)|\(\s*\(|\d\s*[!'\"]|'\(|![\w(]|(?<!\d)[.,]\d|\d\s*\.\.+\s*\d"
)
# Numbers stay whole, and so does all that is neither a word nor a sign that a sentence can do without: what stands for
# an operation, pictures, and the vowels that some scripts write as marks.
_WORD = re.compile(
    r"[+-]?\d+(?:[.,:/]\d+)*%?|[^\W\d_]+(?:'[^\W\d_]+)?\w*|\w+"
    r"|[^\w\s.,;:!?'\"()\u00a1\u00bf\u00ab\u00bb\u2013\u2014\u2018-\u201e\u2026]"
)
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")
# Words that mean something else with an upper case; in the middle of a sentence they keep it.
_TOLD_APART_BY_CASE = frozenset(
    """
    us it who polish may march august turkey china nice reading mobile apple windows word excel go mercury amazon will
    bill mark can am pm in or ok aids sap aws ram rom pin ice ms mb gb mw kb mm frank rich grant rose iris ivy dean pat
    rest soap act sat cat pet led dos sim raid lamp cad stem smart fast rust swift co tb ma
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
# What is to be done with a text, or said of one: its signs, its case and its politeness are what it is about.
_ABOUT_TEXT = re.compile(
    r"\b(?:translat|proofread|punctuat|grammar|spell|rewrite|rephras|paraphras|capitali|uppercase|lowercase|verbatim"
    r"|sentiment|polite)|\b(?:upper|lower)[ -]?case\b",
    re.IGNORECASE,
)
# Before a phrase of politeness, or after one: it is what somebody asks about.
_LEADS_TO_PHRASE = frozenset(
    """
    a an and answer as between by call called define for from if in is like mean means meaning of or phrase reply
    respond say saying says said than the to use using versus vs when why with without word words write
    """.split()  # noqa: SIM905 - words, to be read as such
)
_FOLLOWS_PHRASE = frozenset(
    {"and", "as", "at", "for", "from", "in", "lyrics", "meaning", "of", "or", "to", "versus", "vs"}
)
_THANKS = ("please", "pls", "plz", "kindly", "thanks", "thank you", "thx", "ty")
_BEFORE = (
    *_THANKS,
    *("hi", "hello", "hey", "hi there", "hello there", "hey there", "good morning", "good afternoon", "good evening"),
    # Without "please" the others may ask what somebody is able to do.
    *("could you", "could you please", "can you please", "would you please", "will you please"),
    *(
        "quick question",
        "one question",
        "sorry",
        "excuse me",
        "may i ask",
        "by the way",
        "btw",
    ),
    *("ok", "okay", "so", "um", "dear assistant", "just wondering", "i wonder", "i was wondering"),
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
    if not text.isascii() and any(unicodedata.category(sign) == "No" for sign in text):
        return None  # raised and lowered digits, fractions: the form below would make 25 of 2\u2075
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).strip()
    if _EXACT.search(text) or _ABOUT_TEXT.search(text):
        return None
    words: list[str] = []
    for place, word in enumerate(_WORD.findall(text)):
        small = word.lower()  # casefold() would make Massen of Ma\u00dfen
        if small in _CONTRACTIONS:
            words += _CONTRACTIONS[small].split()
        elif place and word != small and (small in _TOLD_APART_BY_CASE or len(word) == 1) and word not in ("I", "A"):
            words.append(word)
        else:
            words.append(small)
    return " ".join(_without_courtesy(words)) or None


def is_about_text(instruction: str) -> bool:
    """Whether the texts that follow are what something is to be done with: to translate, to correct, to judge."""
    return _ABOUT_TEXT.search(instruction) is not None


def _without_courtesy(words: list[str]) -> list[str]:
    """Without phrases of politeness at both ends; something is always left."""
    is_done = not words
    while not is_done:
        is_done = True
        for phrase in _STARTS.get(words[0], ()):
            rest = words[len(phrase) :]
            if rest and tuple(words[: len(phrase)]) == phrase and rest[0] not in _FOLLOWS_PHRASE:
                words = rest
                is_done = False
                break
        for phrase in _ENDS.get(words[-1], ()):
            rest = words[: -len(phrase)]
            if rest and tuple(words[-len(phrase) :]) == phrase and rest[-1] not in _LEADS_TO_PHRASE:
                words = rest
                is_done = False
                break
    return words
