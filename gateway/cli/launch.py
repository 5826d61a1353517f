"""From settings to a process that serves: load the configuration, listen, say so, and hand over to the server or to the
supervisor of several workers.
"""

import asyncio
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from config.diagnostics import Diagnostic
from config.schema import Config
from config.settings import Settings, SettingsError, unknown_variables
from gateway.cli.serve import ignore_and_leave
from gateway.cli.source import open_source
from gateway.exposure import is_loopback, open_to_the_world, shared_admin_key

if TYPE_CHECKING:
    from gateway.reload import Source

_BACKLOG = 2048


def launch(environ: Mapping[str, str], **options: Any) -> int:
    """Serve to the end. `options` are settings that win over `environ`. Returns the exit code."""
    try:
        settings = Settings.load(environ, **options)
    except SettingsError as error:
        return _fail(str(error))
    return _serve(settings, environ)


def _serve(settings: Settings, environ: Mapping[str, str], inherited: "_Listeners | None" = None) -> int:
    """With the sockets that are `inherited` from a supervisor, as one of its workers."""
    source = open_source(settings.config, environ, Path.cwd())
    is_worker = inherited is not None
    try:
        loaded = source.load(source.read())
    except OSError as error:
        return _fail(f"cannot read the configuration {source.path}: {error.strerror}")
    if not is_worker:
        _warn(loaded.diagnostics, environ)
    if loaded.config is None:
        return _fail("the configuration has errors; nothing was started. 'signalbox check' shows them again.")
    problem = open_to_the_world(settings, has_keys=bool(loaded.config.keys))
    if problem is not None and not _may_have_made_keys(settings):
        return _fail(problem)
    problem = shared_admin_key(settings, {key.sha256 for key in loaded.config.keys})
    if problem is not None:
        return _fail(problem)
    with ExitStack() as stack:
        try:
            listeners = inherited or _Listeners.open(settings, stack)
        except OSError as error:
            return _fail(error.strerror or str(error))
        shown = None if is_worker else _Shown.of(loaded.config, settings)
        try:
            if settings.workers > 1 and shown is not None:
                return _supervise(settings, listeners, shown)
            return _run(settings, listeners, environ, source, shown)
        finally:
            # Python gives the signals back to the system before it ends: one more would then spoil the exit code.
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(sig, signal.SIG_IGN)


def _warn(diagnostics: Sequence[Diagnostic], environ: Mapping[str, str]) -> None:
    for note in unknown_variables(environ):
        sys.stderr.write(f"signalbox: {note}\n")
    inactive = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "info"]
    for diagnostic in diagnostics:
        if diagnostic.severity != "info":
            sys.stderr.write(diagnostic.to_text() + "\n")
    for diagnostic in inactive:
        sys.stderr.write(f"signalbox: {diagnostic.message}\n")


def _may_have_made_keys(settings: Settings) -> bool:
    """Whether keys were made at run time. A store that cannot be read may have some: without them nobody gets in."""
    from gateway.keys.stores import may_have_keys

    return asyncio.run(may_have_keys(settings))


@dataclass(slots=True, frozen=True)
class _Listeners:
    """The sockets of this process, or those of its supervisor. `admin` is None where one has everything."""

    data: socket.socket
    admin: socket.socket | None

    @classmethod
    def open(cls, settings: Settings, stack: ExitStack) -> Self:
        """Closed with `stack`. Raises OSError whose text says which address, and what to do."""
        share = settings.reuse_port
        data = stack.enter_context(_socket(settings.host, settings.port, "--port or SIGNALBOX_PORT", may_share=share))
        if settings.admin_port is None:
            return cls(data, None)
        admin = _socket(settings.admin_host, settings.admin_port, "SIGNALBOX_ADMIN_PORT", may_share=share)
        return cls(data, stack.enter_context(admin))

    def all(self) -> list[socket.socket]:
        return [self.data] if self.admin is None else [self.data, self.admin]


def _socket(host: str, port: int, chosen_by: str, *, may_share: bool) -> socket.socket:
    from gateway.listeners import listening_socket

    try:
        return listening_socket(host, port, may_share=may_share)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}. Choose another with {chosen_by}.") from None


def _run(
    settings: Settings, listeners: _Listeners, environ: Mapping[str, str], source: "Source", shown: "_Shown | None"
) -> int:
    """Serve in this process. With `shown`, say so when it does."""
    from gateway.serve import Process, run

    process = Process(
        settings=settings,
        source=source,
        sock=listeners.data,
        environ=environ,
        on_ready=lambda _: None if shown is None else _announce(listeners, shown),
        admin_sock=listeners.admin,
    )
    try:
        run(process)
    except ValueError as error:
        return _fail(str(error))
    return 0


def _supervise(settings: Settings, listeners: _Listeners, shown: "_Shown") -> int:
    from gateway.supervisor import AT_ONCE, Supervisor

    if not settings.reuse_port:  # else somebody may still serve there, and connections should not wait for our workers
        for sock in listeners.all():
            sock.listen(_BACKLOG)
    _announce(listeners, shown)

    def work() -> int:
        ignore_and_leave(AT_ONCE)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the supervisor blocked them until now
        return _serve(settings, os.environ, listeners)

    drain_s = settings.lame_duck_s + settings.drain_s
    return Supervisor(import_all, work, listeners.all(), settings.workers, drain_s).run()


def import_all() -> None:
    """What a worker needs, what it finds by name and the lists of prices as well: once, before the first of them."""
    from importlib import import_module

    from providers.price_lists import load

    load()
    for name in ("gateway.serve", "gateway.admin.app"):
        import_module(name)
    for folder in (
        "gateway.api",
        "gateway.keys",
        "policies.stores",
        "providers",
        "routing.signals",
        "routing.strategies",
    ):
        for module in pkgutil.iter_modules(import_module(folder).__path__, f"{folder}."):
            import_module(module.name)


@dataclass(slots=True, frozen=True)
class _Shown:
    """What the first lines depend on."""

    model: str
    needs_key: bool
    needs_admin_key: bool
    workers: int

    @classmethod
    def of(cls, config: Config, settings: Settings) -> Self:
        names = [*config.routes, *config.models]
        chosen = "auto" if "auto" in config.routes or not names else names[0]
        has_admin_key = settings.admin_key is not None or bool(config.admin_keys)
        is_exposed = settings.admin_port is None and (bool(config.keys) or not is_loopback(settings))
        is_guarded = (has_admin_key or is_exposed) and not settings.metrics_open
        return cls(chosen, bool(config.keys), is_guarded, settings.workers)


def _announce(listeners: _Listeners, shown: _Shown) -> None:
    """Three lines for a person: where to point a client, where to look, what to try."""
    base = _address(listeners.data)
    look = base if listeners.admin is None else _address(listeners.admin)
    crowd = f" ({shown.workers} workers)" if shown.workers > 1 else ""
    key = " -H 'authorization: Bearer YOUR_VIRTUAL_KEY'" if shown.needs_key else ""
    metrics = " (with the admin key)" if shown.needs_admin_key else ""
    body = f'{{"model": "{shown.model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    sys.stderr.write(
        f"Signalbox{crowd}: point OpenAI clients at base_url={base}/v1\n"
        f"Look at {look}/readyz, {look}/docs and {look}/metrics{metrics}\n"
        f"Try: curl {base}/v1/chat/completions{key} -H 'content-type: application/json' -d '{body}'\n"
    )
    sys.stderr.flush()


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - shown, not bound
    return f"http://{host}:{port}"


def _fail(message: str) -> int:
    sys.stderr.write(f"signalbox: {message}\n")
    return 1
