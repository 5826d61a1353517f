"""Pauses that a provider asks for, and allowances that it says are used up: pacing, not failure."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import NamedTuple

from providers.retry_hints import is_scarce, retry_after_s

# A 429 without a hint.
_UNTOLD_S = 1.0
# Nobody is left alone for longer on a single word: allowances are raised, and then a call finds it out.
_LONGEST_S = 3600.0

# Names of (remaining, limit, reset). OpenAI, Groq, xAI and others: https://platform.openai.com/docs/guides/rate-limits
# Anthropic: https://docs.claude.com/en/api/rate-limits#response-headers, of whose token rows this one is the tightest.
_REQUESTS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests"),
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-reset",
    ),
)
_TOKENS = (
    ("x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-reset"),
)
_MOST_DIGITS = 18  # more tokens than anybody lacks, and Python refuses to read thousands of digits
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT")


class Allowance(NamedTuple):
    """What an answer's headers leave: `tokens` until `tokens_s` seconds have passed, no request for `pause_s`."""

    pause_s: float = 0.0
    tokens: float = inf
    tokens_s: float = 0.0


def allowance(headers: Mapping[str, str]) -> Allowance | None:
    """What is left by the headers (lower-case names) of any answer; None while there is plenty, or nothing is known.

    Limits of zero or less are how some servers say that there is none.
    """
    pause_s, tokens, tokens_s = 0.0, inf, 0.0
    for names in _REQUESTS:
        if headers.get(names[0]) == "0":
            pause_s = max(pause_s, _reset_s(headers, names))
    for names in _TOKENS:
        left = headers.get(names[0])
        if left is None or len(left) > _MOST_DIGITS or not left.isdecimal():
            continue
        if int(left) < tokens and is_scarce(left, headers.get(names[1])):
            reset_s = _reset_s(headers, names)
            if reset_s:
                tokens, tokens_s = int(left), reset_s
    return Allowance(pause_s, tokens, tokens_s) if pause_s or tokens_s else None


def _reset_s(headers: Mapping[str, str], names: tuple[str, str, str]) -> float:
    """Seconds to the reset; 0 where that is unknown, or where there is no limit."""
    _, limit, reset = names
    text = headers.get(reset)
    if text is None or headers.get(limit, "1").strip().startswith(("0", "-")):
        return 0.0
    date = headers.get("date", "")
    if _RFC_3339.match(text):
        return _between_s(date, text)
    return min(_LONGEST_S, retry_after_s({"x-ratelimit-reset": text, "date": date}) or 0.0)


def _between_s(date: str, moment: str) -> float:
    try:
        seconds = (datetime.fromisoformat(moment) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(_LONGEST_S, max(0.0, seconds))


class Throttle:
    """What one deployment was asked to be spared. Times are readings of one monotonic clock in seconds.

    `is_overload` tells that the longest pause came from a server with too much to do, not from a rate limit.
    """

    __slots__ = ("_tokens", "_tokens_until", "_until", "is_overload")

    def __init__(self) -> None:
        self.is_overload = False
        self._until = self._tokens_until = 0.0
        self._tokens = inf

    def throttled(self, now: float, hint_s: float | None) -> None:
        """A 429, with what it said of the time to wait."""
        self._pause(now, _UNTOLD_S if hint_s is None else hint_s, is_overload=False)

    def overloaded(self, now: float, hint_s: float) -> None:
        """A failure that said when to come back."""
        self._pause(now, hint_s, is_overload=True)

    def note(self, now: float, left: Allowance) -> None:
        """The allowance that came with an answer; a later one replaces an earlier one."""
        if left.pause_s:
            self._pause(now, left.pause_s, is_overload=False)
        self._tokens, self._tokens_until = left.tokens, now + left.tokens_s

    def wait_s(self, now: float, tokens: int = 0) -> float:
        """Seconds until a request of so many tokens may be sent; 0 where it may now."""
        until = self._until
        if tokens > self._tokens and self._tokens_until > until:
            until = self._tokens_until
        return max(0.0, until - now)

    def ends_at(self) -> float:
        """When it no longer stands against anything."""
        return max(self._until, self._tokens_until)

    def _pause(self, now: float, hint_s: float, *, is_overload: bool) -> None:
        until = now + min(hint_s, _LONGEST_S)
        if until > self._until:
            self._until = until
            self.is_overload = is_overload
