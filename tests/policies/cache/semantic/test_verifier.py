"""The packaged tables, and what the trees make of them."""

import pytest

from policies.cache.semantic.features import NAMES, features
from policies.cache.semantic.text import analyse
from policies.cache.semantic.verifier import Verifier

ASKED = "How do I restore a backup of the database?"


def logit(kept: str, cosine: float | None = None) -> float:
    found = features(analyse(ASKED), analyse(kept), cosine)
    return Verifier.load(has_embedder=cosine is not None).logit(found)


def test_there_is_a_name_for_every_feature() -> None:
    a = analyse(ASKED)
    assert len(features(a, a)) == len(NAMES)
    assert features(a, a, 0.5) == [*features(a, a), 0.5]


def test_a_rewording_is_told_from_a_neighbour_and_a_stranger() -> None:
    for cosines in ((None, None, None), (0.95, 0.8, 0.1)):
        scores = [
            logit(kept, cosine)
            for kept, cosine in zip(
                (
                    "What is the best way to restore a database backup?",
                    "How do I schedule a backup of the database?",
                    "Which river is the longest?",
                ),
                cosines,
                strict=True,
            )
        ]
        assert scores[0] > 0 > max(scores[1:])


def test_nearer_vectors_never_score_lower() -> None:
    scores = [logit("What is the way to restore a database?", step / 20) for step in range(21)]
    assert scores == sorted(scores)


def test_weights_of_words_count() -> None:
    a, b = analyse("restore the backup"), analyse("restore the archive")
    light = features(a, b, None, {"backup": 0.1, "archive": 0.1})
    assert light[0] > features(a, b, None, {})[0]


def test_a_tree_goes_left_where_the_feature_is_at_most_the_threshold() -> None:
    table = [[[1, 0.5, 1, 2], [-1.0], [0, 2.0, 3, 4], [3.0], [4.0]]]
    verifier = Verifier(False, 0.25, table)
    assert [verifier.logit(found) for found in ([0, 0.5], [2.0, 0.6], [2.1, 0.6])] == [-0.75, 3.25, 4.25]


def test_the_table_belongs_to_the_features() -> None:
    with pytest.raises(IndexError):
        Verifier.load(has_embedder=True).logit([])
