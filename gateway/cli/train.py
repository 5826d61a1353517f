"""`signalbox train`: a router from graded requests, and an honest report of what it is worth."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from routing.learned.feedback import Examples
    from routing.learned.model_file import RouterModel
    from routing.learned.report import Report

_PACKAGES = {"numpy": "numpy", "sklearn": "scikit-learn", "rich": "rich"}
_LEAST_ROWS = 20
# An old file is judged on rows it has not seen where there are so many, else by what its own report says.
_UNSEEN_ROWS = 50
# Without a file the classifier decides. A cross-validated APGR comes out lower by chance, by up to this over the square
# root of the rows; with few rows the router hardly departs from the classifier anyway.
_CHANCE = 0.2


@click.command()
@click.argument("file", metavar="FEEDBACK.jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The router file to write.")
@click.option("--force", "is_forced", is_flag=True, help="Write it even where it is not better than what runs now.")
def command(file: Path, out: Path, is_forced: bool) -> None:
    """Train a router on graded requests, for routes with 'strategy: learned'.

    Each line of FEEDBACK.jsonl is {"prompt" or "messages", "scores": {model: 0..1}} and may have "costs", "latency_s"
    (objects like "scores") and "application" (a name). The report is cross-validated: every figure is of rows that were
    not trained on. A file is only written where it is not worse than the classifier by more than chance, and one that
    is already at --out is only replaced by a better one.

    Exit code 0: written; 1: not.
    """
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise click.ClickException(
            f"training needs {' and '.join(missing)}; install with: pip install 'signalbox-gateway[train]'"
        )
    from rich.console import Console

    from routing.learned.model_file import dump
    from routing.learned.report import advances, cross_validate
    from routing.learned.train import fit, steps

    if not os.access(out.parent, os.W_OK):
        raise click.ClickException(f"cannot write {out}: there is no folder '{out.parent}' that can be written to.")
    examples = _examples(file)
    console = Console(stderr=True, highlight=False)
    try:
        with _progress(console, advances(examples) + steps(len(examples.models))) as advance:
            report = cross_validate(examples, advance)
            model = fit(examples, advance)
    except ValueError as error:
        raise click.ClickException(f"{file}: too few rows to train on: {error}") from None
    _show(Console(highlight=False), examples, report)
    objection = _objection(out, examples, report)
    if objection is not None and not is_forced:
        raise click.ClickException(f"{objection} {out} was not written. Add graded rows, or use --force.")
    _write(out, dump(replace(model, report=report.to_json())))
    click.echo(f"Wrote {out}: {len(examples)} rows, {len(examples.models)} models.")


def _examples(file: Path) -> "Examples":
    from routing.learned.feedback import FeedbackError, parse

    try:
        with file.open("rb") as lines:
            examples = parse(lines)
    except FeedbackError as error:
        raise click.ClickException(f"{file}: {error}") from None
    if len(examples.models) < 2:
        raise click.ClickException(f"{file}: only {examples.models[0]!r} is graded; a choice needs two models.")
    if len(examples) < _LEAST_ROWS:
        raise click.ClickException(f"{file}: {len(examples)} rows; training needs at least {_LEAST_ROWS}.")
    return examples


@contextmanager
def _progress(console: "Console", total: int) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Training"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("train", total=total)
        yield lambda: progress.advance(task)


def _show(console: "Console", examples: "Examples", report: "Report") -> None:
    from rich import box
    from rich.table import Table

    from routing.learned.evaluate import has_gap

    table = Table(box=box.SIMPLE_HEAD, title=f"{report.rows} rows, {len(examples.models)} models, cross-validated")
    for heading in ("", "APGR", "CPT50", "CPT80"):
        table.add_column(heading, justify="right" if heading else "left")
    for method, found in report.figures.items():
        table.add_row(method, *(_text(value) for value in (found.apgr, found.cpt50, found.cpt80)))
    console.print(table)
    click.echo(
        f"Cost at 100 % of the best single model: {_text(report.cost_at_100)}, at 98 %: {_text(report.cost_at_98)}"
    )
    click.echo(f"Calibration error: {_text(report.calibration_error)}")
    if not has_gap(examples.scores):
        click.echo(
            "The best model is ahead of the weakest by no more than chance: APGR, CPT50 and CPT80 say little here."
        )
    if report.curve:
        click.echo("APGR by rows: " + ", ".join(f"{rows}: {_text(apgr)}" for rows, apgr in report.curve.items()))


def _text(value: float) -> str:
    return f"{value:.3f}" if value == value else "-"  # noqa: PLR0124 - not a number


def _objection(out: Path, examples: "Examples", report: "Report") -> str | None:
    """Why the new router should not replace what runs now; None where it should."""
    from routing.learned.model_file import ModelFileError, load

    new = report.figures["learned"].apgr
    classifier = report.figures["classifier"].apgr
    if not new >= classifier - _CHANCE / report.rows**0.5:
        return (
            f"The router is worse than the classifier that needs no training (APGR {_text(new)}, {_text(classifier)})."
        )
    try:
        old = load(out.read_bytes())
    except FileNotFoundError:
        return None
    except ModelFileError as error:
        click.echo(f"The file at {out} cannot be used ({error}), so there is nothing to compare with.", err=True)
        return None
    new, before = _compare(old, examples, report)
    if round(new, 4) > round(before, 4):
        return None
    return f"The router is not better than the one at {out} (APGR {_text(new)}, {_text(before)})."


def _compare(old: "RouterModel", examples: "Examples", report: "Report") -> tuple[float, float]:
    """Mean APGR of the new and of the old router, on rows that neither was trained on where there are enough."""
    import numpy as np

    from routing.learned.evaluate import mean_pair_figures
    from routing.learned.report import predict_all

    unseen = np.flatnonzero(~np.isin(examples.keys, old.arrays["seen"]))
    if len(unseen) >= _UNSEEN_ROWS and set(examples.models) <= set(old.models):
        part = examples.subset(unseen)
        before = mean_pair_figures(predict_all(old, part), part.scores).apgr
        return mean_pair_figures(report.quality[unseen], part.scores).apgr, before
    figures = old.report.get("figures", {}).get("learned", {})
    return report.figures["learned"].apgr, float(figures.get("apgr") or 0.0)


def _write(out: Path, data: bytes) -> None:
    """All of the file or none of it: a gateway that watches it never reads half."""
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(data)
        part.replace(out)
    except OSError as error:
        raise click.ClickException(f"cannot write {out}: {error.strerror}") from None
