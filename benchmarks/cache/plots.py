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
    paths = [_save(figure, folder / "cache-hits-wrong.svg")]

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, curve in results["curves"].items():
        axes.plot([at for at, _, _ in curve], [hits / at for at, hits, _ in curve], label=name)
    axes.set(xlabel="requests", ylabel="share of hits so far")
    axes.legend()
    return [*paths, _save(figure, folder / "cache-learning.svg")]


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return path
