"""A prompt as tokens: words, numbers, code, what stands in quotes. Linear in its length."""

import re
import unicodedata
from dataclasses import dataclass

from policies.cache.semantic.english.vocabulary import COURTESY

_SIGNS = str.maketrans(
    {
        "\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u2032": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
        "\u00ab": '"', "\u00bb": '"', "\u2013": "-", "\u2014": " - ", "\u2212": "-", "\u00d7": "*", "\u00f7": "/",
        "\u2026": "...", "\u2192": " to ",
    }
)  # fmt: skip
_QUOTED = re.compile(r'"([^"]*)"|(?<!\w)\'([^\']*)\'(?!\w)|`([^`]*)`')
_CONTRACTED = re.compile(r"[^\W\d_]+'[^\W\d_]+\Z")
_COMPOUND = re.compile(r"[^\W\d_]+(?:[-/&][^\W\d_]+)+\Z")
_NUMBER = re.compile(r"([$€£¥₹]?)([+-]?\d+(?:[.,:/-]\d+)*)([$€£¥₹%°]?)([^\W\d_]{0,12})\Z")
_COUNTED = re.compile(r"(\d+)-([^\W\d_]+(?:-[^\W\d_]+)*)\Z")
_FORMULA = re.compile(r"[\d.,+\-*/^=%()!<>]+\Z")
_TERM = re.compile(r"\d+(?:[.,]\d+)*|[+\-*/^%!<>]")
_PINNED = re.compile(r"([^\W\d][\w.-]*?)(?:==|@|>=|<=|~=|:)(v?\d[\w.+-]*)\Z")
_VERSION = re.compile(r"v?\d+(?:\.\d+){2,}[\w.+-]*\Z|v\d+(?:\.\d+)*\Z", re.IGNORECASE)
_MIXED = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*\Z")
_LEADING, _TRAILING = "([{<\"'*_¿¡,;:", ")]}>\"'*_,;:.?!"
_BRACKETS = {")": "(", "]": "[", "}": "{", ">": "<"}
_WRITTEN = {
    "a.m": "am", "p.m": "pm", "u.s": "usa", "u.s.a": "usa", "u.k": "uk", "e.g": "eg", "i.e": "ie", "w/o": "without",
    "w/": "with", "c++": "cpp", "c#": "c#", "f#": "f#", "&": "and", "+": "plus", "%": "percent", "->": "to",
    "=>": "to", "-": "-", "node.js": "nodejs", "vue.js": "vue", "next.js": "nextjs", "express.js": "expressjs",
    "asp.net": "aspnet", ".net": "dotnet", "24/7": "always",
}  # fmt: skip
_OPERATIONS = {
    "+": "plus", "-": "minus", "*": "times", "/": "over", "^": "power", "%": "percent", "!": "factorial",
    "<": "less", ">": "more",
}  # fmt: skip
_SHORT = {
    "n't": "not", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'s": "is",
}  # fmt: skip
_IS_AFTER = frozenset(["what", "who", "where", "when", "how", "why", "it", "that", "there", "here", "he", "she"])
_WHOLE = {
    "can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"), "shan't": ("shall", "not"),
    "ain't": ("is", "not"), "let's": ("let", "us"), "y'all": ("you",), "o'clock": ("o'clock",),
    "whats": ("what", "is"), "hows": ("how", "is"), "wheres": ("where", "is"), "whens": ("when", "is"),
    "dont": ("do", "not"), "doesnt": ("does", "not"), "didnt": ("did", "not"), "isnt": ("is", "not"),
    "arent": ("are", "not"), "wasnt": ("was", "not"), "cant": ("can", "not"), "wont": ("will", "not"),
    "couldnt": ("could", "not"), "shouldnt": ("should", "not"), "wouldnt": ("would", "not"), "hasnt": ("has", "not"),
    "havent": ("have", "not"), "im": ("i", "am"), "ive": ("i", "have"), "wanna": ("want", "to"),
    "gonna": ("going", "to"), "gotta": ("got", "to"), "unable": ("not", "able"), "u": ("you",), "ur": ("your",),
}  # fmt: skip
WORD, NUMBER, CODE, VERSION, BREAK = range(5)


@dataclass(slots=True)
class Token:
    """`value`: a word in lower case, a number as it is written, code to the letter. `mark`: what stands at a number
    (currency, percent, unit). `is_capital`: written with an upper case that no beginning of a sentence explains.
    """

    kind: int
    value: str
    mark: str = ""
    is_capital: bool = False


def split(text: str) -> tuple[list[Token], list[str]]:
    """The tokens, and what stood in quotes (lower case, single spaces)."""
    text = text.translate(_SIGNS)
    if not text.isascii() and not any(unicodedata.category(sign) == "No" for sign in text):
        text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    quotes: list[str] = []
    tokens: list[Token] = []
    place = 0
    for found in _QUOTED.finditer(text):
        inside = found[1] or found[2] or found[3]
        if not inside or not inside.strip():
            continue
        _take(text[place : found.start()], tokens)
        if found[3]:
            tokens += [Token(CODE, chunk) for chunk in inside.split()]
        else:
            quotes.append(" ".join(inside.lower().split()).strip(_TRAILING))
            _take(inside, tokens)
        place = found.end()
    _take(text[place:], tokens)
    return tokens, quotes


