"""Each rule of the way back: whole answers, streams, usage."""

import json
from typing import Any

import orjson
import pytest

from providers._gemini_stream import _EVENT_LIMIT
from providers._gemini_usage import usage_of
from providers.base import Cause, ErrorKind, ProviderError, Target, Usage
from tests.providers.gemini_wire import FLASH, answer, candidate, event, message, provider, replied, request, streamed
from tests.providers.openai_schema import deviations


def test_an_answer_has_the_envelope_of_a_completion() -> None:
    found = replied(answer(candidate({"text": "a"}, {"text": "b"}), usageMetadata={"serviceTier": "standard"}))
    assert found == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1000,
        "model": "gemini-2.5-flash-001",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "service_tier": "default",
    }
    bare = replied({"candidates": [candidate({"text": "a"})]})
    assert (bare["id"], bare["model"]) == ("chatcmpl-r-1", FLASH)


def test_thoughts_are_reasoning() -> None:
    found = message({"text": "hm", "thought": True}, {"text": "yes", "thoughtSignature": "S"})
    assert (found["reasoning_content"], found["content"]) == ("hm", "yes")
    assert found["extra_content"] == {"google": {"thought_signature": "S"}}


def test_calls_have_ids_that_are_theirs_or_always_the_same() -> None:
    parts = (
        {"functionCall": {"name": "f", "args": {"a": "ü"}, "id": "given"}, "thoughtSignature": "S"},
        {"functionCall": {"name": "g"}},
    )
    found = message(*parts)
    assert found == message(*parts)
    first, second = found["tool_calls"]
    assert first == {
        "id": "given",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":"ü"}'},
        "extra_content": {"google": {"thought_signature": "S"}},
    }
    assert second["function"] == {"name": "g", "arguments": "{}"}
    assert second["id"].startswith("call_")
    assert len(second["id"]) <= 40
    assert found["content"] is None
    body = answer(candidate(parts[1], index=0), candidate(parts[1], index=1))
    ids = {choice["message"]["tool_calls"][0]["id"] for choice in replied(body)["choices"]}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"), (1, "stop"), ("MAX_TOKENS", "length"), (2, "length"), ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"), ("BLOCKLIST", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"), ("MODEL_ARMOR", "content_filter"), ("IMAGE_SAFETY", "content_filter"),
        ("OTHER", "stop"), ("LANGUAGE", "stop"), ("INVENTED_TOMORROW", "stop"), ("MALFORMED_FUNCTION_CALL", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons(reason: Any, expected: str) -> None:
    body = answer(candidate({"text": "x"}, finish=reason))
    assert replied(body)["choices"][0]["finish_reason"] == expected
    chunks, decoder, _ = streamed(body)
    assert decoder.finish_reason == expected
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == expected


def test_calls_are_the_reason_unless_there_is_a_harder_one() -> None:
    call = {"functionCall": {"name": "f"}}
    reasons = {reason: replied(answer(candidate(call, finish=reason))) for reason in ("STOP", "MAX_TOKENS")}
    assert reasons["STOP"]["choices"][0]["finish_reason"] == "tool_calls"
    assert reasons["MAX_TOKENS"]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NO_IMAGE"])
def test_a_failed_answer_without_content_is_an_error(reason: str) -> None:
    body = answer({"finishReason": reason, "finishMessage": "print(f("})
    with pytest.raises(ProviderError) as caught:
        replied(body)
    _, decoder, raw = streamed(body)
    for error in (caught.value, decoder.error):
        assert error is not None
        assert (error.kind, error.cause) == (ErrorKind.BROKEN, Cause.IN_BAND)
        assert "print(f(" in error.message
    assert b"DONE" not in raw


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answer({"finishReason": "SAFETY", "content": {}}), "withheld the answer: SAFETY"),
        (answer({"finishReason": "MODEL_ARMOR", "finishMessage": "Hate."}), "Hate."),
        ({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}, "blocked the prompt"),
        ({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "No."}}, "No."),
    ],
)
def test_a_filtered_answer_is_an_answer_that_says_so(body: dict[str, Any], words: str) -> None:
    whole = replied(body)
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] is None
    assert words in choice["message"]["refusal"]
    assert deviations("CreateChatCompletionResponse", whole) == []
    chunks, decoder, _ = streamed(body)
    assert decoder.finish_reason == "content_filter"
    assert decoder.has_content
    assert words in "".join(c["choices"][0]["delta"].get("refusal") or "" for c in chunks if c["choices"])


