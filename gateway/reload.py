"""Reading the configuration again while serving: validate, build all of the new Runtime, then swap one reference.

A file with errors changes nothing but what the log, /readyz and a metric say.
"""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from watchfiles import awatch

from config.diagnostics import Diagnostic
from config.load import Loaded
from config.price_files import PriceFile
from config.schema import Config
from gateway.assemble import Assembler
from gateway.runtime import Runtime
from gateway.service import Service

# Several workers: this variable tells a worker who its supervisor is.
SUPERVISOR_PID = "SIGNALBOX_SUPERVISOR_PID"
_DEBOUNCE_MS = 100
_PRICE_CHECK_S = 20.0
_ECHO_S = 2.0
# What asks for a reload: the watcher, SIGHUP, the admin API, or a price list in which a price changes with the time.
Trigger = Literal["file", "signal", "admin", "prices"]


class ConfigurationError(Exception):
    """The configuration has errors; `diagnostics` holds all of them. `price_files` are those that it names, as read."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...], price_files: tuple[PriceFile, ...] = ()) -> None:
        super().__init__(f"the configuration has {sum(d.severity == 'error' for d in diagnostics)} errors")
        self.diagnostics = diagnostics
        self.price_files = price_files


@dataclass(slots=True, frozen=True)
class ReloadResult:
    """What a reload did, and every problem it found."""

    status: Literal["reloaded", "unchanged", "refused"]
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(slots=True, frozen=True)
class Source:
    """Where the configuration comes from. `path` is None when it is made from the environment alone.

    `load` turns bytes (None without a file) into a checked configuration; it is the one function for start and reload.
    """

    path: Path | None
    load: Callable[[bytes | None], Loaded]

    def read(self) -> bytes | None:
        return None if self.path is None else self.path.read_bytes()


def build_runtime(source: Source, assembler: Assembler, data: bytes | None) -> tuple[Runtime, tuple[Diagnostic, ...]]:
    """A Runtime from configuration bytes. Raises ConfigurationError; ValueError for options no dialect takes."""
    loaded = source.load(data)
    config: Config | None = loaded.config
    if config is None:
        raise ConfigurationError(loaded.diagnostics, loaded.price_files)
    version = hashlib.sha256(data or b"").hexdigest()[:12]
    return assembler.build(config, loaded, version), loaded.diagnostics


class Reloader:
    """Reloads on a change of the file, on SIGHUP and on request. One reload runs at a time."""

    def __init__(self, service: Service, source: Source, assembler: Assembler, environ: Mapping[str, str]) -> None:
        self._service = service
        self._source = source
        self._assembler = assembler
        self._supervisor = environ.get(SUPERVISOR_PID)
        self._lock = asyncio.Lock()
        self._last: bytes | None = None
        self._refused: bytes | None = None
        self._refused_prices: tuple[PriceFile, ...] | None = None
        self._asked_at = -inf

    def remember(self, data: bytes | None) -> None:
        """The bytes in use, so that an unchanged file is not built again by the watcher."""
        self._last = data

    async def reload(self, trigger: Trigger) -> ReloadResult:
        """Read, check, build, swap. Never raises for what is wrong with the file."""
        async with self._lock:
            result = await self._reload(trigger)
            if result.status == "reloaded":
                for transport in self._assembler.retired:
                    await transport.close()  # idle connections go now, those in use when their request has ended
        self._report(trigger, result)
        return result

    async def _reload(self, trigger: Trigger) -> ReloadResult:
        health = self._service.health
        try:
            # A price that changes is no reason to take over a file that nobody asked us to read.
            data = self._last if trigger == "prices" else self._source.read()
            if self._is_known(trigger, data):
                return ReloadResult("unchanged")
            self._refused = data
            if data is not None and not data.strip():
                raise ValueError(f"{self._source.path} is empty")  # somebody is writing it just now
            # In a thread: reading and checking a large file would hold up every request for as long.
            self._assembler.router_files.expect(is_asked=trigger in ("signal", "admin"), is_read=trigger != "prices")
            runtime, diagnostics = await asyncio.to_thread(build_runtime, self._source, self._assembler, data)
        except ConfigurationError as error:
            first = next(d for d in error.diagnostics if d.severity == "error")
            health.reload_error = f"{first.file}:{first.line}: {first.message}"
            self._refused_prices = error.price_files
            return ReloadResult("refused", error.diagnostics)
        except (OSError, ValueError) as error:
            health.reload_error = str(error)
            return ReloadResult("refused")
        except Exception as error:
            # A fault of ours in reading it; the watcher has to live on, and so does the old configuration.
            self._service.recorder.logger.error("internal error", trigger=trigger, error=error)
            health.reload_error = "an internal error, see the log"
            return ReloadResult("refused")
        self._service.use(runtime)
        self._refused_prices = None
        if trigger in ("signal", "admin"):
            self._assembler.guard.pardon()
        if trigger != "prices":
            self._last, self._refused = data, None
            health.reload_error = None
        return ReloadResult("reloaded", diagnostics)

    def _is_known(self, trigger: Trigger, data: bytes | None) -> bool:
        """Whether there is nothing new to say about these bytes."""
        if trigger == "file" and data is not None and data == self._refused and not self._have_prices_changed():
            # The watcher sees the whole folder. The log may be written there, and this would be one more line of it.
            return True
        if data != self._last or self._service.health.reload_error is not None or not self._is_echo(trigger):
            return False
        return not self._assembler.router_files.have_changed() and not self._have_prices_changed()

    def _price_files(self) -> tuple[PriceFile, ...]:
        """The price files that were looked at last."""
        return self._assembler.price_files if self._refused_prices is None else self._refused_prices

    def _have_prices_changed(self) -> bool:
        return any(file.has_changed() for file in self._price_files())

    def _is_echo(self, trigger: Trigger) -> bool:
        """Whether an unchanged file needs no look: the watcher sees every touch, and a reload asked of one worker comes
        back to it by the supervisor's signal to all.
        """
        if trigger == "admin":
            self._asked_at = time.monotonic()
            return False
        return trigger == "file" or (trigger == "signal" and time.monotonic() - self._asked_at < _ECHO_S)

    def _report(self, trigger: Trigger, result: ReloadResult) -> None:
        if result.status == "unchanged":
            return
        metrics, logger = self._service.recorder.metrics, self._service.recorder.logger
        metrics.reloads.labels("ok" if result.status == "reloaded" else "refused").inc()
        metrics.config_valid.set(1 if self._service.health.reload_error is None else 0)
        if result.status == "reloaded":
            metrics.config_loaded.set(time.time())
            logger.info("configuration reloaded", trigger=trigger, version=self._service.runtime.version)
            for problem in self._assembler.router_files.problems():
                logger.warning("router file not in use", problem=problem)
            return
        problems = [diagnostic.to_json() for diagnostic in result.diagnostics if diagnostic.severity == "error"]
        logger.error(
            "configuration refused, the old one stays",
            trigger=trigger,
            error=self._service.health.reload_error,
            problems=problems,
        )

    async def watch(self) -> None:
        """Reload whenever the file changes, or a router or price file that it names. Runs until cancelled.

        Folders are watched, not files: editors replace files, and Kubernetes swaps a symlink beside them.
        """
        if self._source.path is None:
            return
        while True:
            folders = self._folders()
            changes = awatch(*folders, debounce=_DEBOUNCE_MS, step=20, recursive=False, watch_filter=None)
            async with aclosing(changes):
                async for _ in changes:
                    await self.reload("file")
                    if self._folders() != folders:
                        break
            await self.reload("file")  # what changed while nobody was watching

    def _folders(self) -> set[Path]:
        """Where something may change. A folder that does not exist cannot be watched."""
        files = [*self._assembler.router_files.paths, *(file.path for file in self._price_files())]
        own = set() if self._source.path is None else {self._source.path.absolute().parent}
        return own | {folder for file in files if (folder := file.absolute().parent).is_dir()}

    async def follow_prices(self) -> None:
        """Build anew whenever a price changes by its list: some depend on the date, some on the hour."""
        while True:
            await asyncio.sleep(_PRICE_CHECK_S)
            if time.time() >= self._assembler.prices_until_s:
                await self.reload("prices")

    def tell_other_workers(self) -> None:
        """Ask the supervisor to make every worker reload."""
        if self._supervisor is not None:
            os.kill(int(self._supervisor), signal.SIGHUP)
