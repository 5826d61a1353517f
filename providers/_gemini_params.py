"""OpenAI's chat parameters as Gemini's, and the list of those that could not be said.

Gemini's own members may stand beside OpenAI's (`extra_body` of an SDK), in either spelling, and win:
`generationConfig`, `safetySettings`, `cachedContent`, `labels`, `toolConfig`; so may `extra_body.google`, as Google's
compatible endpoint takes it. https://ai.google.dev/api/generate-content
"""

import re
from collections.abc import Mapping
from typing import Any

from providers._gemini_models import Traits
from providers._gemini_schema import adapted
from providers._gemini_tools import add_tools
from providers.content import unsupported

_NATIVE = ("safetySettings", "cachedContent", "labels", "toolConfig", "modelArmorConfig")
_SAME_BUT_FOR_THE_NAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
# Everything of a request that is looked at somewhere; the rest Gemini has no word for.
_UNDERSTOOD = frozenset(
    {
        "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop", "logprobs",
        "top_logprobs", "response_format", "modalities", "reasoning_effort", "reasoning", "thinking", "service_tier",
        "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "web_search_options", "google",
        "extra_body", "generationConfig", "thinkingConfig", *_SAME_BUT_FOR_THE_NAME, *_NATIVE,
    }
)  # fmt: skip
_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {"logit_bias": ({},), "metadata": ({},), "store": (False,), "user": ("",)}
_STOP_LIMIT = 5  # "up to 5": https://ai.google.dev/api/generate-content#generationconfig
_MODALITIES = {"text": "TEXT", "image": "IMAGE", "audio": "AUDIO"}
# https://ai.google.dev/gemini-api/docs/priority-inference and flex-inference
_SERVICE_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_UNDERSCORE = re.compile(r"_([a-z])")


def add_parameters(body: Mapping[str, Any], traits: Traits, out: dict[str, Any]) -> set[str]:
    """Adds all but `systemInstruction` and `contents` to `out`; returns the dropped or approximated names."""
    config: dict[str, Any] = {}
    dropped = add_tools(body, traits, out)
    _add_plain(body, config)
    _add_stop(body, config, dropped)
    _add_logprobs(body, config)
    _add_response_format(body, config)
    _add_modalities(body, config, dropped)
    _add_thinking(body, traits, config, dropped)
    _add_service_tier(body, out, dropped)
    _add_native(body, config, out)
    if config:
        out["generationConfig"] = config
    dropped.update(
        name
        for name, value in body.items()
        if _camel(name) not in _UNDERSTOOD
        and name not in _UNDERSTOOD
        and value is not None
        and value not in _ASKS_NOTHING.get(name, ())
    )
    return dropped


def _add_plain(body: Mapping[str, Any], config: dict[str, Any]) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise unsupported(f"'{name}' must be a whole number.", name)
        config["maxOutputTokens"] = limit
        break
    for name, theirs in _SAME_BUT_FOR_THE_NAME.items():
        if body.get(name) is not None:
            config[theirs] = body[name]
    if body.get("n") not in (None, 1):
        config["candidateCount"] = body["n"]


def _add_stop(body: Mapping[str, Any], config: dict[str, Any], dropped: set[str]) -> None:
    stop = body.get("stop")
    if not stop:
        return
    wanted = [stop] if isinstance(stop, str) else stop
    if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
        raise unsupported("'stop' must be a string or a list of strings.", "stop")
    config["stopSequences"] = wanted[:_STOP_LIMIT]
    if len(wanted) > _STOP_LIMIT:
        dropped.add("stop")


def _add_logprobs(body: Mapping[str, Any], config: dict[str, Any]) -> None:
    if not body.get("logprobs"):
        return
    config["responseLogprobs"] = True
    if body.get("top_logprobs"):
        config["logprobs"] = body["top_logprobs"]


