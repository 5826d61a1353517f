"""Two prompts side by side, in numbers that the verifier's trees were trained on."""

from collections.abc import Mapping

from policies.cache.semantic.text import Text

NAMES = ("words_shared", "grams_shared")


def features(
    asked: Text, kept: Text, cosine: float | None = None, idf: Mapping[str, float] | None = None
) -> list[float]:
    """As many as `NAMES`, and the cosine where there is one. `idf`: weight of a word, 1 where it is not named.

    Symmetric in the two texts.
    """
    weights = idf or {}
    ours, theirs = set(asked.words), set(kept.words)
    shared = sum(weights.get(word, 1.0) for word in ours & theirs)
    whole = sum(weights.get(word, 1.0) for word in ours | theirs)
    grams = (asked.grams | kept.grams).bit_count()
    found = [
        shared / whole if whole else 0.0,
        (asked.grams & kept.grams).bit_count() / grams if grams else 0.0,
    ]
    if cosine is not None:
        found.append(cosine)
    return found
