"""Streams: what a caller sees, what the gateway learns, and when a stream counts as broken."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Cause, ErrorKind
from tests.providers.openai_wire import DONE, REPORT, ROLE, STOP, USAGE, chunk, frame, parsed, request, run

HELLO = [chunk({"content": word}) for word in ("Hel", "lo", ' "wor\\ld"\n', "\u2028", "🎉")]


def test_a_valid_stream_passes_byte_for_byte() -> None:
    stream = [ROLE, *HELLO, STOP, REPORT, DONE]
    sent, decoder = run(stream, include_usage=True)
    assert sent == b"".join(stream)
    assert decoder.error is None
    assert decoder.is_finished
    assert decoder.finish_reason == "stop"
    assert decoder.usage is not None
    assert (decoder.usage.prompt_tokens, decoder.usage.completion_tokens) == (5, 3)
    assert decoder.output_bytes >= len(b'Hello "wor\\ld"\n') + 7


def test_a_usage_report_nobody_asked_for_is_read_and_kept() -> None:
    sent, decoder = run([ROLE, *HELLO, STOP, REPORT, DONE])
    assert sent == b"".join([ROLE, *HELLO, STOP, DONE])
    assert decoder.usage is not None


def test_usage_in_a_chunk_with_choices_becomes_a_report_of_its_own() -> None:
    stream = [ROLE, *HELLO, chunk({}, "stop", usage=USAGE), DONE]
    asked = parsed(run(stream, include_usage=True)[0])
    assert [c.get("usage") for c in asked if c.get("usage")] == [USAGE]
    assert asked[-1]["choices"] == []
    unasked = parsed(run(stream)[0])
    assert all("usage" not in c for c in unasked)
    assert unasked[-1]["choices"][0]["finish_reason"] == "stop"


def test_cumulative_usage_counts_once_and_the_last_one_wins() -> None:
    parts = [chunk({"content": "x"}, usage={**USAGE, "completion_tokens": n, "total_tokens": 5 + n}) for n in (1, 2, 3)]
    sent, decoder = run([ROLE, *parts, STOP, DONE], include_usage=True)
    assert [c["usage"]["completion_tokens"] for c in parsed(sent) if c.get("usage")] == [3]
    assert decoder.usage is not None
    assert decoder.usage.completion_tokens == 3


def test_usage_inside_x_groq_is_read() -> None:
    sent, decoder = run([ROLE, *HELLO, chunk({}, "stop", x_groq={"id": "q", "usage": USAGE}), DONE], include_usage=True)
    assert decoder.usage is not None
    assert parsed(sent)[-1]["usage"] == USAGE


def test_the_missing_end_mark_is_added_when_the_answer_is_whole() -> None:
    sent, decoder = run([ROLE, *HELLO, STOP])
    assert sent == b"".join([ROLE, *HELLO, STOP, DONE])
    assert decoder.error is None


def test_nothing_follows_the_end_mark() -> None:
    sent, _ = run([ROLE, *HELLO, STOP, DONE + DONE, chunk({"content": "late"}), DONE])
    assert sent == b"".join([ROLE, *HELLO, STOP, DONE])


@pytest.mark.parametrize("stream", [[ROLE, *HELLO], [ROLE], [], [ROLE, *HELLO, REPORT], [ROLE, HELLO[0][:-4]]])
def test_a_stream_without_its_end_is_cut(stream: list[bytes]) -> None:
    sent, decoder = run(stream, include_usage=True)
    assert decoder.error is not None
    assert (decoder.error.kind, decoder.error.cause) == (ErrorKind.BROKEN, Cause.CUT)
    assert b"[DONE]" not in sent
    assert not decoder.is_finished


def test_an_end_mark_without_any_answer_is_cut() -> None:
    sent, decoder = run([DONE])
    assert sent == b""
    assert decoder.error is not None
    assert decoder.error.cause is Cause.CUT


def test_a_proper_end_without_finish_reason_gets_one() -> None:
    sent, decoder = run([ROLE, *HELLO, DONE], kind="openai_compatible")
    assert parsed(sent)[-1]["choices"] == [{"index": 0, "finish_reason": "stop", "delta": {}}]
    assert decoder.finish_reason == "stop"
    assert sent.endswith(DONE)


def test_two_choices_finish_apart() -> None:
    stream = [chunk({"role": "assistant", "content": "a"}, index=i) for i in (0, 1)]
    _, decoder = run([*stream, chunk({}, "stop", index=0)], n=2)
    assert not decoder.is_finished
    assert decoder.error is not None
    _, decoder = run([*stream, chunk({}, "stop", index=0), chunk({}, "length", index=1)], n=2)
    assert decoder.is_finished
    assert decoder.finish_reason == "stop"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "boom", "type": "server_error", "code": None}}, ErrorKind.BROKEN),
        ({"error": {"message": "slow down", "code": 429}}, ErrorKind.THROTTLED),
        ({"error": "Overloaded", "code": "overloaded"}, ErrorKind.OVERLOADED),
        ({"object": "error", "message": "no", "type": "invalid_request_error"}, ErrorKind.CALLER),
        ({"id": "c", "choices": [], "error": {"message": "cut off", "code": 502}}, ErrorKind.BROKEN),
    ],
)
def test_an_error_inside_the_stream_ends_it(body: object, kind: ErrorKind) -> None:
    sent, decoder = run([ROLE, HELLO[0] + frame(body) + HELLO[1], HELLO[2]])
    assert sent == ROLE + HELLO[0]
    assert decoder.error is not None
    assert (decoder.error.kind, decoder.error.cause) == (kind, Cause.IN_BAND)
    assert {"message", "type", "param", "code"} <= decoder.error.error.keys()


@pytest.mark.parametrize("data", [b"{", b"[]", b'"x"', b'{"choices":5}', b'{"id":"1","choices":[1]}', b"\xff"])
def test_what_is_not_the_dialect_is_garbage(data: bytes) -> None:
    sent, decoder = run([ROLE, *HELLO, b"data: " + data + b"\n\n", *HELLO])
    assert sent == b"".join([ROLE, *HELLO])
    assert decoder.error is not None
    assert decoder.error.cause is Cause.GARBAGE


def test_an_endless_event_is_too_large() -> None:
    _, decoder = run([ROLE, *HELLO, b"data: " + b"x" * 2_000_000])
    assert decoder.error is not None
    assert decoder.error.cause is Cause.TOO_LARGE


@pytest.mark.parametrize(
    ("delta", "is_content"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "refusal": None}, False),
        ({"content": " "}, True),
        ({"refusal": "No"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"reasoning": "hm"}, True),
        (
            {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
            True,
        ),
        ({"audio": {"data": "AAAA"}}, True),
    ],
)
def test_first_content(delta: dict[str, object], is_content: bool) -> None:
    assert run([chunk(delta)])[1].has_content is is_content


def test_comments_and_foreign_events_say_nothing() -> None:
    stream = [b": OPENROUTER PROCESSING\n\n", frame({"type": "ping"}), b"event: keepalive\ndata: {}\n\n"]
    sent, decoder = run(stream)
    assert sent == b""
    assert not decoder.has_content
    assert decoder.error is not None


def test_half_a_surrogate_pair_passes() -> None:
    halves = [chunk({"content": "@"}).replace(b"@", half) for half in (b"\\ud83c", b"\\udf89")]
    sent, decoder = run([ROLE, HELLO[0], *halves, STOP, DONE])
    assert decoder.error is None
    assert halves[0] in sent


def test_each_tool_call_has_its_index() -> None:
    def call(name: str | None, arguments: str, **more: object) -> bytes:
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return chunk({"tool_calls": [{"function": function, **more}]})

    parts = [call("f", '{"a"', id="x"), call(None, ":1}"), call("g", "{}", id="y")]
    calls = [c["choices"][0]["delta"]["tool_calls"][0] for c in parsed(run([ROLE, *parts])[0])[1:]]
    assert [(c["index"], c.get("id"), c.get("type")) for c in calls] == [
        (0, "x", "function"), (0, None, None), (1, "y", "function")]  # fmt: skip
    on_zero = [call("f", "{}", id="x", index=0), call("g", "{}", id="y", index=0)]
    calls = [c["choices"][0]["delta"]["tool_calls"][0] for c in parsed(run([ROLE, *on_zero])[0])[1:]]
    assert [c["index"] for c in calls] == [0, 1]


def test_azure_opens_with_filter_results_and_goes_on_without_deltas() -> None:
    opening = frame({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [1]})
    later = frame({"choices": [{"content_filter_results": {"hate": 1}, "finish_reason": None, "index": 0}], "id": "",
                   "object": "", "created": 0, "model": ""})  # fmt: skip
    sent, decoder = run([opening, ROLE, HELLO[0], later, STOP, DONE], kind="openai_compatible")
    chunks = parsed(sent)
    assert decoder.error is None
    assert chunks[0]["prompt_filter_results"] == [1]
    assert {c["id"] for c in chunks} == {"c1"}
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert chunks[2]["choices"][0]["delta"] == {}
    assert chunks[2]["choices"][0]["content_filter_results"] == {"hate": 1}


def test_legacy_completions() -> None:
    def text(piece: str, finish: str | None = None) -> bytes:
        choice = {"text": piece, "index": 0, "logprobs": None, "finish_reason": finish}
        return frame({"id": "k", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]})

    stream = [text("a"), text("b"), text("c"), text("", "length"), DONE]
    sent, decoder = run(stream, asked=request("completions", stream=True))
    assert sent == b"".join(stream)
    assert (decoder.finish_reason, decoder.output_bytes) == ("length", 3)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        '"}}]}',
        'data: {"error":{"message":"x"}}',
        '"finish_reason":"stop"',
        '","obfuscation":"a"',
        "\n\n",
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(["content", "reasoning_content"]), TEXT), max_size=12),
    st.sampled_from(["spec", "padded", "no finish_reason", "spaced"]),
    st.lists(st.integers(0, 100_000), max_size=8),
)
def test_text_survives_any_cut_and_any_shape(words: list[tuple[str, str]], style: str, borders: list[int]) -> None:
    frames = [ROLE]
    for number, (name, word) in enumerate(words):
        body = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
        choice: dict[str, object] = {"index": 0, "delta": {name: word}}
        if style != "no finish_reason":
            choice["finish_reason"] = None
        body |= {"choices": [choice]} | ({"obfuscation": "ab1" * (number % 3)} if style == "padded" else {})
        separators = (", ", ": ") if style == "spaced" else (",", ":")
        frames.append(b"data: " + json.dumps(body, separators=separators).encode() + b"\n\n")
    frames += [STOP, REPORT, DONE]
    whole = b"".join(frames)
    places = sorted({0, len(whole), *(b % len(whole) for b in borders)})
    ways = [frames, [whole], [whole[a:b] for a, b in itertools.pairwise(places)], [whole.replace(b"\n", b"\r\n")]]
    for pieces in ways:
        sent, decoder = run(pieces)
        assert decoder.error is None
        said = [(name, text) for c in parsed(sent) for name, text in c["choices"][0]["delta"].items() if name != "role"]
        assert [pair for pair in said if pair[1]] == [pair for pair in words if pair[1]]
        assert all(c["choices"][0]["finish_reason"] is None for c in parsed(sent)[:-1])
        assert decoder.output_bytes >= sum(len(word.encode()) for _, word in words)
        if style != "no finish_reason" and pieces is frames:
            assert sent == b"".join([*frames[:-2], DONE])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.just("x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["index", "delta", "content", "tool_calls", "function", "arguments", "id", "usage", "choices",
                         "finish_reason", "text", "error", "message", "role", "name", "x_groq", "object", "created"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, max_size=4), st.booleans())
def test_no_answer_however_strange_raises(bodies: list[object], include_usage: bool) -> None:
    chunks = [frame({"id": "c", "choices": [b]}) for b in bodies] + [frame(b) for b in bodies]
    for operation in ("chat", "completions"):
        asked = request(operation, stream=True, include_usage=include_usage)
        for pieces in (chunks, [b"".join(chunks)], [ROLE, *HELLO, *chunks, STOP, DONE]):
            run(pieces, asked=asked)
