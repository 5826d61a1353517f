"""Every recorded chat, completion and embedding of the OpenAI family comes through whole, valid and counted."""

import itertools
import json
import os
import random
from collections import Counter
from functools import cache
from typing import Any

import orjson
import pytest

from providers import registry
from providers.base import Operation, Provider, ProviderOptions, Request, Target
from providers.catalog import vendors
from tests.providers import cassettes
from tests.providers.cassettes import Exchange
from tests.providers.openai_schema import deviations
from tests.providers.recorded import every

OPERATIONS: dict[str, Operation] = {"chat": "chat", "completions": "completions", "embeddings": "embeddings"}
# Not of this family on these paths: their own dialects.
FOREIGN = {"writer"}
SCHEMAS = {"chat": "CreateChatCompletionResponse", "completions": "CreateCompletionResponse",
           "embeddings": "CreateEmbeddingResponse"}  # fmt: skip
CHUNKS = {"chat": "CreateChatCompletionStreamResponse", "completions": "CreateCompletionResponse"}

# What vendors mean by members of the specification beyond it; forwarded, not bent. OpenAI itself leaves
# completion_tokens out of a legacy completion that is empty.
ODD = {("openrouter", "choices"), ("openrouter", "service_tier"), ("openai", "usage")}

pytestmark = cassettes.marks()


@cache
def exchanges() -> list[Exchange]:
    return [e for e in cassettes.select(None, *OPERATIONS) if e.provider not in FOREIGN and e.response_body]


def replies() -> list[Exchange]:
    return [e for e in exchanges() if e.status == 200 and not e.is_stream]


def streams() -> list[Exchange]:
    return [e for e in exchanges() if e.status == 200 and e.is_stream]


def openai_streams() -> list[Exchange]:
    """Without those that were recorded from another vendor under OpenAI's address."""
    return [e for e in streams() if e.provider == "openai" and b'"cost"' not in e.response_body]


def requests() -> list[Exchange]:
    return [e for e in exchanges() if isinstance(e.request_json, dict)]


def failures() -> list[Exchange]:
    return [e for e in exchanges() if e.status != 200]


def provider_for(exchange: Exchange) -> Provider:
    is_known = exchange.provider in ("openai", "azure", *vendors())
    kind = exchange.provider if is_known else "openai_compatible"
    return registry.build(
        ProviderOptions(
            name=exchange.provider,
            kind=kind,
            api_key="sk-test-0123456789",
            base_url="https://up.example/v1",
            extra={"account": "a"},
        )
    )


def request_for(exchange: Exchange, *, include_usage: bool = False, **members: Any) -> Request:
    body = {**(exchange.request_json if isinstance(exchange.request_json, dict) else {}), **members}
    body.setdefault("model", "recorded")
    if exchange.is_stream:
        body["stream"] = True
        options = {k: v for k, v in (body.get("stream_options") or {}).items() if k != "include_usage"}
        body.pop("stream_options", None)
        if options or include_usage:
            body["stream_options"] = {**options, **({"include_usage": True} if include_usage else {})}
    raw = json.dumps(body).encode()
    return Request(
        OPERATIONS[exchange.endpoint], orjson.loads(raw), raw, body["model"], exchange.is_stream, include_usage, "r1"
    )


def recorded_chunks(exchange: Exchange) -> list[dict[str, Any]]:
    lines = exchange.response_body.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:") and b"[DONE]" not in line]


def frames(stream: bytes) -> list[Any]:
    assert stream.endswith(b"\n\n")
    parts = stream[:-2].split(b"\n\n")
    assert all(part.startswith(b"data: ") for part in parts)
    assert parts[-1] == b"data: [DONE]"
    assert parts.count(b"data: [DONE]") == 1
    return [json.loads(part[6:]) for part in parts[:-1]]


def decode(exchange: Exchange, request: Request, pieces: list[bytes]) -> tuple[bytes, Any]:
    decoder = provider_for(exchange).decoder(request, Target("up-model"))
    sent = b"".join([*(decoder.feed(piece) for piece in pieces), decoder.close()])
    assert decoder.error is None, decoder.error and decoder.error.message
    return sent, decoder


