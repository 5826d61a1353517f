"""The HTTP server: uvicorn, run from code, with our own connections and a say in how it stops."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from gateway.connection import Connection, DrainingState
from gateway.listeners import turn_away, waiting_at
from gateway.pipeline import SHUTDOWN

_DRAIN_POLL_S = 0.05
_LAST_WORDS_S = 1.0
_HANDSHAKE_S = 0.1  # for connections that are about to be made
_MAX_SIDE_CONNECTIONS = 256


class Server(uvicorn.Server):
    """A server that drains in two steps.

    For `lame_duck_s` it still serves, says no on /readyz and asks clients to go elsewhere (`Connection: close`);
    then it stops listening and waits for the requests under way. SIGINT comes from a person at a terminal, to whom
    nobody routes requests: it leaves out the first step. A second signal ends the waiting; where there is an `at_once`,
    only that one does.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_s: float,
        lame_duck_s: float,
        on_drain: Callable[[], None],
        on_started: Callable[[], None],
        side: "SideListener | None" = None,
        at_once: signal.Signals | None = None,
    ) -> None:
        super().__init__(config)
        self._side = side
        self._drain_s = drain_s
        self._lame_duck_s = lame_duck_s
        self._on_drain = on_drain
        self._on_started = on_started
        self._at_once = at_once
        self._loop: asyncio.AbstractEventLoop | None = None
        self.server_state: DrainingState = DrainingState()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal it has handled once more at its end, which would turn a clean stop into exit code
        # 143. The handlers stay to the end of the process, because one more signal during its last lines would, too.
        for sig in (signal.SIGINT, signal.SIGTERM, self._at_once):
            if sig is not None:
                signal.signal(sig, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is uvicorn's
        state = self.server_state
        is_first = isinstance(state, DrainingState) and not state.is_draining
        if is_first:
            state.is_draining = True
            if self._side is not None:
                self._side.state.is_draining = True
            self._on_drain()
        if sig == self._at_once or (not is_first and self._at_once is None):
            self.force_exit = True  # once is "finish what you do", twice is "now"
        elif sig == signal.SIGTERM and self._lame_duck_s > 0 and self._loop is not None:
            if is_first:
                self._loop.call_soon_threadsafe(self._begin_lame_duck, self._loop)
            return
        self.should_exit = True

    def _begin_lame_duck(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection in self.server_state.connections:
            if isinstance(connection, Connection):
                connection.announce_end()
        loop.call_later(self._lame_duck_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for what is under way, then end what is left with a word to its client.

        The side listener stays to the last: somebody may want to see how it goes.
        """
        listeners: list[socket.socket] = sockets or []
        turned_away = [turn_away(listener) for listener in listeners]
        if any(turned_away):
            await asyncio.sleep(_HANDSHAKE_S)
        waiting = [sock for listener in listeners for sock in waiting_at(listener)]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        loop = asyncio.get_running_loop()
        for sock in waiting:
            await loop.connect_accepted_socket(partial(_connection, self.config, self.server_state, loop), sock)
        drained_at = asyncio.get_running_loop().time() + self._drain_s
        await self._finish(self.server_state, drained_at)
        if self._side is not None:
            self._side.close()
            await self._finish(self._side.state, drained_at)

    async def _finish(self, state: DrainingState, drained_at: float) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(state.connections):
            connection.shutdown()
        while (state.connections or state.tasks) and not self.force_exit and loop.time() < drained_at:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)  # uvicorn's sets of what is under way tell nobody of a change
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel(msg=SHUTDOWN)
        if tasks:  # they write their last bytes and close their books
            await asyncio.wait(tasks, timeout=_LAST_WORDS_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._side is not None:
            await self._side.open()
        if self.started:
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        is_over = await super().on_tick(counter)
        if self._side is not None:
            self._side.state.default_headers = self.server_state.default_headers  # they tell the time
        return is_over


class SideListener:
    """A socket with an application and connections of its own, beside those of a Server: no crowd on one is in the way
    of the other.
    """

    def __init__(self, app: Any, sock: socket.socket) -> None:
        self._config = _config(app)
        self._sock = sock
        self._server: asyncio.Server | None = None
        self.state = DrainingState()
        self.state.max_connections = _MAX_SIDE_CONNECTIONS

    async def open(self) -> None:
        """Listen."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            partial(_connection, self._config, self.state, loop), sock=self._sock, backlog=self._config.backlog
        )

    def close(self) -> None:
        """Listen no more; connections stay."""
        if self._server is not None:
            self._server.close()
        self._sock.close()


def build_server(
    app: Any,
    *,
    drain_s: float,
    lame_duck_s: float,
    on_drain: Callable[[], None],
    on_started: Callable[[], None],
    side: SideListener | None = None,
    at_once: signal.Signals | None = None,
) -> Server:
    """A Server for an ASGI callable. Its sockets come with `serve(sockets=[...])`, `side` has its own."""
    return Server(
        _config(app),
        drain_s=drain_s,
        lame_duck_s=lame_duck_s,
        on_drain=on_drain,
        on_started=on_started,
        side=side,
        at_once=at_once,
    )


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        backlog=2048,
    )


def _connection(config: uvicorn.Config, state: DrainingState, loop: asyncio.AbstractEventLoop) -> Connection:
    return Connection(config=config, server_state=state, app_state={}, _loop=loop)
