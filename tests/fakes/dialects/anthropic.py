"""The Anthropic Messages dialect of the fake, as strict about unknown fields as the real one.

Shapes: https://docs.claude.com/en/api/messages and https://docs.claude.com/en/docs/build-with-claude/streaming
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.fakes.answers import CACHED_INPUT, COMPLETION_TOKENS, FRESH_INPUT, Answer, Tool, Wanted, respond
from tests.fakes.script import Script, reply

if TYPE_CHECKING:
    from tests.fakes.upstream import Recorded

_FIELDS = frozenset(
    {"model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools"}
    | {"tool_choice", "metadata", "thinking", "service_tier", "container", "mcp_servers", "context_management"}
    | {"output_config", "output_format", "cache_control", "inference_geo"}
)
_TOOL_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
_FINISH = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def failure(status: int, type_: str, message: str, headers: dict[str, str] | None = None) -> Script:
    """An error in Anthropic's shape."""
    body = {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_011fake"}
    return reply(body, status=status, headers=headers)


def messages(request: "Recorded") -> Script:
    if request.header("x-api-key") is None and request.header("authorization") is None:
        return failure(401, "authentication_error", "x-api-key header is required")
    if request.header("anthropic-version") is None:
        return failure(400, "invalid_request_error", "anthropic-version: header is required")
    body = request.json
    complaint = _complaint(body)
    if complaint is not None:
        return failure(400, "invalid_request_error", complaint)
    said = respond(wanted(body))
    if body.get("stream"):
        steps = tuple(event for event in events(body, said))
        return Script(200, (("content-type", "text/event-stream; charset=utf-8"),), steps, "chunked")
    blocks: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    blocks += [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in _calls(said)]
    return reply(
        {
            "id": "msg_fake1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": blocks,
            "stop_reason": _stop_reason(said),
            "stop_sequence": said.stopped_by,
            "usage": _usage() | {"output_tokens": COMPLETION_TOKENS},
        }
    )


def _complaint(body: dict[str, Any]) -> str | None:
    for name in body:
        if name not in _FIELDS:
            return f"{name}: Extra inputs are not permitted"
    for name in ("model", "messages", "max_tokens"):
        if name not in body:
            return f"{name}: Field required"
    for index, message in enumerate(body["messages"]):
        if message["role"] not in ("user", "assistant"):
            return f'messages: Unexpected role "{message["role"]}"'
        blocks = message["content"] if isinstance(message["content"], list) else []
        for number, block in enumerate(blocks):
            id_ = block.get("tool_use_id", block.get("id")) if block["type"] in ("tool_use", "tool_result") else None
            if id_ is not None and not _TOOL_ID.match(id_):
                return f"messages.{index}.content.{number}.{block['type']}.id: String should match pattern"
            if block["type"] == "text" and not block["text"]:
                return "messages: text content blocks must be non-empty"
    for tool in body.get("tools") or []:
        if "input_schema" not in tool and "type" not in tool:
            return "tools.0.custom.input_schema: Field required"
    return None


def wanted(body: dict[str, Any]) -> Wanted:
    want = Wanted(body["model"], stream=bool(body.get("stream")), max_tokens=body["max_tokens"])
    for message in body["messages"]:
        if message["role"] == "user":
            _read_user(want, message["content"])
    want.tools = [Tool(t["name"], t.get("input_schema") or {}) for t in body.get("tools") or []]
    choice = body.get("tool_choice") or {}
    want.forced_tool = choice.get("name")
    if choice.get("type") == "none":
        want.tools = []
    want.stop = list(body.get("stop_sequences") or [])
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    if form.get("type") == "json_schema":
        want.schema = form["schema"]
    last = body["messages"][-1]
    if last["role"] == "assistant":
        blocks = last["content"] if isinstance(last["content"], list) else [{"text": last["content"]}]
        want.prefill = "".join(block.get("text", "") for block in blocks)
    return want


def _read_user(want: Wanted, content: Any) -> None:
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    want.tool_results, texts, images = [], [], []
    for block in blocks:
        match block["type"]:
            case "text":
                texts.append(block["text"])
            case "tool_result":
                inner = block.get("content", "")
                parts = inner if isinstance(inner, list) else [{"text": inner}]
                want.tool_results.append("".join(p.get("text", "") for p in parts))
            case "image":
                source = block["source"]
                if source["type"] == "base64":
                    images.append((source["media_type"], len(base64.b64decode(source["data"]))))
                else:
                    images.append((source["url"], -1))
    want.text, want.images = "".join(texts), images


def _calls(said: Answer) -> list[tuple[str, str, dict[str, Any]]]:
    return [(f"toolu_{id_}", name, arguments) for id_, name, arguments in said.calls]


def _stop_reason(said: Answer) -> str:
    return "stop_sequence" if said.stopped_by else _FINISH[said.finish]


def _usage() -> dict[str, Any]:
    return {
        "input_tokens": FRESH_INPUT,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": CACHED_INPUT,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
    }


def event(type_: str, **fields: Any) -> bytes:
    """One server-sent event as Anthropic writes it."""
    return f"event: {type_}\ndata: {json.dumps({'type': type_} | fields, ensure_ascii=False)}\n\n".encode()


def events(body: dict[str, Any], said: Answer) -> Iterator[bytes]:
    """The events of a streamed answer."""
    message = {
        "id": "msg_fake1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(),
    }
    yield event("message_start", message=message)
    index = 0
    if said.text:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield event("ping")
        for piece in said.pieces():
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        index = 1
    for id_, name, arguments in _calls(said):
        block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        yield event("content_block_start", index=index, content_block=block)
        yield event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": ""})
        text = json.dumps(arguments) if arguments else ""
        for start in range(0, len(text), 5):
            delta = {"type": "input_json_delta", "partial_json": text[start : start + 5]}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
        index += 1
    ending = {"stop_reason": _stop_reason(said), "stop_sequence": said.stopped_by}
    yield event("message_delta", delta=ending, usage={"output_tokens": COMPLETION_TOKENS})
    yield event("message_stop")