def test_pictures_and_sound() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "S"}
    found = message({"text": "look"}, picture)
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AAAA"},
        "index": 0,
        "extra_content": {"google": {"thought_signature": "S"}},
    }
    assert found["images"] == [image]
    chunks, decoder, _ = streamed(answer(candidate(picture)))
    assert [
        c["choices"][0]["delta"]["images"] for c in chunks if c["choices"] and "images" in c["choices"][0]["delta"]
    ] == [[image]]
    assert decoder.has_content
    sound = message({"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "BBBB"}})["audio"]
    assert (sound["data"], sound["format"]) == ("BBBB", "audio/L16;rate=24000")


def test_code_that_gemini_ran_is_kept() -> None:
    code = [{"executableCode": {"language": "PYTHON", "code": "1"}}, {"codeExecutionResult": {"output": "1"}}]
    assert message(*code, {"text": "1"})["extra_content"] == {"google": {"code_execution": code}}


def test_grounding_becomes_annotations_in_characters() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}, {"retrievedContext": {}}],
        "groundingSupports": [
            {"segment": {"startIndex": 3, "endIndex": 7}, "groundingChunkIndices": [0, 1, 9]},
            {"segment": {"endIndex": 2}, "groundingChunkIndices": [0]},
        ],
    }
    found = message({"text": "é is é"}, groundingMetadata=grounding)
    citation = {"url": "https://a.example", "title": "A"}
    assert found["annotations"] == [
        {"type": "url_citation", "url_citation": {"start_index": 2, "end_index": 5, **citation}},
        {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, **citation}},
    ]
    assert found["extra_content"]["google"]["groundingMetadata"] == grounding
    late = streamed(answer(candidate({"text": "é is é"}, finish=None)), answer(candidate(groundingMetadata=grounding)))[
        0
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in late if chunk["choices"]]
    assert [d["annotations"] for d in deltas if "annotations" in d] == [found["annotations"]]


def test_logprobs() -> None:
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e"}]}],
    }
    body = answer(candidate({"text": "é"}, logprobsResult=result))
    chosen = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    tops = [chosen, {"token": "e", "logprob": 0.0, "bytes": [101]}]
    expected = {"content": [{**chosen, "top_logprobs": tops}], "refusal": None}
    whole = replied(body)
    assert whole["choices"][0]["logprobs"] == expected
    assert deviations("CreateChatCompletionResponse", whole) == []
    chunks = streamed(body)[0]
    assert [c["choices"][0]["logprobs"] for c in chunks if c["choices"]][-1] == expected


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b"{}", b'{"candidates":[]}', b'{"candidates":[1]}', b"null", b"[{},{}]"]
)
def test_garbage(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        provider().reply(request(), Target(FLASH), body)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.GARBAGE)


# Streams


def test_a_stream_of_two_choices() -> None:
    chunks, decoder, raw = streamed(
        answer(candidate({"text": "a"}, finish=None), candidate({"text": "b"}, finish=None, index=1)),
        answer(candidate({"text": "c"}, finish="MAX_TOKENS", index=1), candidate({"text": "d"})),
    )
    seen: dict[int, list[Any]] = {0: [], 1: []}
    for chunk in chunks:
        for choice in chunk["choices"]:
            seen[choice["index"]].append(choice["delta"].get("content") or choice["finish_reason"])
    assert seen == {0: [None, "a", "d", "stop"], 1: [None, "b", "c", "length"]}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert decoder.finish_reason == "stop"
    assert raw.count(b"[DONE]") == 1


def test_usage_is_told_once_and_only_to_those_who_asked() -> None:
    bodies = (
        answer(candidate({"text": "a"}, finish=None), usageMetadata={"promptTokenCount": 2, "totalTokenCount": 2}),
        answer(candidate({"text": "b"}), usageMetadata={"promptTokenCount": 2, "candidatesTokenCount": 5}),
        {"usageMetadata": {"trafficType": "ON_DEMAND"}},
    )
    chunks, decoder, _ = streamed(*bodies)
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 7
    assert decoder.usage == Usage(input=2, output=5)
    assert not any("usage" in chunk for chunk in streamed(*bodies, include_usage=False)[0])


def test_an_end_in_every_event_is_told_once_at_the_end() -> None:
    """Models up to 1.5 give a finishReason with every piece."""
    chunks, _, _ = streamed(answer(candidate({"text": "a"})), answer(candidate({"text": "b"})))
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
    assert ends == [None, None, None, "stop"]


def test_a_cut_stream_says_so_and_knows_what_it_used() -> None:
    _, decoder, raw = streamed(answer(candidate({"text": "abé"}, finish=None), usageMetadata={"promptTokenCount": 2}))
    assert decoder.error is not None
    assert decoder.error.cause is Cause.CUT
    assert (decoder.usage, decoder.output_bytes, decoder.has_content) == (Usage(input=2), 4, True)
    assert not decoder.is_finished
    assert b"DONE" not in raw
    empty = streamed()[1]
    assert empty.error is not None
    assert empty.error.cause is Cause.CUT


