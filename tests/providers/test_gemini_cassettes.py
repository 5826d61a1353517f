"""Every recorded exchange with Gemini comes through whole, valid and counted, and every recorded request is said."""

import json
import random
from dataclasses import replace
from functools import cache
from typing import Any

import orjson

from providers.base import Call, ErrorKind, ProviderOptions, Reply, Request, Target
from providers.gemini import GeminiProvider
from tests.providers import cassettes
from tests.providers.cassettes import Exchange
from tests.providers.gemini_inverse import normal, openai_request
from tests.providers.openai_schema import deviations
from tests.providers.recorded import every

pytestmark = cassettes.marks()

PROVIDER = GeminiProvider(ProviderOptions("google", "gemini", api_key="AIzaSyA-0123456789"), clock=lambda: 1000.0)


@cache
def everything() -> list[Exchange]:
    return [*cassettes.select("gemini"), *cassettes.select("vertex")]


def chats() -> list[Exchange]:
    return [e for e in everything() if e.endpoint in ("generate", "generate_stream")]


def failures() -> list[Exchange]:
    return [e for e in chats() if b'"error"' in e.response_body[:40]]


def embeddings() -> list[Exchange]:
    return [e for e in everything() if (e.endpoint == "embed" and e.status == 200)]


def vectors_of_text() -> list[Exchange]:
    return [e for e in embeddings() if "inline_data" not in json.dumps(e.request_json)]


def predictions() -> list[Exchange]:
    """A file of embeddings among the answers of a client's tests, which carry no address."""
    return [e for e in chats() if b'"predictions"' in e.response_body]


@cache
def replies() -> list[Exchange]:
    others = [*failures(), *predictions()]
    return [e for e in chats() if e.endpoint == "generate" and e.status == 200 and not e.is_stream and e not in others]


@cache
def streams() -> list[Exchange]:
    failed = failures()
    return [e for e in chats() if e.endpoint == "generate_stream" and e.status == 200 and e not in failed]


def requests() -> list[Exchange]:
    return [e for e in chats() if e.request_json]


