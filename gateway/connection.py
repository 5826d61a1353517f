"""One client connection: uvicorn's httptools protocol with bounded heads, errors in our shape, and a task that ends
with its client.

uvicorn is pinned, because these classes rely on the shape of its own.
"""

import asyncio
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.http_exchange import Exchange
from gateway.slow_readers import ReaderWatch
from gateway.wire import answers, http, refusals

_MAX_HEAD_BYTES = 32 * 1024
_MAX_HEADERS = 100
_HEAD_S = 20.0  # for a request head to arrive, from its first byte or from the connection's start
_MAX_TARGET_BYTES = 8 * 1024
_FIRST_WORD_S = 1.0  # for a request to arrive that was on its way when the server stopped listening
_LAST_LOOK_S = 0.02
_MAX_PIPELINED = 16  # requests that wait for the answer before them
_WRITE_STALL_S = 30.0  # in which a client that has bytes to read has to take some
# Beyond the limit of connections one more in so many is still heard, because it may ask how the gateway is.
_SURPLUS = 10
_WATCHING = (b"/healthz", b"/readyz", b"/metrics")
_Task = asyncio.Task[Any]
_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})
_CRLF = b"\r\n"


class DrainingState(ServerState):
    """What all connections of a server share."""

    is_draining: bool = False
    is_short_of_memory: bool = False
    max_connections: int = 4000
    rng: Random = Random()  # noqa: S311 - spreads retries, no secret
    on_closed: Callable[[str], None] | None = None  # told why a connection was ended by us


