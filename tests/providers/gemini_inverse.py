"""Gemini requests as OpenAI requests of the same meaning: the other direction, so that recordings become tests."""

import json
import re
from typing import Any

from providers._gemini_contents import FOREIGN_SIGNATURE

Json = dict[str, Any]
_OURS = "inverse-"
# Below these the members are the caller's own: names there are not Gemini's.
_OPAQUE = ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema")


def camel(value: Any) -> Any:
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for spelt, item in value.items():
        name = re.sub(r"_([a-z])", lambda found: found[1].upper(), spelt)
        out[name] = item if name in _OPAQUE else camel(item)
    return out


def openai_request(recorded: Json) -> Json:
    """What an OpenAI client would have sent for the recorded request."""
    recorded = camel(recorded)
    body: Json = {"model": "any", "messages": []}
    if recorded.get("systemInstruction"):
        parts = recorded["systemInstruction"]["parts"]
        body["messages"].append({"role": "system", "content": [_text(part) for part in parts]})
    calls = _Ids()
    for content in recorded["contents"]:
        body["messages"] += _messages(content, calls)
    for name in ("safetySettings", "cachedContent", "labels", "modelArmorConfig"):
        if name in recorded:
            body[name] = recorded[name]
    _add_config(body, dict(recorded.get("generationConfig") or {}))
    _add_tools(body, recorded)
    return body


class _Ids:
    """Older recordings have no ids: results belong to calls by name, in order."""

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[str, list[str]] = {}

    def of_call(self, call: Json) -> str:
        self.count += 1
        id_ = call.get("id") or f"{_OURS}{self.count}"
        self.waiting.setdefault(call["name"], []).append(id_)
        return str(id_)

    def of_result(self, result: Json) -> str:
        waiting = self.waiting.get(result["name"]) or [f"{_OURS}lost"]
        return str(result.get("id") or waiting.pop(0))


def _text(part: Json) -> Json:
    return {"type": "text", "text": part["text"]}


def _messages(content: Json, ids: _Ids) -> list[Json]:
    if content.get("role", "user") == "model":
        return [_assistant(content["parts"], ids)]
    out: list[Json] = []
    said: list[Json] = []
    for part in content["parts"]:
        if "functionResponse" in part:
            result = part["functionResponse"]
            text = [{"type": "text", "text": json.dumps(result["response"])}]
            parts = text + [_said(nested) for nested in result.get("parts", [])]
            id_ = ids.of_result(result)
            out.append({"role": "tool", "tool_call_id": id_, "name": result["name"], "content": parts})
        else:
            said.append(_said(part))
    return [*out, {"role": "user", "content": said}] if said else out


def _said(part: Json) -> Json:
    if "text" in part:
        return _text(part)
    if "inlineData" in part:
        type_, url = part["inlineData"]["mimeType"], None
        url = f"data:{type_};base64,{part['inlineData']['data']}"
    else:
        type_, url = part["fileData"].get("mimeType", ""), part["fileData"]["fileUri"]
    if type_.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url, "format": type_}}
    if type_.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": url, "format": type_}}
    return {"type": "file", "file": {"file_data": url, "format": type_}}


def _assistant(parts: list[Json], ids: _Ids) -> Json:
    message: Json = {"role": "assistant", "content": [], "tool_calls": []}
    google: Json = {}
    for part in parts:
        signature = part.get("thoughtSignature")
        if part.get("thought"):
            continue
        if "functionCall" in part:
            call = part["functionCall"]
            arguments = json.dumps(call["args"]) if call.get("args") else ""
            made: Json = {"id": ids.of_call(call), "type": "function"}
            made["function"] = {"name": call["name"], "arguments": arguments}
            if signature:
                made["extra_content"] = {"google": {"thought_signature": signature}}
            message["tool_calls"].append(made)
        elif "text" in part:
            message["content"].append(_text(part))
            google.update({"thought_signature": signature} if signature else {})
        else:
            google.setdefault("code_execution", []).append(part)
    if google:
        message["extra_content"] = {"google": google}
    return message


def _add_config(body: Json, config: Json) -> None:
    names = {"topP": "top_p", "topK": "top_k", "maxOutputTokens": "max_tokens", "stopSequences": "stop"}
    names |= {"candidateCount": "n", "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty"}
    names |= {"temperature": "temperature", "seed": "seed", "responseLogprobs": "logprobs", "logprobs": "top_logprobs"}
    for theirs, name in names.items():
        if theirs in config:
            body[name] = config.pop(theirs)
    if "responseModalities" in config:
        body["modalities"] = [name.lower() for name in config.pop("responseModalities")]
    schema = config.pop("responseSchema", None) or config.pop("responseJsonSchema", None)
    if config.pop("responseMimeType", None) == "application/json":
        format_: Json = {"type": "json_object"}
        if schema:
            format_ = {"type": "json_schema", "json_schema": {"name": "answer", "schema": lower(schema)}}
        body["response_format"] = format_
    thinking = config.pop("thinkingConfig", {})
    reasoning: Json = {"exclude": not thinking.get("includeThoughts")}
    if "thinkingBudget" in thinking:
        body["reasoning"] = {**reasoning, "max_tokens": thinking["thinkingBudget"]}
    elif "thinkingLevel" in thinking:
        body["reasoning"] = {**reasoning, "effort": thinking["thinkingLevel"].lower()}
    elif thinking:
        body["google"] = {"thinking_config": {"include_thoughts": thinking["includeThoughts"]}}
    if config:
        body["generationConfig"] = config


