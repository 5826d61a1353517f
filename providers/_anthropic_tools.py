"""OpenAI's `tools`, `tool_choice` and `parallel_tool_calls` in Anthropic's words.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools
"""

from collections.abc import Mapping
from typing import Any

from providers._anthropic_models import Traits
from providers._anthropic_schema import adapted
from providers.content import unsupported

# Anthropic's own members of a tool, which a caller may add to an OpenAI tool or to its function.
_NATIVE_MEMBERS = ("allowed_callers", "cache_control", "defer_loading", "eager_input_streaming", "input_examples")


def add_tools(body: Mapping[str, Any], known: Traits, out: dict[str, Any]) -> set[str]:
    """Adds `tools` and `tool_choice` to `out`; returns the names of what was dropped or approximated."""
    for name in ("functions", "function_call"):
        if body.get(name):
            raise unsupported(f"'{name}' is not supported for this model. Use 'tools' and 'tool_choice'.", name)
    dropped: set[str] = set()
    tools = body.get("tools")
    choice = body.get("tool_choice")
    if not tools:
        if choice not in (None, "none", "auto"):
            dropped.add("tool_choice")
        return dropped
    if not isinstance(tools, list):
        raise unsupported("'tools' must be a list.", "tools")
    out["tools"] = [_tool(tool, f"tools[{number}]", known, dropped) for number, tool in enumerate(tools)]
    translated = _choice(choice, out)
    if translated.get("type") in ("any", "tool") and not known.has_forced_tools:
        translated = {"type": "auto"}
        dropped.add("tool_choice")
    if body.get("parallel_tool_calls") is False and translated.get("type") != "none":
        translated = {"type": "auto", **translated, "disable_parallel_tool_use": True}
    if translated:
        out["tool_choice"] = translated
    return dropped


def _tool(tool: Any, where: str, known: Traits, dropped: set[str]) -> dict[str, Any]:
    type_ = tool.get("type") if isinstance(tool, dict) else None
    if type_ != "function":
        return _other_tool(tool, type_, where)
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise unsupported(f"'{where}.function' must be an object with a 'name'.", f"{where}.function")
    schema = function.get("parameters")
    if not isinstance(schema, dict) or not schema:
        schema = {"type": "object", "properties": {}}
    elif "type" not in schema:
        schema = {"type": "object", **schema}
    built: dict[str, Any] = {"name": function["name"], "input_schema": schema}
    if isinstance(function.get("description"), str):
        built["description"] = function["description"]
    if function.get("strict") is True:
        if known.has_json_schema:
            built["strict"] = True
            built["input_schema"] = adapted(schema)
        else:
            dropped.add("tools.strict")
    for name in _NATIVE_MEMBERS:
        value = tool.get(name, function.get(name))
        if value is not None:
            built[name] = value
    return built


def _other_tool(tool: Any, type_: Any, where: str) -> dict[str, Any]:
    """Anthropic's own tools (`web_search_20250305`, `bash_20250124`, ...) pass as they are; OpenAI's others cannot."""
    if not isinstance(tool, dict) or (type_ is None and "input_schema" not in tool):
        raise unsupported(f"'{where}' must be an object with a 'type'.", where)
    if "name" in tool:
        return dict(tool)
    if type_ == "mcp_toolset":
        return dict(tool)
    raise unsupported(f"'{where}' is a tool of type '{type_}', which Anthropic models do not have.", where)


def _choice(choice: Any, out: dict[str, Any]) -> dict[str, Any]:
    """{} where the caller left it open."""
    simple = {None: {}, "auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
    if choice is None or isinstance(choice, str):
        if choice not in simple:
            raise unsupported("'tool_choice' must be auto, none, required or a tool.", "tool_choice")
        return dict(simple[choice])
    if isinstance(choice, dict):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, dict) and isinstance(function.get("name"), str):
            return {"type": "tool", "name": function["name"]}
        if choice.get("type") == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
            return _allowed(choice["allowed_tools"], out)
        if choice.get("type") in ("tool", "any"):
            return dict(choice)
    raise unsupported("'tool_choice' must be auto, none, required or a tool.", "tool_choice")


def _allowed(allowed: Mapping[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """A choice among some of the tools: the others are not offered."""
    said = allowed.get("tools")
    functions = [item.get("function") for item in said if isinstance(item, dict)] if isinstance(said, list) else []
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    kept = [tool for tool in out["tools"] if tool.get("name") in names]
    if not kept:
        raise unsupported("'tool_choice.allowed_tools.tools' names none of 'tools'.", "tool_choice.allowed_tools.tools")
    out["tools"] = kept
    return {"type": "any" if allowed.get("mode") == "required" else "auto"}
