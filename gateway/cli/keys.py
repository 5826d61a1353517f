"""`signalbox keys`: make virtual keys at run time, look at them, rotate, disable and delete them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from config.spans import span_s

if TYPE_CHECKING:
    from gateway.cli.key_access import KeyAccess

T = TypeVar("T")
_COLUMNS = ("name", "state", "source", "prefix", "team", "expires", "models")


class Span(click.ParamType[float]):
    """A time span such as 90s, 30m, 24h or 90d; in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found_s = span_s(str(value))
        if found_s is None:
            self.fail(f"{value!r} is no time span: write 90s, 30m, 24h or 90d.", param, ctx)
        return found_s


_url = click.option(
    "--url", metavar="URL", help="A running gateway, as http://127.0.0.1:8080; with SIGNALBOX_ADMIN_KEY."
)
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")
_name = click.argument("name")


@click.group()
def command() -> None:
    """Make virtual keys at run time, look at them, rotate, disable and delete them.

    Works on the state folder (SIGNALBOX_STATE_DIR) or Redis (SIGNALBOX_REDIS_URL), where running gateways see it within
    a second, or through a gateway with --url. Keys of the configuration file are shown with --url only and are changed
    in the file. Exit code 0: done; 1: not done; 2: wrong use.
    """


@command.command()
@_name
@click.option("--team", metavar="NAME", help="The team it belongs to.")
@click.option("--budget", metavar="NAME", help="The budget that pays.")
@click.option("--limits", metavar="NAME", help="The rate limits that hold.")
@click.option("--model", "models", metavar="NAME", multiple=True, help="A model or route it may ask for; repeatable.")
@click.option(
    "--candidate", "candidates", metavar="NAME", multiple=True, help="A model that may answer it; repeatable."
)
@click.option("--default-model", metavar="NAME", help="The model of requests that name none, or 'default'.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A tag of all its requests; repeatable.")
@click.option("--note", "notes", metavar="NAME=TEXT", multiple=True, help="A note of your own (metadata); repeatable.")
@click.option("--expires", metavar="TIME", help="When it ends, as 2027-01-31 or 2027-01-31T12:00:00Z.")
@click.option("--expires-in", type=Span(), metavar="SPAN", help="How long it is valid, as 90d or 24h.")
@click.option("--priority", is_flag=True, help="Some places are kept for it when there is too much load.")
@click.option("--for-config", is_flag=True, help="Make nothing: print an entry for the configuration file.")
@_json
@_url
def new(
    name: str,
    notes: tuple[str, ...],
    expires_in: float | None,
    for_config: bool,
    is_json: bool,
    url: str | None,
    **given: Any,
) -> None:
    """Make a key. Standard output has its secret and nothing else, this one time."""
    if expires_in is not None:
        if given["expires"] is not None:
            raise click.UsageError("--expires and --expires-in exclude each other.")
        given["expires"] = (datetime.now(UTC) + timedelta(seconds=expires_in)).isoformat(timespec="seconds")
    settings = {"name": name} | {option: value for option, value in given.items() if value}
    settings = {option: list(value) if isinstance(value, tuple) else value for option, value in settings.items()}
    if notes:
        settings["metadata"] = _pairs(notes)
    if for_config:
        _print_entry(settings)
        return
    made = _run(url, lambda keys: keys.create(settings))
    _print_made(made, is_json=is_json, what="made")


