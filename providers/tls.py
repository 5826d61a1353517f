"""TLS between a socket's transport and a `Connection`: `ssl` with two buffers in memory, as the event loops have it.

Done here because the loops' own costs a third more CPU for each exchange, probably for the quarter of a megabyte that
it asks for with every record, and for the exception that tells it that nothing is left. Whom to believe is decided by
the context alone; nothing is read or written before the handshake is complete.
"""

import asyncio
import ssl
from typing import Any

from providers.http1 import Connection

_RECORD_BYTES = 16 * 1024  # a record holds no more: https://www.rfc-editor.org/rfc/rfc8446#section-5.1


class Secured(asyncio.Protocol):
    """The protocol of a socket's transport, and the transport of the `inner` connection.

    `ready` is done when the handshake is: then `inner` has its transport. It raises ssl.SSLError where the peer is not
    believed, ConnectionError where it left. Raises ValueError for a `host` that no certificate can have.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, host: str, inner: Connection) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._inner: Connection | None = inner
        self._is_open = self._is_broken = False
        self._transport: asyncio.Transport
        self.ready: asyncio.Future[None] = loop.create_future()

    # What the socket's transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        incoming, tls = self._incoming, self._tls
        if self._is_broken:
            return
        incoming.write(data)
        if not self._is_open:
            self._shake_hands()
        inner, transport = self._inner, self._transport
        try:
            # Asked for only while there is something: to be told that there is not is an exception, which costs more.
            while self._is_open and inner is not None and (incoming.pending or tls.pending()):
                text = tls.read(_RECORD_BYTES)
                if not text:  # the peer's last word (close_notify)
                    inner.eof_received()
                    return
                inner.data_received(text)
                if transport.is_closing():
                    return
        except ssl.SSLWantReadError:
            pass  # part of a record, or a ticket
        except ssl.SSLError:
            self._break()
            return
        if self._outgoing.pending:
            transport.write(self._outgoing.read())  # the answer to a change of keys

    def eof_received(self) -> None:
        if self._is_open and self._inner is not None:
            self._inner.eof_received()
        else:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        inner, self._inner = self._inner, None  # the two refer to each other
        if self._is_open and inner is not None:
            inner.connection_lost(error)
        self._fail(error if isinstance(error, OSError) else ConnectionResetError())

    # What the connection calls.

    def write(self, data: bytes) -> None:
        """Encrypt and send. Where that fails the connection ends."""
        if self._is_broken:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError:
            self._break()
            return
        self._transport.write(self._outgoing.read())

    def abort(self) -> None:
        """Close the socket."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes that the network has not taken yet."""
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str) -> Any:
        """As the socket's transport has it."""
        return self._transport.get_extra_info(name)

    def pause_reading(self) -> None:
        """Read no more from the socket; what was read before still comes."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._transport.resume_reading()

    def _break(self) -> None:
        """After a broken record nothing can be believed. The loop tells `inner` of the end."""
        self._is_broken = True
        self._transport.abort()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the peer is told why, where it still listens
            self._fail(error)
            self._transport.abort()
        else:
            self._flush()
            self._is_open = True
            if self._inner is not None:
                self._inner.connection_made(self)  # type: ignore[arg-type]
            if not self.ready.done():
                self.ready.set_result(None)

    def _flush(self) -> None:
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever waited may have left meanwhile: then nobody is to be told
