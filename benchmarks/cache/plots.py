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
    for label, rows, marker in (
        ("one cosine for all", [row["mean"] for row in results["cosines"]], "."),
        ("semantic, embedder", [results["bounds"][bound]["embedder"]["mean"] for bound in results["bounds"]], "o"),
        ("semantic, words alone", [results["bounds"][bound]["words"]["mean"] for bound in results["bounds"]], "s"),
    ):
        points = sorted((row["wrong_of_hits"], row["hits"]) for row in rows)
        axes.plot([wrong for wrong, _ in points], [hits for _, hits in points], marker=marker, label=label)
    axes.set(xlabel="wrong of hits", ylabel="hits, mean of three streams")
    axes.set_xscale("symlog", linthresh=0.001)
    axes.legend()
    paths = [save(figure, folder / "cache-hits-wrong.svg")]

    figure, axes = plots.subplots(figsize=(6, 4))
    for name, curve in results["curves"].items():
        axes.plot([at for at, _, _ in curve], [hits / at for at, hits, _ in curve], label=name)
    axes.set(xlabel="requests", ylabel="share of hits so far")
    axes.legend()
    return [*paths, save(figure, folder / "cache-learning.svg")]
