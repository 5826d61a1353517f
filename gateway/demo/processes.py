"""Starts the processes of the demo and ends them: nothing else on the machine is touched."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

_READY = re.compile(r"base_url=(http://\S+)")
_START_S = 30.0
_STOP_S = 10.0
_LOG_S = 5.0
_POLL_S = 0.02
# What a Python process needs of its surroundings. Keys, proxies and SIGNALBOX_* of the user's shell stay out: the demo
# has to do the same everywhere, and must not reach a real provider.
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH")

# Nobody else is told of these processes, so nobody has to forget them before they end.
_OWN = {"SIGNALBOX_LAME_DUCK_S": "0", "SIGNALBOX_METRICS_OPEN": "true"}


class DemoError(Exception):
    """The demo did not do what it should. The text is for the person who runs it."""


class GatewayProcess:
    """`signalbox serve` on a free port of loopback, as a process of its own. Use it as a context manager.

    `config` is a file beside this one; `environ` holds what the file refers to. `folder` takes the process's output.
    """

    def __init__(self, name: str, config: str, environ: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.base_url = ""
        self._out, self._err = folder / f"{name}.log", folder / f"{name}.err"
        command = [
            *(sys.executable, "-P", "-m", "gateway.cli.main", "serve", "--host", "127.0.0.1", "--port", "0"),
            *("--config", str(Path(__file__).with_name(config))),
        ]
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**inherited, **_OWN, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def root_url(self) -> str:
        """The address without `/v1`."""
        return self.base_url.removesuffix("/v1")

    def wait_ready(self) -> None:
        """Wait for the address that the process prints when it serves. Raises DemoError with its output."""
        deadline = time.monotonic() + _START_S
        while not (found := _READY.search(said := self._err.read_text("utf-8", "replace"))):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"'{self.name}' did not start. It said:\n{said[-2000:] or '(nothing)'}")
            time.sleep(_POLL_S)
        self.base_url = found[1]

    def stop(self) -> None:
        """End the process, and wait until it is gone."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_line(self, request_id: str) -> dict[str, Any]:
        """The structured line of one request; it is written a moment after the answer. Raises DemoError."""
        wanted = request_id.encode()
        deadline = time.monotonic() + _LOG_S
        while time.monotonic() < deadline:
            for line in self._out.read_bytes().splitlines(keepends=True):
                if wanted in line and line.endswith(b"\n"):
                    fields: dict[str, Any] = orjson.loads(line)
                    return fields
            time.sleep(_POLL_S)
        raise DemoError(f"'{self.name}' wrote no log line for request {request_id}.")
