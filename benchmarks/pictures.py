"""Pictures for the documentation, the same bytes for the same figures."""

import importlib.util
from pathlib import Path
from typing import Any


def pyplot() -> Any:
    """matplotlib.pyplot for pictures as text; None without matplotlib, which is in the dependency group `bench`."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "signalbox"
    from matplotlib import pyplot as plots

    return plots


def save(figure: Any, path: Path) -> Path:
    """Write one, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return path
