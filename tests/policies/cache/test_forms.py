"""Whole answers and streams say the same."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cache.forms import UnfitError, is_good, marked, stream_of, whole_of
from providers.base import Usage

SHARED = {"id": "chatcmpl-1", "created": 7, "model": "m", "system_fingerprint": "fp"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def _whole(message, finish="stop", logprobs=None, **more):
    full = {"role": "assistant", "content": None, "refusal": None} | message
    choice = {"index": 0, "message": full, "logprobs": logprobs, "finish_reason": finish}
    return SHARED | {"object": "chat.completion", "choices": [choice], "usage": USAGE} | more


def _chunk(delta, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish} | more
    data = SHARED | {"object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
messages = st.fixed_dictionaries(
    {"content": st.none() | texts.filter(bool)},
    optional={
        "tool_calls": st.just(CALLS),
        "reasoning_content": texts.filter(bool),
        "annotations": st.just([{"type": "url_citation"}]),
    },
)


@given(messages, st.booleans())
def test_there_and_back(message, include_usage):
    whole = _whole(message)
    again = whole_of(stream_of(whole, include_usage=include_usage))
    assert again == (whole if include_usage else {name: value for name, value in whole.items() if name != "usage"})


def test_several_choices_and_plain_completions():
    two = _whole({"content": "one"})
    two["choices"].append(two["choices"][0] | {"index": 1, "message": {"role": "assistant", "content": "two"}})
    again = whole_of(stream_of(two, include_usage=True))
    assert [choice["message"]["content"] for choice in again["choices"]] == ["one", "two"]
    plain = SHARED | {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "once upon a time" * 9, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    assert whole_of(stream_of(plain, include_usage=True)) == plain


def test_a_refusal_is_told_in_both_forms():
    """It is not kept, but shared with those who wait for it."""
    logprobs = {"content": None, "refusal": [{"token": "no", "logprob": -0.1}]}
    for whole in (_whole({"refusal": "no, " * 50}), _whole({"content": "a", "refusal": "no"}, logprobs=logprobs)):
        assert whole_of(stream_of(whole, include_usage=True)) == whole


def test_what_a_choice_ends_with_is_told_in_both_forms():
    """Azure's verdicts: https://learn.microsoft.com/en-us/azure/ai-services/openai/concepts/content-filter"""
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    stream = b"".join(
        [
            _chunk({"role": "assistant", "content": ""}, content_filter_results={}, native_finish_reason=None),
            _chunk({"content": "a"}, content_filter_results=safe, native_finish_reason=None),
            _chunk({}, "stop", content_filter_results={}, native_finish_reason="STOP", stop_reason=7),
            DONE,
        ]
    )
    whole = whole_of(stream)
    ends = {"content_filter_results": safe, "native_finish_reason": "STOP", "stop_reason": 7}
    assert ends.items() <= whole["choices"][0].items()
    assert whole_of(stream_of(whole, include_usage=False)) == whole
    plain = {"index": 0, "text": "once", "logprobs": None, "finish_reason": "stop"} | ends
    text = SHARED | {"object": "text_completion", "choices": [plain]}
    assert whole_of(stream_of(text, include_usage=False)) == text


@pytest.mark.parametrize(
    "message",
    [{"content": ["parts"]}, {"content": {"a": 1}}, {"content": "a", "reasoning": [{"text": "b"}]}, {"refusal": 7}],
)
def test_what_has_no_pieces_is_no_stream(message):
    with pytest.raises(UnfitError):
        stream_of(_whole(message), include_usage=True)


def test_logprobs_stay_with_their_text():
    logprobs = {"content": [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}], "refusal": None}
    whole = _whole({"content": "ab"}, logprobs=logprobs)
    assert whole_of(stream_of(whole, include_usage=True)) == whole
    parts = [
        _chunk({"content": "a"}, logprobs={"content": logprobs["content"][:1], "refusal": None}),
        _chunk({"content": "b"}, logprobs={"content": logprobs["content"][1:], "refusal": None}),
        _chunk({}, "stop"),
        DONE,
    ]
    assert whole_of(b"".join(parts))["choices"][0]["logprobs"] == logprobs


def test_what_comes_with_a_later_chunk_is_part_of_the_answer():
    filtered = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [7]}
    last = json.loads(_chunk({}, "stop")[6:]) | {"citations": ["x"]}
    stream = b"".join(
        [
            b"data: %b\n\n" % json.dumps(filtered).encode(),
            _chunk({"content": "a"}),
            b"data: %b\n\n" % json.dumps(last).encode(),
            DONE,
        ]
    )
    whole = whole_of(stream)
    assert {"object": "chat.completion", "prompt_filter_results": [7], "citations": ["x"]}.items() <= whole.items()
    assert SHARED.items() <= whole.items()


def test_calls_in_pieces():
    stream = b"".join(
        [
            _chunk({"role": "assistant", "content": None}),
            _chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f"}}]}),
            _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
            _chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            _chunk({"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "g"}}]}),
            _chunk({}, "tool_calls"),
            DONE,
        ]
    )
    assert whole_of(stream)["choices"][0]["message"]["tool_calls"] == CALLS


@pytest.mark.parametrize(
    "stream",
    [
        _chunk({"content": "no end"}, "stop"),
        _chunk({"content": "a", "secret_signature": "x"}, "stop") + DONE,
        _chunk({"content": ["parts"]}, "stop") + DONE,
        _chunk({"audio": {"data": "x"}}, "stop") + DONE,
        _chunk({"content": "a"}, "stop", vendor_state={"x": 1}) + DONE,
        _chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]})
        + _chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "}"}}]})
        + _chunk({}, "tool_calls")
        + DONE,
        b"data: nonsense\n\n" + DONE,
        b'data: {"error": {"message": "late"}}\n\n' + DONE,
        DONE,
        b"",
    ],
)
def test_what_cannot_be_told_again_is_not_kept(stream):
    with pytest.raises(UnfitError):
        whole_of(stream)


@pytest.mark.parametrize(
    ("whole", "good"),
    [
        (_whole({"content": "a"}), True),
        (_whole({"tool_calls": CALLS}, "tool_calls"), True),
        (_whole({"content": "a"}, "length"), False),
        (_whole({"content": "a"}, "content_filter"), False),
        (_whole({"content": "a"}, None), False),
        (_whole({"content": ""}), False),
        (_whole({"content": None, "refusal": "no"}), False),
        (_whole({"content": "a", "refusal": "no"}), False),
        (SHARED | {"choices": []}, False),
        (SHARED, False),
    ],
)
def test_which_answers_are_given_again(whole, good):
    assert is_good(whole) is good


def test_a_kept_answer_takes_the_room_of_its_bytes():
    """What orjson returns stands in a buffer that is larger, and stays so for as long as it is kept."""
    tracemalloc.start()
    kept = [marked(_whole({"content": "a"}), None) for _ in range(200)]
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 1.5 * sum(map(len, kept))


def test_usage_says_that_nobody_was_asked():
    assert json.loads(marked(_whole({"content": "a"}), None))["usage"] == USAGE | {"is_cached": True}
    without = {name: value for name, value in _whole({"content": "a"}).items() if name != "usage"}
    told = json.loads(marked(without, Usage(input=3, output=4)))["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["is_cached"]) == (3, 4, True)
    assert json.loads(marked(without, None))["usage"] is None
