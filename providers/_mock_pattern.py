"""A text that matches a regular expression, for the mock provider's structured outputs.

Knows what schemas use: literals, escapes, classes, groups, alternatives and repetitions. Anything else gives None. The
text matches by construction; running the pattern over it would let a hostile one backtrack for ever.
"""

import random
import re
import string

_CLASSES = {"d": string.digits, "w": string.ascii_lowercase + string.digits, "s": " "}
_ANY = string.ascii_lowercase
_STARTS = re.compile(r"(?:^|(?<!\\)\|)$")
_QUANTIFIER = re.compile(r"[?*+]|\{(\d+)(,(\d*))?\}")
_MORE = 3
_MAX_REPETITIONS = 256
_MAX_ATOMS = 4_096


def matching(pattern: str, rng: random.Random) -> str | None:
    """A short text in which `pattern` is found, or None where the pattern uses something this does not know."""
    try:
        return _Reader(pattern, rng).whole()
    except (_UnknownSyntax, IndexError, RecursionError):
        return None


class _UnknownSyntax(ValueError):  # noqa: N818 - never leaves this module
    pass


class _Reader:
    """Reads the pattern once from left to right and writes the text beside it."""

    def __init__(self, pattern: str, rng: random.Random) -> None:
        self.pattern = pattern
        self.rng = rng
        self.at = 0
        self.groups = 0
        self.written = 0

    def whole(self) -> str:
        text = self.alternatives()
        if self.at < len(self.pattern):
            raise _UnknownSyntax("closing bracket")
        return text

    def alternatives(self) -> str:
        options = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            options.append(self._sequence())
        return self.rng.choice(options)

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _sequence(self) -> str:
        parts: list[str] = []
        while self._peek() not in ("", "|", ")"):
            start = self.at
            text = self._atom()
            count = self._repetitions()
            if count:
                parts.append(text)
            for _ in range(count - 1):  # read the atom again for each repetition, so that digits differ
                end, self.at = self.at, start
                parts.append(self._atom())
                self.at = end
        return "".join(parts)

    def _atom(self) -> str:
        char = self.pattern[self.at]
        self.at += 1
        self.written += 1
        if self.written > _MAX_ATOMS:
            raise _UnknownSyntax("too long")
        if char in "^$":
            return self._anchor(char)
        if char == "(":
            return self._group()
        if char == "[":
            return self.rng.choice(self._class())
        if char == "\\":
            return self.rng.choice(self._escape())
        if char == ".":
            return self.rng.choice(_ANY)
        if char in "*+?{":
            raise _UnknownSyntax(char)
        return char

    def _anchor(self, char: str) -> str:
        """Anchors bind nothing at the ends of the pattern or of its alternatives; elsewhere they are beyond us."""
        if char == "^":
            is_outermost = _STARTS.search(self.pattern, 0, self.at - 1) is not None
        else:
            is_outermost = self._peek() in ("", "|")
        if self.groups or not is_outermost:
            raise _UnknownSyntax("anchor inside")
        return ""

    def _group(self) -> str:
        if self._peek() == "?":
            if self.pattern[self.at : self.at + 2] != "?:":
                raise _UnknownSyntax("look-around or flags")
            self.at += 2
        self.groups += 1
        text = self.alternatives()
        if self._peek() != ")":
            raise _UnknownSyntax("open group")
        self.at += 1
        self.groups -= 1
        return text

    def _escape(self) -> str:
        char = self.pattern[self.at]
        self.at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if char.isalnum():
            raise _UnknownSyntax(char)
        return char

    def _class(self) -> str:
        is_negated = self._peek() == "^"
        self.at += is_negated
        allowed = ""
        while self._peek() != "]" or not allowed:
            char = self.pattern[self.at]
            self.at += 1
            if char == "\\":
                allowed += self._escape()
            elif self._peek() == "-" and self.pattern[self.at + 1] != "]":
                last = self.pattern[self.at + 1]
                if last == "\\":
                    raise _UnknownSyntax("escaped end of a range")
                self.at += 2
                allowed += "".join(map(chr, range(ord(char), ord(last) + 1)))
            else:
                allowed += char
        self.at += 1
        if is_negated:
            return "".join(letter for letter in string.ascii_letters + string.digits if letter not in allowed)
        return allowed

    def _repetitions(self) -> int:
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None:
            return 1
        self.at = found.end()
        if self._peek() == "?":  # lazy: matches the same texts
            self.at += 1
        if found[1] is None:
            return {"?": self.rng.randint(0, 1), "*": self.rng.randint(0, _MORE), "+": self.rng.randint(1, _MORE)}[
                found[0]
            ]
        least = int(found[1])
        if least > _MAX_REPETITIONS:
            raise _UnknownSyntax(found[0])
        if found[2] is None:
            return least
        most = int(found[3]) if found[3] else least + _MORE
        return self.rng.randint(least, max(least, min(most, least + _MORE)))
