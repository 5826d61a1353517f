"""Where the blocks of one page are executed, in their order: a folder, a gateway, and what was printed last.

The pages speak of a gateway on port 8080 and of a vendor at api.acme.example; here these are a free port and the fake
provider.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from config.diagnostics import has_errors
from config.load import load_bytes
from config.references import _REFERENCE
from providers import registry
from tests.clients.drivers import NODE_FOLDER, node_program
from tests.docs import warm
from tests.docs.pages import ROOT, Block
from tests.fakes.forked import Forked, can_fork_for
from tests.fakes.gateway import free_port
from tests.fakes.http import send

PACKAGES = ("config", "providers", "routing", "policies", "gateway")
UPSTREAM = "https://api.acme.example"
_PORT = "8080"
_START_S = 20.0
_BLOCK_S = 180.0  # a loaded machine takes its time to train a router


class Workspace:
    """One page's folder. Use as a context manager; `run` takes the blocks one after the other."""

    def __init__(self, folder: Path, *, checkout: bool, upstream_url: str) -> None:
        self.folder = folder
        self._upstream_url = upstream_url
        self._exports: list[str] = []
        self._gateway: subprocess.Popen[bytes] | Forked | None = None
        self._port = free_port()
        self._output = ""
        self._checkout = checkout
        self._has_file = False  # whether the gateway was started with a file to watch
        self._warm: warm.WarmCommand | None = None
        self._bin = Path(sys.executable).parent
        if not checkout and can_fork_for({}):
            self._warm = warm.WarmCommand(folder / ".venv")
            self._bin = self._warm.bin
        else:
            (folder / ".venv").symlink_to(self._bin.parent)
        if checkout:
            for package in PACKAGES:  # compiled modules and all: their sources keep the times they were compiled from
                shutil.copytree(ROOT / package, folder / package)

    def __enter__(self) -> "Workspace":
        if self._warm is not None:
            self._warm.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if self._warm is not None:
            self._warm.close()

    def run(self, block: Block) -> None:
        text = self._here(block.text)
        match block.verb:
            case "config":
                check_config(block.text, block.place)
            case "file" | "append":
                self._write(block, text)
            case "serve":
                self._serve(text)
            case "shell":
                self._shell(text, block)
            case "python":
                self._program([sys.executable, "-"], text, block)
            case "node":
                self._node(text, block)
            case "output":
                self._compare(block)
            case _:
                raise AssertionError(f"{block.place}: nothing is known about 'run: {block.verb}'")

    # One method per verb.

    def _write(self, block: Block, text: str) -> None:
        path = self.folder / block.argument
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "signalbox.yaml":
            check_config(block.text, block.place, self.folder)
        before = self._reloads()
        if block.verb == "append":
            text = path.read_text() + "\n" + text
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        new.replace(path)
        if path.name == "signalbox.yaml" and self._gateway is not None and self._has_file:
            self._wait(lambda: self._reloads() > before, "the gateway did not take over the new file")

    def _serve(self, text: str) -> None:
        self._stop()
        self._has_file = (self.folder / "signalbox.yaml").exists()
        if self._warm is not None:
            self._gateway = warm.serve(text, self._exports, self.folder, self._environ())
        if self._gateway is None:
            self._gateway = self._serve_anew(text)
        self._wait(self._is_ready, "the gateway did not become ready")
        self._output = (self.folder / "serve.err").read_text()

    def _serve_anew(self, text: str) -> "subprocess.Popen[bytes]":
        out, err = (self.folder / "serve.out").open("wb"), (self.folder / "serve.err").open("wb")
        with out, err:
            return subprocess.Popen(
                ["bash", "-ec", "\n".join([*self._exports, text])],
                cwd=self.folder,
                env=self._environ(),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _shell(self, text: str, block: Block) -> None:
        status = int(block.argument.removeprefix("status=")) if block.argument else 0
        program = "\n".join([*self._exports, "set -euo pipefail", text])
        self._program(["bash", "-c", program], "", block, status)
        self._exports += [line for line in text.splitlines() if line.startswith("export ")]

    def _node(self, text: str, block: Block) -> None:
        program = node_program()
        if program is None or not (NODE_FOLDER / "node_modules/openai").is_dir():
            self._output = ""
            return
        modules = self.folder / "node_modules"
        if not modules.exists():
            modules.symlink_to(NODE_FOLDER / "node_modules")
        script = self.folder / "block.mjs"
        script.write_text(text)
        self._program([program, str(script)], "", block)

    def _compare(self, block: Block) -> None:
        """The block is what was printed last; `...` stands for anything."""
        printed = self._output.replace(f":{self._port}", f":{_PORT}")
        at = 0
        for piece in (part.strip() for part in block.text.split("...")):
            found = printed.find(piece, at)
            assert found >= 0, f"{block.place}: {piece!r} is not (in this place) in what was printed:\n{printed}"
            at = found + len(piece)

    # What they share.

    def _program(self, command: list[str], given: str, block: Block, status: int = 0) -> None:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environ(),
            timeout=_BLOCK_S,
            check=False,
        )
        self._output = done.stdout + done.stderr
        assert done.returncode == status, f"{block.place} ended with {done.returncode}:\n{self._output}"

    def _here(self, text: str) -> str:
        for host in ("127.0.0.1", "localhost"):
            text = text.replace(f"{host}:{_PORT}", f"{host}:{self._port}")
        return text.replace(UPSTREAM, self._upstream_url)

    def _environ(self) -> Mapping[str, str]:
        env = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
        env |= {"PATH": f"{self._bin}:{os.environ['PATH']}", "SIGNALBOX_PORT": str(self._port)}
        env |= {"SIGNALBOX_DRAIN_S": "1", "SIGNALBOX_LAME_DUCK_S": "0"}
        return env | ({"PYTHONPATH": str(self.folder)} if self._checkout else {})

    def _reloads(self) -> int:
        log = self.folder / "serve.out"
        return log.read_text().count('"event":"configuration re') if log.exists() else 0

    def _is_ready(self) -> bool:
        assert self._gateway is not None
        assert self._gateway.poll() is None, f"the gateway has ended:\n{self._log()}"
        try:
            return send(f"http://127.0.0.1:{self._port}/readyz", timeout_s=2).status == 200
        except OSError:
            return False

    def _wait(self, is_done: object, complaint: str) -> None:
        deadline = time.monotonic() + _START_S
        while not is_done():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{complaint}:\n{self._log()}"
            time.sleep(0.02)

    def _log(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("serve.out", "serve.err"))

    def _stop(self) -> None:
        process, self._gateway = self._gateway, None
        if process is None:
            return
        # A group of its own: the shell, the gateway and its workers. A fork is a process alone.
        tell = process.send_signal if isinstance(process, Forked) else partial(os.killpg, process.pid)
        if process.poll() is None:
            tell(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                tell(signal.SIGKILL)
                process.wait()


def check_config(text: str, place: str, folder: Path | None = None) -> None:
    """A documented configuration loads without a warning once its variables are set.

    `folder` has the files that it names.
    """
    file = place if folder is None else str(folder / place.replace("/", "-"))
    environ = {found["braced"] or found["bare"]: "x" * 24 for found in _REFERENCE.finditer(text) if not found["escape"]}
    loaded = load_bytes(text.encode(), file=file, environ=environ, known_kinds=[*registry.kinds(), "acme"])
    told = [found for found in loaded.diagnostics if found.severity != "info"]
    assert not told, "\n".join(found.to_text() for found in told)
    assert not has_errors(loaded.diagnostics)