def _add_response_format(body: Mapping[str, Any], config: dict[str, Any]) -> None:
    wanted = body.get("response_format")
    type_ = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or type_ == "text":
        return
    if not isinstance(wanted, dict) or type_ not in ("json_schema", "json_object"):
        raise unsupported("'response_format.type' must be text, json_object or json_schema.", "response_format")
    config["responseMimeType"] = "application/json"
    if type_ == "json_object":
        return
    schema = wanted.get("json_schema")
    if not isinstance(schema, dict):
        raise unsupported("'response_format.json_schema' must be an object.", "response_format.json_schema")
    if schema.get("schema") is not None:
        config["responseJsonSchema"] = adapted(schema["schema"])


def _add_modalities(body: Mapping[str, Any], config: dict[str, Any], dropped: set[str]) -> None:
    wanted = body.get("modalities")
    if wanted is None or wanted == ["text"]:
        return
    if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
        raise unsupported("'modalities' must be a list of text, image and audio.", "modalities")
    known = [_MODALITIES[item] for item in wanted if item in _MODALITIES]
    if len(known) < len(wanted):
        dropped.add("modalities")
    if "AUDIO" in known:
        known = ["AUDIO"]  # models that speak do nothing else: https://ai.google.dev/gemini-api/docs/speech-generation
    if known:
        config["responseModalities"] = known


def _add_thinking(body: Mapping[str, Any], traits: Traits, config: dict[str, Any], dropped: set[str]) -> None:
    """OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, or Anthropic's `thinking`, in this order."""
    effort, budget, name = body.get("reasoning_effort"), None, "reasoning_effort"
    is_shown = True
    reasoning, thinking = body.get("reasoning"), body.get("thinking")
    if effort is None and isinstance(reasoning, dict):
        name = "reasoning"
        effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
        if effort is None and budget is None and "enabled" in reasoning:
            effort = "medium" if reasoning["enabled"] else "none"
        is_shown = not reasoning.get("exclude")
    elif effort is None and isinstance(thinking, dict):
        name = "thinking"
        budget = thinking.get("budget_tokens")
        effort = "none" if thinking.get("type") == "disabled" else None
    if effort is None and budget is None:
        return
    if traits.thinking == "none":
        if effort != "none":
            dropped.add(name)
        return
    said = _thinking_config(effort, budget, traits, name, dropped)
    if effort != "none" and is_shown:
        said["includeThoughts"] = True
    config["thinkingConfig"] = said


def _thinking_config(effort: Any, budget: Any, traits: Traits, name: str, dropped: set[str]) -> dict[str, Any]:
    if budget is not None:
        return {"thinkingBudget": budget}  # newer generations take it too, and translate it into a level
    if not isinstance(effort, str):
        raise unsupported(f"'{name}' must be none, minimal, low, medium or high.", name)
    wanted = traits.effort(effort)
    if not wanted.is_exact:
        dropped.add(name)
    return {"thinkingLevel": wanted.level} if wanted.level else {"thinkingBudget": wanted.budget}


def _add_service_tier(body: Mapping[str, Any], out: dict[str, Any], dropped: set[str]) -> None:
    tier = body.get("service_tier")
    if tier is None or tier == "auto":
        return
    if isinstance(tier, str) and tier in _SERVICE_TIERS:
        out["serviceTier"] = _SERVICE_TIERS[tier]
    else:
        dropped.add("service_tier")


def _add_native(body: Mapping[str, Any], config: dict[str, Any], out: dict[str, Any]) -> None:
    extra = body.get("extra_body")
    for holder in (extra.get("google") if isinstance(extra, dict) else None, body.get("google"), body):
        if not isinstance(holder, dict):
            continue
        given = {_camel(name): value for name, value in holder.items() if value is not None}
        for name in _NATIVE:
            if name in given:
                out[name] = given[name]
        if isinstance(given.get("generationConfig"), dict):
            config.update((_camel(name), value) for name, value in given["generationConfig"].items())
        thinking = given.get("thinkingConfig")
        if isinstance(thinking, dict):
            config["thinkingConfig"] = {_camel(name): value for name, value in thinking.items()}


def _camel(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)
