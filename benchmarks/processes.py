"""Processes under test: start, wait until ready, read what they cost from /proc, end by their ids."""

import contextlib
import os
import resource
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_POLL_S = 0.01


class StartError(Exception):
    """A process did not become ready; the text ends with what it wrote last."""


@dataclass(slots=True)
class Server:
    """A started process with its tree of children."""

    process: "subprocess.Popen[bytes]"
    port: int
    ready_s: float
    stderr: Path

    @property
    def pids(self) -> list[int]:
        """The process and everything below it."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """User and system time of the tree so far, its dead and waited-for children included."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                total += sum(int(ticks) for ticks in _stat(pid)[11:15])
        return total * _TICK_S

    def rss_mb(self) -> float:
        """Resident memory of the tree."""
        pages = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        return pages * _PAGE / 1e6

    def stop(self) -> None:
        """End the tree: first asked, then made to."""
        pids = self.pids
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.stderr.unlink(missing_ok=True)


def start(
    command: Sequence[str],
    port: int,
    ready_path: str | None,
    *,
    environ: Mapping[str, str],
    within_s: float,
    folder: Path,
) -> Server:
    """Start a server and wait until GET `ready_path` answers 200 (None: until it listens). Its log goes nowhere.

    Raises StartError.
    """
    handle, name = tempfile.mkstemp(dir=folder, suffix=".stderr")
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=handle, cwd=folder
    )
    os.close(handle)
    server = Server(process, port, 0.0, Path(name))
    while time.monotonic() - began < within_s and process.poll() is None:
        if has_answered(port, ready_path):
            server.ready_s = time.monotonic() - began
            return server
        time.sleep(_POLL_S)
    text = server.stderr.read_text(errors="replace")[-1500:]
    server.stop()
    raise StartError(f"{' '.join(command[:4])} was not ready within {within_s:.0f} s. Its last words:\n{text}")


class MemoryWatch:
    """The highest resident memory of a tree while the context is open, looked at ten times a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.peak_mb = max(self.peak_mb, self._server.rss_mb())


def has_answered(port: int, path: str | None) -> bool:
    """Whether GET `path` is answered with 200; without a path, whether somebody listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2.0) as sock:
        if path is None:
            return True
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        return sock.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def allow_many_files() -> int:
    """Raise the limit of open files as far as we may, for us and whom we start. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name, which may hold anything: state, ppid, ..., utime at 11."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
