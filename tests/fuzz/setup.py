"""How much is tried: a fixed, short choice in every test run, more and other examples with FUZZ_EXAMPLES=20000."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
# Work that grows with the square of its input takes minutes where this is seconds, also on a slow machine.
_PATIENCE_S = 5.0


def fuzz(examples: int) -> Callable[[Any], Any]:
    """The same examples each time, so that no change fails by chance; `make fuzz` looks further."""
    if _EXAMPLES:
        return settings(max_examples=_EXAMPLES)
    return settings(max_examples=examples, derandomize=True, database=None)


@contextmanager
def soon() -> Iterator[None]:
    """What is inside has to be over in time that no loop of a gateway could miss."""
    began = time.process_time()
    yield
    assert time.process_time() - began < _PATIENCE_S


@st.composite
def damaged(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """One of the samples with pieces cut out, doubled, moved and overwritten."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 3))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 24))
        piece = draw(st.binary(max_size=6) | st.just(data[at : at + size] * 2) | st.sampled_from(_PIECES))
        data = data[:at] + piece + data[at + size :]
    return data


_PIECES = [
    b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"data:", b": ", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\\ud800",
    b"{", b"}", b"[" * 70, b"null", b"-1", b"1e999", b"9" * 40, b'"', b"\\", b"true", b"[]", b"{}",
]  # fmt: skip