@command.command(name="list")
@_json
@_url
def list_(is_json: bool, url: str | None) -> None:
    """List all keys, without their secrets."""
    found = _run(url, lambda keys: keys.all())
    if is_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    rows = [_COLUMNS, *(tuple(_cell(one[column]) for column in _COLUMNS) for one in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@command.command()
@_name
@_json
@_url
def show(name: str, is_json: bool, url: str | None) -> None:
    """Show one key."""
    _print(_run(url, lambda keys: keys.show(name)), is_json=is_json)


@command.command()
@_name
@click.option(
    "--overlap",
    type=Span(),
    default="0s",
    metavar="SPAN",
    help="How long the old secret goes on, as 24h. [default: 0s]",
)
@_json
@_url
def rotate(name: str, overlap: float, is_json: bool, url: str | None) -> None:
    """Give a key a new secret. Standard output has the secret and nothing else, this one time."""
    made = _run(url, lambda keys: keys.rotate(name, overlap))
    _print_made(made, is_json=is_json, what="rotated")


@command.command()
@_name
@_json
@_url
def disable(name: str, is_json: bool, url: str | None) -> None:
    """Refuse a key from now on."""
    _print(_run(url, lambda keys: keys.set_disabled(name, is_disabled=True)), is_json=is_json)


@command.command()
@_name
@_json
@_url
def enable(name: str, is_json: bool, url: str | None) -> None:
    """Let a disabled key call again."""
    _print(_run(url, lambda keys: keys.set_disabled(name, is_disabled=False)), is_json=is_json)


@command.command()
@_name
@_url
def delete(name: str, url: str | None) -> None:
    """Remove a key for good."""
    _run(url, lambda keys: keys.delete(name))
    click.echo(f"Key '{name}' is deleted.", err=True)


def _run(url: str | None, work: "Callable[[KeyAccess], Awaitable[T]]") -> T:
    from gateway.cli.key_access import KeyAccessError

    async def run() -> T:
        keys = _opened(url)
        try:
            return await work(keys)
        finally:
            await keys.close()

    try:
        return asyncio.run(run())
    except KeyAccessError as error:
        raise click.ClickException(str(error)) from None


def _opened(url: str | None) -> "KeyAccess":
    from config.settings import Settings, SettingsError
    from gateway.cli.key_access import RemoteKeys, StoredKeys
    from gateway.keys.stores import open_store

    try:
        settings = Settings.load(os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if url is not None:
        if settings.admin_key is None:
            raise click.UsageError("--url needs SIGNALBOX_ADMIN_KEY, the key of that gateway's admin API.")
        return RemoteKeys(url, settings.admin_key.get_secret_value())
    if settings.state_dir is None and settings.redis_url is None:
        raise click.UsageError(
            "Nowhere to keep keys: set SIGNALBOX_STATE_DIR or SIGNALBOX_REDIS_URL as for the gateway, ask a running "
            "one with --url, or have 'new --for-config' print an entry for the configuration file."
        )
    return StoredKeys(open_store(settings), settings.state_dir)


def _pairs(notes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for note in notes:
        name, equals, text = note.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{note!r} is not NAME=TEXT.", param_hint="--note")
        found[name] = text
    return found


def _print_entry(settings: Mapping[str, Any]) -> None:
    """An entry for `keys:` on standard error, the secret alone on standard output."""
    from pydantic import ValidationError

    from gateway.keys.record import make

    try:
        made = make(settings, 0.0)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise click.UsageError(f"{first['loc'][0]}: {first['msg']}.") from None
    entry = {"name": settings["name"], "sha256": made.record.settings.sha256} | dict(settings)
    click.echo("The secret, shown only now:", err=True)
    click.echo(made.secret)
    click.echo("\nFor the configuration file, under 'keys:':", err=True)
    # JSON is YAML: whatever is in a name or a note is quoted as it has to be.
    click.echo(f"  - {orjson.dumps(entry).decode()}", err=True)


def _print_made(made: Mapping[str, Any], *, is_json: bool, what: str) -> None:
    if is_json:
        _print(made, is_json=True)
        return
    click.echo(f"Key '{made['name']}' is {what}. Its secret, shown only now:", err=True)
    click.echo(made["secret"])
    if made.get("previous_until"):
        click.echo(f"The old secret goes on until {made['previous_until']}.", err=True)
    if made.get("warning"):
        click.echo(made["warning"], err=True)


def _print(shown: Mapping[str, Any], *, is_json: bool) -> None:
    if is_json:
        click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    for name, value in shown.items():
        if name != "object" and value not in (None, [], {}, False):
            click.echo(f"{name:<14} {_cell(value)}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return "yes" if value is True else str(value)
