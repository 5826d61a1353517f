"""The command `signalbox`. A file of this folder that has a `command` is a subcommand, imported when it is asked for.

Importing late keeps `--version` and `check` fast: they load no server library.
"""

import difflib
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from gateway import intruders

_DEFAULT = "serve"
_DEFINES_COMMAND = re.compile(r"^(?:def command\(|command\b[^=\n]*=)", re.MULTILINE)
_OWN_FILE = Path(__file__).stem


class Commands(click.Group):
    """Finds commands by file name. Without a command, `serve` runs; options that are not ours are its options."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        files = (path for path in Path(__file__).parent.glob("*.py") if path.stem != _OWN_FILE)
        return sorted(path.stem.replace("_", "-") for path in files if _DEFINES_COMMAND.search(path.read_text("utf-8")))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"gateway.cli.{cmd_name.replace('-', '_')}")
        command: click.Command | None = getattr(module, "command", None)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        if not args or (args[0].startswith("-") and args[0].partition("=")[0] not in own):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else " 'signalbox --help' lists all commands."
            ctx.fail(f"There is no command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:
    if not is_asked or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"signalbox {version('signalbox-gateway')}")
    ctx.exit()


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Without a command, 'serve' runs. Settings come from SIGNALBOX_* variables, the rest from signalbox.yaml.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
def signalbox() -> None:
    """Signalbox: an OpenAI-compatible gateway that chooses a model by quality, cost and latency."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the console script. Exit codes: 0 done, 1 failed, 2 wrong use."""
    if problem := intruders.describe(intruders.find()):
        sys.stderr.write(f"signalbox: {problem}\n")
        raise SystemExit(1)
    signalbox.main(args=arguments, prog_name="signalbox")


if __name__ == "__main__":
    main()
