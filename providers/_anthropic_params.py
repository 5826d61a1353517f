"""OpenAI's chat parameters as Anthropic's, and the list of those that could not be said.

https://platform.claude.com/docs/en/api/messages
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers._anthropic_models import Traits, traits
from providers._anthropic_schema import adapted, is_expressible
from providers._anthropic_thinking import add_thinking
from providers._anthropic_tools import add_tools
from providers.base import Target
from providers.content import unsupported

# Members that the translation looks at. For whatever else a body has Anthropic has no word, and would refuse it: it is
# left out and listed. `n` is not among these: one answer is a valid, if smaller, reply to "n": 2.
_UNDERSTOOD = frozenset({
    "function_call", "functions", "max_completion_tokens", "max_tokens", "messages", "metadata", "model",
    "output_config", "parallel_tool_calls", "reasoning", "reasoning_effort", "response_format", "safety_identifier",
    "service_tier", "stop", "stream", "stream_options", "temperature", "thinking", "tool_choice", "tools", "top_k",
    "top_p", "user",
})  # fmt: skip
# Values that ask for nothing, so nothing is lost.
_ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "n": (1,),
    "store": (False,), "top_logprobs": (0,), "modalities": (["text"],),
}  # fmt: skip
# Anthropic's own members, given beside OpenAI's (`extra_body` of an SDK): they pass as they are.
_NATIVE = ("cache_control", "container", "context_management", "inference_geo", "mcp_servers", "speed")

JSON_TOOL_DESCRIPTION = "Gives the answer. Call it exactly once, with the whole answer as its input."
_JSON_INSTRUCTION = "Answer with one JSON object and nothing else: no code fence, no words before or after it."
_USER_ID_LIMIT = 256


@dataclass(slots=True)
class Draft:
    """A request being translated: `body` in OpenAI's words, `out` in Anthropic's, `dropped` in OpenAI's names."""

    body: Mapping[str, Any]
    target: Target
    traits: Traits
    out: dict[str, Any]
    dropped: set[str] = field(default_factory=set)


def add_parameters(body: Mapping[str, Any], target: Target, out: dict[str, Any]) -> set[str]:
    """Adds everything but `model`, `messages` and `system` to `out`; returns the dropped or approximated names."""
    draft = Draft(body, target, traits(target.model), out)
    _add_max_tokens(draft)
    _add_stop(draft)
    _add_user(draft)
    _add_service_tier(draft)
    for name in _NATIVE:
        if body.get(name) is not None:
            out[name] = body[name]
    draft.dropped.update(add_tools(body, draft.traits, out))
    _add_response_format(draft)
    draft.dropped.update(add_thinking(body, draft.traits, out))
    _add_sampling(draft)
    draft.dropped.update(
        name for name in body if name not in _UNDERSTOOD and name not in _NATIVE and _is_asked(body, name)
    )
    return draft.dropped


def json_tool(body: Mapping[str, Any], target: Target) -> str | None:
    """The name of the tool that stands for `response_format` where the model has no structured outputs of that kind."""
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    known = traits(target.model)
    schema = wanted.get("json_schema")
    if not isinstance(schema, dict) or not known.has_forced_tools:
        return None
    if known.has_json_schema and is_expressible(schema.get("schema")):
        return None
    name = schema.get("name")
    return name if isinstance(name, str) and name else "answer"


