"""`signalbox spend`: what upstream calls cost, added up from the ledger of a gateway."""

import csv
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.spans import span_s

if TYPE_CHECKING:
    from policies.stores.entries import Spend

_FORMATS = ("table", "json", "jsonl", "csv", "parquet")
_SUMS = (
    "calls",
    "tokens",
    "cost_usd",
    "reported_usd",
    "estimated_calls",
    "flagged_calls",
    "unpriced_calls",
    "kept_calls",
    "saved_usd",
)


class Moment(click.ParamType[float]):
    """A time as `2026-08-01`, `2026-08-01T09:00:00Z`, or `7d` for that long ago; in Unix seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        ago_s = span_s(str(value), "mhdw")
        if ago_s is not None:
            return time.time() - ago_s
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: write 2026-08-01, 2026-08-01T09:00:00Z or 7d.", param, ctx)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


@click.command()
@click.option("--by", default="", metavar="NAMES", help="Add up by these, between commas, as team,model or day,key.")
@click.option("--since", type=Moment(), default="1d", metavar="TIME", help="From when on; a day ago where left out.")
@click.option("--until", type=Moment(), metavar="TIME", help="Before when; now where left out.")
@click.option("--where", "filters", metavar="NAME=VALUE", multiple=True, help="Only such calls; repeatable.")
@click.option("--entries", "is_entries", is_flag=True, help="Every call by itself instead of sums.")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", help="How it is printed.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; parquet needs one.")
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Instead of SIGNALBOX_STATE_DIR.")
def command(
    by: str,
    since: float,
    until: float | None,
    filters: tuple[str, ...],
    is_entries: bool,
    form: str,
    out: Path | None,
    state_dir: Path | None,
) -> None:
    """Show what upstream calls cost, and what kept answers saved, added up from the ledger in the state folder, while
    gateways run or not.

    Names for --by and --where: key, team, tag, asked, route, model, deployment, provider, operation, purpose, ending,
    hour, day, month (UTC). A call with two tags counts in both where it is added up by tag.

    Exit code 0: shown; 1: the ledger cannot be read; 2: wrong use.
    """
    from policies.stores.base import StoreError
    from policies.stores.entries import GROUPS, Ledger

    names = [name.strip() for name in by.split(",") if name.strip()]
    wanted = dict(_pair(text) for text in filters)
    for name in (*names, *wanted):
        if name not in GROUPS:
            raise click.UsageError(f"There is no {name!r} to add up or filter by. Known: {', '.join(GROUPS)}.")
    if is_entries and (names or wanted):
        raise click.UsageError("--entries shows every call; leave out --by and --where.")
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is no text: name a file with --out.")
    ledger = Ledger(state_dir or _state_dir())
    ended = time.time() if until is None else until
    try:
        rows: Iterable[Mapping[str, Any]] = (
            ledger.stream(since, ended)
            if is_entries
            else [_row(names, one) for one in ledger.query(since, ended, wanted, names)]
        )
        columns = None if is_entries else [*names, *_SUMS]
        if form == "parquet":
            assert out is not None
            _write_parquet(rows, out)
        elif out is not None:
            with out.open("w", encoding="utf-8", newline="") as stream:
                _print(rows, columns, "jsonl" if form == "table" else form, stream)
        else:
            _print(rows, columns, form, sys.stdout)
    except StoreError as error:
        raise click.ClickException(f"{error}.") from None


def _state_dir() -> Path:
    from config.settings import Settings, SettingsError

    try:
        folder = Settings().state_dir
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if folder is None:
        raise click.UsageError("Set SIGNALBOX_STATE_DIR to the gateway's state folder, or give --state-dir.")
    return folder


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"--where is NAME=VALUE, not {text!r}.")
    return name, value


def _row(names: Sequence[str], spend: "Spend") -> dict[str, Any]:
    from gateway.wire.answers import usd

    return {
        **dict(zip(names, spend.by, strict=True)),
        "calls": spend.calls,
        "tokens": spend.tokens,
        "cost_usd": usd(spend.cost_nusd),
        "reported_usd": usd(spend.reported_nusd),
        "estimated_calls": spend.estimated_calls,
        "flagged_calls": spend.flagged_calls,
        "unpriced_calls": spend.unpriced_calls,
        "kept_calls": spend.kept_calls,
        "saved_usd": usd(spend.saved_nusd),
    }


def _print(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None, form: str, stream: Any) -> None:
    import orjson

    if form == "jsonl":
        for row in rows:
            stream.write(orjson.dumps(row).decode() + "\n")
        return
    found = list(rows)
    if form == "json":
        stream.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    names = columns if columns is not None else list(dict.fromkeys(name for row in found for name in row))
    if form == "csv":
        writer = csv.DictWriter(stream, names, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(found)
        return
    _print_table(found, names)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if not rows:
        click.echo("No upstream calls in that time.")
        return
    cells = [list(columns)] + [["" if row.get(name) is None else str(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        shown = [
            text.rjust(width) if name in _SUMS else text.ljust(width)
            for text, width, name in zip(line, widths, columns, strict=True)
        ]
        click.echo("  ".join(shown).rstrip())


def _write_parquet(rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise click.ClickException(
            "parquet needs pyarrow; install with: pip install 'signalbox-gateway[parquet]'"
        ) from None
    found = list(rows)
    # A table has the columns of its first row, and not every row has every fact.
    names = dict.fromkeys(name for row in found for name in row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**dict.fromkeys(names), **row} for row in found]), out)