def _take(text: str, tokens: list[Token]) -> None:
    is_start = not tokens
    has_equation = "=" in text
    for chunk in text.split():
        if has_equation and len(chunk) == 1 and chunk.isalpha() and chunk not in "aAI":
            tokens.append(Token(CODE, chunk))
            is_start = False
            continue
        if chunk.isalpha():  # nearly all
            _word(chunk, tokens, is_start)
            is_start = is_start and tokens[-1].value in COURTESY
            continue
        bare = "" if chunk == "-" and tokens and tokens[-1].kind == NUMBER else _bare(chunk)
        if bare:
            _odd(bare, tokens, is_start)
        elif chunk in _OPERATIONS and chunk != "!":
            tokens.append(Token(WORD, _OPERATIONS[chunk]))
        is_start = chunk[-1] in ".?!:;" or (is_start and (not bare or bare.lower() in COURTESY))
        if is_start or chunk[-1] == ",":
            tokens.append(Token(BREAK, chunk[-1]))


def _bare(chunk: str) -> str:
    """Without the punctuation around it; brackets stay where they belong to it."""
    chunk = chunk.lstrip(_LEADING)
    while chunk and chunk[-1] in _TRAILING:
        last = chunk[-1]
        if last in _BRACKETS and _BRACKETS[last] in chunk:
            break
        if last == "!" and chunk[:-1].isdigit():
            break  # a factorial
        chunk = chunk[:-1]
    return chunk


def _word(word: str, tokens: list[Token], is_start: bool) -> None:
    small = word.lower()
    if small in _WHOLE:
        tokens += [Token(WORD, part) for part in _WHOLE[small]]
        return
    # Several letters in upper case are no beginning of a sentence.
    is_capital = word[0] != small[0] and (not is_start or word[1:] != small[1:]) and small != "i"
    tokens.append(Token(WORD, small, is_capital=is_capital))


def _odd(chunk: str, tokens: list[Token], is_start: bool) -> None:
    """One chunk that is not of letters only."""
    small = chunk.lower()
    if chunk.isalpha():
        _word(chunk, tokens, is_start)
    elif written := _WHOLE.get(small) or _WRITTEN.get(small):
        parts = (written,) if isinstance(written, str) else written
        tokens += [Token(WORD, part) for part in parts]
    elif _CONTRACTED.match(chunk):
        _contracted(chunk, tokens, is_start)
    elif _COMPOUND.match(chunk):
        parts = tuple(re.split(r"[-/&]", chunk))
        if parts[-1].lower() == "free":  # "sugar-free"
            parts = ("without", *parts[:-1])
        for part in parts:
            _word(part, tokens, is_start)
    else:
        _number(chunk, small, tokens)


def _number(chunk: str, small: str, tokens: list[Token]) -> None:
    if _VERSION.match(chunk):
        tokens.append(Token(VERSION, small.removeprefix("v")))
    elif found := _NUMBER.match(chunk):
        tokens.append(Token(NUMBER, found[2], (found[1] or found[3]) + found[4].lower()))
    elif found := _COUNTED.match(chunk):
        tokens.append(Token(NUMBER, found[1]))
        tokens += [Token(WORD, part) for part in found[2].lower().split("-")]
    else:
        _signs(chunk, tokens)


def _contracted(chunk: str, tokens: list[Token], is_start: bool) -> None:
    small = chunk.lower()
    for ending, meaning in _SHORT.items():
        if small.endswith(ending) and small != ending:
            stem = chunk[: -len(ending)]
            if ending != "'s" or stem.lower() in _IS_AFTER:
                _word(stem, tokens, is_start)
                tokens.append(Token(WORD, meaning))
            else:
                _word(stem, tokens, is_start)  # whose it is
            return
    _word(chunk.replace("'", ""), tokens, is_start)


def _signs(chunk: str, tokens: list[Token]) -> None:
    """Formulas and code."""
    if _FORMULA.match(chunk):
        tokens += [
            Token(WORD, _OPERATIONS[term]) if term in _OPERATIONS else Token(NUMBER, term)
            for term in _TERM.findall(chunk)
        ]
    elif found := _PINNED.match(chunk):
        tokens.append(Token(CODE, found[1].lower()))
        tokens.append(Token(VERSION, found[2].lower().removeprefix("v")))
    elif _MIXED.match(chunk):  # "gpt-4", "utf8", "b2b": not told apart by case
        tokens.append(Token(CODE, chunk.lower()))
    else:
        tokens.append(Token(CODE, chunk))
