"""Boosted trees, evaluated in plain Python: how likely two prompts may share one answer.

The tables are trained by `benchmarks/cache/train.py`; none is trained at run time.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TypeAlias

from policies.cache.semantic.features import NAMES

Node: TypeAlias = "float | tuple[int, float, Node, Node]"


class Verifier:
    """Immutable; one for lookups with a cosine, one for those without.

    A tree is a leaf's value, or (feature, threshold, left tree, right tree), left where the feature is at most the
    threshold.
    """

    __slots__ = ("_base", "_trees", "has_embedder")

    def __init__(self, has_embedder: bool, base: float, trees: list[list[list[float]]]) -> None:
        self.has_embedder = has_embedder
        self._base = base
        self._trees = tuple(_grown(tree, 0) for tree in trees)

    @classmethod
    def load(cls, has_embedder: bool) -> "Verifier":
        """The packaged table. Raises ValueError where it was trained on other features than there are."""
        return _load(has_embedder)

    def logit(self, features: Sequence[float]) -> float:
        """Log odds. `features` as `features()` gives them, with a cosine if and only if the table has one."""
        total = self._base
        for node in self._trees:
            while type(node) is tuple:
                node = node[2] if features[node[0]] <= node[1] else node[3]  # noqa: PLW2901 - down the tree
            total += node  # type: ignore[operator]
        return total


def _grown(nodes: list[list[float]], place: int) -> Node:
    """The tree below a node of a table: [value] for a leaf, else [feature, threshold, left place, right place]."""
    node = nodes[place]
    if len(node) == 1:
        return node[0]
    feature, threshold, left, right = node
    return int(feature), threshold, _grown(nodes, int(left)), _grown(nodes, int(right))


@cache
def _load(has_embedder: bool) -> Verifier:
    name = "with_cosine.json" if has_embedder else "lexical.json"
    table = json.loads(files("policies.cache.semantic").joinpath("tables", name).read_text("utf-8"))
    wanted = [*NAMES, "cosine"] if has_embedder else [*NAMES]
    if table["features"] != wanted:
        raise ValueError(f"{name} was trained on other features; train it again with benchmarks/cache/train.py")
    return Verifier(has_embedder, table["base"], table["trees"])
