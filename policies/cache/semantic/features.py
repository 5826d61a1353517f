"""Two prompts side by side, in numbers that the verifier's trees were trained on."""

from collections.abc import Mapping
from itertools import pairwise

from policies.cache.semantic.alignment import Alignment, align
from policies.cache.semantic.english.vocabulary import FUNCTION
from policies.cache.semantic.opposites import opposites_of
from policies.cache.semantic.text import Text

NAMES = (
    "words_shared",
    "content_shared",
    "content_left_fewer",
    "content_left_more",
    "function_left",
    "prepositions_left",
    "grams_shared",
    "grams_contained",
    "pairs_shared",
    "inversions",
    "is_one_template",
    "slots_shared",
    "slots",
    "shorter",
    "length_ratio",
    "is_one_question",
    "is_one_asking",
    "is_one_tense",
    "persons_differ",
    "typos",
    "unknown_left",
    "values_left",
    "exchanged",
    "related",
    "is_first_shared",
    "is_last_shared",
    "is_one_bag",
    "longest_run",
    "negations",
    "half_opposites",
)
"""What each number is; the cosine comes last, where there is one."""

_FUNCTION_WEIGHT = 0.2
_PREPOSITIONS = frozenset(
    """
    before after from to into without with over under above below until since during between against about than
    inside outside off on up down out per only all any each every both first last more most less least if
    """.split()  # noqa: SIM905
)
_SHORTEST_STEM = 4


def features(
    asked: Text, kept: Text, cosine: float | None = None, idf: Mapping[str, float] | None = None
) -> list[float]:
    """As many as `NAMES`, and the cosine where there is one.

    `idf`: weight of a word between 0 and 1, 1 where it is not named; without it function words count a fifth.
    Symmetric in the two texts.
    """
    aligned = align(asked, kept)
    left = _left(asked, kept, aligned)
    inside, around = (asked.grams & kept.grams).bit_count(), (asked.grams | kept.grams).bit_count()
    fewest_grams = min(asked.grams.bit_count(), kept.grams.bit_count())
    ours, theirs = len(asked.words), len(kept.words)
    found = [
        _weighted(asked, kept, aligned, idf),
        *left,
        inside / around if around else 1.0,
        inside / fewest_grams if fewest_grams else 1.0,
        *_in_order(asked.words, kept.words),
        float(asked.template == kept.template),
        *_slots(asked, kept),
        float(min(ours, theirs)),
        min(ours, theirs) / max(ours, theirs, 1),
        float(asked.question == kept.question),
        _asking(asked.question, kept.question),
        float(asked.tense == kept.tense),
        float((asked.persons ^ kept.persons).bit_count()),
        float(aligned.typos),
        float(len(aligned.our_unknown) + len(aligned.their_unknown)),
        float(len(aligned.our_members) + len(aligned.their_members)),
        float(_exchanged(asked.words, kept.words, aligned)),
        float(_related(aligned)),
        float(asked.content[:1] == kept.content[:1]),
        float(asked.content[-1:] == kept.content[-1:]),
        float(not aligned.ours and not aligned.theirs),
        _longest_run(asked.words, kept.words) / max(min(ours, theirs), 1),
        float(max(len(asked.negated), len(kept.negated))),
        float(_has_half_opposites(asked, kept, aligned)),
    ]
    if cosine is not None:
        found.append(cosine)
    return found


def _weighted(asked: Text, kept: Text, aligned: Alignment, idf: Mapping[str, float] | None) -> float:
    """Share of the weight of all words that both have."""
    alone = _weight(aligned.ours, idf) + _weight(aligned.theirs, idf)
    both = _weight(set(asked.words), idf) + _weight(set(kept.words), idf) - alone
    return both / (both + alone) if both + alone else 1.0


def _weight(words: list[str] | set[str], idf: Mapping[str, float] | None) -> float:
    if idf is not None:
        return sum([idf.get(word, 1.0) for word in words])
    return sum([_FUNCTION_WEIGHT if word in FUNCTION else 1.0 for word in words])