def _is_asked(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    return value is not None and value not in _ASKS_NOTHING.get(name, ())


def _add_max_tokens(draft: Draft) -> None:
    """Anthropic wants a limit in every request. `max_completion_tokens` is the newer name and wins."""
    limit = draft.target.max_output_tokens
    for name in ("max_completion_tokens", "max_tokens"):
        wanted = draft.body.get(name)
        if wanted is None:
            continue
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
            raise unsupported(f"'{name}' must be a whole number.", name)
        if limit is not None and wanted > limit:
            draft.dropped.add(name)
            wanted = limit
        draft.out["max_tokens"] = wanted
        return
    draft.out["max_tokens"] = limit or draft.traits.max_output_tokens


def _add_stop(draft: Draft) -> None:
    stop = draft.body.get("stop")
    if stop is None:
        return
    wanted = [stop] if isinstance(stop, str) else stop
    if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
        raise unsupported("'stop' must be a string or a list of strings.", "stop")
    # "stop_sequences: each stop sequence must contain non-whitespace".
    sequences = [item for item in wanted if item.strip()]
    if sequences:
        draft.out["stop_sequences"] = sequences
    if len(sequences) < len(wanted):
        draft.dropped.add("stop")


def _add_user(draft: Draft) -> None:
    metadata = draft.body.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if set(metadata) - {"user_id"}:
        draft.dropped.add("metadata")  # "metadata.x: Extra inputs are not permitted"
    candidates = {name: draft.body.get(name) for name in ("user", "safety_identifier")}
    candidates = {"metadata": metadata.get("user_id"), **candidates}
    name = next((name for name, user in candidates.items() if user), None)
    if name is None:
        return
    user = candidates[name]
    # "metadata.user_id: user_id appears to contain an email address": Anthropic wants no personal data here.
    if isinstance(user, str) and "@" not in user and len(user) <= _USER_ID_LIMIT:
        draft.out["metadata"] = {"user_id": user}
    else:
        draft.dropped.add(name)


def _add_service_tier(draft: Draft) -> None:
    """https://platform.claude.com/docs/en/api/service-tiers"""
    tier = draft.body.get("service_tier")
    if tier is None:
        return
    known = {"auto": "auto", "priority": "auto", "default": "standard_only", "standard_only": "standard_only"}
    if isinstance(tier, str) and tier in known:
        draft.out["service_tier"] = known[tier]
    else:
        draft.dropped.add("service_tier")


def _add_response_format(draft: Draft) -> None:
    native = draft.body.get("output_config")
    if isinstance(native, dict):
        draft.out["output_config"] = dict(native)
    wanted = draft.body.get("response_format")
    type_ = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or type_ == "text":
        return
    if not isinstance(wanted, dict) or type_ not in ("json_schema", "json_object"):
        raise unsupported("'response_format.type' must be text, json_object or json_schema.", "response_format")
    if type_ == "json_object":
        _add_instruction(draft)
        return
    schema = wanted.get("json_schema")
    if not isinstance(schema, dict):
        raise unsupported("'response_format.json_schema' must be an object.", "response_format.json_schema")
    tool = json_tool(draft.body, draft.target)
    if tool:
        _add_json_tool(draft, tool, schema)
    elif draft.traits.has_json_schema and isinstance(schema.get("schema"), dict):
        format_ = {"type": "json_schema", "schema": adapted(schema["schema"])}
        draft.out.setdefault("output_config", {})["format"] = format_
        if not is_expressible(schema["schema"]):
            draft.dropped.add("response_format")
    else:
        _add_instruction(draft)


def _add_instruction(draft: Draft) -> None:
    """Nothing enforces JSON without a schema; asking for it is what is left, after the caller's own instructions."""
    draft.out.setdefault("system", []).append({"type": "text", "text": _JSON_INSTRUCTION})
    draft.dropped.add("response_format")


def _add_json_tool(draft: Draft, name: str, schema: Mapping[str, Any]) -> None:
    """A tool whose input is the answer: what there was before structured outputs.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools#forcing-tool-use
    """
    has_tools = bool(draft.out.get("tools"))
    description = schema.get("description") or JSON_TOOL_DESCRIPTION
    tool = {
        "name": name,
        "description": description,
        "input_schema": schema.get("schema") or {"type": "object"},
    }
    draft.out.setdefault("tools", []).append(tool)
    choice = draft.out.get("tool_choice", {})
    if not has_tools or choice.get("type") == "none":
        draft.out["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    elif choice.get("type", "auto") == "auto":
        draft.out["tool_choice"] = {**choice, "type": "any"}


def _add_sampling(draft: Draft) -> None:
    body, out = draft.body, draft.out
    given = {name: body[name] for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise unsupported(f"'{name}' must be a number.", name)
    temperature = given.get("temperature")
    if temperature is not None and temperature > 1:
        # OpenAI's scale ends at 2, Anthropic's at 1.
        given["temperature"] = 1
        draft.dropped.add("temperature")
    refused = _refused_sampling(draft, given)
    for name, value in given.items():
        if name not in refused:
            out[name] = value
        elif value != 1 or name == "top_k":  # 1 is the default of the others
            draft.dropped.add(name)


def _refused_sampling(draft: Draft, given: Mapping[str, Any]) -> set[str]:
    """https://platform.claude.com/docs/en/build-with-claude/extended-thinking#feature-compatibility"""
    if not draft.traits.has_sampling:
        return set(given)
    refused = set()
    thinking = draft.out.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"):
        refused = {"temperature", "top_k"}
        if given.get("top_p", 1) < 0.95:
            refused.add("top_p")
    elif "temperature" in given and "top_p" in given and not draft.traits.has_both_sampling:
        refused = {"temperature"} if given["temperature"] == 1 and given["top_p"] != 1 else {"top_p"}
    return refused
