"""The nearest entries by words alone.

For each word a set of the places that have it, as the bits of one integer; sums of weights of all places at once are
kept in binary, one integer per digit, and added with carries (bit-sliced counters). So a look-up is exact over all
entries without visiting them: some hundred operations on integers of N bits.
"""

from collections.abc import Collection
from math import log2

_FEW = 16  # places are listed up to so many, and in bits beyond
_MOST_WEIGHT = 7
_DIGITS = 10  # of a sum; more than 146 words cannot be told from 146


class Lexical:
    """Places (small integers, dense) by the words of what stands there."""

    def __init__(self) -> None:
        self._few: dict[str, list[int]] = {}
        self._many: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._places = 0

    def __len__(self) -> int:
        return self._places

    def add(self, place: int, words: Collection[str]) -> None:
        """The place must be free. Words count once."""
        self._places += 1
        for word in set(words):
            count = self._counts.get(word, 0)
            self._counts[word] = count + 1
            if count < _FEW:
                self._few.setdefault(word, []).append(place)
                continue
            if count == _FEW:
                self._many[word] = _bits(self._few.pop(word))
            self._many[word] |= 1 << place

    def drop(self, place: int, words: Collection[str]) -> None:
        """With the same words that it was added with."""
        self._places -= 1
        for word in set(words):
            count = self._counts[word] - 1
            if word in self._few:
                self._few[word].remove(place)
                if not count:
                    del self._few[word], self._counts[word]
                    continue
            else:
                bits = self._many[word] & ~(1 << place)
                if count == _FEW:
                    del self._many[word]
                    self._few[word] = _places(bits, _FEW)
                else:
                    self._many[word] = bits
            self._counts[word] = count

    def idf(self, word: str) -> float:
        """How much a word says, in bits: log2 of entries by entries that have it."""
        return log2((self._places + 1) / (self._counts.get(word, 0) + 1)) + 1.0

    def nearest(self, words: Collection[str], count: int) -> list[int]:
        """The places that share most weight of words, at most `count`, newest places first among equals."""
        digits: list[int] = []
        for word in sorted(set(words)):
            few = self._few.get(word)
            bits = _bits(few) if few is not None else self._many.get(word)
            if bits:
                weight = min(_MOST_WEIGHT, max(1, round(self.idf(word))))
                for digit in range(3):
                    if weight >> digit & 1:
                        _add(digits, bits, digit)
        return _largest(digits, count)


def _bits(places: list[int]) -> int:
    bits = 0
    for place in places:
        bits |= 1 << place
    return bits


def _places(bits: int, count: int) -> list[int]:
    """Of the highest bits."""
    found: list[int] = []
    while bits and len(found) < count:
        place = bits.bit_length() - 1
        found.append(place)
        bits ^= 1 << place
    return found


def _add(digits: list[int], bits: int, digit: int) -> None:
    """Add 2**digit at every place of `bits`; a sum that has no room stays at its last digits."""
    while bits and digit < _DIGITS:
        while len(digits) <= digit:
            digits.append(0)
        old = digits[digit]
        digits[digit] = old ^ bits
        bits &= old
        digit += 1


def _largest(digits: list[int], count: int) -> list[int]:
    """Places in the order of their sums."""
    found: list[int] = []
    pool = 0
    for bits in digits:
        pool |= bits
    chosen: list[int] = []  # groups of places, larger sums first
    _split(pool, digits, len(digits) - 1, count, chosen)
    for group in chosen:
        found += _places(group, count - len(found))
    return found


def _split(pool: int, digits: list[int], digit: int, count: int, chosen: list[int]) -> int:
    """Split a pool of places by its digits, larger sums first, until `count` places are in groups of equal sums."""
    if not pool or count <= 0:
        return 0
    if digit < 0:
        chosen.append(pool)
        return pool.bit_count()
    upper = pool & digits[digit]
    taken = _split(upper, digits, digit - 1, count, chosen)
    return taken + _split(pool ^ upper, digits, digit - 1, count - taken, chosen)
