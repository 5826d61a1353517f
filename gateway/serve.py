"""The life of one serving process: load, build, listen, reload, drain."""

import asyncio
import gc
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import REGISTRY

from config.settings import Settings
from gateway.api.endpoint import endpoints
from gateway.app import App, Surface
from gateway.assemble import Assembler
from gateway.caching.savings import Savings
from gateway.exposure import open_to_the_world
from gateway.keys.directory import KeyDirectory
from gateway.keys.stores import open_store
from gateway.memory import PressureWatch, container_share
from gateway.mirror import Mirrors
from gateway.money.opening import open_books, open_desk
from gateway.money.soft import SoftLimits
from gateway.money.watch import MoneyWatch
from gateway.pipeline import Pipeline
from gateway.reload import SUPERVISOR_PID, Reloader, Source, build_runtime
from gateway.server import Server, SideListener, build_server
from gateway.service import Service
from gateway.supervisor import AT_ONCE, METRICS_DIR, metrics_renderer
from gateway.telemetry.logs import BatchWriter, Logger, standard_stream
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder

# The collector's default thresholds make it walk every long-lived object many times a second under load.
_GC_THRESHOLDS = (5_000, 20, 50)


@dataclass(slots=True)
class Process:
    """What one serving process is started with. `on_ready` runs once when it accepts requests."""

    settings: Settings
    source: Source
    sock: socket.socket
    environ: Mapping[str, str]
    on_ready: Callable[[Service], None]
    admin_sock: socket.socket | None = None  # with it the control plane is there only


