"""Decompression in pieces: the same bytes whatever the pieces are."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.inflate import Inflater


def raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def stored(data: bytes) -> bytes:
    """Bare deflate that begins with a block that is not compressed."""
    compressor = zlib.compressobj(level=0, wbits=-15)
    return compressor.compress(data) + compressor.flush()


FORMS = {
    "gzip": (b"gzip", gzip.compress),
    "members": (b"gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:])),
    "zlib": (b"deflate", zlib.compress),
    "zlib, small window": (b"deflate", lambda data: zlib.compress(data, wbits=9)),
    "raw": (b"deflate", raw),
    "raw, stored": (b"deflate", stored),
}
# Text that compresses little, and text that compresses much.
data = st.binary(max_size=300) | st.integers(0, 100_000).map(lambda size: b"ab" * size)


@pytest.mark.parametrize("form", FORMS)
@given(data=data, step=st.integers(1, 400), at_most=st.sampled_from([1, 7, 258, 4096]))
def test_pieces_make_no_difference(form, data, step, at_most) -> None:
    at_most = max(at_most, len(data) // 200)
    encoding, compress = FORMS[form]
    packed = compress(data)
    inflater = Inflater(encoding)
    out = []
    for start in range(0, len(packed), step):
        inflater.push(packed[start : start + step])
        while piece := inflater.pull(at_most):
            assert len(piece) <= at_most
            out.append(piece)
    assert b"".join(out) == data
    assert inflater.is_whole


@pytest.mark.parametrize("form", [name for name in FORMS if name != "members"])
@given(cut=st.integers(1, 1000))
def test_a_part_is_not_the_whole(form, cut) -> None:
    encoding, compress = FORMS[form]
    packed = compress(bytes(range(256)) * 3)
    inflater = Inflater(encoding)
    inflater.push(packed[: -min(cut, len(packed) - 1)])
    while inflater.pull(1000):
        pass
    assert not inflater.is_whole


@given(st.sampled_from([b"gzip", b"deflate"]), st.binary(max_size=200))
def test_any_bytes_are_data_or_an_error(encoding, packed) -> None:
    inflater = Inflater(encoding)
    inflater.push(packed)
    total = 0
    try:
        while piece := inflater.pull(1000):
            total += len(piece)
    except zlib.error:
        return
    assert total < 300_000


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"", b"gzip,gzip"])
def test_other_encodings_are_refused(encoding) -> None:
    with pytest.raises(ValueError, match="nobody asked for"):
        Inflater(encoding)
