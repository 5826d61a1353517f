"""OpenAI's `usage` object, as OpenAI and its imitators fill it, in disjoint token classes."""

from collections.abc import Mapping
from decimal import Decimal
from math import ceil
from typing import Any, TypeGuard

from providers.base import Usage

# https://docs.x.ai/developers/cost-tracking: cost_in_usd_ticks counts ten-billionths of a dollar.
_TICKS_PER_NUSD = 10
_COSTS = ("cost", "cost_in_usd_ticks")
# What is paid by the piece: OpenRouter's searches (https://openrouter.ai/docs/features/server-tools), Perplexity's, and
# xAI's own tools, all of which cost the same (https://docs.x.ai/developers/pricing).
_COUNTED = ("num_search_queries", "num_server_side_tools_used")
_SEARCHED = ("server_tool_use", "server_tool_use_details")
_MOST = 2**53
_PLAIN = 3  # prompt, completion, total: nothing to tell apart
_WITH_DETAILS = 5


def usage_of(usage: Any, service_tier: Any = None) -> Usage | None:
    """The classes sum to what the provider recorded. None where there is no usage object.

    `service_tier` is what stands beside it in the answer. Where `total_tokens` exceeds prompt and completion, the rest
    is reasoning that the vendor left out of completion_tokens: xAI
    (https://docs.x.ai/docs/key-information/consumption-and-rate-limits) and Gemini's compatible endpoint do so.
    Embedding vendors that give only a total gave the prompt's size. The names of the Responses API (`input_tokens`,
    `output_tokens` and their details) are read as well.
    """
    if not isinstance(usage, dict):
        return None
    tier = service_tier if type(service_tier) is str else None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        type(prompt) is type(completion) is int
        and 0 <= prompt < _MOST
        and 0 <= completion < _MOST
        and usage.get("total_tokens") == prompt + completion
        and (len(usage) == _PLAIN or _has_empty_details(usage))
    ):
        return Usage(input=prompt, output=completion, service_tier=tier)
    return _detailed(usage, tier)


def usage_of_response(answer: Mapping[str, Any]) -> Usage | None:
    """The same for a whole answer of the Responses API, where searches are items of the output.

    Only actions of type `search` are paid for: https://developers.openai.com/api/docs/guides/tools-web-search
    """
    found = usage_of(answer.get("usage"), answer.get("service_tier"))
    output = answer.get("output")
    if found is not None and isinstance(output, list):
        found.searches = max(found.searches, sum(map(_is_search, output)))
    return found


