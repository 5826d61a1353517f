"""Which models, and which requests, have a model think before it speaks: its first word may take minutes."""

import re
from collections.abc import Mapping
from typing import Any

# What a request may say about it: OpenAI's, OpenRouter's and the Responses API's, Anthropic's member.
ASKING = frozenset({"reasoning_effort", "reasoning", "thinking"})
_HARDLY = frozenset({"none", "minimal"})

# Names without the vendor before the last slash. Of Claude none is here: it thinks only where a request says so
# (https://docs.claude.com/en/docs/build-with-claude/extended-thinking).
_THINKING = re.compile(
    r"o[134](?:-.*)?"  # https://platform.openai.com/docs/guides/reasoning
    r"|gpt-5(?!.*-chat).*"  # the same page; the chat models of that family answer at once
    r"|gpt-oss.*|minimax-m2.*"  # https://docs.together.ai/docs/reasoning-overview: "Reasoning only"
    r"|deepseek-r1.*"  # the same page
    # https://ai.google.dev/gemini-api/docs/thinking: the lite ones hardly think by default
    r"|gemini-(?:2\.5-(?:pro|flash)|3)(?!.*-lite).*"
    r"|grok-3-mini.*|grok-4(?!.*non-reasoning).*"  # https://docs.x.ai/docs/guides/reasoning
    r"|magistral-.*"  # https://docs.mistral.ai/capabilities/reasoning/
    r"|qwq.*"  # https://qwenlm.github.io/blog/qwq-32b/
    # deepseek-reasoner (https://api-docs.deepseek.com/guides/reasoning_model), kimi-k2-thinking and others
    r"|(?!.*non-(?:thinking|reasoning)).*-(?:thinking|reasoner|reasoning)(?:[-:@].*)?",
    re.IGNORECASE,
)


def thinks(model: str) -> bool:
    """Whether `model`, as its provider names it, is known to think unless it is told not to."""
    return _THINKING.fullmatch(model.rpartition("/")[2]) is not None


def asks_to_think(body: Mapping[str, Any]) -> bool:
    """Whether a request in OpenAI's shape wants the model to think. Members of a wrong type say nothing."""
    reasoning, thinking = body.get("reasoning"), body.get("thinking")
    if _is_effort(body.get("reasoning_effort")):
        return True
    if isinstance(reasoning, dict) and reasoning.get("enabled") is not False:
        is_on = reasoning.get("enabled") is True or bool(reasoning.get("max_tokens"))
        if is_on or _is_effort(reasoning.get("effort")):
            return True
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _is_effort(value: object) -> bool:
    return isinstance(value, str) and value not in _HARDLY
