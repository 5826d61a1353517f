"""`signalbox calibrate`: tier boundaries that give each tier its share of the operator's own traffic."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from config.load import Loaded
    from config.schema_routes import RouteConfig
    from routing.classifier import Boundaries
    from routing.features import Features

# Of three tiers; others get equal shares.
_USUAL = (0.5, 0.3, 0.2)
_FEW = 50
_DIGITS = 4


@dataclass(slots=True, frozen=True)
class _Request:
    """One line: its score, and what it was measured on where the line has the request itself."""

    score: float
    features: "Features | None"


@click.command()
@click.argument("file", metavar="FILE.jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--route", "name", metavar="NAME", help="The route; may be left out where one route has tiers.")
@click.option(
    "--shares", metavar="TIER=SHARE,...", help="Shares to aim for. [default: 0.5, 0.3, 0.2 of three tiers, else equal]"
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file. [env: SIGNALBOX_CONFIG; default ./signalbox.yaml]",
)
@click.option("--write", "is_written", is_flag=True, help="Put the cuts into the configuration file.")
def command(file: Path, name: str | None, shares: str | None, config_file: Path | None, is_written: bool) -> None:
    """Set the boundaries between a route's tiers so that each gets its share of real requests.

    Each line of FILE.jsonl is a request, {"prompt": text} or {"messages": [...]}, as `signalbox train` reads it, or has
    its {"score": 0..1}, as the gateway's own log lines do where the route's strategy is 'complexity'. Log lines without
    a score are passed over.

    Exit code 0: done; 1: not.
    """
    from config.load import find_file
    from gateway.planning import boundaries_of
    from routing.classifier import calibrate

    path = find_file(config_file, os.environ, Path())
    if path is None:
        raise click.ClickException("there is no signalbox.yaml here, and so no route with tiers; name one by --config.")
    loaded = _load(path)
    name, route = _choose(loaded, name)
    before = boundaries_of(route)
    targets = _shares(shares, before.tiers)
    requests = list(_requests(file))
    if not requests:
        raise click.ClickException(f'{file}: no requests in it; each line is {{"prompt": ...}} or {{"score": ...}}')
    cuts = tuple(round(cut, _DIGITS) for cut in calibrate([request.score for request in requests], targets))
    if any(low >= high for low, high in pairwise(cuts)):
        raise click.ClickException(
            f"{len(requests)} requests have too few different scores for {len(before.tiers)} tiers; take more of them."
        )
    _show(name, requests, before, replace(before, cuts=cuts), targets)
    if is_written:
        _write(path, name, cuts, loaded)
    else:
        click.echo(f"\nFor {path}, or use --write:\n\nroutes:\n  {name}:\n    cuts: {_text(cuts)}")


def _read(path: Path) -> "Loaded":
    from config.load import load_path
    from gateway.options import provider_problems
    from providers import registry

    return load_path(path, environ=os.environ, known_kinds=registry.kinds(), provider_problems=provider_problems)


def _load(path: Path) -> "Loaded":
    loaded = _read(path)
    if loaded.config is None:
        raise click.ClickException(f"{path} cannot be used; 'signalbox check {path}' says why.")
    return loaded


def _choose(loaded: "Loaded", name: str | None) -> tuple[str, "RouteConfig"]:
    routes = {} if loaded.config is None else loaded.config.routes
    tiered = [route for route in routes if len(routes[route].tiers) > 1]
    if name is None and len(tiered) == 1:
        name = tiered[0]
    if name is None or name not in tiered:
        problem = "name one by --route" if name is None else f"'{name}' is none of them"
        those = ", ".join(tiered) or "none; give one 'strategy: complexity' and 'tiers'"
        raise click.ClickException(f"routes with tiers: {those}; {problem}.")
    return name, routes[name]


def _shares(text: str | None, tiers: Sequence[str]) -> list[float]:
    """Shares in the order of `tiers`; only their proportions count."""
    if text is None:
        return list(_USUAL) if len(tiers) == len(_USUAL) else [1.0] * len(tiers)
    given: dict[str, float] = {}
    for pair in text.split(","):
        tier, _, share = pair.partition("=")
        try:
            given[tier.strip()] = float(share.strip().removesuffix("%"))
        except ValueError:
            raise click.ClickException(f"--shares: '{pair}' is not TIER=NUMBER.") from None
    example = ",".join(f"{tier}={1 / len(tiers):.2g}" for tier in tiers)
    if given.keys() != set(tiers):
        raise click.ClickException(f"--shares has to name every tier of the route, as {example}.")
    if not all(0 < share < float("inf") for share in given.values()):
        raise click.ClickException(f"--shares: every share has to be above 0, as {example}.")
    return [given[tier] for tier in tiers]


def _requests(file: Path) -> Iterator[_Request]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                found = _request(f"{file}, line {number}", line)
                if found is not None:
                    yield found


def _request(where: str, line: bytes) -> _Request | None:
    """None for a line of the log that is about something else."""
    import orjson

    from routing.classifier import classify
    from routing.features import extract

    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise click.ClickException(f"{where}: it is not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise click.ClickException(f"{where}: it is not a JSON object.")
    if isinstance(row.get("messages"), list) or isinstance(row.get("prompt"), str):
        features = extract(row)
        return _Request(classify(features).score, features)
    score = row.get("score")
    # The gateway's log also has the scores that callers gave for answers.
    if "event" in row and (score is None or row["event"] != "request"):
        return None
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        raise click.ClickException(f"{where}: it needs 'prompt' (text), 'messages' (a list) or 'score' (0 to 1).")
    return _Request(float(score), None)


def _show(
    name: str, requests: Sequence[_Request], before: "Boundaries", after: "Boundaries", targets: Sequence[float]
) -> None:
    click.echo(f"{len(requests)} requests, route '{name}', cuts {_text(before.cuts)} -> {_text(after.cuts)}\n")
    width = max(len("tier"), *map(len, before.tiers))
    click.echo(f"{'tier':<{width}}  {'now':>6}  {'then':>6}  {'target':>6}")
    columns = zip(before.tiers, _parts(requests, before), _parts(requests, after), targets, strict=True)
    for tier, now, then, target in columns:
        click.echo(f"{tier:<{width}}  {now:>6.1%}  {then:>6.1%}  {target / sum(targets):>6.1%}")
    unsure = [_unsure(requests, boundaries) for boundaries in (before, after)]
    if None not in unsure:
        click.echo(f"Not sure, and so in the default tier '{after.default}': {unsure[0]:.1%} now, {unsure[1]:.1%} then")
    if len(requests) < _FEW:
        click.echo(f"These are few requests; with less than {_FEW} the cuts depend on chance.")


def _parts(requests: Sequence[_Request], boundaries: "Boundaries") -> list[float]:
    """The share of each tier by score alone."""
    counts = [0] * len(boundaries.tiers)
    for request in requests:
        counts[bisect_right(boundaries.cuts, request.score)] += 1
    return [count / len(requests) for count in counts]


def _unsure(requests: Sequence[_Request], boundaries: "Boundaries") -> float | None:
    """The share that goes to the default tier whatever its score; None where it cannot be told from scores alone."""
    from routing.classifier import classify

    measured = [request.features for request in requests if request.features is not None]
    if len(measured) < len(requests):
        return None
    found = [classify(features, boundaries) for features in measured]
    return sum(one.confidence < boundaries.min_confidence for one in found) / len(found)


def _text(cuts: Sequence[float]) -> str:
    return f"[{', '.join(f'{cut:g}' for cut in cuts)}]"


def _write(path: Path, name: str, cuts: tuple[float, ...], loaded: "Loaded") -> None:
    """Change the one line, and only where the file then says just that."""
    from gateway.cli.cuts_in_file import NotSafeError, replaced, with_cuts

    line = f"cuts: {_text(cuts)}"
    try:
        new = with_cuts(path.read_bytes(), name, _text(cuts))
        replaced(path, new, lambda part: _is_as_meant(part, name, cuts, loaded))
    except NotSafeError as error:
        raise click.ClickException(
            f"{path} was left alone: {error}. Put '{line}' under routes.{name} by hand."
        ) from None
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}.") from None
    click.echo(f"\nWrote {line} into {path}. A running gateway that watches it takes it over.")


def _is_as_meant(part: Path, name: str, cuts: tuple[float, ...], before: "Loaded") -> bool:
    new, old = _read(part).config, before.config
    if new is None or old is None:
        return False
    routes = old.routes | {name: old.routes[name].model_copy(update={"cuts": cuts})}
    return new == old.model_copy(update={"routes": routes})
