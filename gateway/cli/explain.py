"""`signalbox explain`: what routing would do with a request, and why; nothing is called."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

if TYPE_CHECKING:
    from config.load import Loaded
    from gateway.runtime import Runtime

_USUAL_ROUTE = "auto"
# Stands for a key that is not there: nothing is sent anywhere.
_NO_KEY = "none"
_SIGNALS_A_LINE = 4


@dataclass(slots=True, frozen=True)
class _Options:
    """What holds for every request that is explained."""

    route: str | None
    key: str | None
    tags: tuple[str, ...]
    headers: Mapping[str, str]


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Explain every line of this JSONL file; - reads standard input.",
)
@click.option("--route", metavar="NAME", help="Route or model to ask for. [default: auto, or the only route]")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--all", "is_all", is_flag=True, help="Reckon with providers that have no key in this environment, too.")
@click.option("--key", metavar="NAME", help="Explain as for this virtual key, with what it may use.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag of the request; may be repeated.")
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True, help="A header; may be repeated.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file. [env: SIGNALBOX_CONFIG; default ./signalbox.yaml if it exists]",
)
def command(
    prompt: str | None,
    file: Path | None,
    route: str | None,
    is_json: bool,
    is_all: bool,
    key: str | None,
    tags: tuple[str, ...],
    headers: tuple[str, ...],
    config_file: Path | None,
) -> None:
    """Explain what routing would do with PROMPT: signals, tier, candidates and what was left out.

    It is the code that serves, without a call and without what a running gateway has seen of its traffic; POST
    /admin/explain asks that one. Lines of a file are {"prompt" or "messages"} with an "id" and whatever else a request
    may have; the answer is one JSON object per line.

    Exit code 0: explained, even if no candidate is left; 1: some line, or the configuration, cannot be used; 2: wrong
    use.
    """
    if (prompt is None) == (file is None):
        raise click.UsageError("Give either a PROMPT or --file.")
    runtime, off, problems = _runtime(config_file, is_all=is_all)
    options = _Options(route, key, tags, _pairs(headers))
    if file is not None:
        for problem in problems:
            click.echo(f"Not in use: {problem}.", err=True)
        raise SystemExit(_explain_file(runtime, file, options))
    assert prompt is not None
    found = _explain_one(runtime, prompt, options)
    if is_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        click.echo("\n".join(_text(found)))
    hidden = sorted({one["deployment"].partition("/")[0] for one in found["rejections"]} & off.keys())
    if hidden:
        reasons = "; ".join(f"{name} ({off[name]})" for name in hidden)
        click.echo(f"Providers that are off here: {reasons}. --all reckons with them.", err=True)


def _runtime(config_file: Path | None, *, is_all: bool) -> "tuple[Runtime, Mapping[str, str], list[str]]":
    """The Runtime that `serve` would start with, the providers that are off in it with the reason, and what is wrong
    with router files.
    """
    from random import Random

    from config.settings import Settings
    from gateway.assemble import Assembler
    from gateway.cli.source import open_source
    from gateway.reload import ConfigurationError, Source, build_runtime

    source = open_source(config_file, os.environ, Path.cwd())
    off: dict[str, str] = {}

    def load(data: bytes | None) -> "Loaded":
        loaded = _without_writing(source.load(data))
        loaded = _with_all(loaded) if is_all else loaded
        off.update(loaded.disabled_providers)
        return loaded

    folder = source.path.parent if source.path is not None else Path()
    # The settings of the process decide nothing here, and must not stop anything; chance is the same every time.
    assembler = Assembler(Settings.load({}), rng=Random(0), folder=folder)  # noqa: S311
    try:
        runtime, _ = build_runtime(Source(source.path, load), assembler, source.read())
    except OSError as error:
        raise click.ClickException(f"cannot read the configuration {source.path}: {error.strerror}.") from None
    except ConfigurationError as error:
        for diagnostic in error.diagnostics:
            if diagnostic.severity == "error":
                click.echo(diagnostic.to_text(), err=True)
        raise click.ClickException("the configuration has errors; 'signalbox check' shows them again.") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    return runtime, off, assembler.router_files.problems()


def _without_writing(loaded: "Loaded") -> "Loaded":
    """The same without the sections that open files."""
    config = loaded.config
    return loaded if config is None else replace(loaded, config=config.model_copy(update={"feedback": None}))


def _with_all(loaded: "Loaded") -> "Loaded":
    """The same with every provider on that lacks nothing but its key."""
    from gateway.options import provider_problems

    config = loaded.config
    if config is None:
        return loaded
    providers, disabled = dict(config.providers), dict(loaded.disabled_providers)
    for name in loaded.disabled_providers:
        keyed = providers[name].model_copy(update={"api_key": providers[name].api_key or _NO_KEY})
        if not any(provider_problems(name, keyed)):
            providers[name] = keyed
            del disabled[name]
    return replace(loaded, config=config.model_copy(update={"providers": providers}), disabled_providers=disabled)


def _pairs(headers: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for header in headers:
        name, equals, value = header.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{header!r} is not NAME=VALUE.", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def _name(runtime: "Runtime", given: Mapping[str, Any]) -> str | None:
    """The model or route to ask for where `given` names none. Raises UsageError where it is not clear which."""
    if given.get("route") or given.get("model"):
        return None
    plans = runtime.router.plans
    routes = [name for name, plan in plans.items() if plan.route is not None]
    if _USUAL_ROUTE in routes:
        return _USUAL_ROUTE
    if len(routes) == 1:
        return routes[0]
    if routes:
        raise click.UsageError(f"There are several routes; name one with --route: {', '.join(routes)}.")
    raise click.UsageError(f"There is no route; name a model with --route: {', '.join(plans) or 'but there is none'}.")


def _explain_one(runtime: "Runtime", prompt: str, options: _Options) -> dict[str, Any]:
    from gateway.explain import explain, question_of
    from gateway.wire.refusals import RefusedError

    # A terminal may give what is no UTF-8.
    text = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    given = _given({"prompt": text}, options)
    try:
        return explain(runtime, question_of(given, _name(runtime, given)), time.time())
    except RefusedError as refused:
        raise click.UsageError(refused.refusal.error["message"]) from None


def _given(line: Mapping[str, Any], options: _Options) -> dict[str, Any]:
    """A line with what the command line says; that goes before what the line says."""
    given = dict(line)
    if options.route is not None:
        given["route"] = options.route
    if options.key is not None:
        given["key"] = options.key
    if options.tags:
        given["tags"] = list(options.tags)
    if options.headers:
        given["headers"] = dict(options.headers)
    return given


def _explain_file(runtime: "Runtime", file: Path, options: _Options) -> int:
    """One line of JSON for every line; the exit code."""
    lines = failed = 0
    out = sys.stdout.buffer
    try:
        with click.open_file(str(file), "rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    found, is_explained = _explain_line(runtime, number, line, options)
                    out.write(orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE))
                    lines += 1
                    failed += not is_explained
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    out.flush()
    if failed:
        click.echo(f"{failed} of {lines} lines could not be explained; 'error' says why.", err=True)
    return 1 if failed else 0


def _explain_line(runtime: "Runtime", number: int, line: bytes, options: _Options) -> tuple[dict[str, Any], bool]:
    """The explanation of a line, or what is wrong with it."""
    from gateway.explain import explain, object_in, question_of
    from gateway.wire.refusals import RefusedError

    line_id: Any = number
    try:
        found = object_in(line)
        line_id = found.get("id", number)
        given = _given(found, options)
        # Chance differs from line to line, and is the same for a line whatever stands before it.
        runtime.router.world.rng.seed(number)
        return {"id": line_id} | explain(runtime, question_of(given, _name(runtime, given)), time.time()), True
    except RefusedError as refused:
        return {"id": line_id, "line": number, "error": refused.refusal.error}, False


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    """For people: what happens first, then why."""
    from routing.features import NAMES

    yield f"{found['asked']} -> {found['model'] or 'no candidate'}"
    yield f"  {found['summary']}"
    if "error" in found:
        yield f"  {found['error']['message']}"
    yield ""
    features = found["features"]
    sure = f"confidence {found['confidence']:.2f}" if found["has_signal"] else "no signal"
    other = "" if found["tier"] == found["nearest_tier"] else f" ({found['nearest_tier']} by score alone)"
    yield f"Score {found['score']:.3f}, {sure}: tier {found['tier']}{other}"
    yield (
        f"Task {found['task_type']}, language {features['language']}, {features['modality']}, "
        f"{found['input_tokens']} input tokens"
    )
    yield from _reasons(found)
    if found["candidates"]:
        yield ""
        yield from _table(_CANDIDATES, [_row(place, one) for place, one in enumerate(found["candidates"], 1)])
    if found["rejections"]:
        yield ""
        yield from _table(
            ("left out", "model", "reason"),
            [(one["deployment"], one["model"], one["reason"]) for one in found["rejections"]],
        )
    signals = [f"{name} {features[name]:.3g}" for name in NAMES if features[name]]
    if signals:
        yield ""
        yield "Signals that are not zero"
        for start in range(0, len(signals), _SIGNALS_A_LINE):
            yield "  " + "  ".join(f"{signal:<26}" for signal in signals[start : start + _SIGNALS_A_LINE]).rstrip()


def _reasons(found: Mapping[str, Any]) -> Iterator[str]:
    """What else had a say."""
    for name, about in (("rule", "Rule"), ("arm", "Experiment's arm"), ("router_version", "Router file")):
        if found[name] is not None:
            yield f"{about}: {found[name]}"
    if found["router_problem"] is not None:
        yield f"Router file not in use: {found['router_problem']}"
    if found["shadow"] is not None:
        yield f"The shadow router would take: {found['shadow']}"
    if found["relaxed"]:
        yield f"Constraints given up: {', '.join(found['relaxed'])}"


_CANDIDATES = ("", "candidate", "model", "tier", "quality", "cost USD", "latency s", "utility")


def _row(place: int, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(place),
        one["deployment"],
        one["model"],
        one["tier"] or "-",
        _number(one["quality"], ".3f"),
        _number(one["cost_usd"], ".6f"),
        _number(one["latency_s"], ".2f"),
        _number(one["utility"], ".3g"),
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as what is in them; numbers are set to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    is_number = [
        all(cell.lstrip("-")[:1].isdigit() or cell == "-" for cell in column) for column in zip(*rows, strict=True)
    ]
    for row in (heads, *rows):
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        yield "  " + "  ".join(cells).rstrip()
