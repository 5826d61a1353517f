"""Google's generateContent behind OpenAI's chat completions and embeddings: the Gemini API, and Gemini on Vertex AI.

On Vertex AI, give the address up to `/publishers/google` as `base_url`, or `project` and `location`; the key is then an
access token, sent as a bearer. `auth: bearer` or `auth: api_key` says it where the address does not.
https://ai.google.dev/api/generate-content
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from providers import _gemini_embed, _gemini_errors, _gemini_reply
from providers._gemini_contents import translate
from providers._gemini_models import traits
from providers._gemini_params import add_parameters
from providers._gemini_stream import Decoder
from providers.base import (
    Call,
    Cause,
    ErrorKind,
    OptionError,
    ProviderError,
    ProviderOptions,
    Reply,
    Request,
    Target,
    error_object,
)
from providers.redact import Redactor

KIND = "gemini"
ENV_KEY = "GEMINI_API_KEY"
BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
OPTIONS = ("project", "location", "auth")

_VERTEX_HOST = "aiplatform.googleapis.com"
_API_KEY = re.compile(r"AIza|AQ\.")  # Vertex AI takes API keys too ("express mode"); access tokens look different
_COLLECTIONS = ("models/", "tunedModels/")


class GeminiProvider:
    """One account at Google. `clock` gives Unix seconds."""

    kind = KIND

    def __init__(self, options: ProviderOptions, clock: Callable[[], float] = time.time) -> None:
        self.name = options.name
        self._clock = clock
        self._redactor = Redactor([options.api_key, *options.headers.values()])
        self._base = _base_url(options)
        host = urlsplit(self._base).hostname or ""
        self._is_vertex = host.endswith(_VERTEX_HOST) or "/publishers/" in self._base
        headers = {"content-type": "application/json"}
        if options.api_key:
            headers.update(_auth(options, options.api_key, is_vertex=self._is_vertex))
        given = {name.lower(): value for name, value in options.headers.items()}
        self._headers = list({**headers, **given}.items())

    def call(self, request: Request, target: Target) -> Call:
        if request.operation == "chat":
            return self._chat(request, target)
        if request.operation == "embeddings":
            return self._embeddings(request, target)
        message = f"Gemini models have no '{request.operation}' operation. Use chat completions."
        error = error_object(message, "invalid_request_error", code="unsupported_operation")
        raise ProviderError(ErrorKind.CALLER, message, cause=Cause.UNSUPPORTED, error=error)

    def reply(self, request: Request, target: Target, body: bytes) -> Reply:
        if request.operation == "embeddings":
            return _gemini_embed.translate(request.body, target.model, body, self._redactor)
        created = int(self._clock())
        return _gemini_reply.translate(body, created, target.model, request.request_id, self._redactor)

    def decoder(self, request: Request, target: Target) -> Decoder:
        return Decoder(
            created=int(self._clock()),
            model=target.model,
            fallback_id=request.request_id,
            include_usage=request.include_usage,
            redactor=self._redactor,
        )

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return _gemini_errors.from_response(status, headers, body, self._redactor)

    def _chat(self, request: Request, target: Target) -> Call:
        known = traits(target.model)
        system, contents = translate(request.body.get("messages"), known, self._base)
        out: dict[str, Any] = {"contents": contents}
        if system:
            out["systemInstruction"] = {"parts": system}
        dropped = add_parameters(request.body, known, out)
        # Without `alt=sse` a stream is one JSON array.
        method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return self._call(target, method, out, dropped)

    def _embeddings(self, request: Request, target: Target) -> Call:
        name = _path(target.model)
        out, dropped = _gemini_embed.request_body(request.body, name, is_vertex=self._is_vertex)
        return self._call(target, "predict" if self._is_vertex else "batchEmbedContents", out, dropped)

    def _call(self, target: Target, method: str, out: dict[str, Any], dropped: set[str]) -> Call:
        url = f"{self._base}/{_path(target.model)}:{method}"
        return Call(url, self._headers, orjson.dumps(out), tuple(sorted(dropped)))


def build(options: ProviderOptions) -> GeminiProvider:
    """A provider from its row in the configuration. Raises ValueError when `auth` is neither bearer nor api_key."""
    return GeminiProvider(options)


def _base_url(options: ProviderOptions) -> str:
    if options.base_url:
        return options.base_url.rstrip("/")
    project = options.extra.get("project")
    if not project:
        return BASE_URL
    location = options.extra.get("location") or "global"
    host = _VERTEX_HOST if location == "global" else f"{location}-{_VERTEX_HOST}"
    return f"https://{host}/v1/projects/{project}/locations/{location}/publishers/google"


def _auth(options: ProviderOptions, key: str, *, is_vertex: bool) -> dict[str, str]:
    """The key goes into a header, never into the address, where logs would keep it."""
    way = options.extra.get("auth")
    if way not in (None, "bearer", "api_key"):
        raise OptionError(options.name, "auth", f"must be bearer or api_key, not '{way}'")
    is_bearer = way == "bearer" if way else is_vertex and not _API_KEY.match(key)
    return {"authorization": f"Bearer {key}"} if is_bearer else {"x-goog-api-key": key}


def _path(model: str) -> str:
    """A model's resource name: "models/" may be left out, tuned models have a place of their own."""
    for collection in _COLLECTIONS:
        if model.startswith(collection):
            return collection + quote(model.removeprefix(collection), safe="@")
    return "models/" + quote(model, safe="@")
