"""OpenAI's embeddings by `batchEmbedContents`, on Vertex AI by `predict`.

https://ai.google.dev/api/embeddings and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from collections.abc import Mapping
from typing import Any

import orjson

from providers import embeddings
from providers._gemini_errors import broken, in_band
from providers._gemini_usage import usage_of
from providers.base import Cause, Reply, Usage
from providers.content import unsupported
from providers.redact import Redactor
from providers.tokens import estimate_prompt

_NO_SUCH_THING = ("user",)


def request_body(body: Mapping[str, Any], model: str, *, is_vertex: bool) -> tuple[dict[str, Any], set[str]]:
    """(Gemini's body, dropped names). Raises ProviderError(CALLER). `model` is the whole name: `models/...`."""
    texts = _texts(body.get("input"))
    options = {"outputDimensionality": body.get("dimensions")}
    task = body.get("task_type") or body.get("taskType")
    dropped = {name for name in _NO_SUCH_THING if body.get(name)}
    if is_vertex:
        instances = [{"content": text, **({"task_type": task} if task else {})} for text in texts]
        parameters = {name: value for name, value in options.items() if value is not None}
        return {"instances": instances, **({"parameters": parameters} if parameters else {})}, dropped
    said = {name: value for name, value in {**options, "taskType": task}.items() if value is not None}
    return {"requests": [{"model": model, "content": {"parts": [{"text": t}]}, **said} for t in texts]}, dropped


def translate(request_body: Mapping[str, Any], model: str, body: bytes, redactor: Redactor) -> Reply:
    """A 2xx body. Raises ProviderError (GARBAGE, IN_BAND)."""
    try:
        answer = orjson.loads(body)
        if isinstance(answer, dict) and answer.get("error"):
            raise in_band(answer, redactor)
        vectors = _vectors(answer)
        wanted = request_body.get("input")
        count = len(wanted) if isinstance(wanted, list) else 1
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise broken("The provider's answer holds no embeddings.", Cause.GARBAGE) from problem
    if len(vectors) != count:
        raise broken(f"The provider gave {len(vectors)} embeddings for {count} inputs.", Cause.GARBAGE)
    usage = usage_of(answer.get("usageMetadata")) or _vertex_usage(answer)
    if usage is None:
        # Models before gemini-embedding-2 tell no usage.
        usage = Usage(input=estimate_prompt(request_body), is_estimated=True)
    is_base64 = request_body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": embeddings.encode(vector) if is_base64 else vector}
        for number, vector in enumerate(vectors)
    ]
    tokens = usage.prompt_tokens
    said = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply(orjson.dumps({"object": "list", "data": data, "model": model, "usage": said}), usage)


def _texts(wanted: Any) -> list[str]:
    if isinstance(wanted, str):
        return [wanted]
    if not isinstance(wanted, list) or not wanted:
        raise unsupported("'input' must be a string or a list of strings.", "input")
    for item in wanted:
        if not isinstance(item, str):
            # Token numbers are those of OpenAI's tokenizers: they mean other words here.
            raise unsupported("'input' must be text: Gemini does not take token numbers.", "input")
    return wanted


def _vectors(answer: Any) -> list[list[float]]:
    if "predictions" in answer:
        return [prediction["embeddings"]["values"] for prediction in answer["predictions"]]
    if "embedding" in answer:
        return [answer["embedding"]["values"]]
    return [embedding["values"] for embedding in answer["embeddings"]]


def _vertex_usage(answer: Mapping[str, Any]) -> Usage | None:
    """https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api#response_body"""
    counted = [prediction["embeddings"].get("statistics") or {} for prediction in answer.get("predictions") or ()]
    counts = [item["token_count"] for item in counted if isinstance(item.get("token_count"), int)]
    return Usage(input=sum(counts)) if counts and len(counts) == len(counted) else None
