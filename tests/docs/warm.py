"""A `signalbox` command for the pages that skips the imports: most of what a page costs is starting Python again.

The command in a page's folder asks this process, over a socket, to have the program forked from the server
of tests/fakes/forked.py, with its own arguments, folder and environment and with what it prints going where its own
output would go. Where that is a file, and for what is not in `_QUICK`, it starts the real program instead.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fakes import forked
from tests.fakes.gateway import PROGRAM

# They read no input and end by themselves.
_QUICK = frozenset({"calibrate", "check", "explain", "keys", "spend", "train"})
_COMMAND = """#!%(python)s -IS
import os, sys
def is_pipe(number):
    return os.fstat(number).st_mode & 0o170000 == 0o010000
if sys.argv[1:] and sys.argv[1] in %(quick)r and is_pipe(1) and is_pipe(2):
    import _socket, json
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    channel.connect(%(address)r)
    said = dict(pid=os.getpid(), arguments=sys.argv[1:], folder=os.getcwd(), env=dict(os.environ))
    channel.send(json.dumps(said).encode())
    sys.exit(json.loads(channel.recv(100)))
os.execv(%(program)r, [%(program)r, *sys.argv[1:]])
"""
_PACKET = 1 << 18


class WarmCommand:
    """A virtual environment at `folder`, which is the one the tests run in by links, but for its `signalbox`."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for part in Path(sys.prefix).iterdir():
            if part.name != "bin":
                (folder / part.name).symlink_to(part)
        for program in Path(sys.executable).parent.iterdir():
            if program != PROGRAM:
                (self.bin / program.name).symlink_to(program)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = f"\0signalbox-{os.getpid()}-{id(self)}"  # a name of the kernel's, not a file
        self._listener.bind(address)
        self._listener.listen()
        command = self.bin / PROGRAM.name
        known = {"python": sys.executable, "program": str(PROGRAM), "quick": set(_QUICK), "address": address}
        command.write_text(_COMMAND % known)
        command.chmod(0o755)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """From now on it is answered."""
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                channel, _ = self._listener.accept()
            except OSError:  # it was shut down
                return
            threading.Thread(target=_run, args=(channel,), daemon=True).start()


def _run(channel: socket.socket) -> None:
    with channel:
        asked = json.loads(channel.recv(_PACKET))
        out, err = (Path(f"/proc/{asked['pid']}/fd/{number}") for number in (1, 2))
        command = [str(PROGRAM), *asked["arguments"]]
        process = forked.of_this_process().start(
            command, folder=Path(asked["folder"]), env=asked["env"], stdout=out, stderr=err
        )
        channel.send(json.dumps(process.wait()).encode())


def serve(text: str, exports: Sequence[str], folder: Path, env: Mapping[str, str]) -> forked.Forked | None:
    """Start what a block says as a fork: `[NAME=VALUE...] .venv/bin/signalbox serve`. None where it says anything else,
    or what needs a process of its own: several workers.

    What it prints is in `serve.out` and `serve.err` of the folder.
    """
    *settings, program, command = shlex.split(text) or ("", "")
    if (program, command) != (".venv/bin/signalbox", "serve") or not all("=" in one for one in settings):
        return None
    script = "\n".join([*exports, shlex.join(["export", *settings]) if settings else "", "env -0"])
    told = subprocess.run(["bash", "-ec", script], cwd=folder, env=env, capture_output=True, text=True, check=True)
    full = dict(one.split("=", 1) for one in told.stdout.split("\0") if one)
    ours = {name: value for name, value in full.items() if name.startswith("SIGNALBOX_") or name.endswith("_API_KEY")}
    if int(ours.get("SIGNALBOX_WORKERS", "1")) > 1 or not forked.can_fork_for(ours):
        return None
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    out, err = folder / "serve.out", folder / "serve.err"
    return forked.of_this_process().start(
        [str(PROGRAM), "serve"], folder=folder, env=base | ours, stdout=out, stderr=err
    )
