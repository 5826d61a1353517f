"""The Gemini dialect of the fake: generateContent, streamGenerateContent and embeddings; CRLF in its streams.

Shapes: https://ai.google.dev/api/generate-content and https://ai.google.dev/api/embeddings
"""

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.fakes.answers import (
    CACHED_INPUT,
    PROMPT_TOKENS,
    REASONING,
    VISIBLE_OUTPUT,
    Answer,
    Tool,
    Wanted,
    respond,
)
from tests.fakes.dialects.openai import DIMENSIONS, vector
from tests.fakes.script import Script, reply, sse

if TYPE_CHECKING:
    from tests.fakes.upstream import Recorded

_FIELDS = frozenset(
    {"contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "safetySettings"}
    | {"generationConfig", "cachedContent", "labels", "model", "serviceTier", "store"}
)
_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}


def failure(status: int, word: str, message: str, details: list[Any] | None = None) -> Script:
    """An error in Google's shape."""
    body: dict[str, Any] = {"error": {"code": status, "message": message, "status": word}}
    if details is not None:
        body["error"]["details"] = details
    return reply(body, status=status)


def _refused(request: "Recorded") -> Script | None:
    if request.header("x-goog-api-key") is None and "key" not in request.query:
        return failure(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
    for name in request.json:
        if name not in _FIELDS:
            message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            return failure(400, "INVALID_ARGUMENT", message)
    if not request.json.get("contents"):
        return failure(400, "INVALID_ARGUMENT", "* GenerateContentRequest.contents: contents is not specified")
    return None


def wanted(model: str, body: dict[str, Any]) -> Wanted:
    want = Wanted(model)
    for content in body["contents"]:
        if content.get("role", "user") == "model":
            continue
        want.text, want.images, want.tool_results = "", [], []
        for part in content["parts"]:
            _read_part(want, part)
    for group in body.get("tools") or []:
        for tool in group.get("functionDeclarations", []):
            schema = tool.get("parametersJsonSchema") or tool.get("parameters") or {"type": "object"}
            want.tools.append(Tool(tool["name"], schema))
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if calling.get("mode") == "NONE":
        want.tools = []
    want.forced_tool = (calling.get("allowedFunctionNames") or [None])[0]
    config = body.get("generationConfig") or {}
    if config.get("responseMimeType") == "application/json":
        want.schema = config.get("responseJsonSchema") or config.get("responseSchema")
    want.stop = list(config.get("stopSequences") or [])
    want.max_tokens = config.get("maxOutputTokens")
    last = body["contents"][-1]
    if last.get("role") == "model":
        want.prefill = "".join(part.get("text", "") for part in last["parts"])
    return want


def _read_part(want: Wanted, part: dict[str, Any]) -> None:
    if "text" in part:
        want.text += part["text"]
    blob = part.get("inlineData") or part.get("inline_data")
    if blob:
        want.images.append((blob.get("mimeType") or blob["mime_type"], len(base64.b64decode(blob["data"]))))
    if "fileData" in part:
        want.images.append((part["fileData"]["fileUri"], -1))
    if "functionResponse" in part:
        said = part["functionResponse"]["response"]
        only = next(iter(said.values())) if len(said) == 1 else said
        want.tool_results.append(only if isinstance(only, str) else json.dumps(only))


def _usage() -> dict[str, Any]:
    return {
        "promptTokenCount": PROMPT_TOKENS,
        "cachedContentTokenCount": CACHED_INPUT,
        "candidatesTokenCount": VISIBLE_OUTPUT,
        "thoughtsTokenCount": REASONING,
        "totalTokenCount": PROMPT_TOKENS + VISIBLE_OUTPUT + REASONING,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": PROMPT_TOKENS}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": CACHED_INPUT}],
    }


def _call_parts(said: Answer) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": name, "args": arguments}} for _, name, arguments in said.calls]


def _logprobs(said: Answer, config: dict[str, Any]) -> dict[str, Any]:
    if not config.get("responseLogprobs"):
        return {}
    chosen = [{"token": t, "tokenId": i, "logProbability": -0.25} for i, t in enumerate(said.pieces())]
    count = config.get("logprobs") or 0
    top = [
        {"candidates": [{"token": f"{t}{i}", "tokenId": i, "logProbability": -1.5 - i} for i in range(count)]}
        for t in said.pieces()
    ]
    return {"avgLogprobs": -0.25, "logprobsResult": {"chosenCandidates": chosen, "topCandidates": top}}


def generate(request: "Recorded") -> Script:
    refusal = _refused(request)
    if refusal is not None:
        return refusal
    body = request.json
    config = body.get("generationConfig") or {}
    said = respond(wanted(request.model, body))
    parts: list[dict[str, Any]] = [{"text": said.text}] if said.text else []
    parts += _call_parts(said)
    candidates = [
        {"content": {"parts": parts, "role": "model"}, "finishReason": _FINISH[said.finish], "index": index}
        | _logprobs(said, config)
        for index in range(config.get("candidateCount") or 1)
    ]
    head = {"modelVersion": request.model, "responseId": "resp-fake1"}
    return reply({"candidates": candidates, "usageMetadata": _usage()} | head)


def stream(request: "Recorded") -> Script:
    refusal = _refused(request)
    if refusal is not None:
        return refusal
    if request.query.get("alt") != ["sse"]:
        return failure(400, "INVALID_ARGUMENT", "this fake streams with alt=sse only")
    config = request.json.get("generationConfig") or {}
    said = respond(wanted(request.model, request.json))
    pieces: list[dict[str, Any]] = [{"text": piece} for piece in said.pieces()] + _call_parts(said)
    head = {"modelVersion": request.model, "responseId": "resp-fake1"}
    chunks: list[dict[str, Any]] = []
    count = config.get("candidateCount") or 1
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        for index in range(count):
            candidate: dict[str, Any] = {"content": {"parts": [piece], "role": "model"}, "index": index}
            if is_last:
                candidate["finishReason"] = _FINISH[said.finish]
            chunks.append({"candidates": [candidate], "usageMetadata": _usage()} | head)
    return sse(chunks, done=False, crlf=True)


def _text(content: dict[str, Any]) -> str:
    return "".join(part["text"] for part in content["parts"])


def embed(request: "Recorded") -> Script:
    body = request.json
    size = body.get("outputDimensionality") or DIMENSIONS
    return reply({"embedding": {"values": vector(_text(body["content"]), size)}})


def batch_embed(request: "Recorded") -> Script:
    if request.header("x-goog-api-key") is None and "key" not in request.query:
        return failure(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
    found = [
        {"values": vector(_text(r["content"]), r.get("outputDimensionality") or DIMENSIONS)}
        for r in request.json["requests"]
    ]
    return reply({"embeddings": found})
