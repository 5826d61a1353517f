"""Changes top-level members of a JSON object in the caller's own bytes; all else survives byte for byte.

Re-encoding would lose what a parser does not keep: number precision, duplicate keys, order, white space. A name that is
replaced is replaced wherever it stands, however it is spelled: a caller must not reach another model by writing the
member twice or with escapes, because providers differ in which one they believe.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
_WHITE_SPACE = re.compile(rb"[ \t\n\r]*")
_COLON = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*")
_SCALAR = re.compile(rb"[^\s,}\]]+")
# From any place outside a string to just behind the next bracket, over whole strings.
_TO_BRACKET = re.compile(rb'[^{}\[\]"]*+(?:' + _STRING + rb'[^{}\[\]"]*+)*+[{}\[\]]', re.DOTALL)
_COLON_STRING = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+(" + _STRING + rb")", re.DOTALL)
# Only ASCII names are edited, so only these escapes can spell one of their letters.
_LETTER_ESCAPE = re.compile(rb"\\u00[2-7]")
_OPENING = frozenset(b"{[")


class _Member(NamedTuple):
    """Offsets of one top-level member."""

    name: str
    start: int
    value_start: int
    end: int


def edit(raw: bytes, body: Mapping[str, Any], changes: Mapping[str, bytes], removals: Collection[str] = ()) -> bytes:
    """`raw` with the members in `changes` (name -> JSON text) replaced or added and those in `removals` taken out.

    `raw` must be a valid JSON object and `body` what it parses to; names are plain ASCII. Raises ValueError where `raw`
    is no object.
    """
    added = {}
    present = []
    for name, value in changes.items():
        if name in body:
            present.append(name)
        else:
            added[name] = value
    removed = {name for name in removals if name in body and name not in changes} if removals else removals
    if len(present) == 1 and not removed:
        edited = _replace_only(raw, present[0], changes[present[0]]) or _rewrite(raw, changes, removed)
    else:
        edited = _rewrite(raw, changes, removed) if present or removed else raw
    return _add(edited, added, len(removed) == len(body)) if added else edited


def _replace_only(raw: bytes, name: str, value: bytes) -> bytes | None:
    """The common case at memchr speed: the name stands once in all of `raw`, so that place is the member itself.

    None when it might stand elsewhere or be spelled with escapes, or when its value is no string.
    """
    quoted = b'"%b"' % name.encode()
    at = raw.find(quoted)
    behind = at + len(quoted)
    # Where bytes are looked for with `in`, CPython makes and drops a TypeError first, as they might have been a number
    # (Objects/bytes_methods.c, _Py_bytes_contains). `find` takes half the time.
    if at < 0 or raw.rfind(quoted) != at or (raw.find(b"\\u00") >= 0 and _LETTER_ESCAPE.search(raw)):
        return None
    found = _COLON_STRING.match(raw, behind)
    if found is None:
        return None
    start, end = found.span(1)
    return b"%b%b%b" % (raw[:start], value, raw[end:])


def _add(raw: bytes, added: Mapping[str, bytes], is_empty: bool) -> bytes:
    """New members go last, in front of the closing brace."""
    text = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in added.items())
    at = raw.rindex(b"}")
    return b"%b%b%b%b" % (raw[:at], b"" if is_empty else b",", text, raw[at:])


def _rewrite(raw: bytes, changes: Mapping[str, bytes], removed: Collection[str]) -> bytes:
    """Every member in its place and with the white space around it; a removed one takes its comma along."""
    members = list(_members(raw))
    pieces = [raw[: members[0].start]]
    for index, member in enumerate(members):
        if member.name in removed:
            continue
        if len(pieces) > 1:
            pieces.append(raw[members[index - 1].end : member.start])
        pieces.append(raw[member.start : member.value_start])
        pieces.append(changes.get(member.name) or raw[member.value_start : member.end])
    pieces.append(raw[members[-1].end :])
    return b"".join(pieces)


def _members(raw: bytes) -> Iterator[_Member]:
    at = _skip(_WHITE_SPACE, raw, 0)
    if raw[at : at + 1] != b"{":
        raise ValueError("the body is not a JSON object")
    at = _skip(_WHITE_SPACE, raw, at + 1)
    while raw[at : at + 1] != b"}":
        start = at
        at = _skip(_WHOLE_STRING, raw, at)
        name = orjson.loads(raw[start:at])
        value_start = _skip(_COLON, raw, at)
        end = _value_end(raw, value_start)
        yield _Member(name, start, value_start, end)
        at = _skip(_WHITE_SPACE, raw, end)
        if raw[at : at + 1] == b",":
            at = _skip(_WHITE_SPACE, raw, at + 1)


def _value_end(raw: bytes, at: int) -> int:
    first = raw[at]
    if first not in _OPENING:
        return _skip(_WHOLE_STRING if first == 0x22 else _SCALAR, raw, at)
    depth = 0
    while True:
        at = _skip(_TO_BRACKET, raw, at)
        depth += 1 if raw[at - 1] in _OPENING else -1
        if depth == 0:
            return at


def _skip(pattern: re.Pattern[bytes], raw: bytes, at: int) -> int:
    found = pattern.match(raw, at)
    if found is None:
        raise ValueError(f"the body is not a JSON object (at byte {at})")
    return found.end()
