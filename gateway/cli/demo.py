"""`signalbox demo`: the whole gateway at work, without a key, a file or the internet."""

import importlib.util
import signal
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

_PACKAGES = ("openai", "rich")
_WIDTH = 110


@click.command()
def command() -> None:
    """Show the gateway at work: a table of requests, what answered them and why.

    Starts two mock providers and a gateway on free ports, calls it with the openai package (plain, streamed, tools,
    structured output, embeddings, a mistake, a provider that goes down), and stops everything again. Exit code 0 when
    every step did what it should.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the demo needs {' and '.join(missing)}; install them with: pip install 'signalbox-gateway[demo]'"
        )
    from gateway.demo.processes import DemoError
    from gateway.demo.show import run

    signal.signal(signal.SIGTERM, _leave)
    try:
        run(_console())
    except DemoError as error:
        raise click.ClickException(f"the demo failed. {error}") from None


def _console() -> "Console":
    """A console that is wide enough for the table where no terminal says how wide it is."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    return console


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End as by an exception, so that the processes of the demo are ended too."""
    raise SystemExit(143)
