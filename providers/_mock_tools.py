"""When the mock provider calls a tool, and with what: words of the prompt against the tools' names and descriptions."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from providers._mock_schema import Material, instance


@dataclass(slots=True, frozen=True)
class ToolCall:
    """`arguments` is the JSON text, as on the wire."""

    id: str
    name: str
    arguments: str


def last_user_text(body: Mapping[str, Any]) -> str:
    """The text the model should react to: the last user message, or the prompt of a legacy completion."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        prompt = body.get("prompt")
        return prompt if isinstance(prompt, str) else ""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                return " ".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
            return content if isinstance(content, str) else ""
    return ""


def calls_for(body: Mapping[str, Any], rng: random.Random, *, is_forced: bool) -> list[ToolCall]:
    """The calls this request should lead to; empty for an answer in text.

    A tool is called when the choice demands it, or when the last turn is the user's and names what the tool does.
    Several are called where the message names several things and parallel calls are allowed. Raises ValueError for a
    choice the real API would refuse.
    """
    tools = _functions(body)
    if not tools:
        if not is_forced:
            return []
        tools = [{"name": "lookup", "parameters": {"properties": {"query": {"type": "string"}}, "required": ["query"]}}]
    tools, is_demanded = _chosen(tools, body.get("tool_choice"))
    is_demanded = is_demanded or is_forced
    if not tools or not (is_demanded or _last_role(body) == "user"):
        return []
    text = last_user_text(body)[:4_000]
    wanted = _wanted(tools, text)
    if not wanted and is_demanded:
        wanted = tools[:1]
    things = _things(text)
    if body.get("parallel_tool_calls") is False:
        return [_call(tool, things, text, rng) for tool in wanted[:1]]
    if len(wanted) == 1 and len(things) > 1 and _takes_text(wanted[0]):
        return [_call(wanted[0], [thing], text, rng) for thing in things[:8]]
    return [_call(tool, things, text, rng) for tool in wanted]


def _functions(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return []
    functions = (tool.get("function") for tool in tools if isinstance(tool, dict))
    return [function for function in functions if isinstance(function, dict) and "name" in function]


def _last_role(body: Mapping[str, Any]) -> object:
    messages = body.get("messages")
    return messages[-1].get("role") if isinstance(messages, list) and messages else None


def _chosen(tools: list[dict[str, Any]], choice: object) -> tuple[list[dict[str, Any]], bool]:
    """The tools left by `tool_choice`, and whether one of them has to be called."""
    if choice == "none":
        return [], False
    if not isinstance(choice, dict):
        return tools, choice == "required"
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        names = {(tool.get("function") or tool).get("name") for tool in allowed.get("tools", ())}
        return [tool for tool in tools if tool["name"] in names], allowed.get("mode") == "required"
    name = (choice.get("function") or {}).get("name")
    named = [tool for tool in tools if tool["name"] == name]
    if not named:
        raise ValueError(f"Invalid value: 'tool_choice'. Function '{name}' is not among the tools.")
    return named, True


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W_\da-zA-Z]+")
_GENERIC_WORDS = (
    "get set fetch find lookup search run make create list the current given tool function data info for of in to by "
    "with and from this that your into user when value values return returns"
)
_STEM = 5


def _stems(text: str) -> set[str]:
    return {word.lower()[:_STEM] for word in _WORDS.findall(text) if len(word) > 2}


_GENERIC_STEMS = frozenset(word[:_STEM] for word in _GENERIC_WORDS.split())


def _wanted(tools: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Tools the message asks for: those whose name it mentions, else the one its words describe best."""
    said = _stems(text)
    named = [
        tool for tool in tools if said & ((_stems(str(tool["name"])) - _GENERIC_STEMS) or _stems(str(tool["name"])))
    ]
    if named:
        return named
    described = [(len(said & (_stems(str(tool.get("description"))) - _GENERIC_STEMS)), tool) for tool in tools]
    score, best = max(described, key=lambda pair: pair[0])
    return [best] if score >= 2 else []


_NAMES = re.compile(r"(?<=[\w,;:] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")


def _things(text: str) -> list[str]:
    """Proper names inside sentences, in order: what a question is usually about."""
    return list(dict.fromkeys(name for name in _NAMES.findall(text) if len(name) > 1))


def _takes_text(tool: dict[str, Any]) -> bool:
    parameters = tool.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    if not isinstance(properties, dict):
        return False
    return any(
        isinstance(schema, dict) and schema.get("type") == "string" and "enum" not in schema
        for schema in properties.values()
    )


_NUMBER = re.compile(r"(?<![\w.])\d{1,15}(?![\w.])")


def _call(tool: dict[str, Any], things: list[str], text: str, rng: random.Random) -> ToolCall:
    material = Material(list(things), [int(number) for number in _NUMBER.findall(text)])
    parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    try:
        arguments = instance({"type": "object", **parameters}, rng, material)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"Invalid schema for function '{tool['name']}': it is not a JSON Schema.") from error
    return ToolCall(f"call_{rng.getrandbits(96):024x}", str(tool["name"]), orjson.dumps(arguments).decode())
