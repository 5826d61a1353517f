"""Which request settings a Claude model takes: they differ by generation, and a wrong one is answered with a 400.

Read from the model's name, because the API tells it nowhere else on the way. A Claude whose version cannot be read
counts as the newest; a name without "claude" is another vendor behind the same dialect, and they copied the surface of
Claude 4. Sources:
https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting
https://platform.claude.com/docs/en/build-with-claude/effort
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
https://platform.claude.com/docs/en/models/opus-5-5/migration-guide (and those of the other models)
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

ThinkingMode = Literal["none", "manual", "adaptive"]
ThinkingOff = Literal["omit", "disabled", "between_tools", "never"]

_NEWEST = (99, 0)
_OTHER_VENDOR = (4, 0)
_FAMILIES = "opus|sonnet|haiku|fable|mythos"
_NEW_NAME = re.compile(rf"claude-(?P<family>{_FAMILIES})-(?P<major>\d)(?:[-.](?P<minor>\d{{1,2}}))?(?!\d)")
_OLD_NAME = re.compile(rf"claude-(?P<major>\d)(?:[-.](?P<minor>\d))?(?:-(?P<family>{_FAMILIES}))?")
_FAMILY = re.compile(_FAMILIES)


@dataclass(slots=True, frozen=True)
class Traits:
    """What one model takes.

    `thinking`: how thinking is asked for. `thinking_off`: how it is turned off ("omit": it is off unless asked for).
    `efforts`: the levels of `output_config.effort`, empty where the setting is refused. `has_sampling`: temperature,
    top_p and top_k are taken; `has_both_sampling`: temperature and top_p in one request. `is_thinking_hidden`: the text
    of thinking is left out unless asked for. `has_json_schema`: structured outputs and strict tools.
    `has_forced_tools`: tool_choice may demand a tool. `max_output_tokens` is our default where nothing else is known.
    """

    thinking: ThinkingMode
    thinking_off: ThinkingOff
    efforts: tuple[str, ...]
    has_sampling: bool
    has_both_sampling: bool
    is_thinking_hidden: bool
    has_json_schema: bool
    has_forced_tools: bool
    max_output_tokens: int


@lru_cache(maxsize=256)
def traits(model: str) -> Traits:
    """The traits of a model by its name at Anthropic, with or without a vendor's prefix or a date."""
    family, version = _parse(model)
    is_always_thinking = family in ("fable", "mythos") or (family == "opus" and version >= (5, 5))
    return Traits(
        thinking="none" if version < (3, 7) else "manual" if version < (4, 6) else "adaptive",
        thinking_off=_thinking_off(family, version, is_always_thinking),
        efforts=_efforts(family, version),
        has_sampling=version < (4, 7),
        # "`temperature` and `top_p` cannot both be specified for this model": since Opus 4.1.
        has_both_sampling=version < (4, 1),
        is_thinking_hidden=version >= (4, 7),
        has_json_schema=version >= (4, 5) or (family, version) == ("opus", (4, 1)),
        # "tool_choice: type "tool" and "any" are not supported for this model."
        has_forced_tools=not (is_always_thinking or (family == "sonnet" and version >= (5, 5))),
        max_output_tokens=4096 if version < (3, 5) else 8192 if version < (3, 7) else 32_000,
    )


def _parse(model: str) -> tuple[str, tuple[int, int]]:
    name = model.lower()
    found = _NEW_NAME.search(name) or _OLD_NAME.search(name)
    if found is None:
        if "claude" not in name:
            return "other", _OTHER_VENDOR
        family = _FAMILY.search(name)
        return (family[0] if family else "mythos"), _NEWEST
    return found["family"] or "", (int(found["major"]), int(found["minor"] or 0))


def _thinking_off(family: str, version: tuple[int, int], is_always_thinking: bool) -> ThinkingOff:
    if version < (5, 0) and not is_always_thinking:
        return "omit"
    if is_always_thinking:
        return "never"
    return "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"


def _efforts(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return ("low", "medium", "high", "xhigh", "max")
    if version == (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if (family, version) == ("opus", (4, 5)) else ()