def request(body: dict[str, Any] | None = None, *, stream: bool = False, operation: Any = "chat") -> Request:
    body = body or {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    return Request(operation, body, orjson.dumps(body), "any", stream, True, "r-1")


def target(exchange: Exchange) -> Target:
    return Target(exchange.request_url.rpartition("/models/")[2].partition(":")[0] or "gemini-2.5-flash")


def parts(answers: list[dict[str, Any]], index: int = 0) -> list[dict[str, Any]]:
    """All parts of a candidate, put together independently of the provider."""
    return [
        part
        for answer in answers
        for number, candidate in enumerate(answer.get("candidates") or ())
        if candidate.get("index", number) == index
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]


def assert_same_answer(message: dict[str, Any], recorded: list[dict[str, Any]]) -> None:
    texts = [part for part in recorded if "text" in part]
    assert (message.get("content") or "") == "".join(part["text"] for part in texts if not part.get("thought"))
    assert message.get("reasoning_content", "") == "".join(part["text"] for part in texts if part.get("thought"))
    calls = [part for part in recorded if (part.get("functionCall") or {}).get("name")]
    got = message.get("tool_calls") or []
    assert [call["function"]["name"] for call in got] == [part["functionCall"]["name"] for part in calls]
    signatures = [(call.get("extra_content") or {}).get("google", {}).get("thought_signature") for call in got]
    assert signatures == [part.get("thoughtSignature") for part in calls]
    for call, part in zip(got, calls, strict=True):
        wanted = part["functionCall"]
        if "willContinue" not in wanted:
            assert json.loads(call["function"]["arguments"]) == wanted.get("args", {})
        assert call["id"] == wanted.get("id", call["id"])
    assert len({call["id"] for call in got}) == len(got)
    code = [part for part in recorded if "executableCode" in part or "codeExecutionResult" in part]
    google = (message.get("extra_content") or {}).get("google", {})
    assert google.get("code_execution", []) == code
    of_text = [part["thoughtSignature"] for part in texts if part.get("thoughtSignature")]
    assert google.get("thought_signature") == (of_text[-1] if of_text else None)
    images = [part for part in recorded if "inlineData" in part]
    assert len(message.get("images") or []) == len(images)


def assert_same_usage(usage: dict[str, Any] | None, answers: list[dict[str, Any]]) -> None:
    told = [answer["usageMetadata"] for answer in answers if "totalTokenCount" in (answer.get("usageMetadata") or {})]
    if not told:
        return
    recorded = told[-1]
    assert usage is not None
    assert usage["total_tokens"] == recorded["totalTokenCount"]
    assert usage["prompt_tokens"] == recorded.get("promptTokenCount", 0) + recorded.get("toolUsePromptTokenCount", 0)
    thoughts = recorded.get("thoughtsTokenCount", 0)
    assert usage["completion_tokens"] == recorded.get("candidatesTokenCount", 0) + thoughts
    assert usage["completion_tokens_details"]["reasoning_tokens"] == thoughts
    assert usage["prompt_tokens_details"]["cached_tokens"] == recorded.get("cachedContentTokenCount", 0)


def assert_classes_add_up(reply_usage: Any, shown: dict[str, Any] | None) -> None:
    if reply_usage is None:
        assert shown is None
        return
    assert shown is not None
    fields = (
        "input",
        "cache_read",
        "audio_input",
        "image_input",
        "output",
        "reasoning",
        "audio_output",
        "image_output",
    )
    assert min(getattr(reply_usage, name) for name in fields) >= 0
    assert sum(getattr(reply_usage, name) for name in fields) == shown["total_tokens"]


@every(replies)
def test_a_recorded_answer_comes_through_whole(exchange: Exchange) -> None:
    recorded = json.loads(exchange.response_body)
    reply = PROVIDER.reply(request(), target(exchange), exchange.response_body)
    answer = json.loads(reply.body)
    assert deviations("CreateChatCompletionResponse", answer) == []
    for choice in answer["choices"]:
        assert_same_answer(choice["message"], parts([recorded], choice["index"]))
    assert len(answer["choices"]) == max(1, len(recorded.get("candidates") or ()))
    assert_same_usage(answer.get("usage"), [recorded])
    assert_classes_add_up(reply.usage, answer.get("usage"))
    assert reply.finish_reason == answer["choices"][0]["finish_reason"]


def events_of(exchange: Exchange) -> list[dict[str, Any]]:
    if not exchange.is_stream:  # asked for without `alt=sse`: one array
        return list(json.loads(exchange.response_body))
    lines = exchange.response_body.decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def wire_of(exchange: Exchange) -> bytes:
    if exchange.is_stream:
        return exchange.response_body
    return b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events_of(exchange))


def decoded(pieces: list[bytes]) -> tuple[bytes, Any]:
    decoder = PROVIDER.decoder(request(stream=True), Target("gemini-2.5-flash"))
    out = b"".join(decoder.feed(piece) for piece in pieces)
    return out + decoder.close(), decoder


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """A client's view of a stream: one message."""
    message: dict[str, Any] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    assert [call["index"] for call in value] == [len(message.setdefault(name, []))]
                    message[name] += value
                elif isinstance(value, str) and name != "role":
                    message[name] = message.get(name, "") + value
                elif isinstance(value, list):
                    message[name] = message.get(name, []) + value
                elif value is not None:
                    message[name] = value
    return message


