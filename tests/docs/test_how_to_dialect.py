"""The dialect of the how-to keeps the rules that the how-to states: it is what people will copy."""

import itertools
import json
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Cause, Request, Target
from providers.base import ProviderOptions as Options
from tests.docs.pages import Page

_EVENTS = [{"words": "Grüße"}, {"words": "\u2028"}, {"words": " 👋"}]
_END = {"end": "complete", "tokens": {"in": 7, "out": 3}}
_STREAM = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n" for event in [*_EVENTS, _END]).encode()


def _dialect() -> ModuleType:
    page = Page("docs/how-to/add-a-dialect.md")
    source = next(block.text for block in page.blocks if block.argument == "providers/acme.py")
    module = ModuleType("acme")
    exec(compile(source, "providers/acme.py", "exec"), module.__dict__)
    return module


_ACME = _dialect()
_PROVIDER = _ACME.build(Options(name="acme", kind="acme", api_key="acme-key-0123456789"))
_TARGET = Target("rocket-1")


def _request() -> Request:
    body = {"model": "rocket", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    return Request("chat", body, json.dumps(body).encode(), "rocket", True, True, "req_1")


def _decoded(*pieces: bytes) -> tuple[bytes, object]:
    decoder = _PROVIDER.decoder(_request(), _TARGET)
    decoder._frames = _ACME.Frames("chatcmpl-req_1", "rocket-1", 1, include_usage=True)  # one second for all runs
    out = b"".join([*(decoder.feed(piece) for piece in pieces), decoder.close()])
    return out, decoder


@given(st.lists(st.integers(0, len(_STREAM)), max_size=8))
def test_a_stream_says_the_same_however_it_is_cut(cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[a:b] for a, b in itertools.pairwise(borders)]
    out, decoder = _decoded(*pieces)
    assert out == _decoded(_STREAM)[0]
    assert decoder.error is None
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("size", [0, 10, len(_STREAM) // 2, len(_STREAM) - 5])
def test_a_stream_without_its_end_is_an_error(size: int) -> None:
    _, decoder = _decoded(_STREAM[:size])
    assert decoder.error.cause is Cause.CUT


def test_a_request_is_not_changed() -> None:
    request = _request()
    before = json.dumps(request.body)
    call = _PROVIDER.call(request, _TARGET)
    assert json.dumps(request.body) == before
    assert json.loads(call.body) == {
        "engine": "rocket-1",
        "turns": [{"who": "guest", "words": "Hello"}],
        "stream": True,
    }
