"""Embeddings of the mock provider: unit vectors in which texts that share words lie close together."""

import math
import re
from array import array
from collections import Counter
from hashlib import shake_128
from itertools import islice

_WORD = re.compile(r"\w+")
_POSITIONS = 16  # places of the vector that one word moves
_MAX_WORDS = 512
_STEM = 5


def vector(text: str, dimensions: int) -> "array[float]":
    """A 32-bit float vector of length one, the same for the same text."""
    words = [word.lower() for word in islice((found[0] for found in _WORD.finditer(text)), 8 * _MAX_WORDS)]
    # Stems count beside whole words, so that `route` and `routing` are not strangers.
    counts = Counter([*words, *(f"{word[:_STEM]}*" for word in words)])
    values = [0.0] * dimensions
    for word, count in counts.most_common(_MAX_WORDS) or [("", 1)]:
        weight = 1.0 + math.log(count)
        digest = shake_128(word.encode("utf-8", "surrogatepass")).digest(3 * _POSITIONS)
        for at in range(0, 3 * _POSITIONS, 3):
            place = (digest[at] << 8 | digest[at + 1]) % dimensions
            values[place] += weight if digest[at + 2] & 1 else -weight
    norm = math.sqrt(sum(value * value for value in values))
    if norm == 0.0:  # opposite words in a very short vector
        values[0] = norm = 1.0
    return array("f", (value / norm for value in values))