def _add_tools(body: Json, recorded: Json) -> None:
    config = (recorded.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = config.get("mode", "AUTO").upper()
    is_validated = mode == "VALIDATED"
    for group in recorded.get("tools") or ():
        for name, value in group.items():
            if name != "functionDeclarations":
                body.setdefault("tools", []).append({name: value})
                continue
            for function in value:
                schema = function.get("parameters") or function.get("parametersJsonSchema")
                said = {"name": function["name"], "description": function.get("description")}
                said |= {"parameters": lower(schema)} if schema else {}
                said |= {"strict": True} if is_validated else {}
                body.setdefault("tools", []).append({"type": "function", "function": said})
    names = config.get("allowedFunctionNames") or []
    choice: Any = {"AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required"}[mode]
    if len(names) == 1:
        choice = {"type": "function", "function": {"name": names[0]}}
    elif names:
        tools = [{"type": "function", "function": {"name": name}} for name in names]
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}
    body["tool_choice"] = choice


def lower(schema: Any) -> Any:
    """OpenAPI's schema in the words of JSON Schema, where types are written small."""
    if isinstance(schema, list):
        return [lower(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for spelt, value in schema.items():
        name = {"property_ordering": "propertyOrdering", "any_of": "anyOf"}.get(spelt, spelt)
        out[name] = value.lower() if name == "type" and isinstance(value, str) else lower(value)
    return out


def normal(request: Json) -> Json:
    """A request in one spelling: what means the same is written the same."""
    request = camel(request)
    system = [part["text"] for part in (request.get("systemInstruction") or {}).get("parts", []) if part["text"]]
    out: Json = {"system": system, "contents": _merged(request["contents"])}
    for name in ("safetySettings", "cachedContent", "labels", "modelArmorConfig"):
        out[name] = request.get(name)
    config = dict(request.get("generationConfig") or {})
    schema = config.pop("responseSchema", None) or config.pop("responseJsonSchema", None)
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    if config.get("responseMimeType") == "text/plain":
        del config["responseMimeType"]
    thinking = {"includeThoughts": False, **config.pop("thinkingConfig", {})}
    thinking["thinkingLevel"] = str(thinking.get("thinkingLevel", "")).lower()
    out |= {"config": config, "schema": lower(schema), "thinking": thinking}
    out["functions"], out["native"] = [], []
    for group in request.get("tools") or ():
        for name, value in group.items():
            if name == "functionDeclarations":
                out["functions"] += [_function(function) for function in value]
            else:
                out["native"].append({name: value})
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {"mode": "AUTO"}
    out["choice"] = (calling["mode"].upper(), calling.get("allowedFunctionNames") or [])
    return out


def _function(function: Json) -> Json:
    schema = function.get("parameters") or function.get("parametersJsonSchema") or {}
    return {"name": function["name"], "description": function.get("description") or "", "schema": lower(schema)}


def _merged(contents: list[Json]) -> list[Json]:
    merged: list[Json] = []
    for content in contents:
        role = content.get("role", "user")
        parts = [_part(part) for part in content["parts"] if not part.get("thought") and part.get("text") != ""]
        if merged and merged[-1]["role"] == role:
            merged[-1]["parts"] += parts
        elif parts:
            merged.append({"role": role, "parts": parts})
    for content in merged:
        # OpenAI keeps results and calls apart from what is said beside them.
        first = (
            ("functionResponse",) if content["role"] == "user" else ("executableCode", "codeExecutionResult", "text")
        )
        content["parts"].sort(key=lambda part, first=first: 0 if any(name in part for name in first) else 1)
    return merged


def _part(part: Json) -> Json:
    part = dict(part)
    if part.get("thoughtSignature") == FOREIGN_SIGNATURE:
        del part["thoughtSignature"]
    for name in ("functionCall", "functionResponse"):
        if name in part:
            kept = {"args": {}, **part[name]} if name == "functionCall" else dict(part[name])
            if str(kept.get("id", _OURS)).startswith(_OURS):
                kept.pop("id", None)
            part[name] = kept
    return part
