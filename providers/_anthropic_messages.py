"""OpenAI messages as Anthropic's `system` and `messages`.

https://platform.claude.com/docs/en/api/messages
"""

import re
from collections.abc import Mapping
from typing import Any

from providers import content
from providers.content import Media, Other, Text, unsupported

Block = dict[str, Any]

# Anthropic wants a first turn by the user, and no turn without text. OpenAI takes conversations without one.
PLACEHOLDER = "Continue."

_BAD_ID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
# Blocks of Anthropic's own that a caller may put into a message as they are; those of its server tools too.
_NATIVE_BLOCKS = frozenset(
    {
        "image",
        "document",
        "search_result",
        "container_upload",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "tool_reference",
        "server_tool_use",
        "mcp_tool_use",
    }
)


class ToolIds:
    """Foreign tool call ids (`functions.x:0`) in the alphabet Anthropic takes, the same for a call and its result.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls names the pattern by its 400:
    "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'".
    """

    __slots__ = ("_given", "_taken")

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def get(self, id: Any, where: str) -> str:
        if not isinstance(id, str) or not id:
            raise unsupported(f"'{where}' must be the id of a tool call.", where)
        if id in self._given:
            return self._given[id]
        clean = unique = _BAD_ID_CHARACTER.sub("_", id)
        number = 2
        while unique in self._taken:
            unique = f"{clean}_{number}"
            number += 1
        self._given[id] = unique
        self._taken.add(unique)
        return unique


def translate(messages: Any) -> tuple[list[Block], list[dict[str, Any]]]:
    """(system blocks, messages). Every message's content is a list of blocks, roles alternate, the user begins."""
    if not isinstance(messages, list) or not messages:
        raise unsupported("'messages' must be a list with at least one message.", "messages")
    ids = ToolIds()
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer"):
            system += _marked(_blocks(message.get("content"), f"{where}.content", only_text=True), message)
            continue
        if role == "user":
            _append(turns, "user", _marked(_blocks(message.get("content"), f"{where}.content"), message))
        elif role == "assistant":
            _append(turns, "assistant", _marked(_assistant(message, where, ids), message))
        elif role == "tool":
            _append(turns, "user", [_tool_result(message, where, ids)])
        else:
            raise unsupported(
                f"'{where}.role' must be one of: system, developer, user, assistant, tool.", f"{where}.role"
            )
    return _complete(system, turns)


