"""Words and word pairs as numbers below 2^18, the same in training and at decision time, on every machine."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 18
# The last words mostly hold the question; they count a second time, under other numbers.
_LAST_WORDS = 20
_LAST_SALT = 77_777


def buckets(words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The distinct buckets of a text, ascending, and how much each weighs: by the logarithm of how often it occurs, in
    all a vector of length 1. Numbers count by their length alone: others will come in traffic.
    """
    count = len(words)
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    shaped = ["0000"[: len(word)] if word.isdecimal() else word for word in words]
    single = np.fromiter(map(crc32, "\n".join(shaped).encode("utf-8", "replace").split(b"\n")), np.int64, count)
    pairs = single[:-1] * 31 + single[1:] * 1_000_003 + 7
    last = single[-_LAST_WORDS:] + _LAST_SALT
    last_pairs = pairs[-_LAST_WORDS:] + _LAST_SALT
    found = np.sort(np.concatenate((single, pairs, last, last_pairs)) & (BUCKETS - 1))
    starts = np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1])))
    weights = np.log(np.diff(starts, append=len(found)).astype(np.float32)) + np.float32(1.0)
    return found[starts], np.divide(weights, np.sqrt(weights @ weights), dtype=np.float32)
