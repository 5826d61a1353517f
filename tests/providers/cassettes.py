"""Recorded provider exchanges as test data: four file formats in, one `Exchange` out.

The recordings lie outside the repository (`SIGNALBOX_SHARED`, or `shared` beside the checkout); `require()` skips a
test where they are absent. Formats: VCR YAML, Ruby's VCR, single-exchange files (YAML or JSON), and bare answers
(`*.json`, `*.chunks.txt`: one event's JSON per line, without the framing).
"""

import base64
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded call. `request_json` is None where no (JSON) request was recorded; header names are lower-case.

    `endpoint` is one of: chat, completions, embeddings, responses, messages, count_tokens, generate, generate_stream,
    embed (the last three are Gemini's), other. `source` names the file and the position in it.
    """

    provider: str
    endpoint: str
    request_url: str
    request_headers: dict[str, str]
    request_json: Any
    status: int
    response_headers: dict[str, str]
    response_body: bytes
    is_stream: bool
    source: str


# Host suffix -> provider. The first match wins.
_HOSTS: tuple[tuple[str, str], ...] = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
    ("models.inference.ai.azure.com", "github"),
    ("models.github.ai", "github"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral"),
    ("api.deepseek.com", "deepseek"),
    ("openrouter.ai", "openrouter"),
    ("api.x.ai", "xai"),
    ("api.cerebras.ai", "cerebras"),
    ("api.perplexity.ai", "perplexity"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("huggingface.co", "huggingface"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("api.z.ai", "zai"),
    ("api.moonshot.ai", "moonshot"),
    ("api.voyageai.com", "voyage"),
    ("snowflakecomputing.com", "snowflake"),
    ("amazonaws.com", "bedrock"),
    ("localhost:11434", "ollama"),
    ("127.0.0.1:11434", "ollama"),
    ("ollama.com", "ollama"),
    ("api.writer.com", "writer"),
)

_PATHS: tuple[tuple[str, str], ...] = (
    (r"/chat/completions$", "chat"),
    (r"/completions$", "completions"),
    (r"/embeddings$", "embeddings"),
    (r"/responses$", "responses"),
    (r"/messages/count_tokens$", "count_tokens"),
    (r"/messages$", "messages"),
    (r":countTokens$", "count_tokens"),
    (r":streamGenerateContent$", "generate_stream"),
    (r":generateContent$", "generate"),
    (r":(embedContent|batchEmbedContents)$", "embed"),
)

# Bare answers carry no URL: the folder tells the provider, these tell the endpoint.
_BARE: tuple[tuple[str, str, str, str], ...] = (
    # folder, file pattern, provider, endpoint
    ("xai/src/__fixtures__", r"xai-", "xai", "chat"),
    ("alibaba/src/__fixtures__", r"", "dashscope", "chat"),
    ("perplexity/src/__fixtures__", r"", "perplexity", "chat"),
    ("mistral/src/__fixtures__", r"mistral-(text|reasoning|incremental)", "mistral", "chat"),
    ("groq/src/__fixtures__", r"groq-(reasoning|text)", "groq", "chat"),
    ("moonshotai/src/__fixtures__", r"", "moonshot", "chat"),
    ("deepseek/src/chat/__fixtures__", r"", "deepseek", "chat"),
    ("openai-compatible/src/chat/__fixtures__", r"", "xai", "chat"),
    ("openai/src/chat/__fixtures__", r"", "openai", "chat"),
    ("azure/src/__fixtures__", r"", "azure", "responses"),
    ("openai/src/responses/__fixtures__", r"", "openai", "responses"),
    ("anthropic/src/__fixtures__", r"(anthropic-|spliced)", "anthropic", "messages"),
    ("google/src/__fixtures__", r".*\.chunks\.txt$", "gemini", "generate_stream"),
    ("google/src/__fixtures__", r"", "gemini", "generate"),
    ("google-vertex/src/__fixtures__", r".*\.chunks\.txt$", "vertex", "generate_stream"),
    ("google-vertex/src/__fixtures__", r"", "vertex", "generate"),
)


class _Loader(yaml.CSafeLoader):
    """YAML as the recorders wrote it: Python tags on header names become their text, `!binary` becomes bytes."""


def _python_tag(loader: yaml.CSafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        arguments: Any = loader.construct_mapping(node, deep=True).get("args", ("",))
    elif isinstance(node, yaml.SequenceNode):
        arguments = loader.construct_sequence(node, deep=True)
    else:
        return node.value
    return arguments[0]


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _python_tag)
_Loader.add_constructor("!binary", lambda _loader, node: base64.b64decode(node.value))


def folder() -> Path | None:
    """Where the recordings are, or None."""
    here = Path(__file__).resolve().parents[2]
    shared = Path(os.environ.get("SIGNALBOX_SHARED", here.parent / "shared"))
    cassettes = shared / "cassettes"
    return cassettes if cassettes.is_dir() else None


def require() -> Path:
    """The folder of recordings; skips the calling test or module where there is none."""
    found = folder()
    if found is None:
        pytest.skip("no recorded exchanges beside this checkout (SIGNALBOX_SHARED)", allow_module_level=True)
    return found


def marks() -> list[pytest.MarkDecorator]:
    """Of a module that reads recordings: skipped where there are none, and all in one worker, which reads them once."""
    reason = "no recorded exchanges beside this checkout"
    return [pytest.mark.skipif(folder() is None, reason=reason), pytest.mark.xdist_group("recordings")]


@cache
def exchanges() -> tuple[Exchange, ...]:
    """Every exchange of every recording, in a stable order. About two seconds; cached for the process."""
    root = require()
    files = sorted(path for path in root.rglob("*.*") if path.is_file())
    return tuple(exchange for path in files for exchange in _of_file(path, root))


def select(provider: str | None = None, *endpoints: str, is_stream: bool | None = None) -> list[Exchange]:
    """The exchanges of one provider (None: any) on the given endpoints (none given: any)."""
    return [
        e
        for e in exchanges()
        if (provider is None or e.provider == provider)
        and (not endpoints or e.endpoint in endpoints)
        and (is_stream is None or e.is_stream == is_stream)
    ]


def _of_file(path: Path, root: Path) -> Iterator[Exchange]:
    source = path.relative_to(root).as_posix()
    if path.name in ("MANIFEST.json", "README.md"):
        return
    if source.startswith("vercel-ai/"):
        yield from _bare(path, source)
        return
    if path.suffix == ".json":
        data = json.loads(path.read_bytes())
    elif path.suffix in (".yaml", ".yml"):
        data = yaml.load(path.read_bytes(), Loader=_Loader)
    else:
        return
    interactions = data.get("interactions") or data.get("http_interactions") or ([data] if "request" in data else [])
    for number, interaction in enumerate(interactions):
        yield _of_interaction(interaction["request"], interaction["response"], f"{source}#{number}")


def _of_interaction(request: dict[str, Any], response: dict[str, Any], source: str) -> Exchange:
    url = str(request.get("uri") or request.get("url"))
    status = response.get("status_code") or response["status"]
    headers = _headers(response.get("headers"))
    body = _body(response)
    return Exchange(
        provider=_provider(url),
        endpoint=_endpoint(url),
        request_url=url,
        request_headers=_headers(request.get("headers")),
        request_json=_request_json(request),
        status=int(status["code"] if isinstance(status, dict) else status),
        response_headers=headers,
        response_body=body,
        is_stream="event-stream" in headers.get("content-type", "") or body.lstrip()[:6] in (b"data: ", b"event:"),
        source=source,
    )


def _bare(path: Path, source: str) -> Iterator[Exchange]:
    parent = path.parent.as_posix()
    row = next((r for r in _BARE if parent.endswith("packages/" + r[0]) and re.match(r[1], path.name)), None)
    if row is None:
        return
    provider, endpoint = row[2:]
    is_stream = path.name.endswith(".chunks.txt")
    body = path.read_bytes()
    if is_stream:
        lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.strip()]
        is_typed = endpoint in ("messages", "responses")
        body = b"".join((_event_line(line) if is_typed else b"") + b"data: " + line + b"\n\n" for line in lines)
        if endpoint == "chat" and b"[DONE]" not in body:
            body += b"data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream" if is_stream else "application/json"}
    status = 400 if "error" in path.name and not is_stream else 200
    yield Exchange(provider, endpoint, "", {}, None, status, headers, body, is_stream, source)


def _event_line(line: bytes) -> bytes:
    """The `event:` line that went with this data; found by pattern because some recorded lines are broken JSON."""
    found = re.search(rb'"type"\s*:\s*"([a-z_.]+)"', line)
    return b"event: " + found[1] + b"\n" if found else b""


def _provider(url: str) -> str:
    host = urlsplit(url).netloc
    return next((name for suffix, name in _HOSTS if host.endswith(suffix)), host)


def _endpoint(url: str) -> str:
    path = urlsplit(url).path
    return next((name for pattern, name in _PATHS if re.search(pattern, path)), "other")


def _headers(headers: Any) -> dict[str, str]:
    """One string per name, whatever list the recorder kept."""
    flat: dict[str, str] = {}
    for name, value in (headers or {}).items():
        values = value if isinstance(value, list | tuple) else [value]
        flat[str(name).lower()] = ", ".join(v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in values)
    return flat


def _request_json(request: dict[str, Any]) -> Any:
    if "parsed_body" in request:
        return request["parsed_body"]
    raw = _bytes(request.get("body"))
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _body(response: dict[str, Any]) -> bytes:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"], ensure_ascii=False, default=str).encode()
    return _bytes(response.get("body") if "body" in response else response.get("content"))


def _bytes(body: Any) -> bytes:
    """Text, bytes, or {"string": either}; unpacked where it is compressed, whatever the headers say."""
    if isinstance(body, dict):
        body = body.get("string", body.get("base64_string"))
    if body is None:
        return b""
    raw: bytes = body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
    if raw[:2] == b"\x1f\x8b":
        return gzip.decompress(raw)
    if raw[:1] == b"\x78" and raw[1:2] in (b"\x01", b"\x9c", b"\xda"):
        return zlib.decompress(raw)
    return raw