def _is_search(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type") not in ("web_search_call", "web_search_preview_call"):
        return False
    action = item.get("action")
    return not isinstance(action, dict) or action.get("type", "search") == "search"


def _detailed(usage: Mapping[str, Any], tier: str | None) -> Usage:
    prompt, completion, outside = _totals(usage)
    cached, cache_write, audio_input, image_input = _prompt_classes(usage, prompt)
    inside, audio_output, image_output = _completion_classes(usage, completion)
    if outside:
        inside = 0
    return Usage(
        input=prompt - cached - cache_write - audio_input - image_input,
        cache_read=cached,
        cache_write_5m=cache_write,
        audio_input=audio_input,
        image_input=image_input,
        output=completion - inside - audio_output - image_output,
        reasoning=outside or inside,
        audio_output=audio_output,
        image_output=image_output,
        searches=_searches(usage),
        service_tier=tier if tier is not None else _text(usage.get("service_tier")),
        reported_nusd=_cost_nusd(usage) if any(name in usage for name in _COSTS) else None,
    )


def _has_empty_details(usage: Mapping[str, Any]) -> bool:
    """Whether there is nothing but details that say nothing: most answers of OpenAI."""
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return (
        len(usage) == _WITH_DETAILS
        and isinstance(prompt, dict)
        and isinstance(completion, dict)
        and not any(prompt.values())
        and not any(completion.values())
    )


def _totals(usage: Mapping[str, Any]) -> tuple[int, int, int]:
    """Prompt, completion, and what the total has beyond them."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    total = _count(usage.get("total_tokens"))
    prompt = max(total - completion, 0) if prompt is None else _count(prompt)
    return prompt, completion, max(total - prompt - completion, 0)


def _details(usage: Mapping[str, Any], first: str, second: str) -> Any:
    details = usage.get(f"{first}_details")
    return details if details is not None else usage.get(f"{second}_details")


def _prompt_classes(usage: Mapping[str, Any], prompt: int) -> tuple[int, int, int, int]:
    """Cache read, cache write, audio, image. A class never holds more than what is left of the total."""
    details = _details(usage, "prompt_tokens", "input_tokens")
    written = audio = image = cached = 0
    if isinstance(details, dict) and any(details.values()):  # mostly all zero
        cached = _count(details.get("cached_tokens"))
        written = _count(details.get("cache_write_tokens"))
        audio = _count(details.get("audio_tokens"))
        image = _count(details.get("image_tokens"))
    if not cached:
        cached = _cached_elsewhere(usage)
    if not (cached or written or audio or image):
        return 0, 0, 0, 0
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    audio = min(audio, prompt - cached - written)
    return cached, written, audio, min(image, prompt - cached - written - audio)


def _cached_elsewhere(usage: Mapping[str, Any]) -> int:
    """Cached tokens outside of the details.

    DeepSeek (https://api-docs.deepseek.com/guides/kv_cache), Moonshot (https://platform.moonshot.ai/docs/api/chat),
    older Mistral answers.
    """
    for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"):
        if name in usage:
            return _count(usage[name])
    return 0


def _completion_classes(usage: Mapping[str, Any], completion: int) -> tuple[int, int, int]:
    """Reasoning, audio, image. Perplexity names reasoning at the top (https://docs.perplexity.ai/api-reference)."""
    details = _details(usage, "completion_tokens", "output_tokens")
    reasoning = audio = image = 0
    if isinstance(details, dict):
        if not any(details.values()):
            return 0, 0, 0
        reasoning = _count(details.get("reasoning_tokens"))
        audio = _count(details.get("audio_tokens"))
        image = _count(details.get("image_tokens"))
    else:
        reasoning = _count(usage.get("reasoning_tokens"))
    reasoning = min(reasoning, completion)
    audio = min(audio, completion - reasoning)
    return reasoning, audio, min(image, completion - reasoning - audio)


def _searches(usage: Mapping[str, Any]) -> int:
    found = [_count(usage.get(name)) for name in _COUNTED]
    for name in _SEARCHED:
        used = usage.get(name)
        if isinstance(used, dict):
            found.append(_count(used.get("web_search_requests")))
    return max(found)


def _cost_nusd(usage: Mapping[str, Any]) -> int | None:
    """What the vendor says it charged, rounded up to whole nano-dollars.

    OpenRouter: `cost`, to which comes what the upstream charges the caller's own account where the caller's own key was
    used (https://openrouter.ai/docs/use-cases/usage-accounting); Perplexity: `cost.total_cost`
    (https://docs.perplexity.ai/api-reference/chat-completions-post); xAI: ticks.
    """
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if _is_amount(cost):
        details = usage.get("cost_details")
        upstream = details.get("upstream_inference_cost") if isinstance(details, dict) else None
        usd = Decimal(str(cost))
        if usage.get("is_byok") is True and _is_amount(upstream):
            usd += Decimal(str(upstream))
        return ceil(usd.scaleb(9))
    ticks = usage.get("cost_in_usd_ticks")
    return ceil(Decimal(str(ticks)) / _TICKS_PER_NUSD) if _is_amount(ticks) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    if type(value) is int:
        return max(value, 0)
    return int(value) if isinstance(value, float) and 0 < value < _MOST else 0


def _is_amount(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
