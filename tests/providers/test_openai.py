"""Requests to and whole answers from OpenAI and its imitators."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given

from providers.base import Cause, ErrorKind, ProviderError
from tests.providers.openai_wire import KEY, TARGET, provider, raw_request, request
from tests.providers.test_openai_stream import JSON

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 7,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": None}, "logprobs": None,
         "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
}  # fmt: skip


def answer(choice: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**ANSWER["choices"][0], **(choice or {})}], **members}


def mended(body: dict[str, Any], kind: str = "openai_compatible") -> dict[str, Any]:
    reply = provider(kind).reply(request(), TARGET, json.dumps(body).encode())
    found: dict[str, Any] = json.loads(reply.body)
    return found


def test_only_the_model_of_a_request_changes() -> None:
    raw = b'{ "model" : "asked", "seed":12345678901234567890, "temperature": 1.10, "x": null, "messages":[] }'
    call = provider().call(raw_request(raw), TARGET)
    assert call.body == raw.replace(b'"asked"', b'"up-model"')
    assert call.url == "https://api.openai.com/v1/chat/completions"
    assert call.dropped == ()


def test_headers_are_built_from_scratch() -> None:
    extra = {"organization": "org-1", "project": "proj-1"}
    up = provider(headers={"X-Team": "a"}, extra=extra)
    headers = dict(up.call(request(), TARGET).headers)
    assert headers.pop("user-agent").startswith("signalbox/")
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {KEY}",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-team": "a",
    }
    assert up.call(request(), TARGET).headers is up.call(request(), TARGET).headers


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"a b": "c"}, {"x": "é"}])
def test_a_header_that_cannot_be_sent_is_refused_at_load(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        provider(headers=headers)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False, "include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
        ({"include_usage": True}, {"include_usage": True}),
    ],
)
def test_a_stream_always_asks_for_usage(options: dict[str, bool] | None, sent: dict[str, bool]) -> None:
    members = {} if options is None else {"stream_options": options}
    body = json.loads(
        provider().call(raw_request(json.dumps({"model": "a", "stream": True, **members}).encode()), TARGET).body
    )
    assert body == {"model": "up-model", "stream": True, "stream_options": sent}


def test_a_second_model_cannot_be_smuggled_past_us() -> None:
    raw = rb'{"model":"cheap","mod\u0065l":"dear","messages":[],"model":"cheap"}'
    body = provider().call(raw_request(raw), TARGET).body
    assert body.count(b"up-model") == 3
    assert b"dear" not in body


def test_a_valid_answer_passes_as_the_same_bytes() -> None:
    body = json.dumps({**ANSWER, "vendor": {"seed": 12345678901234567890, "x": 1.10}}, indent=1).encode()
    reply = provider().reply(request(), TARGET, body)
    assert reply.body is body
    assert reply.finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (20, 10)


def test_what_a_choice_lacks_is_filled_in() -> None:
    body = answer(
        {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "finish_reason": None}
    )
    del body["id"], body["object"], body["created"], body["choices"][0]["index"]
    found = mended(body)
    assert (found["object"], found["id"]) == ("chat.completion", "chatcmpl-r1")
    assert isinstance(found["created"], int)
    choice = found["choices"][0]
    assert (choice["index"], choice["finish_reason"]) == (0, "tool_calls")
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", None)
    assert choice["message"]["tool_calls"] == [
        {"id": "call_0_f", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]


@pytest.mark.parametrize(
    ("vendors", "ours"),
    [("eos", "stop"), ("", "stop"), (None, "stop"), ("model_length", "length"), ("max_tokens", "length"),
     ("tool_use", "tool_calls"), ("sensitive", "content_filter"), ("unheard of", "stop"), ("length", "length")],
)  # fmt: skip
def test_finish_reasons(vendors: str | None, ours: str) -> None:
    assert mended(answer({"finish_reason": vendors}))["choices"][0]["finish_reason"] == ours


def test_content_in_parts_becomes_text_and_reasoning() -> None:
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    message = mended(answer({"message": {"role": "assistant", "content": content}}))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("yes", "hm")


def test_the_providers_tier_is_said_in_the_specifications_words() -> None:
    assert mended(answer(service_tier="on_demand"))["service_tier"] == "default"
    assert mended(answer(service_tier="flex"))["service_tier"] == "flex"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices":[]}', b'{"choices":[{}]}'])
def test_an_answer_that_is_none_is_garbage(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        provider().reply(request(), TARGET, body)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.GARBAGE)


def test_an_error_inside_a_200_is_an_error() -> None:
    body = json.dumps({"error": {"message": f"bad key {KEY}", "code": 401, "metadata": {"raw": KEY}}}).encode()
    with pytest.raises(ProviderError) as caught:
        provider().reply(request(), TARGET, body)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.CREDENTIALS, Cause.IN_BAND)
    assert KEY not in json.dumps(caught.value.error) + caught.value.message


@given(JSON)
def test_no_answer_raises_anything_else(body: object) -> None:
    for operation in ("chat", "completions", "embeddings"):
        for whole in (body, {"choices": [body]}, {"data": [body]}, answer({"message": body}), answer(usage=body)):
            try:
                provider("openai_compatible").reply(request(operation), TARGET, json.dumps(whole).encode())
            except ProviderError as error:
                assert {"message", "type", "param", "code"} <= error.error.keys()


def counted(prompt: int, completion: int | None, **members: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **members}


USAGES = [
    (counted(10, 5, prompt_tokens_details={"cached_tokens": 4, "audio_tokens": 2}),
     {"input": 4, "cache_read": 4, "audio_input": 2, "output": 5}),
    (counted(10, 5, completion_tokens_details={"reasoning_tokens": 3, "audio_tokens": 1}),
     {"input": 10, "reasoning": 3, "audio_output": 1, "output": 1}),
    (counted(10, 5, prompt_cache_hit_tokens=6), {"input": 4, "cache_read": 6, "output": 5}),
    (counted(10, 2, total_tokens=32, completion_tokens_details={"reasoning_tokens": 20}),
     {"input": 10, "output": 2, "reasoning": 20}),
    (counted(10, 2, prompt_tokens_details={"cache_write_tokens": 7}, cost=0.25),
     {"input": 3, "cache_write_5m": 7, "output": 2, "reported_nusd": 250_000_000}),
    (counted(10, 2, prompt_tokens_details={"cached_tokens": 99}), {"cache_read": 10, "output": 2}),
    (counted(10, None, cost_in_usd_ticks=1500000), {"input": 10, "reported_nusd": 150_000}),
    ({"total_tokens": 9}, {"input": 9}),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "classes"), USAGES)
def test_usage_is_counted_in_disjoint_classes(recorded: dict[str, Any], classes: dict[str, float]) -> None:
    usage = provider().reply(request(), TARGET, json.dumps(answer(usage=recorded)).encode()).usage
    assert usage is not None
    names = ("input", "cache_read", "cache_write_5m", "audio_input", "image_input", "output", "reasoning",
             "audio_output", "image_output", "reported_nusd")  # fmt: skip
    assert {n: getattr(usage, n) for n in names if getattr(usage, n)} == pytest.approx(
        {k: v for k, v in classes.items() if v}
    )


VECTOR = [0.5, -1.25, 3.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


def embedding(vector: object, **members: Any) -> bytes:
    rows = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return json.dumps({"object": "list", "data": rows, "model": "m", "usage": usage, **members}).encode()


@pytest.mark.parametrize("sent", [VECTOR, PACKED])
@pytest.mark.parametrize(("asked", "wanted"), [("base64", PACKED), ("float", VECTOR), (None, VECTOR)])
def test_embeddings_come_in_the_encoding_asked_for(sent: object, asked: str | None, wanted: object) -> None:
    members = {"encoding_format": asked} if asked else {}
    body = embedding(sent)
    reply = provider().reply(request("embeddings", input="x", **members), TARGET, body)
    assert json.loads(reply.body)["data"][0]["embedding"] == wanted
    assert (reply.body is body) == (sent == wanted)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3


def test_embeddings_are_ordered_and_complete() -> None:
    rows = [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}]
    body = json.dumps({"data": rows, "usage": {"total_tokens": 4}}).encode()
    found = json.loads(provider().reply(request("embeddings", input=["a", "b"]), TARGET, body).body)
    assert [(row["object"], row["index"], row["embedding"]) for row in found["data"]] == [
        ("embedding", 0, [0.0]), ("embedding", 1, [1.0])]  # fmt: skip
    assert (found["object"], found["model"]) == ("list", "up-model")
    assert found["usage"] == {"total_tokens": 4, "prompt_tokens": 4}


def test_token_arrays_stay_as_they_are() -> None:
    raw = b'{"model":"a","input":[[1,2],[3]],"encoding_format":"base64"}'
    call = provider().call(raw_request(raw, "embeddings"), TARGET)
    assert call.body == raw.replace(b'"a"', b'"up-model"')
    assert call.url.endswith("/v1/embeddings")
