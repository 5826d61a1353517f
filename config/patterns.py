"""Patterns of rules, which look at what callers write: RE2, whose time is linear in the text whatever the two are.

Its syntax: https://github.com/google/re2/wiki/Syntax
"""

import re
from typing import Protocol, cast

MAX_PATTERN_CHARS = 2_000
# Where a text makes the automaton outgrow its memory, RE2 takes some 7 ns per character and step of the program.
# 3,000 characters then cost at most some 0.1 s; usual patterns have less than 100 steps and need 10 us.
MAX_PROGRAM_STEPS = 5_000
_MAX_BYTES = 1 << 20

# RE2's own words for these name an escape or an operator, not what it lacks.
_NOT_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?<?[=!]|\\[1-9])")


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: bytes) -> object | None:
        """The first match in UTF-8 text, or None."""
        ...


def compile_pattern(pattern: str) -> Pattern:
    """The pattern, compiled. Raises ValueError with the reason where it is no pattern or costs too much.

    Imports RE2 (2 ms), so that only who has patterns pays for it.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"a pattern has at most {MAX_PATTERN_CHARS} characters, this one has {len(pattern)}")
    import re2  # noqa: PLC0415 - only for rules with a pattern

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_BYTES
    try:
        compiled = re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise ValueError(_reason(error, pattern)) from None
    if compiled.programsize > MAX_PROGRAM_STEPS:
        raise ValueError(
            f"the pattern is too large: {compiled.programsize} steps, at most {MAX_PROGRAM_STEPS} are allowed"
        )
    return cast(Pattern, compiled)


def _reason(error: Exception, pattern: str) -> str:
    if _NOT_RE2.search(pattern):
        return "RE2 patterns have no look-around and no back-references"
    reason = error.args[0] if error.args else ""
    return f"RE2 refuses the pattern: {reason.decode('utf-8', 'replace') if isinstance(reason, bytes) else reason}"