def _left(asked: Text, kept: Text, aligned: Alignment) -> tuple[float, ...]:
    """Share of words with a meaning that both have, and how many words are left over."""
    ours = [word for word in aligned.ours if word in asked.content]
    theirs = [word for word in aligned.theirs if word in kept.content]
    alone = len(ours) + len(theirs)
    whole = len(asked.content) + len(kept.content)
    little = [word for word in (*aligned.ours, *aligned.theirs) if word in FUNCTION]
    return (
        1.0 - alone / whole if whole else 1.0,
        float(min(len(ours), len(theirs))),
        float(max(len(ours), len(theirs))),
        float(len(little)),
        float(sum([word in _PREPOSITIONS for word in little])),
    )


def _in_order(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[float, float]:
    """Share of neighbours that are neighbours in both, and share of the shared words' pairs that change their order."""
    left, right = set(pairwise(ours)), set(pairwise(theirs))
    whole = len(left | right)
    place = {word: number for number, word in enumerate(dict.fromkeys(theirs)) if word not in FUNCTION}
    spots = [place[word] for word in dict.fromkeys(ours) if word in place]
    turned = 0
    if spots != sorted(spots):
        turned = sum([one > other for number, one in enumerate(spots) for other in spots[number + 1 :]])
    return (len(left & right) / whole if whole else 1.0), turned / max(len(spots) * (len(spots) - 1) / 2, 1.0)


def _slots(asked: Text, kept: Text) -> tuple[float, float]:
    ours, theirs = set(asked.slots), set(kept.slots)
    whole = len(ours | theirs)
    return (len(ours & theirs) / whole if whole else 1.0), float(min(len(ours), len(theirs)))


def _asking(one: str, other: str) -> float:
    """1 where both ask or both do not, and neither is answered by yes or no alone."""
    if one == other:
        return 1.0
    return 0.0 if "yesno" in (one, other) and (one and other) else 0.5


def _exchanged(ours: tuple[str, ...], theirs: tuple[str, ...], aligned: Alignment) -> int:
    """How many places there are where each text has a word of its own between the same words."""
    if not aligned.ours or not aligned.theirs:
        return 0
    left, right = _neighbours(ours, aligned.ours), _neighbours(theirs, aligned.theirs)
    return len(left & right)


def _neighbours(words: tuple[str, ...], alone: list[str]) -> set[tuple[str, bool]]:
    """What stands before and after the words that only this text has."""
    found = set()
    for place, word in enumerate(words):
        if word in alone and word not in FUNCTION:
            found.add((words[place - 1] if place else "", False))
            found.add((words[place + 1] if place + 1 < len(words) else "", True))
    return found


def _related(aligned: Alignment) -> int:
    """How many words left over begin like one of the other side: "verify", "verification"."""
    found = 0
    for left in aligned.ours:
        stem = left[: max(_SHORTEST_STEM, len(left) * 3 // 5)]
        if len(left) >= _SHORTEST_STEM and any(word.startswith(stem) for word in aligned.theirs):
            found += 1
    for right in aligned.theirs:
        stem = right[: max(_SHORTEST_STEM, len(right) * 3 // 5)]
        if len(right) >= _SHORTEST_STEM and any(word.startswith(stem) for word in aligned.ours):
            found += 1
    return found


def _has_half_opposites(asked: Text, kept: Text, aligned: Alignment) -> bool:
    """Whether one of them says a word and its opposite, and the other only the word: "restore a backup", "backup"."""
    return any(
        word in asked.words and word in kept.words
        for left in (*aligned.ours, *aligned.theirs)
        for word in opposites_of(left)
    )


def _longest_run(ours: tuple[str, ...], theirs: tuple[str, ...]) -> int:
    """Most words in a row that stand in a row in both."""
    if ours == theirs:
        return len(ours)
    places: dict[str, list[int]] = {}
    for place, word in enumerate(theirs):
        places.setdefault(word, []).append(place)
    longest = 0
    before: dict[int, int] = {}
    for word in ours:
        runs: dict[int, int] = {}
        for place in places.get(word, ()):
            run = runs[place] = before.get(place - 1, 0) + 1
            longest = max(longest, run)
        before = runs
    return longest
