"""A problem of the configuration as data: where it is, what is wrong, what to do; text and JSON are two views of it."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]

_COLOURS = {"error": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[36m"}
_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(slots=True, frozen=True)
class Diagnostic:
    """One problem. `code` is stable and may be searched for; `message` is one sentence without the place.

    `line` and `column` count from 1 in characters, `end_column` is one past the last one on that line; None where the
    problem has no place. `excerpt` is the line with secrets masked and long lines cut; `underline` is what stands below
    it to point at the place.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int | None = None
    column: int | None = None
    end_column: int | None = None
    excerpt: str | None = None
    underline: str | None = None
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON view; places are left out where there is none."""
        names = ("severity", "code", "message", "file", "line", "column", "end_column", "excerpt", "hint")
        pairs = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in pairs if value is not None}

    def to_text(self, *, colour: bool = False) -> str:
        """The text view without a final line break; one line where there is nothing to do, else with the place shown.

        Colour adds nothing that is not said in words.
        """
        tint, bold, dim, reset = (_COLOURS[self.severity], _BOLD, _DIM, _RESET) if colour else ("", "", "", "")
        if self.severity == "info":
            place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
            return f"{tint}info[{self.code}]{reset}: {self.message} {dim}({place}){reset}"
        head = f"{tint}{self.severity}[{self.code}]{reset}{bold}: {self.message}{reset}"
        if self.line is None:
            lines = [head, f"{dim} --> {reset}{self.file}"]
            return "\n".join([*lines, *_hint_lines(self.hint, "", bold, reset)])
        number = str(self.line)
        margin = " " * len(number)
        lines = [head, f"{dim}{margin}--> {reset}{self.file}:{self.line}:{self.column}"]
        if self.excerpt is not None:
            lines += [f"{dim}{margin} |{reset}", f"{dim}{number} |{reset} {self.excerpt}"]
            lines.append(f"{dim}{margin} |{reset} {tint}{self.underline or ''}{reset}".rstrip())
        return "\n".join([*lines, *_hint_lines(self.hint, margin, bold, reset)])


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether a configuration with these problems cannot be used."""
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By severity, then as they stand in the file: what stops the start comes first."""
    rank = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(diagnostics, key=lambda d: (d.code == "more", rank[d.severity], d.line or 0, d.column or 0)))


def _hint_lines(hint: str | None, margin: str, bold: str, reset: str) -> list[str]:
    return [f"{margin} = {bold}hint{reset}: {hint}"] if hint else []


def display_width(text: str) -> int:
    """Columns `text` takes in a terminal: East Asian wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