def _append(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _complete(system: list[Block], turns: list[dict[str, Any]]) -> tuple[list[Block], list[dict[str, Any]]]:
    for turn in turns:
        if turn["role"] == "user":
            # "tool_result blocks must come first in the content array": a stable sort keeps the rest in order.
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not turns and system:
        # A prompt may consist of instructions alone at OpenAI.
        return system[:-1], [{"role": "user", "content": system[-1:]}]
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": PLACEHOLDER}]})
    _strip_prefill(turns)
    return system, turns


def _strip_prefill(turns: list[dict[str, Any]]) -> None:
    """The API says: "final assistant content cannot end with trailing whitespace"."""
    last = turns[-1]
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


def _marked(blocks: list[Block], message: Mapping[str, Any]) -> list[Block]:
    """A cache marker on the message itself goes to its last block."""
    marker = message.get("cache_control")
    if marker and blocks:
        blocks[-1]["cache_control"] = marker
    return blocks


def _blocks(value: Any, where: str, *, only_text: bool = False) -> list[Block]:
    blocks = []
    for number, part in enumerate(content.parts(value, where)):
        place = f"{where}[{number}]"
        if isinstance(part, Text):
            # "text content blocks must be non-empty", and must hold more than white space.
            if part.text.strip():
                blocks.append(_with_marker({"type": "text", "text": part.text}, part.raw))
        elif only_text:
            raise unsupported(f"'{place}' must be text: instructions can carry nothing else.", place)
        else:
            blocks.append(_media(part, place) if isinstance(part, Media) else _native(part, place))
    return blocks


def _with_marker(block: Block, raw: Mapping[str, Any]) -> Block:
    for name in ("cache_control", "citations"):
        if raw.get(name):
            block[name] = raw[name]
    return block


def _native(part: Other, where: str) -> Block:
    if part.type in _NATIVE_BLOCKS or part.type.endswith("_tool_result"):
        return dict(part.raw)
    raise unsupported(f"'{where}' is a part of type '{part.type}', which Anthropic models do not take.", where)


def _media(part: Media, where: str) -> Block:
    media_type = part.media_type or ""
    if part.kind == "image" or (part.kind == "file" and media_type.startswith("image/")):
        return _with_marker({"type": "image", "source": _source(part, media_type or "image/png")}, part.raw)
    if part.kind != "file":
        raise unsupported(f"'{where}' is {part.kind} input, which Anthropic models do not take.", where)
    block: Block = {"type": "document", "source": _document_source(part, media_type, where)}
    if part.filename:
        block["title"] = part.filename
    return _with_marker(block, part.raw)


def _source(part: Media, media_type: str) -> Block:
    if part.url:
        return {"type": "url", "url": part.url}
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    return {"type": "base64", "media_type": media_type.replace("image/jpg", "image/jpeg"), "data": part.data}


def _document_source(part: Media, media_type: str, where: str) -> Block:
    if part.file_id and not part.file_id.startswith("file_"):
        # Ids of Anthropic's own files begin with "file_", OpenAI's with "file-".
        raise unsupported(f"'{where}.file.file_id' is a file at another provider. Send it as 'file_data'.", where)
    if part.data is None or media_type in ("application/pdf", ""):
        return _source(part, "application/pdf")
    if media_type.startswith("text/") or media_type in ("application/json", "application/xml"):
        return {"type": "text", "media_type": "text/plain", "data": content.decoded_text(part.data, where)}
    raise unsupported(f"'{where}' is a file of type '{media_type}'. Anthropic models take PDF, text and images.", where)


def _assistant(message: Mapping[str, Any], where: str, ids: ToolIds) -> list[Block]:
    if message.get("function_call"):
        raise unsupported(f"'{where}.function_call' is not supported. Use 'tool_calls'.", f"{where}.function_call")
    blocks = _blocks(message.get("content"), f"{where}.content")
    refusal = message.get("refusal")
    if not blocks and isinstance(refusal, str) and refusal.strip():
        blocks.append({"type": "text", "text": refusal})
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise unsupported(f"'{where}.tool_calls' must be a list.", f"{where}.tool_calls")
    blocks += [_tool_use(call, f"{where}.tool_calls[{number}]", ids) for number, call in enumerate(calls)]
    return _with_thinking(blocks, _thinking(message))


def _tool_use(call: Any, where: str, ids: ToolIds) -> Block:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise unsupported(f"'{where}' must be a function call with an 'id' and a 'function'.", where)
    block: Block = {
        "type": "tool_use",
        "id": ids.get(call.get("id"), f"{where}.id"),
        "name": function["name"],
        "input": content.tool_arguments(function.get("arguments")),
    }
    return _with_marker(block, call)


def _tool_result(message: Mapping[str, Any], where: str, ids: ToolIds) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": ids.get(message.get("tool_call_id"), f"{where}.tool_call_id")}
    value = message.get("content")
    if isinstance(value, str):
        if value:
            block["content"] = value
    elif found := _blocks(value, f"{where}.content"):
        block["content"] = found
    if message.get("is_error") is True:
        block["is_error"] = True
    return _with_marker(block, message)


def _thinking(message: Mapping[str, Any]) -> list[tuple[int | None, Block]]:
    """Signed thinking that a client sends back, each with its place in the original answer where that is known.

    `thinking_blocks` is what we (and LiteLLM) answer with, `reasoning_details` is OpenRouter's form. Thinking without a
    signature (`reasoning_content` alone, or another vendor's) is left out: Anthropic refuses it.
    """
    found: list[tuple[int | None, Block]] = []
    said = message.get("thinking_blocks") or message.get("reasoning_details")
    for item in said if isinstance(said, list) else ():
        if not isinstance(item, dict):
            continue
        place = item.get("index") if isinstance(item.get("index"), int) else None
        kind, signature, data = item.get("type"), item.get("signature"), item.get("data")
        if kind in ("thinking", "reasoning.text") and isinstance(signature, str) and signature:
            text = item.get("thinking", item.get("text"))
            found.append((place, {"type": "thinking", "thinking": text or "", "signature": signature}))
        elif kind in ("redacted_thinking", "reasoning.encrypted") and isinstance(data, str):
            found.append((place, {"type": "redacted_thinking", "data": data}))
    return found


def _with_thinking(blocks: list[Block], thinking: list[tuple[int | None, Block]]) -> list[Block]:
    """Thinking back where it stood: its order among the other blocks is signed too. Unknown places come first."""
    if not thinking:
        return blocks
    if any(place is None for place, _ in thinking):
        return [block for _, block in thinking] + blocks
    merged = list(blocks)
    for place, block in sorted(thinking, key=lambda item: item[0] or 0):
        merged.insert(place or 0, block)
    return merged
