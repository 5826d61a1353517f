"""Starts the real clients of the matrix, each in a process that lives as long as the session.

`CLIENTS` names them. A client that is not installed skips its tests and says what to run; nothing is downloaded here.
"""

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.clients.curl import CurlClient

ROOT = Path(__file__).parents[2]
PYTHON_SCRIPT = ROOT / "tests/clients/openai_python.py"
OLD_PYTHON = ROOT / ".cache/openai-1x/bin/python"
NODE_FOLDER = ROOT / "tests/node"
NODE_FALLBACK = ROOT / ".cache/node/bin/node"
NODE_MAJOR = 22  # what the openai package for Node asks for
_HINT = "run tests/clients/install.sh once"


class Client(Protocol):
    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job of tests/clients/openai_python.py."""
        ...

    def close(self) -> None: ...


class ProcessClient:
    """A client that reads jobs and writes results as JSON lines."""

    def __init__(self, *command: str, cwd: Path | None = None) -> None:
        # No proxy, no key and no telemetry setting of the developer's shell may change what is tested.
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=cwd, env=env, bufsize=0)
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._held = b""

    def run(self, job: dict[str, Any], timeout_s: float = 90.0) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        result: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout_s, job))
        assert "crashed" not in result, result["crashed"]
        return result

    def close(self) -> None:
        self._selector.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _line(self, deadline: float, job: dict[str, Any]) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._held:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            assert ready, f"no result in time for {job}"
            data = os.read(self._process.stdout.fileno(), 1 << 20)
            assert data, f"the client died on {job}"
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line


def _current(mode: str) -> Client:
    return ProcessClient(sys.executable, str(PYTHON_SCRIPT), mode)


def _old(mode: str) -> Client:
    if not OLD_PYTHON.exists():
        pytest.skip(f"openai 1.x is not installed: {_HINT}")
    return ProcessClient(str(OLD_PYTHON), str(PYTHON_SCRIPT), mode)


def _node() -> Client:
    program = node_program()
    if program is None or not (NODE_FOLDER / "node_modules/openai").is_dir():
        pytest.skip(f"openai for Node is not installed: {_HINT}")
    return ProcessClient(program, "client.mjs", cwd=NODE_FOLDER)


def _curl() -> Client:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    return CurlClient()


def node_program() -> str | None:
    """A Node of a version the package supports: the machine's own, or the one install.sh brought."""
    if NODE_FALLBACK.exists():
        return str(NODE_FALLBACK)
    found = shutil.which("node")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    return found if int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR else None


CLIENTS: dict[str, Callable[[], Client]] = {
    "python": lambda: _current("sync"),
    "python-async": lambda: _current("async"),
    "python-1x": lambda: _old("sync"),
    "python-1x-async": lambda: _old("async"),
    "node": _node,
    "curl": _curl,
}
