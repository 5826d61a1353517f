"""`signalbox serve`: run the gateway."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click


@click.command()
@click.option("--host", help="Address to listen on. [env: SIGNALBOX_HOST; default 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one. [env: SIGNALBOX_PORT; default 8080]"
)
@click.option("--workers", type=click.IntRange(1, 256), help="Serving processes. [env: SIGNALBOX_WORKERS; default 1]")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file. [env: SIGNALBOX_CONFIG; default ./signalbox.yaml if it exists]",
)
def command(host: str | None, port: int | None, workers: int | None, config_file: Path | None) -> None:
    """Run the gateway.

    Without a configuration file it serves the providers whose keys are in the environment, a built-in mock provider
    and a route named auto. On SIGTERM it serves for SIGNALBOX_LAME_DUCK_S seconds more, until nobody sends requests
    here; Ctrl-C leaves that out. Then it stops after the requests under way have ended; once more of either ends it at
    once. SIGHUP reloads the configuration.
    """
    ignore_and_leave()  # before the imports, which take most of a start
    from gateway.cli.launch import launch

    raise SystemExit(launch(os.environ, host=host, port=port, workers=workers, config=config_file))


def ignore_and_leave(*more: signal.Signals) -> None:
    """What signals do until the server can act on them: a reload ends nothing, and an end (SIGTERM, SIGINT and `more`)
    is a clean one, because nothing has begun. The first process of a container hears no signal otherwise.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT, *more):
        signal.signal(number, _leave)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    # At once, because there is nothing to clean up. An exception would be lost where Python ignores them: in callbacks
    # of the import system, for one.
    os._exit(0)