def run(process: Process) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigurationError or ValueError when the start configuration is wrong."""
    uvloop.run(_serve(process))


async def _serve(process: Process) -> None:
    settings = process.settings
    loop = asyncio.get_running_loop()
    writer = BatchWriter(standard_stream())
    logger = Logger(writer, settings.log_level, text=settings.log_format == "text")
    recorder = Recorder(Metrics(REGISTRY, settings.max_series), logger)
    writer.on_dropped = recorder.metrics.log_lines_dropped.inc
    recorder.metrics.info.labels(version("signalbox-gateway")).set(1)
    folder = process.source.path.parent if process.source.path is not None else Path()
    assembler = Assembler(settings, folder=folder)
    recorder.follow(assembler.guard)
    assembler.feedback.on_lost = lambda error: recorder.logger.warning("feedback lost", error=str(error))
    keys = await _read_keys(settings, logger)
    assembler.has_made_keys = lambda: keys.has_keys
    assembler.prepare_keys = keys.prepare
    data = process.source.read()
    runtime, _ = build_runtime(process.source, assembler, data)
    background = Background(recorder)
    _share_with_replicas(settings, assembler, background, recorder)
    mirrors = Mirrors(recorder, loop, time.monotonic, background.start)
    shared = process.environ.get(METRICS_DIR)
    books = await open_books(settings, Path(shared) if shared is not None else None)
    desk = mirrors.desk = open_desk(books, loop, SoftLimits(time.time, background.start, logger))
    assembler.cache.semantic.use(desk, background.start)
    assembler.cache.semantic.lessons = _lessons_folder(settings, shared)
    savings = assembler.cache.savings = Savings(books.write, desk.till.new_id, time.time)
    background.start(savings.run(), "savings")
    service = Service(
        settings=settings,
        recorder=recorder,
        loop=loop,
        clock=time.monotonic,
        wall_clock=time.time,
        new_request_id=_request_ids(random.SystemRandom()),
        render_metrics=metrics_renderer(),
        pipeline=Pipeline(keys.on(runtime), recorder, loop, time.monotonic, time.time, mirrors, desk),
        mirrors=mirrors,
        desk=desk,
        books=books,
        keys=keys,
        cache=assembler.cache,
    )
    for problem in assembler.router_files.problems():
        recorder.logger.warning("router file not in use", problem=problem)
    recorder.metrics.config_valid.set(1)
    recorder.metrics.config_loaded.set(time.time())
    reloader = Reloader(service, process.source, assembler, process.environ)
    reloader.remember(data)
    server = _build_server(process, service, reloader)
    if settings.watch:
        background.start(reloader.watch(), "config watcher")
    background.start(reloader.follow_prices(), "price changes")
    background.start(keys.follow(), "keys")
    background.start(_share_metrics(service), "metrics")
    service.cache.share(Path(shared) if shared is not None else None)
    background.start(service.cache.follow(), "cache purges")
    watch = MoneyWatch(books, desk.till, recorder.metrics.money, logger)
    await watch.load(service.runtime)
    background.start(watch.run(lambda: service.runtime), "money")
    background.start(_pressure_watch(service, server).run(), "pressure watch")
    supervisor = process.environ.get(SUPERVISOR_PID)
    if supervisor is not None:
        background.start(_end_with(int(supervisor), server), "supervisor watch")
    loop.add_signal_handler(signal.SIGHUP, lambda: background.start(reloader.reload("signal"), "reload"))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        await server.serve(sockets=[process.sock])
    finally:
        await background.stop()
        await keys.store.close()
        await books.close()
        watch.report()
        recorder.metrics.flush()
        recorder.logger.info("stopped")
        writer.close()


def _share_with_replicas(
    settings: Settings, assembler: Assembler, background: "Background", recorder: Recorder
) -> None:
    """What gateways on the same Redis tell each other without anybody waiting for it."""
    if settings.redis_url is None:
        return
    from gateway.hints import Hints  # noqa: PLC0415 - imports redis

    url, namespace = settings.redis_url.get_secret_value(), settings.redis_namespace
    background.start(Hints(url, assembler.guard, namespace=namespace).run(), "breaker hints")
    background.start(assembler.cache.share_redis(url, namespace, recorder).run(), "shared answers")


def _lessons_folder(settings: Settings, shared: str | None) -> Path | None:
    """Where what is learnt by meaning outlives a process; None where there is one worker and no state folder. `shared`
    is the folder of a gateway with several workers, which ends with it.
    """
    folder = settings.state_dir or (Path(shared) if shared is not None else None)
    return None if folder is None else folder / "lessons"


async def _read_keys(settings: Settings, logger: Logger) -> KeyDirectory:
    """The keys made at run time, as far as they can be read now."""
    may_be_open = open_to_the_world(settings, has_keys=False) is None
    keys = KeyDirectory(open_store(settings), logger, may_be_open=may_be_open)
    await keys.refresh()
    return keys


def _build_server(process: Process, service: Service, reloader: Reloader) -> Server:
    found = endpoints()

    def control_plane() -> Any:
        from gateway.admin.app import build_control_plane  # noqa: PLC0415 - FastAPI costs 12 MB and 0.2 s, for operators

        return build_control_plane(service, reloader, found)

    app = App(service, found, control_plane, Surface.ALL if process.admin_sock is None else Surface.DATA)
    side = None
    if process.admin_sock is not None:
        side = SideListener(App(service, found, control_plane, Surface.ADMIN), process.admin_sock)
        side.state.on_closed = service.recorder.metrics.admission.closed

    def drain() -> None:
        service.health.is_draining = True

    return build_server(
        app,
        drain_s=process.settings.drain_s,
        lame_duck_s=process.settings.lame_duck_s,
        on_drain=drain,
        on_started=partial(process.on_ready, service),
        side=side,
        at_once=AT_ONCE if SUPERVISOR_PID in process.environ else None,
    )


_CANCEL_AGAIN_S = 0.5


class Background:
    """Tasks beside the requests: their failures are logged, and they end with the process."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run `work` to its end or until `stop`."""
        task = asyncio.create_task(self._watched(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what still runs and wait for it: more than once, because a client library may lose a cancellation that
        comes with an answer, and whoever polls with it would go on for ever.
        """
        tasks = set(self._tasks)
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)

    async def _watched(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except Exception as error:
            self._recorder.logger.error("background task failed", task=name, error=error)


async def _end_with(supervisor: int, server: Server) -> None:
    """A worker whose supervisor was killed would hold the port for ever, out of anybody's sight. Whoever comes after
    the supervisor wants that port: no lame duck.
    """
    while os.getppid() == supervisor:  # noqa: ASYNC110 - the system has no event to wait for
        await asyncio.sleep(1.0)
    server.handle_exit(signal.SIGINT, None)


def _pressure_watch(service: Service, server: Server) -> PressureWatch:
    share = container_share(service.settings.workers)
    metrics = service.recorder.metrics.admission
    return PressureWatch(service.gate, server.server_state, metrics, service.pressure, container_bytes=share)


async def _share_metrics(service: Service) -> None:
    """A scrape may reach another worker: what this one knows is never older than a second."""
    metrics = service.recorder.metrics
    while True:
        metrics.in_flight.set(service.in_flight)
        metrics.tasks.set(len(asyncio.all_tasks()))
        metrics.flush()
        await asyncio.sleep(1.0)


def _request_ids(rng: random.Random) -> Callable[[], str]:
    """Ids that do not repeat across processes: a random start for each, counted up."""
    prefix = f"req_{rng.getrandbits(80):020x}"
    counter = iter(range(1 << 62))
    return lambda: f"{prefix}{next(counter):08x}"
