"""How long a provider wants to be left alone, in seconds, from its headers or its words."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_WORDS = re.compile(
    r"(?:try again|retry|retry after) in (?:about )?((?:\d+(?:\.\d+)?\s?(?:ms|d|h|m|s))+)", re.IGNORECASE
)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH_S = 1e9  # numbers beyond this are moments, not durations
_LONGEST_S = 7 * 86400.0
# Searching a text of digits for units takes the square of its length: ninety seconds for 64 KiB.
_MAX_DURATION_CHARS = 64
# Digits of a number of tokens that any request might come up to, and of one that a very long one might.
_FEW_DIGITS, _MANY_DIGITS = 5, 7


def is_scarce(left: str | bytes, limit: str | bytes | None) -> bool:
    """Whether a request may need more than the tokens that are left. Allowances are refilled all the time, and seldom
    full to the last token: what is still there but for an eighth says nothing. Both are header values.
    """
    if len(left) <= _FEW_DIGITS:
        return True
    if len(left) > _MANY_DIGITS or not _is_number(left):
        return False
    return limit is None or not _is_number(limit) or 8 * int(left) < 7 * int(limit)


def _is_number(text: str | bytes) -> bool:
    return len(text) <= _MAX_DURATION_CHARS and text.isascii() and text.isdigit()


def retry_after_s(headers: Mapping[str, str], message: str = "") -> float | None:
    """The provider's hint, or None. `headers` has lower-case names; no clock: dates are read against `date`.

    Order: `retry-after-ms`, `retry-after`, the reset of an allowance that is used up, any reset, the message.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    after = headers.get("retry-after")
    if after is not None:
        seconds = _number(after)
        return _bounded(seconds if seconds is not None else _until(after, headers.get("date")))
    reset = _reset_s(headers)
    if reset is not None:
        return reset
    words = _WORDS.search(message)
    return _bounded(duration_s(words[1].replace(" ", ""))) if words else None


def duration_s(text: str) -> float | None:
    """Seconds in text like 6m0s, 17ms or 1.5 (https://platform.openai.com/docs/guides/rate-limits#headers)."""
    plain = _number(text)
    if plain is not None:
        return plain
    if len(text) > _MAX_DURATION_CHARS:
        return None
    parts = _DURATION.findall(text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts) if parts else None


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """The latest reset among the used-up allowances; where none says it is used up, the latest of all."""
    used_up: list[float] = []
    every: list[float] = []
    for name in headers:
        if not name.startswith("x-ratelimit-reset"):
            continue
        value = _moment_or_duration(headers[name], headers.get("date"))
        if value is None:
            continue
        every.append(value)
        if _number(headers.get(name.replace("-reset", "-remaining", 1))) == 0:
            used_up.append(value)
    return max(used_up or every, default=None)


def _moment_or_duration(text: str, date: str | None) -> float | None:
    value = duration_s(text)
    if value is None or value < _EPOCH_S:
        return _bounded(value)
    moment_s = value / 1000 if value > _EPOCH_S * 1000 else value
    now_s = _epoch_s(date)
    return None if now_s is None else _bounded(moment_s - now_s)


def _until(text: str, date: str | None) -> float | None:
    then_s, now_s = _epoch_s(text), _epoch_s(date)
    return None if then_s is None or now_s is None else then_s - now_s


def _epoch_s(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _bounded(seconds: float | None) -> float | None:
    """Nonsense (negative, NaN) is no hint; a hint of more than a week is a week."""
    return None if seconds is None or not seconds >= 0 else min(seconds, _LONGEST_S)
