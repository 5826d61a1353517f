"""Heads and bodies of callers: any bytes in them are an answer or a refusal with a status below 500."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.parse import parse_request
from gateway.wire.refusals import RefusedError
from tests.fuzz.setup import damaged, fuzz, soon
from tests.gateway.listening import Listening, statuses
from tests.gateway.scripted import Answer, ScriptedTransport

BODY = {
    "model": "m", "stream": False, "n": 1, "max_tokens": 5, "temperature": 0.5, "stop": ["x"], "user": "u",
    "models": ["m"], "provider": {"order": ["a"], "sort": "price", "max_price": {"prompt": 1}}, "metadata": {"a": "b"},
    "messages": [{"role": "system", "content": "s"},
                 {"role": "user", "content": [{"type": "text", "text": "é\u2028"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_object"}, "stream_options": {"include_usage": True},
}  # fmt: skip
BODIES = [json.dumps(BODY).encode(), b'{"model":"m","messages":[{"role":"user","content":"hi"}]}']
OWN = ["timeout-ms", "route", "max-cost-usd", "tags", "session", "explain", "application", "cache"]
NAMES = [*(f"x-signalbox-{name}" for name in OWN), "x-request-id", "content-type", "content-encoding", "traceparent"]
NAMES += ["user-agent", "x-session-id", "authorization", "x-api-key", "accept", "idempotency-key"]
ANSWER = Answer([b"7,3,{}", None])


@fuzz(200)
@given(damaged(BODIES) | st.binary(max_size=60))
def test_any_body_is_a_request_or_a_refusal(raw: bytes) -> None:
    for operation in ("chat", "completions", "embeddings"):
        try:
            request = parse_request(operation, raw, "r")
        except RefusedError as refused:
            assert 400 <= refused.refusal.status < 500
        else:
            assert request.model


@pytest.mark.parametrize(
    "piece", [b"[", b'{"a":', b'"', b"\\", b"9", b"-", b"1e", b'"\\ud800",', b'"a":1,', b"\xff", b"\x00", b" ", b"[[],"]
)
def test_a_body_of_one_pattern_is_refused_in_time(piece: bytes) -> None:
    many = piece * (4 * 1024 * 1024 // len(piece))
    with soon():
        for raw in (many, b'{"model":"m","messages":' + many, b'{"model":"m","a":[' + many + b"1]}"):
            with pytest.raises(RefusedError) as refused:
                parse_request("chat", raw, "r")
            assert refused.value.refusal.status == 400


VALUES = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n\x00")) | st.sampled_from(
    [b"0", b"-1", b"1", b"99999999999999999999", b"1e5", b"nan", b"inf", b"0.0000000001", b"a=b,c", b"=", b",,,",
     b"%00", "é\u2028".encode(), b"auto", b"m", b"a/m", b"m:floor", b"true", b"gzip", b"application/json; charset=x",
     b"\xff\xfe", b"x" * 3000, b"a=" * 500, b"\xc2\xb2", b"\xb2", b"0x10", b"1_0", b" 7 "]
)  # fmt: skip


def test_any_header_of_ours_is_heeded_or_refused() -> None:
    """One connection for each, to a gateway on one loop."""
    with asyncio.Runner() as runner:

        async def ask(lines: list[bytes], body: bytes) -> bytes:
            async with Listening({"a": ScriptedTransport(*[ANSWER] * 4)}) as gateway:
                length = b"content-length: %d" % len(body)
                head = [b"POST /v1/chat/completions HTTP/1.1", b"host: x", length, b"connection: close", *lines]
                return await gateway.talk(b"\r\n".join([*head, b"", b""]) + body)

        @fuzz(40)
        @given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4), st.sampled_from(BODIES))
        def check(headers: dict[str, bytes], body: bytes) -> None:
            answer = runner.run(ask([name.encode() + b": " + value for name, value in headers.items()], body))
            status = statuses(answer)
            assert len(status) == 1
            assert status[0] < 500 or b"no_candidate" in answer, (headers, answer)

        check()