def tokens(usage: dict[str, Any]) -> tuple[int, int]:
    """Prompt and completion as the provider counted them; reasoning outside of completion belongs to it."""
    prompt = usage.get("prompt_tokens") or 0
    completion = usage.get("completion_tokens") or 0
    total = usage.get("total_tokens") or prompt + completion
    return (total, 0) if "prompt_tokens" not in usage else (prompt, total - prompt)


def generated(chunks: list[dict[str, Any]]) -> dict[Any, Any]:
    """What a reader puts together from a stream, for each choice."""
    whole: dict[Any, Any] = {}
    for chunk in chunks:
        for position, choice in enumerate(chunk.get("choices") or []):
            index = choice.get("index", position)
            delta = choice.get("delta") or {}
            content = delta.get("content", choice.get("text"))
            if isinstance(content, list):
                parts = [p for p in content if isinstance(p, dict)]
                content = "".join(p.get("text", "") for p in parts)
                thought = "".join(t["text"] for p in parts for t in p.get("thinking", []))
                whole[index, "reasoning_content"] = whole.get((index, "reasoning_content"), "") + thought
            for name, text in (("content", content), *((n, delta.get(n)) for n in ("reasoning_content", "reasoning",
                                                                                     "refusal"))):  # fmt: skip
                if text:
                    whole[index, name] = whole.get((index, name), "") + text
            for call in delta.get("tool_calls") or []:
                function = call.get("function") or {}
                whole[index, "tools"] = whole.get((index, "tools"), "") + "".join(
                    str(part or "") for part in (call.get("id"), function.get("name"), function.get("arguments"))
                )
    return {key: value for key, value in whole.items() if value}


@every(replies)
def test_whole_answer(exchange: Exchange) -> None:
    request = request_for(exchange)
    recorded = json.loads(exchange.response_body)
    reply = provider_for(exchange).reply(request, Target("up-model"), exchange.response_body)
    forwarded = json.loads(reply.body)

    assert losses(recorded, forwarded) == []
    found = deviations(SCHEMAS[exchange.endpoint], as_numbers(forwarded))
    assert [d for d in found if (exchange.provider, d.split("/")[0].split(":")[0]) not in ODD] == []
    if exchange.provider == "openai":
        assert reply.body == exchange.response_body
    usage = recorded.get("usage")
    if usage:
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == tokens(usage)


def as_numbers(answer: dict[str, Any]) -> dict[str, Any]:
    """The specification's schema knows embeddings as numbers only."""
    if answer.get("object") != "list":
        return answer
    rows = [{**row, "embedding": [0.0]} if isinstance(row["embedding"], str) else row for row in answer["data"]]
    return {**answer, "data": rows}


def losses(old: Any, new: Any, path: str = "") -> list[str]:
    """Members of the recorded answer that are not in the forwarded one as they were, known mends aside."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key, value in old.items() for line in losses(value, new.get(key, "gone"), f"{path}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, (a, b) in enumerate(zip(old, new, strict=True)) for line in losses(a, b, f"{path}/{i}")]
    name = path.rsplit("/", 1)[-1]
    is_mend = (
        (name == "content" and isinstance(old, list))
        or (name in ("finish_reason", "service_tier", "object", "id", "model", "created", "type") and old != new)
        or (name == "embedding" and isinstance(old, str) != isinstance(new, str))
        or (name == "arguments" and not isinstance(old, str))
    )
    return [] if old == new or is_mend else [f"{path}: {old!r:.80} became {new!r:.80}"]


@pytest.mark.parametrize("include_usage", [True, False])
@every(streams)
def test_stream(exchange: Exchange, include_usage: bool) -> None:
    request = request_for(exchange, include_usage=include_usage)
    sent, decoder = decode(exchange, request, [exchange.response_body])
    forwarded = frames(sent)
    recorded = recorded_chunks(exchange)

    assert generated(forwarded) == generated(recorded)
    schema = CHUNKS[exchange.endpoint]
    assert [d for chunk in forwarded for d in deviations(schema, without_absent_finish(chunk, exchange))] == []
    reports = [chunk for chunk in forwarded if chunk.get("usage")]
    told = [chunk["usage"] for chunk in recorded if chunk.get("usage")]
    if told:
        assert (decoder.usage.prompt_tokens, decoder.usage.completion_tokens) == tokens(told[-1])
    assert len(reports) == (1 if told and include_usage else 0)
    assert all(chunk["choices"] == [] for chunk in reports)
    reasons = Counter(c["index"] for chunk in forwarded for c in chunk["choices"] if c["finish_reason"])
    assert reasons
    assert set(reasons.values()) == {1}
    assert decoder.is_finished
    assert decoder.has_content == bool(generated(recorded))
    text = sum(len(v.encode()) for (_, name), v in generated(recorded).items() if name != "tools")
    assert decoder.output_bytes >= text


def without_absent_finish(chunk: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
    """In the specification a legacy completion's chunk may not have a null finish_reason, though all have."""
    if exchange.endpoint == "completions":
        return {**chunk, "choices": [{**c, "finish_reason": c["finish_reason"] or "stop"} for c in chunk["choices"]]}
    return chunk


