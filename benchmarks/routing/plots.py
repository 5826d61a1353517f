"""Two pictures for the documentation; without matplotlib there are none."""

from pathlib import Path
from typing import Any

from benchmarks.pictures import pyplot, save


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write the pictures and say which."""
    plots = pyplot()
    if plots is None:
        return []
    figure, axes = plots.subplots(figsize=(6, 4))
    points = sorted(results["trained"]["nine_models"]["curve"])
    axes.plot([cost for cost, _ in points], [quality for _, quality in points], marker=".", label="trained router")
    axes.plot([1.0], [1.0], "s", label="best single model")
    axes.set(xlabel="cost, share of the best single model's", ylabel="quality, share of the best single model's")
    axes.legend()
    paths = [save(figure, folder / "cost-quality.svg")]

    figure, axes = plots.subplots(figsize=(6, 4))
    for name, curve in results["learning_curve"].items():
        line = axes.plot(
            [c["rows"] for c in curve], [c["classifier"] + c["gain_mean"] for c in curve], marker="o", label=name
        )
        axes.axhline(curve[0]["classifier"], color=line[0].get_color(), linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="graded rows", ylabel="APGR (dotted: without training)")
    axes.legend()
    return [*paths, save(figure, folder / "learning-curve.svg")]
