"""The conditions of rules as functions, made when the configuration is loaded."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from config.patterns import compile_pattern
from config.schema_routes import RangeConfig, ResponseFormat, TimeOfDayConfig, WhenConfig
from routing.ask import Ask

Condition = Callable[[Ask], bool]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES = 24 * 60
# `providers.tokens` reckons 2,530 tokens for a file, and `{"type":"file"},` is the shortest way to send one; nothing
# else has as many per byte.
MOST_TOKENS_PER_BYTE = 160


def conditions_of(when: WhenConfig) -> tuple[Condition, ...]:
    """Every condition on the request itself, cheapest first. `route` and `model` are not among them."""
    made = [make(value) for name, make in _CONDITIONS if (value := getattr(when, name)) is not None]
    text = _text_condition(when)
    return (*made, text) if text is not None else tuple(made)


def _key(keys: Collection[str]) -> Condition:
    allowed = frozenset(keys)
    return lambda ask: ask.key in allowed


def _has_tools(wanted: bool) -> Condition:
    return lambda ask: _offers_tools(ask.body) is wanted


def _offers_tools(body: Mapping[str, Any]) -> bool:
    # `functions` is what `tools` was called before.
    tools = body.get("tools") or body.get("functions")
    return bool(tools) and isinstance(tools, list)


def _response_format(wanted: ResponseFormat) -> Condition:
    return lambda ask: _format(ask.body) == wanted


def _format(body: Mapping[str, Any]) -> object:
    """Text is what a request gets that asks for nothing."""
    found = body.get("response_format")
    return found.get("type") if isinstance(found, dict) else "text"


def _max_output_tokens(wanted: RangeConfig) -> Condition:
    least, most = wanted.bounds()

    def holds(ask: Ask) -> bool:
        limit = ask.max_output_tokens()
        return limit is not None and least <= limit <= most

    return holds


def _headers(wanted: Mapping[str, str]) -> Condition:
    pairs = tuple((name.lower().encode(), None if value == "*" else value.encode()) for name, value in wanted.items())

    def holds(ask: Ask) -> bool:
        for name, value in pairs:
            found = ask.headers.get(name)
            if found is None or (value is not None and found != value):
                return False
        return True

    return holds


def _tags(wanted: Collection[str]) -> Condition:
    tags = frozenset(wanted)
    return lambda ask: not tags.isdisjoint(ask.tags())


def _time(wanted: TimeOfDayConfig) -> Condition:
    zone: tzinfo = UTC if wanted.timezone == "UTC" else ZoneInfo(wanted.timezone)
    after = _minute(wanted.after) if wanted.after is not None else 0
    before = _minute(wanted.before) if wanted.before is not None else _MINUTES
    days = frozenset(WEEKDAYS.index(day) for day in wanted.days or WEEKDAYS)

    def holds(ask: Ask) -> bool:
        local = datetime.fromtimestamp(ask.arrived_s, zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if after < before:
            return after <= minute < before and day in days
        if minute < before:
            return (day - 1) % 7 in days  # the range began the day before
        return minute >= after and day in days

    return holds


def _minute(clock_time: str) -> int:
    hours, minutes = clock_time.split(":")
    return int(hours) * 60 + int(minutes)


def _input_tokens(wanted: RangeConfig) -> Condition:
    least, most = wanted.bounds()
    enough_bytes = least / MOST_TOKENS_PER_BYTE

    def holds(ask: Ask) -> bool:
        if 0 < ask.body_bytes < enough_bytes:
            return False
        return least <= ask.input_tokens() <= most

    return holds


def _has_images(wanted: bool) -> Condition:
    return lambda ask: (ask.needs().images > 0) is wanted


# From a set look-up to a walk through the body.
_CONDITIONS: Sequence[tuple[str, Callable[[Any], Condition]]] = (
    ("key", _key),
    ("has_tools", _has_tools),
    ("response_format", _response_format),
    ("max_output_tokens", _max_output_tokens),
    ("headers", _headers),
    ("tags", _tags),
    ("time", _time),
    ("input_tokens", _input_tokens),
    ("has_images", _has_images),
)


def _text_condition(when: WhenConfig) -> Condition | None:
    """Keywords and pattern in one, so that the text is folded once; None where there are none."""
    any_of = tuple(map(_folded, when.keywords_any or ()))
    all_of = tuple(map(_folded, when.keywords_all or ()))
    pattern = compile_pattern(when.regex) if when.regex is not None else None
    if not any_of and not all_of and pattern is None:
        return None

    def holds(ask: Ask) -> bool:
        text = ask.text()
        if any_of or all_of:
            folded = _folded(text)
            if any_of and not any(word in folded for word in any_of):
                return False
            if not all(word in folded for word in all_of):
                return False
        # A lone surrogate, which JSON can carry and UTF-8 cannot, becomes a question mark.
        return pattern is None or pattern.search(text.encode("utf-8", "replace")) is not None

    return holds


def _folded(text: str) -> str:
    """The text without case; `lower` says the same of ASCII, ten times as fast."""
    return text.lower() if text.isascii() else text.casefold()
