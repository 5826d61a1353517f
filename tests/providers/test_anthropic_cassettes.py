"""Every recorded exchange with Anthropic comes through whole, valid and counted, and every recorded request is said."""

import json
import random
import re
from dataclasses import replace
from functools import cache
from typing import Any

import orjson

from providers.anthropic import AnthropicProvider
from providers.base import ErrorKind, ProviderError, ProviderOptions, Request, Target
from tests.providers import cassettes
from tests.providers.anthropic_inverse import normal, openai_request
from tests.providers.cassettes import Exchange
from tests.providers.openai_schema import deviations
from tests.providers.recorded import every

# Made up for a client's test: a second answer begins inside the first. See test_anthropic_stream.py.
SPLICED = "spliced-message-start"

pytestmark = cassettes.marks()

PROVIDER = AnthropicProvider(ProviderOptions("claude", "anthropic", api_key="sk-ant-0123456789"), clock=lambda: 1000.0)
TARGET = Target("claude-sonnet-4-5")


@cache
def exchanges() -> list[Exchange]:
    return cassettes.select("anthropic", "messages")


def replies() -> list[Exchange]:
    return [e for e in exchanges() if e.status == 200 and not e.is_stream]


@cache
def streams() -> list[Exchange]:
    return [
        replace(e, response_body=body, source=f"{e.source}@{number}")
        for e in exchanges()
        if e.status == 200 and e.is_stream and SPLICED not in e.source
        # Some recordings hold the answers of a whole tool loop, one after the other.
        for number, body in enumerate(re.split(rb"(?<=\n\n)(?=event: message_start\n)", e.response_body))
    ]


def failures() -> list[Exchange]:
    return [e for e in exchanges() if e.status != 200]


def not_sayable() -> list[Exchange]:
    """What is no request (it was refused with a 400), or has turns that OpenAI's roles cannot say."""
    return [
        e
        for e in exchanges()
        if e.request_json
        and (
            not isinstance(e.request_json["messages"][0], dict)
            or any(message["role"] == "system" for message in e.request_json["messages"])
        )
    ]


@cache
def requests() -> list[Exchange]:
    unsayable = not_sayable()
    return [e for e in exchanges() if e.request_json and e not in unsayable]


