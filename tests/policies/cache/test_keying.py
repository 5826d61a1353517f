"""What makes two requests the same, and what must never do so."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cache.keying import key_of, loose_key_of, loses_digits, unfit

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def _image(data):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}]}


def _audio(data):
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"messages": [{"role": "user", "content": [part]}]}


def _file(data):
    return {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}]}


def _said(*messages):
    return {"messages": [{"role": role, "content": text} for role, text in messages]}


def _called(arguments):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


def _key(body, name="m", partition="key:a", operation="chat", more=None):
    return key_of(operation, name, body, partition, more or {})


SAME = {
    "order of fields": ({"messages": HELLO["messages"], "seed": 1}, {"seed": 1, "messages": HELLO["messages"]}),
    "order inside a message": (
        {"messages": [{"role": "user", "content": "hello"}]},
        {"messages": [{"content": "hello", "role": "user"}]},
    ),
    "whole and streamed": (HELLO, HELLO | {"stream": True, "stream_options": {"include_usage": True}}),
    "who the end user is": (HELLO | {"user": "u1"}, HELLO | {"user": "u2", "safety_identifier": "x"}),
    "metadata": (HELLO | {"metadata": {"trace": "1"}}, HELLO),
    "a key for the provider's own cache": (HELLO | {"prompt_cache_key": "k"}, HELLO),
    "nulls": (HELLO | {"temperature": None, "tools": None}, HELLO),
    "defaults": (HELLO | {"temperature": 1, "top_p": 1.0, "n": 1, "presence_penalty": 0, "logprobs": False}, HELLO),
    "no tools and none": (HELLO | {"tools": [], "tool_choice": "none"}, HELLO),
    "tools and auto": (HELLO | {"tools": [TOOL]}, HELLO | {"tools": [TOOL], "tool_choice": "auto"}),
    "spelling of a number": (HELLO | {"temperature": 2}, HELLO | {"temperature": 2.0}),
    "text as the format": (HELLO | {"response_format": {"type": "text"}}, HELLO),
}
DIFFERENT = {
    "image": (_image("AAAA"), _image("AAAB")),
    "audio": (_audio("AAAA"), _audio("AAAB")),
    "file": (_file("AAAA"), _file("AAAB")),
    "text": (_said(("user", "a")), _said(("user", "b"))),
    "case of a text": (_said(("user", "Polish")), _said(("user", "polish"))),
    "white space": (_said(("user", "a b")), _said(("user", "a  b"))),
    "role boundary": (_said(("user", "a\nassistant: b")), _said(("user", "a"), ("assistant", "b"))),
    "joined texts": (_said(("user", "ab"), ("user", "c")), _said(("user", "a"), ("user", "bc"))),
    "role": (_said(("user", "a")), _said(("system", "a"))),
    "system prompt": (_said(("system", "be brief"), ("user", "a")), _said(("system", "be long"), ("user", "a"))),
    "history": (_said(("user", "a"), ("assistant", "b"), ("user", "c")), _said(("user", "c"))),
    "order of messages": (_said(("user", "a"), ("user", "b")), _said(("user", "b"), ("user", "a"))),
    "tool arguments": (_called('{"x":1}'), _called('{"x":2}')),
    "tools": (HELLO, HELLO | {"tools": [TOOL]}),
    "tool choice": (HELLO | {"tools": [TOOL], "tool_choice": "required"}, HELLO | {"tools": [TOOL]}),
    "schema": (HELLO | {"response_format": {"type": "json_object"}}, HELLO),
    "temperature": (HELLO | {"temperature": 0}, HELLO),
    "zero and nothing": (HELLO | {"top_p": 0}, HELLO),
    "seed": (HELLO | {"seed": 1}, HELLO | {"seed": 2}),
    "length": (HELLO | {"max_tokens": 5}, HELLO | {"max_tokens": 6}),
    "stop": (HELLO | {"stop": ["x"]}, HELLO),
    "number of answers": (HELLO | {"n": 2}, HELLO),
    "logprobs": (HELLO | {"logprobs": True}, HELLO),
    "effort": (HELLO | {"reasoning_effort": "high"}, HELLO | {"reasoning_effort": "low"}),
    "a field that nobody knows": (HELLO | {"vendor_extra": 1}, HELLO),
    "who may answer": (HELLO | {"provider": {"only": ["x"]}}, HELLO),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same(case):
    one, other = SAME[case]
    assert _key(one) == _key(other)


@pytest.mark.parametrize("case", DIFFERENT)
def test_different(case):
    one, other = DIFFERENT[case]
    assert _key(one) != _key(other)


def test_who_asks_and_for_what_is_part_of_it():
    keys = [
        _key(HELLO),
        _key(HELLO, partition="key:b"),
        _key(HELLO, partition="group:a"),
        _key(HELLO, name="other"),
        _key(HELLO, more={"x-signalbox-tags": "gold"}),
        _key({"prompt": "hello"}, operation="completions"),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 for key in keys)


def test_half_a_character_and_huge_numbers_have_a_key():
    assert _key(_said(("user", "\ud83d"))) != _key(_said(("user", "\ud83e")))
    assert _key(HELLO | {"seed": 2**70}) != _key(HELLO | {"seed": 2**71})


@given(name=st.text(max_size=8), partition=st.text(max_size=8), text=st.text(max_size=8))
def test_no_name_can_be_written_to_look_like_something_else(name, partition, text):
    moved = _key(_said(("user", text)), name + partition, "")
    assert (moved == _key(_said(("user", text)), name, partition)) == (not partition)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, None),
        ({"tools": [TOOL]}, None),
        ({"store": True}, "stateful"),
        ({"previous_response_id": "r"}, "stateful"),
        ({"background": True}, "stateful"),
        ({"web_search_options": {}}, "live"),
        ({"plugins": [{"id": "web"}]}, "live"),
        ({"tools": [{"type": "web_search"}]}, "live"),
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"modalities": 5}, None),
    ],
)
def test_what_is_never_kept(more, why):
    assert unfit("chat", HELLO | more) == why


def test_a_limit_of_length_is_not_what_every_server_has_without_one():
    free = {"prompt": "once upon a time"}
    assert key_of("completions", "m", free, "key:a") != key_of("completions", "m", free | {"max_tokens": 16}, "key:a")


def _loose(body, name="m", partition="key:a", operation="chat"):
    return loose_key_of(operation, name, body, partition)


def test_only_the_last_text_may_be_written_otherwise():
    asked = _said(("system", "Be brief"), ("user", "What's the capital of Kenya?"))
    same = _said(("system", "Be brief"), ("user", "hi, WHAT is the capital of kenya please"))
    assert _loose(asked) == _loose(same) is not None
    assert _loose(asked) != _key(asked)
    others = [
        _said(("system", "be brief"), ("user", "What's the capital of Kenya?")),
        _said(("system", "Be brief"), ("user", "What's the capital of Canada?")),
        _said(("user", "What's the capital of Kenya?")),
        asked | {"temperature": 0},
    ]
    assert all(_loose(other) not in (None, _loose(asked)) for other in others)
    assert len({_loose(asked), _loose(asked, partition="key:b"), _loose(asked, name="n")}) == 3


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"functions": [{"name": "f"}]},
        {"logprobs": True},
        {"n": 2},
        _said(("user", "what is"), ("assistant", "a capital?")),
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": "7"}, {"role": "user", "content": "so?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"messages": [{"role": "user", "content": None}]},
        _said(("user", "what does f(x) do?")),
        _said(("system", "Translate what the user says into German."), ("user", "hello")),
    ],
)
def test_the_letter_counts(more):
    assert _loose(HELLO | more) is None
    assert _loose({"prompt": "hello"}, operation="completions") is None


@pytest.mark.parametrize(
    ("number", "is_lost"),
    [
        ("18446744073709551615", False),
        ("18446744073709551616", True),
        ("-9223372036854775808", False),
        ("-9223372036854775809", True),
        ("9" * 5000, True),
        ("1" + "0" * 19, False),
        ("1" + "0" * 20, True),
        ("0.1000000000000000055511151231257827", False),
        ("1e19", False),
        ('"18446744073709551616"', False),
        ('"\\"18446744073709551616"', False),
    ],
)
def test_a_number_that_was_read_as_one_of_its_neighbours(number, is_lost):
    raw = b'{"messages": [], "tools": [{"function": {"parameters": {"const": %b}}}]}' % number.encode()
    assert loses_digits(raw) is is_lost


def test_what_is_read_is_what_was_written_or_has_no_key():
    """As the gateway reads a body: two numbers that differ have different keys, or none."""
    for number in (2**53, 2**63, 2**64 - 2, 2**64, 2**70):
        texts = [b'{"messages": [], "x": [%d]}' % one for one in (number, number + 1)]
        keys = {_key(orjson.loads(text)) for text in texts}
        assert len(keys) == 2 or all(map(loses_digits, texts)), number
