"""The running gateway as endpoints see it: the current Runtime behind one reference, and what outlives a reload."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from config.settings import Settings
from gateway.admission import Gate
from gateway.caching.keeper import CacheKeeper
from gateway.keys.directory import KeyDirectory
from gateway.memory import Pressure
from gateway.mirror import Mirrors
from gateway.money.desk import Desk
from gateway.money.opening import Books
from gateway.pipeline import Pipeline
from gateway.runtime import Runtime
from gateway.telemetry.recorder import Recorder


@dataclass(slots=True)
class Health:
    """What /readyz tells: whether new requests are welcome, and the state of the configuration."""

    is_draining: bool = False
    reload_error: str | None = None


@dataclass(slots=True)
class Service:
    """Shared by all endpoints. `pipeline` is replaced as a whole on reload; a request takes it once.

    `in_flight` counts all requests on the data plane, those that wait at the `gate` as well.
    """

    settings: Settings
    recorder: Recorder
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]  # monotonic seconds
    wall_clock: Callable[[], float]  # Unix seconds
    new_request_id: Callable[[], str]
    render_metrics: Callable[[], bytes]
    pipeline: Pipeline
    health: Health = field(default_factory=Health)
    in_flight: int = 0
    mirrors: Mirrors | None = None
    desk: Desk | None = None
    books: Books | None = None
    keys: KeyDirectory = field(default_factory=KeyDirectory)
    cache: CacheKeeper = field(default_factory=CacheKeeper)
    gate: Gate = field(init=False)
    pressure: Pressure = field(default_factory=Pressure)

    def __post_init__(self) -> None:
        self.keys.tell = self.use_keys
        self.recorder.metrics.key_store_up.set(1 if self.keys.status.error is None else 0)
        self.gate = Gate(self.loop, self.recorder.metrics.admission, self.runtime.overload)
        self._put_cache_before(self.pipeline)

    @property
    def runtime(self) -> Runtime:
        return self.pipeline.runtime

    def use(self, runtime: Runtime) -> None:
        """Swap the reference: requests under way keep the snapshot they started with."""
        runtime.guard.adopt()
        self._swap(self.keys.on(runtime))

    def use_keys(self) -> None:
        """Take over the keys that are known now; all else stays."""
        self.recorder.metrics.key_store_up.set(1 if self.keys.status.error is None else 0)
        self._swap(self.keys.on(self.runtime))

    def _swap(self, runtime: Runtime) -> None:
        pipeline = Pipeline(runtime, self.recorder, self.loop, self.clock, self.wall_clock, self.mirrors, self.desk)
        self._put_cache_before(pipeline)
        self.cache.forget_strangers(self.runtime.keys, runtime.keys)
        self.cache.forget_changed(self.runtime, runtime)
        self.pipeline = pipeline
        self.gate.use(runtime.overload)

    def _put_cache_before(self, pipeline: Pipeline) -> None:
        self.cache.stand_before(pipeline, self.recorder, self.loop, self.clock, self.pressure)