def request(body: dict[str, Any] | None = None, *, stream: bool = False, include_usage: bool = True) -> Request:
    body = body or {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    return Request("chat", body, orjson.dumps(body), "any", stream, include_usage, "r-1")


def expected_usage(reported: dict[str, Any]) -> dict[str, int]:
    count = {name: value or 0 for name, value in reported.items() if isinstance(value, int | None)}
    cached, written = count.get("cache_read_input_tokens", 0), count.get("cache_creation_input_tokens", 0)
    return {
        "prompt_tokens": count.get("input_tokens", 0) + cached + written,
        "completion_tokens": count.get("output_tokens", 0),
        "cached_tokens": cached,
        "cache_write_tokens": written,
    }


def shown_usage(usage: dict[str, Any]) -> dict[str, int]:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    details = usage["prompt_tokens_details"]
    totals = {name: usage[name] for name in ("prompt_tokens", "completion_tokens")}
    return {**totals, **{name: details[name] for name in ("cached_tokens", "cache_write_tokens")}}


def assert_same_answer(message: dict[str, Any], blocks: list[dict[str, Any]]) -> None:
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    assert (message["content"] or "") == "".join(texts)
    calls = [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    got = [
        (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message.get("tool_calls", [])
    ]
    assert got == calls
    thinking = [block for block in blocks if block["type"] == "thinking"]
    assert message.get("reasoning_content", "") == "".join(block["thinking"] for block in thinking)
    kept = [{k: v for k, v in block.items() if k != "index"} for block in message.get("thinking_blocks", [])]
    assert kept == [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]


@every(replies)
def test_a_recorded_answer_comes_through_whole(exchange: Exchange) -> None:
    recorded = json.loads(exchange.response_body)
    reply = PROVIDER.reply(request(), TARGET, exchange.response_body)
    answer = json.loads(reply.body)
    assert deviations("CreateChatCompletionResponse", answer) == []
    (choice,) = answer["choices"]
    assert_same_answer(choice["message"], recorded["content"])
    assert (answer["id"], answer["model"], answer["created"]) == (recorded["id"], recorded["model"], 1000)
    assert choice["finish_reason"] == reply.finish_reason
    assert shown_usage(answer["usage"]) == expected_usage(recorded["usage"])
    assert reply.usage is not None
    hours = (recorded["usage"].get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0)
    assert reply.usage.cache_write_1h == hours


def recorded_message(body: bytes) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """(blocks, usage reason) of a recorded stream, put together independently of the decoder."""
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    whole: list[dict[str, Any]] = []
    for line in body.decode().replace("\r\n", "\n").split("\n"):
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        if event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for name, member in (("text", "text"), ("thinking", "thinking"), ("partial_json", "json")):
                if name in delta:
                    block[member] = block.get(member, "") + delta[name]
            if "signature" in delta:
                block["signature"] = delta["signature"]
        whole += event.get("message", {}).get("content", [])
        usage.update({k: v for k, v in event.get("message", {}).get("usage", {}).items() if v is not None})
        usage.update({k: v for k, v in (event.get("usage") or {}).items() if v is not None})
    for block in blocks.values():
        raw = block.pop("json")
        if block["type"] == "tool_use" and raw:
            block["input"] = json.loads(raw)
    return whole + [blocks[index] for index in sorted(blocks)], usage


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client adds up from chunks."""
    message: dict[str, Any] = {"content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            if "reasoning_content" in delta:
                message["reasoning_content"] = message.get("reasoning_content", "") + delta["reasoning_content"]
            message.setdefault("thinking_blocks", []).extend(delta.get("thinking_blocks", []))
            for piece in delta.get("tool_calls", []):
                call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
                call.update({k: piece[k] for k in ("id",) if k in piece})
                for name, value in piece["function"].items():
                    call["function"][name] += value
    message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def decode(pieces: list[bytes], *, include_usage: bool = True) -> tuple[bytes, Any]:
    decoder = PROVIDER.decoder(request(stream=True, include_usage=include_usage), TARGET)
    sent = b"".join(decoder.feed(piece) for piece in pieces) + decoder.close()
    return sent, decoder


@every(streams)
def test_a_recorded_stream_comes_through_whole(exchange: Exchange) -> None:
    sent, decoder = decode([exchange.response_body])
    assert decoder.error is None
    assert decoder.is_finished
    frames = sent.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
    for chunk in chunks:
        assert deviations("CreateChatCompletionStreamResponse", chunk) == []
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == [decoder.finish_reason]
    blocks, usage = recorded_message(exchange.response_body)
    assert_same_answer(put_together(chunks), blocks)
    assert chunks[-1]["choices"] == []
    assert shown_usage(chunks[-1]["usage"]) == expected_usage(usage)
    is_refused = decoder.finish_reason == "content_filter"
    assert decoder.has_content == (is_refused or any(b["type"] in ("text", "tool_use", "thinking") for b in blocks))


@every(streams)
def test_where_the_network_cuts_a_stream_changes_nothing(exchange: Exchange) -> None:
    whole, _ = decode([exchange.response_body], include_usage=False)
    dice = random.Random(exchange.source)
    body = exchange.response_body
    for size in (3, 17, 400):
        pieces, at = [], 0
        while at < len(body):
            step = dice.randint(1, size)
            pieces.append(body[at : at + step])
            at += step
        assert decode(pieces, include_usage=False)[0] == whole


@every(streams)
def test_a_stream_without_its_end_is_cut_but_counted(exchange: Exchange) -> None:
    body = exchange.response_body
    cut = body[: body.rindex(b"event: message_stop")] if b"event: message_stop" in body else body[: len(body) // 2]
    sent, decoder = decode([cut])
    assert decoder.error is not None
    assert decoder.error.cause == "cut"
    assert b"[DONE]" not in sent
    assert decoder.usage is not None
    usage = recorded_message(cut)[1]
    assert decoder.usage.prompt_tokens == expected_usage(usage)["prompt_tokens"]


@every(failures)
def test_a_recorded_failure_is_classified(exchange: Exchange) -> None:
    error = PROVIDER.error(exchange.status, exchange.response_headers, exchange.response_body)
    recorded = json.loads(exchange.response_body)["error"]
    assert isinstance(error, ProviderError)
    assert error.kind is (ErrorKind.CREDENTIALS if exchange.status == 401 else ErrorKind.CALLER)
    assert error.error["message"] == recorded["message"]
    assert set(error.error) == {"message", "type", "param", "code"}


@every(requests)
def test_the_request_for_the_same_conversation_means_the_same(exchange: Exchange) -> None:
    recorded = exchange.request_json
    body = openai_request(recorded)
    call = PROVIDER.call(request(body, stream=bool(body.get("stream"))), Target(recorded["model"]))
    sent = json.loads(call.body)
    assert sent["model"] == recorded["model"]
    assert bool(sent.get("stream")) == bool(recorded.get("stream"))
    wanted = normal(recorded)
    for name in call.dropped:
        # A model of today refuses these; what was recorded is of the time before.
        assert name in ("temperature", "top_p")
        wanted.pop(name)
    assert normal(sent) == wanted


def test_what_cannot_be_said_is_little() -> None:
    assert len(not_sayable()) <= len(requests()) // 40