class Connection(HttpToolsProtocol):
    """One client connection."""

    _running: _Task | None = None
    _head_bytes = 0
    _packet_bytes = 0
    _in_head = True
    _has_begun = False  # its first request
    _head_timer: asyncio.TimerHandle | None = None
    _reader_watch: ReaderWatch | None = None
    _is_surplus = False
    idle_until = inf  # when the wait for the next request is over (loop time)
    server_state: DrainingState
    head_s = _HEAD_S
    write_stall_s = _WRITE_STALL_S
    first_word_s = _FIRST_WORD_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_s, self._head_is_late)
        if len(self.connections) > self.server_state.max_connections:
            self._find_room()

    def data_received(self, data: bytes) -> None:
        self._packet_bytes = len(data)
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_at_once(_head_refusal(f"The request head is larger than {_MAX_HEAD_BYTES} bytes."))
        elif self._in_head and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_s, self._head_is_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._has_begun = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the parser ends here without the body; `_stay_with_http` begins anew
        # Bytes of a body that came in the same packet were counted as well, so a small count needs no closer look.
        # A head that began within this packet, after the request before it, is in neither count alone.
        is_suspect = self._head_bytes + self._packet_bytes > _MAX_TARGET_BYTES or len(self.headers) > _MAX_HEADERS
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._closing_for("pipeline")
            raise ValueError("too many requests ahead of their answers")  # the parser stops here
        # Only a whole head ends the wait for a next request: blank lines or an unwanted body's rest keep nothing open.
        self.idle_until = inf
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        refusal = self._judge_head() if is_suspect or self._is_surplus else None
        cycle = self._new_cycle()
        existing, self.cycle = self.cycle, cycle
        app = self.app if refusal is None else _refusing(refusal, self._note(refusal))
        if existing is None or existing.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            # A pipelined request waits for the answer before it.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def _head_is_late(self) -> None:
        """One packet decides most heads; only a silent or dribbling client meets this."""
        self._head_timer = None
        if self.transport.is_closing() or not self._in_head:
            return
        if self._has_begun:
            self._refuse_at_once(refusals.too_slow("head", self.head_s))
            self._closing_for("slow_head")
        else:
            self.transport.close()
            self._closing_for("silent")

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self.parser.should_upgrade():
            return
        cycle.more_body = False
        cycle.message_event.set()
        # A large body stops the reading until it is taken; all of it is here, and only reading tells who has left.
        if self.flow.read_paused and not self.pipeline:
            self.flow.resume_reading()

    def _stay_with_http(self, rest: bytes) -> None:
        """Serve a request that offers another protocol as if it had not: RFC 9110, 7.8 allows that.

        Java's HttpClient offers HTTP/2 (h2c) with every first request, one with a body as well.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                lines += [b"connection: close"] if b"close" in value.lower() else []
            elif name not in _UPGRADE_FIELDS:
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._in_head, self._head_bytes = True, 0
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def on_response_complete(self) -> None:
        """As uvicorn has it, but with one timer for all of a connection: to make and end one for each request would be
        felt. It may come early, and then goes on.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self.idle_until = self.loop.time() + self.timeout_keep_alive
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_at(self.idle_until, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self.idle_until > self.loop.time():
            if self.idle_until < inf:
                self.timeout_keep_alive_task = self.loop.call_at(self.idle_until, self.timeout_keep_alive_handler)
            return
        # A peer that has not read its last answer by now would keep it in our memory for ever.
        is_read = not self.transport.get_write_buffer_size()
        if is_read or self.server_state.is_draining:  # then it had a second, and not more than a minute
            super().timeout_keep_alive_handler()
            if not is_read:
                self._watch_reader()
        else:
            self._abort_for("write_stall")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader_watch is not None:
            self._reader_watch.stop()

    def _watch_reader(self) -> None:
        """Bytes are left that the client has to take, or else the connection ends."""
        if self._reader_watch is None:
            self._reader_watch = ReaderWatch(
                self.loop, self.transport, self.write_stall_s, lambda: self._abort_for("write_stall")
            )
        self._reader_watch.start()

    def shutdown(self) -> None:
        """Nobody listens any more: end, but not before whoever could not know it was heard."""
        self.announce_end()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            # An answer whose head went out before anybody knew: the next request is answered, and told.
            self.timeout_keep_alive = self.first_word_s  # type: ignore[assignment]
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = None
        else:
            # Somebody who has just connected is about to ask: it gets an answer that tells it to leave, and no hang-up.
            self._hear(self.first_word_s if self._in_head else 0.0)

    def _hear(self, seconds: float) -> None:
        """End after so many seconds of silence, and one look more: on a busy machine a word may have waited here for
        as long as that.
        """
        self.loop.call_later(seconds, self.loop.call_later, _LAST_LOOK_S, self._end_if_silent, self._in_head)

    def _end_if_silent(self, was_in_head: bool) -> None:
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            return
        if self._in_head and not was_in_head:
            self._hear(self.first_word_s)
        else:
            self.transport.close()

    def announce_end(self) -> None:
        """The server is about to end: answers that have not begun say so to their client."""
        waiting = [cycle for cycle, _ in self.pipeline]
        for cycle in (self.cycle, *waiting):
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False

    def _find_room(self) -> None:
        """One connection is too many: an idle one goes, else the new one is heard for health checks only."""
        idle = next((other for other in self.connections if isinstance(other, Connection) and other.is_idle), None)
        if idle is not None:
            idle.transport.close()
            self._closing_for("idle_for_new")
        elif len(self.connections) > self.server_state.max_connections * (1 + 1 / _SURPLUS) + 1:
            self._abort_for("too_many")
        else:
            self._is_surplus = True

    @property
    def is_idle(self) -> bool:
        """Between two requests."""
        return self.idle_until < inf and not self._in_head and not self.transport.is_closing()

    def _abort_for(self, reason: str) -> None:
        self.transport.abort()
        self._closing_for(reason)

    def _closing_for(self, reason: str) -> None:
        on_closed = self.server_state.on_closed
        if on_closed is not None:
            on_closed(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._reader_watch is not None:
            self._reader_watch.stop()
        # uvicorn tells an application of a lost connection only when it asks. Ending its task ends the upstream
        # call, in every phase, without a second task per request that waits for the news.
        if self._running is not None and not self._running.done():
            self._running.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature is uvicorn's
        # The parser stops at a target of 64 KiB, which is no nonsense but long.
        is_long = len(self.url) > _MAX_TARGET_BYTES
        self._refuse_at_once(_target_refusal() if is_long else refusals.malformed_http())

    def _new_cycle(self) -> Exchange:
        scope = self.scope
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        target = httptools.parse_url(self.url)
        raw_path = target.path or b"/"
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = target.query or b""
        state = self.server_state
        is_unwelcome = state.is_draining or state.is_short_of_memory or self._is_surplus
        has_access_log = False
        # Without names: a class that is called with eleven of them makes a dictionary first, and looks each of them up.
        exchange = Exchange(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            has_access_log,
            state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            version != "1.0" and self.parser.should_keep_alive() and not is_unwelcome,
            self.on_response_complete,
        )
        exchange.on_left_over = self._watch_reader
        scope[http.CHANNEL] = exchange  # type: ignore[literal-required]
        return exchange

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self._running = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _judge_head(self) -> refusals.RefusedError | None:
        if len(self.url) > _MAX_TARGET_BYTES:
            return _target_refusal()
        if len(self.headers) > _MAX_HEADERS:
            return _head_refusal(f"The request has more than {_MAX_HEADERS} header fields.")
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > _MAX_HEAD_BYTES:
            return _head_refusal(f"The request head is larger than {_MAX_HEAD_BYTES} bytes.")
        if self._is_surplus and self.url.partition(b"?")[0] not in _WATCHING:
            self._closing_for("too_many")
            return refusals.overloaded(self.server_state.rng.randint(1000, 5000))
        return None

    def _note(self, error: refusals.RefusedError) -> str:
        """Report the refusal; the application knows how."""
        app: Any = self.app
        request_id: str = app.note_refusal(error)
        return request_id

    def _refuse_at_once(self, error: refusals.RefusedError) -> None:
        """Answer on the bare connection: there is no complete request to answer."""
        before = self.cycle
        if before is not None and not before.response_complete and (before.response_started or not before.more_body):
            # What is broken is the next request, or the rest of one that is being answered: that answer must not get
            # another one between its bytes. The connection ends with it.
            before.keep_alive = False
            self.flow.pause_reading()
            return
        body = answers.refusal_body(error.refusal)
        lines = [STATUS_LINE[error.refusal.status]]
        headers = answers.refusal_headers(error.refusal, self._note(error))
        for name, value in (*headers, (b"content-length", b"%d" % len(body))):
            lines += [name, b": ", value, _CRLF]
        self.transport.write(b"".join([*lines, _CRLF, body]))
        self.transport.close()


def _target_refusal() -> refusals.RefusedError:
    return refusals.head_too_large(f"The request target is longer than {_MAX_TARGET_BYTES} bytes.", 414)


def _head_refusal(reason: str) -> refusals.RefusedError:
    return refusals.head_too_large(reason, 431)


def _refusing(error: refusals.RefusedError, request_id: str) -> Callable[..., Any]:
    async def app(_scope: http.Scope, _receive: http.Receive, send: http.Send) -> None:
        headers = answers.refusal_headers(error.refusal, request_id)
        await http.send_whole(send, error.refusal.status, headers, answers.refusal_body(error.refusal))

    return app
