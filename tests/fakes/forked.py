"""Starts gateways by forking, and watches them as if they were children of this process."""

import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ADDRESS = "TESTS_FORK_SERVER"  # the variable that tells other processes of pytest where to connect
_OWN_ENV = ("PATH", "HOME", "LANG", "TMPDIR")  # of ours: every gateway of a test gets these too
_SCRIPT = Path(__file__).with_name("fork_server.py")
_PACKET = 1 << 12

# Variables that our own code reads when it starts to serve. Others (PYTHON*, proxies, allocators) may matter to
# Python, to the system's libraries or to what is imported, and that has happened before the fork.
_READ_LATE = re.compile(r"SIGNALBOX_\w+|\w+_API_KEY")


def can_fork_for(env: Mapping[str, str]) -> bool:
    """Whether a fork is a process like any other in spite of these variables."""
    return sys.platform == "linux" and all(map(_READ_LATE.fullmatch, env))


class ForkServer:
    """The process that forks, for all processes of pytest. Ends when closed, and with the process that made it."""

    def __init__(self) -> None:
        env = {name: os.environ[name] for name in _OWN_ENV if name in os.environ}
        self._folder = tempfile.TemporaryDirectory(prefix="signalbox-forks-")
        self.address = str(Path(self._folder.name) / "socket")
        lifeline, self._lifeline = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.address)
            listener.listen()
            # -P as in the container: a file named like one of our packages in the working folder must not be imported.
            command = [sys.executable, "-P", str(_SCRIPT), str(listener.fileno()), str(lifeline)]
            self._process = subprocess.Popen(
                command, cwd="/", env=env, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno(), lifeline]
            )
        os.close(lifeline)

    def close(self) -> None:
        os.close(self._lifeline)
        self._process.wait()
        self._folder.cleanup()


class Channel:
    """A way to ask the fork server. Used by several threads."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(address)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._socket.close()

    def start(
        self, command: Sequence[str], *, folder: Path, env: Mapping[str, str], stdout: Path, stderr: Path
    ) -> "Forked":
        """Run a Python script of this project. `env` is all the variables it gets."""
        request = {"start": [*command], "folder": str(folder), "env": dict(env)}
        return Forked(self, self._ask(request | {"stdout": str(stdout), "stderr": str(stderr)})["pid"])

    def status(self, pid: int) -> int | None:
        """The exit status of a process, None while it runs. Once it was given, the process is forgotten."""
        status: int | None = self._ask({"reap": pid})["status"]
        return status

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                self._socket.send(json.dumps(request).encode())
                packet = self._socket.recv(_PACKET)
            except ConnectionError:
                packet = b""
            assert packet, "the fork server has ended, perhaps because an import failed; stderr says why"
            answer: dict[str, Any] = json.loads(packet)
            return answer


@cache
def of_this_process() -> Channel:
    """Made when first asked for: to the server that stands in the environment, else to one of this process alone."""
    address = os.environ.get(ADDRESS)
    if address is None:
        server = ForkServer()
        atexit.register(server.close)
        address = server.address
    channel = Channel(address)
    atexit.register(channel.close)  # before the server's own end
    return channel


class Forked:
    """A process that the fork server started, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, channel: Channel, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._channel = channel

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._channel.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired when the process still runs after so many seconds."""
        if self.returncode is None:
            file = os.pidfd_open(self.pid)
            try:
                is_over, _, _ = select.select([file], [], [], timeout)
            finally:
                os.close(file)
            if not is_over or self.poll() is None:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
