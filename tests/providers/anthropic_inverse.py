"""Anthropic requests as OpenAI requests of the same meaning: the other direction, so that recordings become tests."""

import base64
import json
from typing import Any

Json = dict[str, Any]


def openai_request(recorded: Json) -> Json:
    """What an OpenAI client would have sent for the recorded request."""
    body: Json = {"model": "any", "messages": [*_system(recorded.get("system"))]}
    for message in recorded["messages"]:
        body["messages"] += _messages(message)
    for name in ("max_tokens", "temperature", "top_p", "stream", "thinking", "container", "mcp_servers", "metadata"):
        if name in recorded:
            body[name] = recorded[name]
    for name in ("cache_control", "top_k", "service_tier", "context_management"):
        if name in recorded:
            body[name] = recorded[name]
    if "stop_sequences" in recorded:
        body["stop"] = recorded["stop_sequences"]
    if "tools" in recorded:
        body["tools"] = [_tool(tool) for tool in recorded["tools"]]
    _add_choice(body, recorded.get("tool_choice"))
    _add_output(body, recorded)
    return body


def normal(request: Json) -> Json:
    """A request in one spelling: what means the same is written the same."""
    out = {name: value for name, value in request.items() if name not in ("model", "stream", "output_format")}
    out["messages"] = _merged(request["messages"])
    if isinstance(request.get("system"), str):
        out["system"] = [{"type": "text", "text": request["system"]}]
    out["system"] = [block for block in out.get("system", []) if block["text"].strip()]
    if "output_format" in request:
        out["output_config"] = {**request.get("output_config", {}), "format": request["output_format"]}
    if "tools" in request:
        defaults = (("strict", False), ("type", "custom"))
        out["tools"] = [{k: v for k, v in tool.items() if (k, v) not in defaults} for tool in out["tools"]]
    if out.get("temperature") == 1:
        del out["temperature"]  # the default
    return out


def _merged(messages: list[Json]) -> list[Json]:
    merged: list[Json] = []
    for message in messages:
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        blocks = [_normal_block(block) for block in blocks if block.get("type") != "text" or block["text"].strip()]
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1]["content"] += blocks
        else:
            merged.append({"role": message["role"], "content": blocks})
    return merged


def _normal_block(block: Json) -> Json:
    kept = {k: v for k, v in block.items() if v not in (None, []) and (k, v) != ("is_error", False)}
    if kept["type"] == "tool_result" and isinstance(kept.get("content"), str):
        kept["content"] = [{"type": "text", "text": kept["content"]}] if kept["content"] else []
    if kept["type"] == "tool_result" and not kept.get("content"):
        kept.pop("content", None)
    return kept


def _system(system: Any) -> list[Json]:
    if not system:
        return []
    return [{"role": "system", "content": system}]


def _messages(message: Json) -> list[Json]:
    content = message["content"]
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    if message["role"] == "assistant":
        return [_assistant(content)]
    results = [_tool_message(block) for block in content if block["type"] == "tool_result"]
    parts = [_part(block) for block in content if block["type"] != "tool_result"]
    return results + ([{"role": "user", "content": parts}] if parts else [])


def _assistant(content: list[Json]) -> Json:
    built: Json = {"role": "assistant", "content": None}
    others = ("tool_use", "thinking", "redacted_thinking")
    if parts := [_part(block) for block in content if block["type"] not in others]:
        built["content"] = parts
    if calls := [block for block in content if block["type"] == "tool_use"]:
        built["tool_calls"] = [
            {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
                **({"cache_control": block["cache_control"]} if "cache_control" in block else {}),
            }
            for block in calls
        ]
    thinking = [{**block, "index": n} for n, block in enumerate(content) if "thinking" in block["type"]]
    if thinking:
        built["thinking_blocks"] = thinking
        built["reasoning_content"] = "".join(block.get("thinking", "") for block in thinking)
    return built


def _tool_message(block: Json) -> Json:
    built = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block.get("content", "")}
    if isinstance(built["content"], list):
        built["content"] = [_part(item) for item in built["content"]]
    return {**built, **{name: block[name] for name in ("cache_control", "is_error") if name in block}}


def _part(block: Json) -> Json:
    marks = {name: block[name] for name in ("cache_control", "citations") if block.get(name)}
    source = block.get("source")
    if block["type"] == "text":
        return {"type": "text", "text": block["text"], **marks}
    if block["type"] == "image" and isinstance(source, dict) and source["type"] != "file":
        return {"type": "image_url", "image_url": {"url": _url(source)}, **marks}
    if block["type"] == "document" and isinstance(source, dict):
        title = {"filename": block["title"]} if block.get("title") else {}
        if source["type"] == "file":
            return {"type": "file", "file": {"file_id": source["file_id"], **title}, **marks}
        return {"type": "file", "file": {"file_data": _url(source), **title}, **marks}
    return block


def _url(source: Json) -> str:
    if source["type"] == "url":
        return str(source["url"])
    data = source["data"]
    if source["type"] == "text":
        data = base64.b64encode(data.encode()).decode()
    return f"data:{source['media_type']};base64,{data}"


def _tool(tool: Json) -> Json:
    if tool.get("type", "custom") != "custom":
        return tool
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if "description" in tool:
        function["description"] = tool["description"]
    if "strict" in tool:
        function["strict"] = tool["strict"]
    others = {k: v for k, v in tool.items() if k not in ("name", "input_schema", "description", "strict", "type")}
    return {"type": "function", "function": function, **others}


def _add_choice(body: Json, choice: Json | None) -> None:
    if choice is None:
        return
    names = {"auto": "auto", "any": "required", "none": "none"}
    named = {"type": "function", "function": {"name": choice.get("name")}}
    body["tool_choice"] = names.get(choice["type"], named)
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False


def _add_output(body: Json, recorded: Json) -> None:
    config = dict(recorded.get("output_config") or {})
    format_ = recorded.get("output_format") or config.pop("format", None)
    if format_:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": format_["schema"]},
        }
    if config:
        body["output_config"] = config
