"""Boosted trees, evaluated in plain Python: how likely two prompts may share one answer.

The tables are trained by `benchmarks/cache/train.py`; none is trained at run time.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from policies.cache.semantic.features import NAMES


class Verifier:
    """Immutable; one for lookups with a cosine, one for those without.

    A tree is a list of nodes: a node is a leaf's value, or (feature, threshold, left, right), left where the feature
    is at most the threshold.
    """

    __slots__ = ("_base", "_trees", "has_embedder")

    def __init__(self, has_embedder: bool, base: float, trees: list[list[list[float]]]) -> None:
        self.has_embedder = has_embedder
        self._base = base
        # (feature, threshold, left, right); a leaf has feature -1 and its value as threshold
        self._trees = [
            tuple(
                (-1, node[0], 0, 0) if len(node) == 1 else (int(node[0]), node[1], int(node[2]), int(node[3]))
                for node in tree
            )
            for tree in trees
        ]

    @classmethod
    def load(cls, has_embedder: bool) -> "Verifier":
        """The packaged table. Raises ValueError where it was trained on other features than there are."""
        return _load(has_embedder)

    def logit(self, features: Sequence[float]) -> float:
        """Log odds. `features` as `features()` gives them, with a cosine if and only if the table has one."""
        total = self._base
        for tree in self._trees:
            feature, threshold, left, right = tree[0]
            while feature >= 0:
                feature, threshold, left, right = tree[left if features[feature] <= threshold else right]
            total += threshold
        return total


@cache
def _load(has_embedder: bool) -> Verifier:
    name = "with_cosine.json" if has_embedder else "lexical.json"
    table = json.loads(files("policies.cache.semantic").joinpath("tables", name).read_text("utf-8"))
    wanted = [*NAMES, "cosine"] if has_embedder else [*NAMES]
    if table["features"] != wanted:
        raise ValueError(f"{name} was trained on other features; train it again with benchmarks/cache/train.py")
    return Verifier(has_embedder, table["base"], table["trees"])
