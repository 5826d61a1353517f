"""Numbers that a trained router reads off the words beside the words themselves: how many of each kind, the figures in
the text, the last question. The untrained classifier does not need them, so its path does not pay for them.
"""

from collections import Counter
from math import log1p

import numpy as np
from numpy.typing import NDArray

# A word counts as the first kind that has it.
_KINDS = {
    "number_words": "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "eighteen twenty thirty forty fifty sixty hundred thousand million dozen dozens",
    "single": "one single once",
    "fractions": "half halves third thirds quarter quarters fourth fourths fifth fifths sixth eighth tenth /",
    "multiples": "twice double doubled doubles triple tripled triples thrice times",
    "than": "than",
    "each": "each every per apiece",
    "rest": "left remaining remain remains rest leftover",
    "order": "first second then next last after before finally later until again initially originally",
    "conditions": "if when while unless",
    "money": "$ dollar dollars cost costs price priced pay pays paid spend spends spent earn earns earned buy buys "
    "bought sell sells sold profit money bill cents cent budget",
    "percents": "% percent percentage discount tax interest",
    "units": "hour hours minute minutes seconds day days week weeks month months year years mile miles feet foot inch "
    "inches pound pounds ounce ounces gallon gallons meter meters liter liters kg km",
    "ages": "age ages old older younger ago",
    "rates": "average mean rate ratio speed",
    "as": "as",
    "sharing": "equal equally split splits divide divides divided share shares",
    "negations": "not never without except only but however instead",
    "rounding": "round rounded nearest approximately",
    "shapes": "area square length width height perimeter rectangular side",
    "pronouns": "he she his her they their him them",
    "how": "how",
    "many": "many",
    "much": "much",
    "commas": ",",
}
_KIND_OF = {word: kind for kind, words in reversed(_KINDS.items()) for word in words.split()}
NAMES = (
    *_KINDS,
    "words",
    "whole_decimals",
    "decimals",
    "money_decimals",
    "clock_times",
    "numbers",
    "largest",
    "smallest",
    "sum_of_logs",
    "asks_how_many",
    "asks_how_much",
    "last_words",
)
# Longer ones are names of things.
_LONGEST = 15
_ENDS = frozenset(".?!")


def measure(words: list[str]) -> NDArray[np.float32]:
    """[len(NAMES)], logarithms of counts and amounts. `words` are those of `Features`."""
    kinds = Counter(map(_KIND_OF.get, words))
    numbers, decimals, whole, clocks = _figures(words)
    last = _last_sentence(words)
    counts = [
        *[kinds[kind] for kind in _KINDS],
        len(words),
        whole,
        decimals,
        min(decimals, kinds["money"]),
        clocks,
        len(numbers),
        max(numbers, default=0.0),
        min(numbers, default=0.0),
        sum(map(log1p, numbers)),
        "many" in last,
        "much" in last,
        len(last),
    ]
    return np.log1p(np.array(counts, np.float32))


def _figures(words: list[str]) -> tuple[list[float], int, int, int]:
    """The numbers, how many have a decimal point, how many of those are whole (4.00), how many tell the time (8:30)."""
    numbers = []
    decimals = whole = clocks = at = 0
    end = len(words) - 1
    places = [place for place, word in enumerate(words) if word.isdecimal()]
    for place in places:
        if place < at:
            continue
        digits, at = words[place], place + 1
        while at < end and words[at] == "," and len(words[at + 1]) == 3 and words[at + 1].isdecimal():
            digits, at = digits + words[at + 1], at + 2
        value = float(digits[:_LONGEST])
        if at < end and words[at] == "." and words[at + 1].isdecimal():
            part = words[at + 1][:_LONGEST]
            decimals += 1
            whole += not part.strip("0")
            value += float(f"0.{part}")
            at += 2
        elif at < end and words[at] == ":":
            clocks += 1
        numbers.append(value)
    return numbers, decimals, whole, clocks


def _last_sentence(words: list[str]) -> list[str]:
    """What follows the last end of a sentence that has words after it."""
    for place in range(len(words) - 2, -1, -1):
        if words[place] in _ENDS and not words[place + 1].isdecimal():
            return words[place + 1 :]
    return words
