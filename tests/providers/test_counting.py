"""Our own count where a provider told none: exact where the encoding is, and marked as an estimate."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import tokens
from providers.base import Usage
from providers.counting import count_answer
from providers.tokens import INLINE_BYTES, count, is_inline

ASK = {"messages": [{"role": "user", "content": "Say hello in four languages."}]}


def whole(**message: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}).encode()


def test_a_cut_stream_is_counted_by_what_arrived() -> None:
    text = "Hello, hallo, bonjour, ciao. " * 20
    usage = count_answer(ASK, "gpt-5", text)
    assert usage == Usage(input=tokens.count_prompt(ASK, "gpt-5"), output=count(text, "gpt-5"), is_estimated=True)
    assert count_answer(ASK, "gpt-5", text.encode()) == usage
    assert count_answer(ASK, "gpt-5", b"").output == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (whole(content="Hello there."), "Hello there."),
        (whole(content=None, refusal="I will not."), "I will not."),
        (whole(content="4", reasoning_content="two and two"), "4\ntwo and two"),
        (whole(content=None, tool_calls=[{"function": {"name": "f", "arguments": '{"a":1}'}}]), 'f{"a":1}'),
        (b'{"choices":[{"index":0,"text":"once upon"}]}', "once upon"),
        (b'{"object":"list","data":[{"embedding":[0.1,0.2]}]}', ""),
        (b'{"choices":[', '{"choices":['),
        (b'{"choices":5}', '{"choices":5}'),
        (b"\xff not text", "\ufffd not text"),
    ],
)
def test_of_a_whole_answer_only_what_was_generated_counts(body: bytes, said: str) -> None:
    assert count_answer(ASK, "gpt-5", body).output == count(said, "gpt-5")


@given(st.binary(max_size=200))
def test_no_answer_is_too_odd_to_be_counted(body: bytes) -> None:
    assert count_answer({}, "?", body).is_estimated


def test_up_to_64_kib_are_counted_inline() -> None:
    assert is_inline(INLINE_BYTES)
    assert not is_inline(INLINE_BYTES + 1)


class Panic(BaseException):
    """As pyo3 raises it: no Exception."""


@pytest.mark.parametrize(("error", "is_raised"), [(Panic, False), (ValueError, False), (KeyboardInterrupt, True)])
def test_an_encoder_that_panics_is_counted_by_bytes(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], *, is_raised: bool
) -> None:
    class Broken:
        def encode_ordinary(self, _text: str) -> list[int]:
            raise error

    monkeypatch.setattr(tokens, "load_encoding", lambda _name: Broken())
    if is_raised:
        with pytest.raises(error):
            count("häh", "gpt-5")
    else:
        assert count("häh", "gpt-5") == 4


def test_a_million_spaces_are_counted() -> None:
    assert 0 < count_answer({"messages": []}, "gpt-5", " " * 1_000_000).output < 1_000_000
