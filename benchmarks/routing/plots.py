"""Two pictures for the documentation. matplotlib is in the dependency group `bench`; without it there are none."""

import importlib.util
from pathlib import Path
from typing import Any


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write the pictures and say which."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "signalbox"
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6, 4))
    points = sorted(results["trained"]["nine_models"]["curve"])
    axes.plot([cost for cost, _ in points], [quality for _, quality in points], marker=".", label="trained router")
    axes.plot([1.0], [1.0], "s", label="best single model")
    axes.set(xlabel="cost, share of the best single model's", ylabel="quality, share of the best single model's")
    axes.legend()
    paths = [_save(figure, folder / "cost-quality.svg")]

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, curve in results["learning_curve"].items():
        line = axes.plot(
            [c["rows"] for c in curve], [c["classifier"] + c["gain_mean"] for c in curve], marker="o", label=name
        )
        axes.axhline(curve[0]["classifier"], color=line[0].get_color(), linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="graded rows", ylabel="APGR (dotted: without training)")
    axes.legend()
    return [*paths, _save(figure, folder / "learning-curve.svg")]


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return path
