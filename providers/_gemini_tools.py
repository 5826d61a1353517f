"""OpenAI's tools and tool choice as Gemini's.

https://ai.google.dev/api/caching#Tool and https://ai.google.dev/gemini-api/docs/function-calling
"""

from collections.abc import Mapping
from typing import Any

from providers._gemini_models import Traits
from providers._gemini_schema import adapted
from providers.content import unsupported


def add_tools(body: Mapping[str, Any], traits: Traits, out: dict[str, Any]) -> set[str]:
    """Adds `tools` and `toolConfig` to `out`; returns the names of what could not be said."""
    dropped: set[str] = set()
    declarations, native = _sorted_tools(body, dropped)
    if body.get("web_search_options") is not None:
        # Calls and search do not go together in most models; the caller's own tools matter more.
        if declarations:
            dropped.add("web_search_options")
        else:
            native.append({"googleSearch": {}})
    if declarations:
        native.append({"functionDeclarations": declarations})
        _add_choice(body, traits, out)
        if body.get("parallel_tool_calls") is False:
            dropped.add("parallel_tool_calls")
    if native:
        out["tools"] = native
    return dropped


def _sorted_tools(body: Mapping[str, Any], dropped: set[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(declarations of functions, Gemini's own tools such as `{"googleSearch": {}}`)."""
    declarations, native = [], []
    for number, tool in enumerate(_list(body, "tools")):
        where = f"tools[{number}]"
        if not isinstance(tool, dict):
            raise unsupported(f"'{where}' must be an object.", where)
        if tool.get("type") == "function":
            declarations.append(_declaration(tool.get("function"), f"{where}.function"))
        elif "type" not in tool:
            native.append(tool)
        else:
            dropped.add("tools")
    for number, function in enumerate(_list(body, "functions")):
        declarations.append(_declaration(function, f"functions[{number}]"))
    return declarations, native


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    found = body.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise unsupported(f"'{name}' must be a list.", name)
    return found


def _declaration(function: Any, where: str) -> dict[str, Any]:
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise unsupported(f"'{where}.name' must be the name of a function.", f"{where}.name")
    said: dict[str, Any] = {"name": name}
    if function.get("description"):
        said["description"] = function["description"]
    parameters = function.get("parameters")
    if parameters:
        # `parameters` takes OpenAPI's schema objects, this one takes JSON Schema.
        said["parametersJsonSchema"] = adapted(parameters)
    return said


def _add_choice(body: Mapping[str, Any], traits: Traits, out: dict[str, Any]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")  # the form before tools: a mode, or {"name": ...}
        choice = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    if choice in (None, "auto") and traits.thinking != "none" and _has_strict(body):
        # "VALIDATED: calls adhere to the schema", which is what `strict` asks for; older models lack it.
        config: dict[str, Any] | None = {"mode": "VALIDATED"}
    else:
        config = _config(choice)
    if config:
        out["toolConfig"] = {"functionCallingConfig": config}


def _has_strict(body: Mapping[str, Any]) -> bool:
    functions = [tool.get("function") for tool in _list(body, "tools")]
    return any(isinstance(function, dict) and function.get("strict") is True for function in functions)


def _config(choice: Any) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _MODES:
        return {"mode": _MODES[choice]}
    type_ = choice.get("type") if isinstance(choice, dict) else None
    if type_ == "function":
        function = choice.get("function")
        return {"mode": "ANY", "allowedFunctionNames": [_named(function)]}
    if type_ == "allowed_tools":
        allowed = choice.get("allowed_tools")
        allowed = allowed if isinstance(allowed, dict) else choice
        names = [_named(t.get("function", t) if isinstance(t, dict) else t) for t in _list(allowed, "tools")]
        # VALIDATED: a call of one of these, or an answer in words.
        return {"mode": "ANY" if allowed.get("mode") == "required" else "VALIDATED", "allowedFunctionNames": names}
    raise unsupported("'tool_choice' must be none, auto, required, or name a function.", "tool_choice")


_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _named(function: Any) -> str:
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise unsupported("'tool_choice' must name a function.", "tool_choice.function.name")
    return name