@every(streams)
def test_a_recorded_stream_comes_through_whole(exchange: Exchange) -> None:
    sent, decoder = decoded([wire_of(exchange)])
    assert decoder.error is None
    assert sent.endswith(b"data: [DONE]\n\n")
    chunks = [json.loads(frame[6:]) for frame in sent.split(b"\n\n") if frame and frame != b"data: [DONE]"]
    for chunk in chunks:
        assert deviations("CreateChatCompletionStreamResponse", chunk) == []
    assert len({chunk["id"] for chunk in chunks}) == 1
    recorded = events_of(exchange)
    message = put_together(chunks)
    assert message["role"] == "assistant"
    assert_same_answer(message, parts(recorded))
    reasons = [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert reasons == [decoder.finish_reason]
    if decoder.usage is not None:
        assert chunks[-1]["choices"] == []
        assert_same_usage(chunks[-1]["usage"], recorded)
        assert_classes_add_up(decoder.usage, chunks[-1]["usage"])
    assert decoder.is_finished
    assert decoder.has_content
    assert decoder.output_bytes > 0


@every(streams)
def test_where_the_network_cuts_a_stream_makes_no_difference(exchange: Exchange) -> None:
    wire = wire_of(exchange)
    whole, _ = decoded([wire])
    dice = random.Random(exchange.source)
    for _ in range(3):
        borders = sorted(dice.sample(range(1, len(wire)), min(12, len(wire) - 1)))
        pieces = [wire[start:end] for start, end in zip([0, *borders], [*borders, len(wire)], strict=True)]
        assert decoded(pieces)[0] == whole
    assert decoded([wire.replace(b"\r\n", b"\n")])[0] == whole


def test_a_stream_can_be_cut_between_any_two_bytes() -> None:
    wire = min((wire_of(e) for e in streams()), key=len)
    assert decoded([wire[at : at + 1] for at in range(len(wire))])[0] == decoded([wire])[0]


@every(requests)
def test_the_request_for_a_recorded_conversation_means_the_same(exchange: Exchange) -> None:
    body = openai_request(exchange.request_json)
    call = PROVIDER.call(request(body, stream=exchange.endpoint == "generate_stream"), target(exchange))
    assert normal(json.loads(call.body)) == normal(exchange.request_json)
    assert set(call.dropped) <= {"reasoning"}
    if exchange.provider == "gemini":
        assert call.url.partition("?")[0] == exchange.request_url.partition("?")[0].replace("/v1/", "/v1beta/")


@every(failures)
def test_a_recorded_failure_is_classified(exchange: Exchange) -> None:
    status = exchange.status if exchange.status >= 400 else json.loads(exchange.response_body)["error"]["code"]
    error = PROVIDER.error(status, exchange.response_headers, exchange.response_body)
    expected = {
        "API key not valid": ErrorKind.CREDENTIALS,
        "token count": ErrorKind.CONTEXT_LENGTH,
        "temperature": ErrorKind.CALLER,
        "Cannot fetch content": ErrorKind.CALLER,
        "exceeded your current quota": ErrorKind.THROTTLED,
    }
    assert error.kind is next(kind for words, kind in expected.items() if words in error.message)
    assert set(error.error) >= {"message", "type", "param", "code"}
    assert error.retry_after_s == (34.4 if error.kind is ErrorKind.THROTTLED else None)


@every(lambda: [*embeddings(), *predictions()])
def test_recorded_embeddings_come_through(exchange: Exchange) -> None:
    recorded = json.loads(exchange.response_body)
    vectors = [e["values"] for e in recorded.get("embeddings", [])]
    vectors += [p["embeddings"]["values"] for p in recorded.get("predictions", [])]
    asked = {"model": "any", "input": [f"text {number}" for number in range(len(vectors))]}
    reply: Reply = PROVIDER.reply(request(asked, operation="embeddings"), Target("e"), exchange.response_body)
    answer = json.loads(reply.body)
    assert deviations("CreateEmbeddingResponse", answer) == []
    assert [row["embedding"] for row in answer["data"]] == vectors
    assert [row["index"] for row in answer["data"]] == list(range(len(vectors)))
    assert reply.usage is not None
    told = (recorded.get("usageMetadata") or {}).get("promptTokenCount")
    told = told or sum(p["embeddings"]["statistics"]["token_count"] for p in recorded.get("predictions", []))
    assert reply.usage.is_estimated == (not told)
    assert answer["usage"]["prompt_tokens"] == (told or reply.usage.prompt_tokens)


@every(vectors_of_text)
def test_the_request_for_recorded_embeddings_is_the_same(exchange: Exchange) -> None:
    recorded = exchange.request_json["requests"]
    asked: dict[str, Any] = {"model": "any", "input": [item["content"]["parts"][0]["text"] for item in recorded]}
    first = recorded[0]
    asked |= {"dimensions": first["outputDimensionality"]} if "outputDimensionality" in first else {}
    asked |= {"task_type": first["taskType"]} if "taskType" in first else {}
    call: Call = PROVIDER.call(request(asked, operation="embeddings"), target(exchange))
    assert call.url == exchange.request_url.partition("?")[0]
    assert json.loads(call.body)["requests"] == recorded


def test_a_stream_without_its_end_is_a_cut_stream() -> None:
    for exchange in streams():
        events = events_of(exchange)
        if len(events) > 1 and not any(c.get("finishReason") for e in events[:-1] for c in e.get("candidates", [])):
            wire = wire_of(replace(exchange, is_stream=False, response_body=orjson.dumps(events[:-1])))
            sent, decoder = decoded([wire])
            assert decoder.error is not None
            assert decoder.error.cause == "cut"
            assert b"[DONE]" not in sent
