"""Words that deny each other, as the analysis writes them."""

from policies.cache.semantic.english.antonyms import ANTONYMS, is_made_opposite
from policies.cache.semantic.reading import concept_of


def _by_concept() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for word, others in ANTONYMS.items():
        found.setdefault(concept_of(word), set()).update(map(concept_of, others))
    return {word: frozenset(others - {word}) for word, others in found.items()}


_OPPOSITES = _by_concept()
_NONE: frozenset[str] = frozenset()


def opposites_of(word: str) -> frozenset[str]:
    """Those that are listed."""
    return _OPPOSITES.get(word, _NONE)


def are_opposites(left: str, right: str) -> bool:
    """Whether one is the opposite of the other. Symmetric."""
    return right in _OPPOSITES.get(left, ()) or is_made_opposite(left, right)
