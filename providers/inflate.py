"""Answers that arrive compressed although `identity` was asked for: decompressed a bounded piece at a time."""

import zlib
from typing import Any

_EITHER = 47  # gzip or zlib, told apart by the header
_RAW = -15


class Inflater:
    """gzip, and deflate in both of its readings. Output is made on demand, so a small input never becomes a large one.

    `push` input, then `pull` until nothing comes. Both raise zlib.error for what is not compressed data.
    """

    def __init__(self, encoding: bytes) -> None:
        """Raises ValueError for an encoding other than gzip and deflate."""
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            raise ValueError("an encoding that nobody asked for")
        self._may_be_raw = encoding == b"deflate"
        self._stream: Any = None
        self._input = b""
        self._is_more_likely = False

    @property
    def is_whole(self) -> bool:
        """Whether the compressed data has its proper end; no data at all is whole too (an answer without a body)."""
        return self._stream is None and not self._input

    def push(self, data: bytes) -> None:
        """Take a further piece of the body."""
        self._input += data

    def pull(self, at_most: int) -> bytes:
        """The next `at_most` bytes at most; b"" when more input is needed."""
        while self._input or self._is_more_likely:
            if self._stream is None:
                self._stream = self._start()
            stream = self._stream
            out: bytes = stream.decompress(self._input, at_most)
            self._input = stream.unconsumed_tail
            # A full piece may have left output inside the decompressor although all of the input is used up.
            self._is_more_likely = len(out) == at_most
            if stream.eof:
                # RFC 1952, 2.2: a gzip file is a series of members, one after the other.
                self._input, self._stream, self._is_more_likely = stream.unused_data, None, False
            if out:
                return out
        return b""

    def _start(self) -> Any:
        # "deflate" is zlib's format (RFC 9110, 8.4.1.2), yet some send the bare stream: zlib's first byte ends in 8.
        is_raw = self._may_be_raw and self._input[0] & 0x0F != 8
        return zlib.decompressobj(wbits=_RAW if is_raw else _EITHER)
