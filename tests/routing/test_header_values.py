"""Names in headers: any text gives a valid value, and a reader gets it back."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.decision import header_text, sf_value, summarise

# RFC 8941, 3.3.3 and 3.3.4.
_TOKEN = r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_ITEM = re.compile(rf"({_TOKEN})((?:;[a-z*][a-z0-9_\-.*]*=(?:{_TOKEN}|{_STRING}))*)")
_PARAMETER = re.compile(rf";([a-z]+)=({_TOKEN}|{_STRING})")
ANY = st.text(st.characters(), max_size=30)


def read(value):
    """The text behind a bare item."""
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


@given(ANY)
def test_any_text_is_a_token_or_a_string(text):
    value = sf_value(text)
    assert re.fullmatch(f"{_TOKEN}|{_STRING}", value)
    if "%" not in text:
        assert unquote_to_bytes(read(value)).decode("utf-8", "surrogatepass") == text


@given(ANY, st.none() | ANY)
def test_a_summary_is_an_item_with_parameters(route, tier):
    found = _ITEM.fullmatch(summarise("ordered", route=route, tier=tier))
    assert found[1] == "ordered"
    names = [name for name, _ in _PARAMETER.findall(found[2])]
    assert names == ["route"] + (["tier"] if tier is not None else [])


@given(ANY)
def test_header_text_is_printable(text):
    assert re.fullmatch(rb"[ -~]*", header_text(text))
    assert len(header_text(text)) == len(text)


@pytest.mark.parametrize("text", ["half \ud83d", "a\r\nset-cookie: x", "", "é"])
def test_texts_that_are_no_tokens(text):
    assert sf_value(text).startswith('"')
    assert "\n" not in sf_value(text)
