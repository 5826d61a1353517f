"""Several worker processes on the same listening sockets: start them, replace those that die, pass signals on.

The parent handles no traffic. Workers are whole processes started anew, so that nothing is shared by accident.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from gateway.reload import SUPERVISOR_PID

# prometheus_client shares the values of several processes through files in this folder.
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
_POLL_S = 0.1
_RESTART_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_QUICK_DEATH_S = 10.0
_MAX_QUICK_DEATHS = 3


class Supervisor:
    """Keeps `count` workers alive until SIGTERM or SIGINT."""

    def __init__(self, command: Sequence[str], socks: Sequence[socket.socket], count: int, drain_s: float) -> None:
        self._command = command
        self._socks = socks
        self._count = count
        self._drain_s = drain_s
        self._workers: list[tuple[subprocess.Popen[bytes], float]] = []
        self._stop = False
        self._signal = signal.SIGTERM  # the first that asked for the end
        self._has_failed = False
        self._quick_deaths = 0
        self._not_before = 0.0
        self._buried: set[int] = set()  # pids of dead workers that were noted

    def run(self) -> int:
        """Returns the exit code: 0 after a clean stop, 1 when workers cannot start."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hup)
        with tempfile.TemporaryDirectory(prefix="signalbox-metrics-") as folder:
            environ = {**os.environ, METRICS_DIR: folder, SUPERVISOR_PID: str(os.getpid())}
            self._workers = [self._start(environ) for _ in range(self._count)]
            while not self._stop:
                time.sleep(_POLL_S)
                self._replace_dead(environ, Path(folder))
            return self._end()

    def _start(self, environ: dict[str, str]) -> tuple[subprocess.Popen[bytes], float]:
        # Its own session: a Ctrl-C at the terminal reaches the parent alone, which then drains the workers in order.
        worker = subprocess.Popen(
            [sys.executable, *self._command],
            env=environ,
            pass_fds=[sock.fileno() for sock in self._socks],
            start_new_session=True,
        )
        return worker, time.monotonic()

    def _replace_dead(self, environ: dict[str, str], folder: Path) -> None:
        now = time.monotonic()
        dead = [index for index, (worker, _) in enumerate(self._workers) if worker.poll() is not None]
        for index in dead:
            worker, started = self._workers[index]
            if worker.pid not in self._buried:
                self._buried.add(worker.pid)
                _forget_gauges(worker.pid, folder)
                self._quick_deaths = self._quick_deaths + 1 if now - started < _QUICK_DEATH_S else 0
                self._not_before = now + min(_RESTART_PAUSE_S * 2**self._quick_deaths, _LONGEST_PAUSE_S)
        if not dead or self._stop:
            return
        if len(dead) == self._count and self._quick_deaths >= _MAX_QUICK_DEATHS * self._count:
            sys.stderr.write("signalbox: workers end as soon as they start; the log says why. Stopping.\n")
            self._stop = self._has_failed = True
        elif now >= self._not_before:
            # While others serve, whatever keeps new workers from starting (a file that is wrong by now, say) can be
            # mended in peace: it is tried again, at longer and longer intervals.
            for index in dead:
                self._workers[index] = self._start(environ)

    def _end(self) -> int:
        for worker, _ in self._workers:
            if worker.poll() is None:
                worker.send_signal(self._signal)
        for sock in self._socks:  # the workers have them as well; whoever connects after they let go should be told
            sock.close()
        deadline = time.monotonic() + self._drain_s + 5.0
        for worker, _ in self._workers:
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        return 1 if self._has_failed else 0

    def _on_stop(self, sig: int, _frame: FrameType | None) -> None:
        if self._stop:  # the second time: nobody waits for what is under way any longer
            for worker, _ in self._workers:
                if worker.poll() is None:
                    worker.send_signal(sig)
        else:
            self._signal = signal.Signals(sig)
        self._stop = True

    def _on_hup(self, _sig: int, _frame: FrameType | None) -> None:
        for worker, _ in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGHUP)


# A worker that starts makes its files first and fills them then: whoever reads in between finds no numbers.
_TRIES, _PAUSE_S = 10, 0.01


def _forget_gauges(pid: int, folder: Path) -> None:
    """Counters of a dead worker stay in the sums; its gauges say nothing any more."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def metrics_renderer() -> Callable[[], bytes]:
    """A function that renders /metrics: of this process, or of all workers where there are several."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest  # noqa: PLC0415 - after METRICS_DIR is set
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    if METRICS_DIR not in os.environ:
        return lambda: generate_latest(REGISTRY)

    def render() -> bytes:
        for _ in range(_TRIES):
            with suppress(OSError, ValueError, KeyError, struct.error):
                return read()
            time.sleep(_PAUSE_S)
        return read()

    def read() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    return render
