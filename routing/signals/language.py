"""The language of the text, by script and by its commonest words."""

from bisect import bisect_right
from collections import Counter
from functools import partial

from routing.signals.view import Index, View, words_of

NAMES = ("is_english", "non_ascii_share")

# No LEXICON: half the words of every text are among these, and only a trained router and `explain` ask for a language.
_WORDS = {
    "en": words_of("the of and to in is that it was for on are with as his they be at this have from or had by what"),
    "de": words_of("der die und das ist nicht ein eine ich mit auf für sie den von wie zu dem im was auch kann"),
    "fr": words_of("le la les des est une un et du que pour dans qui sur pas avec vous je il ce comment au"),
    "es": words_of("el la los las de que y en un una es por con para no se del lo cómo qué como mi"),
    "it": words_of("il di che è la un una per non con del sono della come mi si gli nel questo anche"),
    "pt": words_of("o de que e do da em um uma para com não os as no na como por mais dos você"),
    "nl": words_of("de het een van en is dat niet ik op te met voor zijn wat hoe aan naar ook"),
}

_INDEX = Index(_WORDS)

# Where a script starts, and the language its texts are in, nearly always. A gap has no language.
_SCRIPTS = (
    ("", "\u0080"),
    ("el", "\u0370"),
    ("ru", "\u0400"),
    ("", "\u0530"),
    ("he", "\u0590"),
    ("ar", "\u0600"),
    ("", "\u0700"),
    ("hi", "\u0900"),
    ("", "\u0980"),
    ("th", "\u0e00"),
    ("", "\u0e80"),
    ("ja", "\u3040"),
    ("", "\u3100"),
    ("zh", "\u3400"),
    ("", "\ua000"),
    ("ko", "\uac00"),
    ("", "\ud7b0"),
)
_STARTS_AT = partial(bisect_right, [start for _, start in _SCRIPTS])


def measure(view: View) -> tuple[float, ...]:
    """Whether it is English, and the share of words with letters beyond ASCII."""
    share = 0.0 if view.is_ascii else len(_foreign(view)) / len(view.words)
    return (float(label(view) == "en"), share)


def label(view: View) -> str:
    """The language as ISO 639-1; `en` where nothing speaks for another one, because most prompts are English."""
    if not view.is_ascii:
        script = _script(_foreign(view), len(view.words))
        if script is not None:
            return script
    hits = _INDEX.count(view.words)
    best, most = "en", hits.get("en", 0)
    for name in _WORDS:
        count = hits.get(name, 0)
        if count > most:
            best, most = name, count
    return best


def _foreign(view: View) -> list[str]:
    return [word for word in view.words if not word.isascii()]


def _script(words: list[str], total: int) -> str | None:
    """The language whose script a fifth of all words has; of kana a twentieth is enough."""
    found = Counter(map(_STARTS_AT, [word[0] for word in words]))
    for position, count in found.items():
        language = _SCRIPTS[position - 1][0] if position else ""
        if language == "ja" and count * 20 > total:
            return language
    for position, count in found.items():
        language = _SCRIPTS[position - 1][0] if position else ""
        if language and count * 5 > total:
            return language
    return None