def test_an_error_inside_a_stream() -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    chunks, decoder, _ = streamed(
        answer(candidate({"text": "a"}, finish=None)), error, answer(candidate({"text": "b"}))
    )
    assert decoder.error is not None
    assert (decoder.error.kind, decoder.error.cause, decoder.error.status) == (ErrorKind.OVERLOADED, Cause.IN_BAND, 503)
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["", "a"]
    with pytest.raises(ProviderError) as caught:
        replied(error)
    assert caught.value.cause is Cause.IN_BAND


def test_garbage_in_a_stream_ends_it() -> None:
    decoder = provider().decoder(request(stream=True), Target(FLASH))
    decoder.feed(event(answer(candidate({"text": "a"}, finish=None))) + b"data: {nonsense\n\n")
    assert decoder.error is not None
    assert decoder.error.cause is Cause.GARBAGE
    assert decoder.feed(event(answer(candidate({"text": "b"})))) == decoder.close() == b""


def test_an_event_without_end_is_too_large() -> None:
    decoder = provider().decoder(request(stream=True), Target(FLASH))
    piece = b"data: " + b"x" * (_EVENT_LIMIT // 4)
    for _ in range(5):
        decoder.feed(piece)
    assert decoder.error is not None
    assert decoder.error.cause is Cause.TOO_LARGE


def test_line_separators_inside_text_are_text() -> None:
    text = "a\u2028b\u2029c\u0085d"
    body = json.dumps(answer(candidate({"text": text})), ensure_ascii=False).encode()
    decoder = provider().decoder(request(stream=True), Target(FLASH))
    out = b"".join(decoder.feed(bytes([byte])) for byte in b": hello\r\ndata: " + body + b"\r\n\r\n")
    deltas = [orjson.loads(frame[6:])["choices"][0]["delta"] for frame in out.split(b"\n\n") if frame]
    assert "".join(delta.get("content") or "" for delta in deltas) == text


def test_arguments_that_come_in_pieces() -> None:
    calls: list[dict[str, Any]] = [
        {"name": "f", "willContinue": True},
        {
            "partialArgs": [{"jsonPath": "$.where.city", "stringValue": "Par", "willContinue": True}],
            "willContinue": True,
        },
        {"partialArgs": [{"jsonPath": "$.where.city", "stringValue": "is"}], "willContinue": True},
        {
            "partialArgs": [{"jsonPath": "$.days[1]", "numberValue": 2}, {"jsonPath": "$['x']", "nullValue": None}],
            "willContinue": True,
        },
        {"partialArgs": [{"jsonPath": "$.ok", "boolValue": True}], "willContinue": True},
        {},
        {"name": "g", "args": {}},
    ]
    bodies = [answer(candidate({"functionCall": call}, finish=None)) for call in calls]
    chunks, decoder, _ = streamed(*bodies, answer(candidate()))
    found = [
        c["choices"][0]["delta"]["tool_calls"][0]
        for c in chunks
        if c["choices"] and "tool_calls" in c["choices"][0]["delta"]
    ]
    assert [(call["index"], call["function"]["name"]) for call in found] == [(0, "f"), (1, "g")]
    assert json.loads(found[0]["function"]["arguments"]) == {
        "where": {"city": "Paris"},
        "days": [None, 2],
        "x": None,
        "ok": True,
    }
    assert decoder.finish_reason == "tool_calls"


# Usage


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}, Usage(input=5, output=2)),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 9,
            },
            Usage(input=40, cache_read=60, output=2, reasoning=9),
        ),
        ({"promptTokenCount": 5, "toolUsePromptTokenCount": 7, "totalTokenCount": 12}, Usage(input=12)),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 30,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 20},
                    {"modality": "AUDIO", "tokenCount": 50},
                    {"modality": "IMAGE", "tokenCount": 30},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}, {"modality": "TEXT", "tokenCount": 10}],
                "candidatesTokenCount": 1300,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
            Usage(input=10, cache_read=30, audio_input=30, image_input=30, output=10, image_output=1290),
        ),
        (
            {
                "promptTokenCount": 3,
                "promptTokensDetails": [{"modality": 4, "tokenCount": 2}],
                "candidatesTokenCount": 4,
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}],
            },
            Usage(input=1, audio_input=2, audio_output=4),
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 20},
            Usage(input=5, output=2, reasoning=13),
        ),
    ],
)
def test_usage(told: Any, expected: Usage | None) -> None:
    assert usage_of(told) == expected
