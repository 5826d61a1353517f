"""OpenAI's `reasoning_effort` as Anthropic's thinking, which each generation of models asks for in its own way.

https://platform.claude.com/docs/en/build-with-claude/thinking
https://platform.claude.com/docs/en/build-with-claude/effort
"""

from collections.abc import Mapping
from typing import Any

from providers._anthropic_models import Traits
from providers.content import unsupported

_LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Tokens of thinking for models that take a budget instead of a level. The least Anthropic takes is 1,024.
_LEAST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000}


def add_thinking(body: Mapping[str, Any], known: Traits, out: dict[str, Any]) -> set[str]:
    """Adds `thinking` and `output_config.effort` to `out`; returns the names of what was dropped or approximated.

    A `thinking` object of Anthropic's own in the request passes as it is. Needs `max_tokens`, `messages` and
    `tool_choice` in `out`.
    """
    native = body.get("thinking")
    if isinstance(native, dict):
        out["thinking"] = native
    effort = _effort(body)
    if effort is None:
        return set()
    if effort not in _LEVELS:
        raise unsupported(f"'reasoning_effort' must be one of: {', '.join(_LEVELS)}.", "reasoning_effort")
    is_exact = _turn_off(known, out) if effort == "none" else _turn_on(effort, known, out)
    return set() if is_exact else {"reasoning_effort"}


def _effort(body: Mapping[str, Any]) -> Any:
    """`reasoning_effort`, or OpenRouter's and the Responses API's `reasoning: {effort}`."""
    effort = body.get("reasoning_effort")
    nested = body.get("reasoning")
    return nested.get("effort") if effort is None and isinstance(nested, dict) else effort


def _turn_off(known: Traits, out: dict[str, Any]) -> bool:
    if "thinking" in out or known.thinking_off == "omit":
        return True
    if known.thinking_off == "never":
        # "thinking.type.disabled" is refused: the least these models can do is to think little.
        _set_effort("low", known, out)
        return False
    out["thinking"] = {"type": known.thinking_off}
    return True


def _turn_on(effort: str, known: Traits, out: dict[str, Any]) -> bool:
    is_exact = not known.efforts or _set_effort(effort, known, out)
    if "thinking" in out:
        return is_exact
    if known.thinking == "none":
        return False
    if known.thinking == "manual":
        return _add_budget(effort, out)
    # The text of thinking is what a caller who asks for reasoning wants to read; newer models leave it out by default.
    out["thinking"] = (
        {"type": "adaptive", "display": "summarized"} if known.is_thinking_hidden else {"type": "adaptive"}
    )
    return is_exact


def _set_effort(effort: str, known: Traits, out: dict[str, Any]) -> bool:
    """False where the model has no such level and the nearest lower one is used."""
    level = effort
    if level not in known.efforts:
        level = "low" if effort == "minimal" else "high"
    if level in known.efforts:
        out.setdefault("output_config", {}).setdefault("effort", level)
    return level == effort


def _add_budget(effort: str, out: dict[str, Any]) -> bool:
    """Thinking counts towards `max_tokens`, as reasoning does at OpenAI, so a fifth is left for the answer.

    False where it is less than the effort asked for, or none.
    """
    budget = min(_BUDGETS[effort], out["max_tokens"] * 4 // 5)
    forced = out.get("tool_choice", {}).get("type") in ("any", "tool")
    # 400s: "Thinking may not be enabled when tool_choice forces tool use", and "Expected `thinking` or
    # `redacted_thinking`, but found `tool_use`" for a tool loop whose earlier thinking the client did not send back.
    if budget < _LEAST_BUDGET or forced or _has_unexplained_call(out["messages"]):
        return False
    out["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return budget == _BUDGETS[effort] or effort == "max"  # which asks for whatever there is


def _has_unexplained_call(messages: list[dict[str, Any]]) -> bool:
    """Whether the tool loop that is going on began without thinking, as far as the conversation tells."""
    for turn in reversed(messages):
        blocks = turn["content"]
        if turn["role"] == "user" and not any(block["type"] == "tool_result" for block in blocks):
            return False
        if turn["role"] == "assistant":
            return blocks[0]["type"] not in ("thinking", "redacted_thinking")
    return False
