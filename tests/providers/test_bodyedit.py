"""Edits change the members they name, wherever and however these are written, and nothing else."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.bodyedit import edit

NAMES = st.sampled_from(["model", "stream_options", "messages", "m", "", "modell", "mod\\el", 'a"model"', "é", "user"])
SPACE = st.sampled_from(["", "", " ", "\n ", "\r\n", "\t"])


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A JSON string for `text`, some of its letters written as escapes."""
    escaped = draw(st.integers(0, 255)) if draw(st.booleans()) else 0
    letters = (f"\\u{ord(c):04x}" if escaped >> i & 1 else json.dumps(c)[1:-1] for i, c in enumerate(text))
    return '"' + "".join(letters) + '"'


SCALARS = st.one_of(
    st.sampled_from(
        ["null", "true", "1.10", "12345678901234567890123", "1E5", "-0.0", '""', '"model"', r'"\"model\""']
    ),
    st.sampled_from(['"a\\\\"', r'"\\\"model\": 1"', '"}{]["', r'"abc\"model"', '"\\u006dodel"']),
)


@st.composite
def json_text(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.integers(0, 3)) if depth else 0
    if kind == 1:
        return draw(object_text(depth=depth - 1))
    if kind == 2:
        items = draw(st.lists(json_text(depth=depth - 1), max_size=3))
        return "[" + draw(SPACE) + ("," + draw(SPACE)).join(items) + draw(SPACE) + "]"
    return draw(SCALARS)


@st.composite
def object_text(draw: st.DrawFn, depth: int = 2) -> str:
    members = []
    for name in draw(st.lists(NAMES, max_size=5)):
        key = draw(spelled(name))
        members.append(f"{draw(SPACE)}{key}{draw(SPACE)}:{draw(SPACE)}{draw(json_text(depth=depth))}{draw(SPACE)}")
    return "{" + (",".join(members) or draw(SPACE)) + "}"


def pairs(text: bytes) -> list[tuple[str, Any]]:
    """Top-level members in order, duplicates included, numbers as they are written."""
    number = "number {}".format
    found = json.loads(text, object_pairs_hook=tuple, parse_int=number, parse_float=number, parse_constant=number)
    return list(found)


@given(object_text(), SPACE, SPACE, st.sets(st.sampled_from(["model", "stream_options", "user"])), st.booleans())
def test_named_members_change_everywhere_and_the_rest_stays(
    text: str, before: str, after: str, names: set[str], removes_m: bool
) -> None:
    raw = (before + text + after).encode()
    body = orjson.loads(raw)
    removals = ["m", "absent", "messages"] if removes_m else []
    changes = {name: b'"new %b"' % name.encode() for name in names}
    edited = edit(raw, body, changes, removals)
    expected = [(k, f"new {k}" if k in names else v) for k, v in pairs(raw) if k not in removals]
    expected += [(name, f"new {name}") for name in changes if name not in body]
    assert pairs(edited) == expected
    assert orjson.loads(edited) == {k: v for k, v in orjson.loads(edited).items() if k not in removals}
    if not names and not removes_m:
        assert edited is raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a","n":1.10}', b'{"model":"X","n":1.10}'),
        (b'{ "model" :\n"a" , "x":null }', b'{ "model" :\n"X" , "x":null }'),
        (b'{"model":"a","model":"b"}', b'{"model":"X","model":"X"}'),
        (b'{"model":"a","\\u006dodel":"b"}', b'{"model":"X","\\u006dodel":"X"}'),
        (b'{"\\u006D\\u006F\\u0064\\u0065\\u006C":"b"}', b'{"\\u006D\\u006F\\u0064\\u0065\\u006C":"X"}'),
        (b'{"model":{"model":"a"},"x":[{"model":1}]}', b'{"model":"X","x":[{"model":1}]}'),
        (b'{"x":{"model":"deep"},"model":"a"}', b'{"x":{"model":"deep"},"model":"X"}'),
        (b'{"x":{"model":"deep"}}', b'{"x":{"model":"deep"},"model":"X"}'),
        (b"{}", b'{"model":"X"}'),
        (b'{"x":"\\"model\\":\\"y\\"","model":"a\\"b"}', b'{"x":"\\"model\\":\\"y\\"","model":"X"}'),
    ],
)
def test_model_is_replaced(raw: bytes, expected: bytes) -> None:
    assert edit(raw, orjson.loads(raw), {"model": b'"X"'}) == expected


def test_removal_takes_its_comma() -> None:
    raw = b'{"a":1, "b":2 ,"c":3}'
    body = orjson.loads(raw)
    assert edit(raw, body, {}, ["a"]) == b'{"b":2 ,"c":3}'
    assert edit(raw, body, {}, ["b"]) == b'{"a":1 ,"c":3}'
    assert edit(raw, body, {}, ["c"]) == b'{"a":1, "b":2}'
    assert edit(raw, body, {"d": b"4"}, ["a", "b", "c"]) == b'{"d":4}'


def test_something_else_than_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        edit(b"[1]", {"model": "a"}, {"model": b"1"})
