"""Router files without training."""

import numpy as np

from routing.features import NAMES
from routing.learned.model_file import LEAVES, NODES, RouterModel, dump
from routing.learned.predict import PRIOR_ROWS


def router_bytes(means=(0.5, 0.9), *, rows=PRIOR_ROWS, apgr=0.7, classifier=0.55, report=None, costs=None) -> bytes:
    """A file whose words and trees say what the means say."""
    models = len(means)
    logits = np.log(np.array(means) / (1 - np.array(means)))
    arrays = {
        "means": np.array(means, "<f4"),
        "rows": np.full(models, rows, "<u4"),
        "word_rows": np.zeros(0, "<i4"),
        "word_weights": np.zeros((0, models), "<f4"),
        "wording_weights": np.zeros((0, models), "<f4"),
        "word_bias": logits.astype("<f4"),
        "tree_features": np.zeros((NODES, 1), "<u2"),
        "tree_cuts": np.zeros((NODES, 1), "<f4"),
        "tree_leaves": np.tile(np.array(means, "<f4"), (LEAVES, 1, 1)),
        "application_means": np.zeros((0, models), "<f4"),
        "application_rows": np.zeros((0, models), "<f4"),
        "seen": np.zeros(0, "<u4"),
    }
    if report is None:
        report = {"rows": rows, "figures": {"learned": {"apgr": apgr}, "classifier": {"apgr": classifier}}}
    names = tuple("abcdefgh"[:models])
    return dump(RouterModel(names, NAMES, (), (), arrays, costs=costs or {}, report=report))
