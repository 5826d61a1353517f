"""Several worker processes on the same listening sockets: start them, replace those that die, pass signals on.

The parent handles no traffic and runs no threads. It has imported what a worker needs before it forks the first one: a
worker is there sooner, also one that replaces another, and shares the memory of all that code with the others.
"""

import gc
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from prometheus_client import values

from gateway.reload import SUPERVISOR_PID

# prometheus_client shares the values of several processes through files in this folder.
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
_POLL_S = 0.1
_END_POLL_S = 0.02
_RESTART_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_QUICK_DEATH_S = 10.0
_MAX_QUICK_DEATHS = 3
# What tells a worker to end at once. To it SIGTERM means the same however often it comes, because a service manager may
# tell every process of a service, and the supervisor passes it on as well.
AT_ONCE = signal.SIGUSR1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, AT_ONCE)


class _Worker:
    """A child process that runs `work` and nothing else of what is on the stack."""

    def __init__(self, work: Callable[[], int]) -> None:
        self.started = time.monotonic()
        self._is_running = True
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came before the child has handlers of its own would call those of the parent, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(work)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def is_running(self) -> bool:
        if self._is_running:
            try:
                self._is_running = os.waitpid(self.pid, os.WNOHANG) == (0, 0)
            except ChildProcessError:  # a signal came in between, and its handler asked first
                self._is_running = False
        return self._is_running

    def send(self, sig: int) -> None:
        if self.is_running():
            os.kill(self.pid, sig)

    def wait(self, until: float) -> bool:
        """Whether it has ended by then, a time of the monotonic clock."""
        while self.is_running():
            if time.monotonic() >= until:
                return False
            time.sleep(_END_POLL_S)
        return True


def _become(work: Callable[[], int]) -> None:
    """Never returns. `work` gives the exit code, and begins with the signals blocked that a supervisor acts on."""
    code = 1
    try:
        os.setsid()  # a Ctrl-C at the terminal reaches the parent alone, which then drains the workers in order
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Supervisor:
    """Keeps `count` workers alive until SIGTERM or SIGINT.

    `prepare` imports what they need; `work` is what each of them does, in a process of its own, to its exit code.
    """

    def __init__(
        self,
        prepare: Callable[[], None],
        work: Callable[[], int],
        socks: Sequence[socket.socket],
        count: int,
        drain_s: float,
    ) -> None:
        self._prepare = prepare
        self._work = work
        self._socks = socks
        self._count = count
        self._drain_s = drain_s
        self._workers: list[_Worker] = []
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
            os.environ[METRICS_DIR] = folder
            os.environ[SUPERVISOR_PID] = str(os.getpid())
            self._prepare()
            # It looks for the variable when it is imported, which was before: no metric has been made yet.
            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
            gc.collect()
            gc.freeze()  # else the first collection of every worker would copy all of this
            if not self._stop:
                self._workers = [_Worker(self._work) for _ in range(self._count)]
            while not self._stop:
                time.sleep(_POLL_S)
                self._replace_dead(Path(folder))
            return self._end()

    def _replace_dead(self, folder: Path) -> None:
        now = time.monotonic()
        dead = [index for index, worker in enumerate(self._workers) if not worker.is_running()]
        for index in dead:
            worker = self._workers[index]
            if worker.pid not in self._buried:
                self._buried.add(worker.pid)
                _forget_gauges(worker.pid, folder)
                self._quick_deaths = self._quick_deaths + 1 if now - worker.started < _QUICK_DEATH_S else 0
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
                self._workers[index] = _Worker(self._work)

    def _end(self) -> int:
        self._tell(self._signal)
        for sock in self._socks:  # the workers have them as well; whoever connects after they let go should be told
            sock.close()
        until = time.monotonic() + self._drain_s + 5.0
        for worker in self._workers:
            if not worker.wait(max(until, time.monotonic() + 0.1)):
                worker.send(signal.SIGKILL)
                worker.wait(time.monotonic() + 5.0)
        return 1 if self._has_failed else 0

    def _tell(self, sig: int) -> None:
        for worker in self._workers:
            worker.send(sig)

    def _on_stop(self, sig: int, _frame: FrameType | None) -> None:
        if self._stop:  # the second time: nobody waits for what is under way any longer
            self._tell(AT_ONCE)
        else:
            self._signal = signal.Signals(sig)
        self._stop = True

    def _on_hup(self, _sig: int, _frame: FrameType | None) -> None:
        self._tell(signal.SIGHUP)


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
