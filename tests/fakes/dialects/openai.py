"""The OpenAI dialect of the fake: chat, completions, embeddings, whole and streamed."""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.fakes.answers import (
    CACHED_INPUT,
    COMPLETION_TOKENS,
    PROMPT_TOKENS,
    REASONING,
    Answer,
    Tool,
    Wanted,
    respond,
)
from tests.fakes.script import Script, error, reply, sse

if TYPE_CHECKING:
    from tests.fakes.upstream import Recorded

CREATED = 1_760_000_000
DIMENSIONS = 8


def usage() -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        "prompt_tokens_details": {"cached_tokens": CACHED_INPUT, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": REASONING, "audio_tokens": 0},
    }


def refused(request: "Recorded") -> Script | None:
    """The complaint of the provider about what every endpoint needs."""
    authorization = request.header("authorization") or ""
    if not authorization.startswith("Bearer ") and request.header("api-key") is None:
        return error(401, "You didn't provide an API key.")
    if not (request.header("content-type") or "").startswith("application/json"):
        return error(400, "content-type is not JSON")
    try:
        request.json  # noqa: B018  (reading it parses it)
    except ValueError:
        return error(400, "We could not parse the JSON body of your request.")
    return None


def wanted(body: dict[str, Any]) -> Wanted:
    want = Wanted(body["model"], stream=bool(body.get("stream")))
    for message in body["messages"]:
        if message["role"] == "user":
            want.text, want.images = _content(message["content"])
            want.tool_results = []
        elif message["role"] == "tool":
            want.tool_results.append(_content(message["content"])[0])
    want.tools = [
        Tool(t["function"]["name"], t["function"].get("parameters") or {"type": "object"})
        for t in body.get("tools") or []
    ]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        want.forced_tool = choice["function"]["name"]
    elif choice == "none":
        want.tools = []
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        want.schema = form["json_schema"]["schema"]
    stop = body.get("stop")
    want.stop = [stop] if isinstance(stop, str) else list(stop or [])
    want.max_tokens = body.get("max_completion_tokens", body.get("max_tokens"))
    last = body["messages"][-1]
    if last.get("prefix") or body.get("continue_final_message"):  # else the answer begins anew, as OpenAI's does
        want.prefill = last["content"]
    return want


def _content(content: Any) -> tuple[str, list[tuple[str, int]]]:
    if isinstance(content, str):
        return content, []
    text = "".join(part["text"] for part in content if part["type"] == "text")
    images = []
    for part in content:
        if part["type"] == "image_url":
            url = part["image_url"]["url"]
            if url.startswith("data:"):
                head, _, data = url.partition(",")
                images.append((head[5:].partition(";")[0], len(base64.b64decode(data))))
            else:
                images.append((url, -1))
    return text, images


def chat(request: "Recorded") -> Script:
    refusal = refused(request)
    if refusal is not None:
        return refusal
    body = request.json
    if not isinstance(body.get("messages"), list):
        return error(
            400, "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    said = respond(wanted(body))
    headers = {"x-request-id": "req_upstream", "openai-processing-ms": "5"}
    if body.get("stream"):
        return sse(chunks(body, said), headers=headers)
    choices = [_choice(index, said, body) for index in range(body.get("n") or 1)]
    return reply(
        {
            "id": "chatcmpl-fake1",
            "object": "chat.completion",
            "created": CREATED,
            "model": f"{body['model']}-2026-01-01",
            "choices": choices,
            "usage": usage(),
            "service_tier": "default",
            "system_fingerprint": f"fp_{body['seed']}" if "seed" in body else None,
        },
        headers=headers,
    )


def _choice(index: int, said: Answer, body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None, "annotations": []}
    if said.calls:
        message["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for id_, name, arguments in said.calls
        ]
    logprobs = (
        {"content": [_logprob(t, body) for t in said.pieces()], "refusal": None} if body.get("logprobs") else None
    )
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": said.finish}


def _logprob(token: str, body: dict[str, Any]) -> dict[str, Any]:
    top = [
        {"token": f"{token}{i}", "logprob": -1.5 - i, "bytes": list(f"{token}{i}".encode())}
        for i in range(body.get("top_logprobs") or 0)
    ]
    return {"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": top}


def chunks(body: dict[str, Any], said: Answer) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer, one delta each, as OpenAI sends them."""
    options = body.get("stream_options") or {}
    head = {
        "id": "chatcmpl-fake1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": f"{body['model']}-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": f"fp_{body['seed']}" if "seed" in body else None,
    }
    tail: dict[str, Any] = {"usage": None} if options.get("include_usage") else {}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return head | {"choices": [choice]} | tail

    count = body.get("n") or 1
    for index in range(count):
        content = None if said.calls else ""
        yield chunk(index, {"role": "assistant", "content": content, "refusal": None})
    for piece in said.pieces():
        for index in range(count):
            logprobs = {"content": [_logprob(piece, body)], "refusal": None} if body.get("logprobs") else None
            yield chunk(index, {"content": piece}, logprobs=logprobs)
    for index in range(count):
        for delta in _call_deltas(said):
            yield chunk(index, {"tool_calls": [delta]})
        yield chunk(index, {}, said.finish)
    if options.get("include_usage"):
        yield head | {"choices": [], "usage": usage()}


def _call_deltas(said: Answer) -> Iterator[dict[str, Any]]:
    for number, (id_, name, arguments) in enumerate(said.calls):
        first = {"name": name, "arguments": ""}
        yield {"index": number, "id": id_, "type": "function", "function": first}
        text = json.dumps(arguments)
        for start in range(0, len(text), 5):
            yield {"index": number, "function": {"arguments": text[start : start + 5]}}


def completions(request: "Recorded") -> Script:
    """The legacy endpoint."""
    refusal = refused(request)
    if refusal is not None:
        return refusal
    body = request.json
    head = {"id": "cmpl-fake1", "object": "text_completion", "created": CREATED, "model": body["model"]}
    prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
    texts = [f"You wrote: {prompt}" for prompt in prompts]
    if not body.get("stream"):
        choices = [{"text": t, "index": i, "logprobs": None, "finish_reason": "stop"} for i, t in enumerate(texts)]
        return reply(head | {"choices": choices, "usage": usage()})
    events = [
        head | {"choices": [{"text": t[s : s + 4], "index": i, "logprobs": None, "finish_reason": None}]}
        for i, t in enumerate(texts)
        for s in range(0, len(t), 4)
    ]
    events += [
        head | {"choices": [{"text": "", "index": i, "logprobs": None, "finish_reason": "stop"}]}
        for i in range(len(texts))
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(head | {"choices": [], "usage": usage()})
    return sse(events)


def vector(text: Any, dimensions: int) -> list[float]:
    """A vector that only its text determines; exact in 32 bits, so both encodings carry the same numbers."""
    digest = hashlib.sha256(json.dumps(text).encode()).digest()
    return [(digest[i % 32] - 128) / 256 for i in range(dimensions)]


def embeddings(request: "Recorded") -> Script:
    refusal = refused(request)
    if refusal is not None:
        return refusal
    body = request.json
    given = body["input"]
    inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
    data = []
    for index, text in enumerate(inputs):
        numbers: Any = vector(text, body.get("dimensions") or DIMENSIONS)
        if body.get("encoding_format") == "base64":
            numbers = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        data.append({"object": "embedding", "index": index, "embedding": numbers})
    tokens = 5 * len(inputs)
    return reply(
        {
            "object": "list",
            "data": data,
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