@every(streams)
def test_stream_cut_anywhere_says_the_same(exchange: Exchange) -> None:
    request = request_for(exchange, include_usage=True)
    whole, decoder = decode(exchange, request, [exchange.response_body])
    chance = random.Random(exchange.source)
    body = exchange.response_body
    borders = sorted(chance.sample(range(len(body)), min(200, len(body))))
    ways = [
        [body[a:b] for a, b in itertools.pairwise([0, *borders, len(body)])],
        [frame + b"\n\n" for frame in body.rstrip(b"\n").split(b"\n\n")],
    ]
    for pieces in ways:
        sent, again = decode(exchange, request, pieces)
        assert frames(sent) == frames(whole)
        assert again.usage == decoder.usage
        assert (again.finish_reason, again.is_finished) == (decoder.finish_reason, True)


@every(openai_streams)
def test_openai_streams_pass_byte_for_byte(exchange: Exchange) -> None:
    request = request_for(exchange, include_usage=True)
    pieces = [frame + b"\n\n" for frame in exchange.response_body.rstrip(b"\n").split(b"\n\n")]
    assert decode(exchange, request, pieces)[0].rstrip(b"\n") == exchange.response_body.rstrip(b"\n")


@every(requests)
def test_request_keeps_its_meaning(exchange: Exchange) -> None:
    body = exchange.request_json
    raw = json.dumps(body).encode()
    options = body.get("stream_options") or {}
    request = Request(
        OPERATIONS[exchange.endpoint], orjson.loads(raw), raw, str(body.get("model")), bool(body.get("stream")),
        bool(options.get("include_usage")), "r1",
    )  # fmt: skip
    call = provider_for(exchange).call(request, Target("up-model"))
    said = json.loads(call.body)
    assert said.pop("model") == "up-model"
    wanted = {k: v for k, v in body.items() if k != "model"}
    if request.stream and "stream_options" in said:
        assert said.pop("stream_options") == {**options, "include_usage": True}
        wanted.pop("stream_options", None)
    assert call.dropped == ()
    assert said == wanted


@every(failures)
def test_error_answer(exchange: Exchange) -> None:
    error = provider_for(exchange).error(exchange.status, exchange.response_headers, exchange.response_body)
    assert {"message", "type", "param", "code"} <= error.error.keys()
    assert error.status == exchange.status
    recorded = json.loads(exchange.response_body)
    recorded = recorded.get("error", recorded)
    if "api key" not in str(recorded).lower():
        assert error.message == (recorded.get("message") or recorded.get("detail"))
        assert error.error["code"] == (None if recorded.get("code") is None else str(recorded["code"]))


def test_counts_are_as_recorded() -> None:
    """A table for the reader (`-s`); the numbers guard against a loader that silently finds less."""
    table = Counter((e.provider, e.endpoint, "stream" if e.is_stream else "whole") for e in exchanges())
    if os.environ.get("SIGNALBOX_TABLE"):
        for row, count in sorted(table.items()):
            print(count, *row)
    assert len(replies()) >= 600
    assert len(streams()) >= 150
