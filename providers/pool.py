"""The connections to one provider: how they are made, and which of them wait for the next exchange."""

import asyncio
import socket
import ssl
from ipaddress import ip_address

import aiohappyeyeballs

from providers.http1 import Connection
from providers.tls import Secured

_SECOND_ADDRESS_AFTER_S = 0.25  # RFC 8305 (Happy Eyeballs), 5: the recommended delay between attempts
_MAX_IDLE = 256
_MIN_SWEEP_S = 0.05

Origin = tuple[bool, str, int]  # TLS or not, host, port


class PrivateAddressError(OSError):
    """A name leads to addresses of private networks only, and such ones are refused."""


class Pool:
    """Connections by origin. Idle ones are reused latest first and closed after `idle_s`, before providers do. With
    `is_public_only` an address is looked at after the name was resolved, and the connection goes to that address.
    """

    def __init__(self, *, connect_s: float, idle_s: float, tls: ssl.SSLContext, is_public_only: bool = False) -> None:
        self._is_public_only = is_public_only
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection to `origin`, if there is one that still lives."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            connection.kept_in = None
            if connection.survived(self._idle_s):
                connection.is_reused = True
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection to `origin`. Raises OSError (ssl.SSLError among them) and TimeoutError."""
        is_tls, host, port = origin
        loop = asyncio.get_running_loop()
        connection = Connection(loop)
        async with asyncio.timeout(self._connect_s):
            sock = await _open_socket(loop, host, port, is_public_only=self._is_public_only)
            try:
                if is_tls:
                    await _secure(loop, sock, self._tls, host, connection)
                else:
                    await loop.create_connection(lambda: connection, sock=sock)
            except BaseException:
                sock.close()
                raise
            return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Take back a connection after its exchange has finished cleanly."""
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = []
        if self._is_closed or len(idle) >= _MAX_IDLE:
            connection.abort()
            return
        connection.kept_in = idle
        idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_s, self._sweep)

    def close(self) -> None:
        """Close what is idle, and whatever comes back."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for idle in self._idle.values():
            self._drop(idle, len(idle))

    def _sweep(self) -> None:
        """Close what has been idle for too long, so that a burst's leftovers do not stay; the oldest stand in front."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        next_at: float | None = None
        for idle in self._idle.values():
            self._drop(idle, sum(now - connection.idle_since >= self._idle_s for connection in idle))
            if idle and (next_at is None or idle[0].idle_since < next_at):
                next_at = idle[0].idle_since
        if next_at is not None:
            self._sweeper = loop.call_later(max(next_at + self._idle_s - now, _MIN_SWEEP_S), self._sweep)

    @staticmethod
    def _drop(idle: list[Connection], count: int) -> None:
        for connection in idle[:count]:
            connection.kept_in = None
            connection.abort()
        del idle[:count]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public network, also where it is an IPv4 address in the clothes of IPv6."""
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_global and not found.is_multicast


async def _secure(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext, host: str, connection: Connection
) -> None:
    """A handshake for `connection`. Raises OSError; however it ends early, the socket ends with it."""
    try:
        secured = Secured(loop, context, host, connection)
    except ValueError:
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, "that is not the name of a host") from None
    transport, _ = await loop.create_connection(lambda: secured, sock=sock)
    try:
        await secured.ready
    except BaseException:
        transport.abort()
        raise


async def _open_socket(loop: asyncio.AbstractEventLoop, host: str, port: int, *, is_public_only: bool) -> socket.socket:
    try:
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if is_public_only:
            addresses = [found for found in addresses if is_public(str(found[4][0]))]
            if not addresses:
                raise PrivateAddressError("none of its addresses is public")
        return await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_SECOND_ADDRESS_AFTER_S, loop=loop
        )
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "that is not the name of a host") from None
    except RuntimeError as error:  # uvloop's word for some refusals
        raise OSError(str(error)) from None
