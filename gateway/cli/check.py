"""`signalbox check`: everything that is wrong with a configuration, without starting anything."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from config.defaults import default_config
from config.diagnostics import Diagnostic
from config.load import Loaded, find_file, load_path
from gateway.options import provider_problems
from providers import registry


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object instead of text.")
def command(file: Path | None, is_json: bool) -> None:
    """Check a configuration file and name every problem with its place.

    Without FILE it is the one of SIGNALBOX_CONFIG, else signalbox.yaml in this folder, else the built-in defaults.
    Exit code 0: it can be used (there may be warnings); 1: it cannot.
    """
    path = find_file(file, os.environ, Path())
    if path is not None:
        loaded = load_path(path, environ=os.environ, known_kinds=registry.kinds(), provider_problems=provider_problems)
    else:
        loaded = default_config(os.environ, env_keys=registry.env_keys(), base_urls=registry.base_urls())
    source = str(path) if path is not None else None
    if is_json:
        click.echo(json.dumps(_report(loaded, source), indent=2))
    else:
        _print_text(loaded, source)
    raise SystemExit(1 if loaded.has_errors else 0)


def _report(loaded: Loaded, source: str | None) -> dict[str, Any]:
    report: dict[str, Any] = {"ok": not loaded.has_errors, "file": source}
    if loaded.config is not None:
        sections = ("providers", "models", "routes", "rules", "budgets", "limits")
        report |= {section: len(getattr(loaded.config, section)) for section in sections}
        report["keys"] = len(loaded.config.keys)
    report["disabled_providers"] = dict(loaded.disabled_providers)
    report["diagnostics"] = [diagnostic.to_json() for diagnostic in loaded.diagnostics]
    return report


def _print_text(loaded: Loaded, source: str | None) -> None:
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    previous: Diagnostic | None = None
    for diagnostic in loaded.diagnostics:
        if previous is not None and not previous.severity == diagnostic.severity == "info":
            click.echo(err=True)
        click.echo(diagnostic.to_text(colour=colour), err=True, color=colour)
        previous = diagnostic
    if previous is not None:
        click.echo(err=True)
    name = source or "No configuration file, so the built-in defaults"
    config = loaded.config
    if config is None:
        click.echo(f"{name}: {_counted(loaded.diagnostics)}. It cannot be used.", err=True)
        return
    sizes = (("provider", config.providers), ("model", config.models), ("route", config.routes), ("key", config.keys))
    summary = ", ".join(_plural(len(entries), noun) for noun, entries in sizes)
    found = _counted(loaded.diagnostics)
    click.echo(f"{name}: ok: {summary}{f' ({found})' if found else ''}.")
    if loaded.disabled_providers:
        click.echo(f"Disabled: {'; '.join(f'{name} ({why})' for name, why in loaded.disabled_providers.items())}.")


def _counted(diagnostics: Iterable[Diagnostic]) -> str:
    severities = [diagnostic.severity for diagnostic in diagnostics]
    counts = ((severities.count("error"), "error"), (severities.count("warning"), "warning"))
    return ", ".join(_plural(count, noun) for count, noun in counts if count)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
