"""What a worker gives up when its memory or its event loop runs short, one step after the other."""

import asyncio
import os
import sys
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from gateway.admission import Gate, ShedReason
from gateway.connection import DrainingState
from gateway.telemetry.admission_metrics import AdmissionMetrics

_TICK_S = 0.1
_TICKS_PER_SAMPLE = 5  # of the memory
_LATE_S = 0.25
_LATE_FOR_S = 1.0
_LATE_TICKS = 3  # one long pause is not a busy loop
_SLACK = 0.03  # of the limit: so far below a step the memory has to be before the step is taken back
# cgroup v2, then v1. A container sees its own limit there.
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NO_LIMIT_BYTES = 1 << 50  # v1 says "none" with a number near 2^63


class MemoryStep(IntEnum):
    """What is given up: each step includes those before it."""

    CALM = 0
    NO_CACHE_FILLS = 1
    CLOSE_CONNECTIONS = 2
    SHED = 3


# Shares of the limit at which the steps begin.
_STEPS = (0.80, 0.90, 0.95)


@dataclass(slots=True)
class Pressure:
    """Read by whoever could do without something. `is_lagging`: the event loop is late for its own timers."""

    step: MemoryStep = MemoryStep.CALM
    is_lagging: bool = False

    @property
    def allows_cache_fills(self) -> bool:
        return self.step < MemoryStep.NO_CACHE_FILLS


def next_step(before: MemoryStep, share: float) -> MemoryStep:
    """The step at this share of the limit; a step is kept until the share is clearly below it."""
    return max(MemoryStep(bisect_right(_STEPS, share)), min(before, MemoryStep(bisect_right(_STEPS, share + _SLACK))))


class LagWatch:
    """Tells a busy event loop from a single pause."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._ticks = 0

    def tick(self, due: float, now: float) -> bool:
        """A timer due at `due` ran at `now` (seconds). Whether timers have been late for some time by now."""
        if now - due <= _LATE_S:
            self._since, self._ticks = None, 0
            return False
        if self._since is None:
            self._since = due
        self._ticks += 1
        return self._ticks >= _LATE_TICKS and now - self._since >= _LATE_FOR_S


class PressureWatch:
    """Samples a worker and tells the gate and the connections. `container_bytes` holds where the limits name none."""

    def __init__(
        self,
        gate: Gate,
        state: DrainingState,
        metrics: AdmissionMetrics,
        pressure: Pressure,
        *,
        container_bytes: int | None = None,
        resident_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        self._gate = gate
        self._state = state
        state.on_closed = metrics.closed
        self._metrics = metrics
        self._pressure = pressure
        self._container_bytes = container_bytes
        gate.uploads.container_bytes = container_bytes
        gate.uploads.use(gate.limits.max_in_flight, gate.limits.memory_bytes)
        self._resident_bytes = resident_bytes if resident_bytes is not None else resident
        self._lag = LagWatch()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        ticks = 0
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            now = loop.time()
            self._metrics.note_lag(now - due)
            is_lagging = self._lag.tick(due, now)
            self._state.max_connections = self._gate.limits.max_connections
            step = self._sample() if ticks % _TICKS_PER_SAMPLE == 0 else self._pressure.step
            ticks += 1
            if step is not self._pressure.step or is_lagging is not self._pressure.is_lagging:
                self._tell(step, is_lagging)

    def _sample(self) -> MemoryStep:
        limit = self._gate.limits.memory_bytes or self._container_bytes
        used = self._resident_bytes()
        if limit is None or used is None:
            return MemoryStep.CALM
        return next_step(self._pressure.step, used / limit)

    def _tell(self, step: MemoryStep, is_lagging: bool) -> None:
        self._pressure.step, self._pressure.is_lagging = step, is_lagging
        self._metrics.note_step(step)
        self._state.is_short_of_memory = step >= MemoryStep.CLOSE_CONNECTIONS
        if step >= MemoryStep.SHED:
            self._gate.shed(ShedReason.MEMORY)
        else:
            self._gate.shed(ShedReason.LAG if is_lagging else None)


def resident() -> int | None:
    """Bytes of memory this process occupies; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def container_share(workers: int, files: tuple[Path, ...] = _CGROUP_LIMITS) -> int | None:
    """What each worker may occupy by the container's limit, in bytes; None where there is no limit."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT_BYTES:
            return int(text) // workers
    return None
