"""The seam between dialects and the network: what a call is sent through, and what failures are called."""

import errno
import os
import re
import socket
import ssl
import zlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlsplit

import certifi

from providers.base import Call, Cause, ErrorKind, ProviderError
from providers.http1 import BadAnswerError, Connection, CutError
from providers.inflate import Inflater
from providers.pool import Origin, Pool, PrivateAddressError
from providers.retry_hints import is_scarce

_PORTS = {"http": 80, "https": 443}
# HEAD and CONNECT have answers of another shape.
_METHODS = frozenset({"DELETE", "GET", "PATCH", "POST", "PUT"})
_URLS_KEPT = 1024
_HEADS_KEPT = 64
_LONGEST_URL = 8192
_INFLATED_PIECE_BYTES = 256 * 1024
# Longer ago, and a dead connection is no accident of reuse.
_STALE_WITHIN_S = 1.0
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens and #name-field-values
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Written here and nowhere else: a second one would let two readers see two requests.
_OWN_FIELDS = frozenset({"content-length", "host", "transfer-encoding", "upgrade"})
# Digits of a number of tokens that a request might come up to, however long it is.
_MOST_DIGITS = 7


class Exchange(Protocol):
    """An answer whose head has arrived. `headers.get` takes lower-case names.

    One that knows that no field tells of a rate limit that is nearly used up has `is_tight` False.
    """

    status: int

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ProviderError(BROKEN) with Cause.TOO_LARGE beyond `limit` bytes, RESET if cut."""
        ...

    async def chunk(self) -> bytes | None:
        """The next piece of the body as it arrives, None at its proper end. Raises ProviderError(BROKEN, RESET)."""
        ...


class Transport(Protocol):
    """Something that carries calls to one provider. Leaving the context ends the upstream call at once."""

    def open(self, call: Call, *, fresh: bool = False) -> AbstractAsyncContextManager[Exchange]:
        """Send `call`; enter to wait for the head. `fresh` asks for a new connection.

        Raises ProviderError: STALE when a connection died before any byte of the answer, BROKEN otherwise.
        """
        ...

    async def close(self) -> None: ...


class HttpTransport:
    """A connection pool for one provider.

    `connect_s` bounds name look-up, TCP and TLS set-up together. `ca_file` is a PEM file with further roots, for
    providers inside a company network; ValueError when it is not one. With `is_public_only` private addresses are
    refused. Redirects and proxies from the environment are not followed: where bytes go is decided by the configuration
    alone.
    """

    def __init__(
        self,
        *,
        connect_s: float,
        ca_file: str | None = None,
        idle_connection_s: float = 45.0,
        is_public_only: bool = False,
    ) -> None:
        tls = _tls_context(ca_file)
        self._pool = Pool(connect_s=connect_s, idle_s=idle_connection_s, tls=tls, is_public_only=is_public_only)
        self._targets: dict[tuple[str, str], tuple[Origin, bytes]] = {}
        self._fields: tuple[list[tuple[str, str]], bytes] = ([], b"")

    def open(self, call: Call, *, fresh: bool = False) -> "HttpExchange":
        origin, start = self._targets.get((call.url, call.method)) or self._remember(call)
        headers, block = self._fields
        if headers is not call.headers:  # a dialect hands over the same list with every call
            block = _field_lines(call.headers)
            self._fields = (call.headers, block)
        head = b"%b%bcontent-length: %d\r\n\r\n" % (start, block, len(call.body))
        return HttpExchange(self._pool, origin, head, call.body, fresh=fresh)

    async def close(self) -> None:
        self._pool.close()

    def _remember(self, call: Call) -> tuple[Origin, bytes]:
        found = _parsed(call)
        if len(call.url) <= _LONGEST_URL:
            if len(self._targets) >= _URLS_KEPT:
                self._targets.clear()
            self._targets[call.url, call.method] = found
        return found


class HttpExchange:
    """One call over one connection, as context manager and Exchange in one object. Of no use outside its context."""

    __slots__ = (
        "_body",
        "_connection",
        "_fields",
        "_fresh",
        "_head",
        "_headers",
        "_inflater",
        "_origin",
        "_pool",
        "is_tight",
        "status",
    )

    def __init__(self, pool: Pool, origin: Origin, head: bytes, body: bytes, *, fresh: bool) -> None:
        self._pool = pool
        self._origin = origin
        self._head = head
        self._body = body
        self._fresh = fresh
        self._connection: Connection
        self._fields: dict[bytes, bytes]
        self._headers: dict[str, str] | None = None
        self._inflater: Inflater | None = None
        self.status = 0
        self.is_tight = False

    async def __aenter__(self) -> Self:
        connection = (None if self._fresh else self._pool.take(self._origin)) or await self._connected()
        try:
            connection.send(self._head, self._body)
            while not connection.has_head:
                await connection.arrival()
            if connection.content_encoding:
                self._inflater = _inflater(connection.content_encoding)
        except BaseException as error:
            connection.abort()
            if isinstance(error, CutError) and not error.bytes_seen and connection.age_s < _STALE_WITHIN_S:
                message = f"The provider closed {_which(connection)} connection before it answered."
                raise _broken(Cause.RESET, message, ErrorKind.STALE) from None
            raise _named(error) from None
        self._connection = connection
        self.status = connection.status
        self._fields = connection.headers
        for name, limit, has_tokens in _allowances(tuple(self._fields)):
            value = self._fields[name]
            if value == b"0" or (has_tokens and len(value) <= _MOST_DIGITS):
                self.is_tight = self.is_tight or is_scarce(value, self._fields.get(limit))
        return self

    async def __aexit__(self, *_: object) -> None:
        connection = self._connection
        del self._connection  # from now on it may carry somebody else's answer
        if connection.finish():
            self._pool.release(self._origin, connection)

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            # Of repeated fields the first counts, as everywhere in this code base. The parser leaves blanks at the end.
            fields = reversed(self._fields.items())
            self._headers = {name.lower().decode("latin-1"): value.decode("latin-1").rstrip() for name, value in fields}
        return self._headers

    async def read(self, limit: int) -> bytes:
        try:
            data = await self._connection.read_all(limit)
        except (CutError, BadAnswerError) as error:
            raise _named(error) from None
        if data is not None and self._inflater is not None:
            data = _inflated(self._inflater, data, limit)
        if data is None:
            raise _broken(Cause.TOO_LARGE, f"The provider's answer is larger than {limit} bytes.")
        return data

    async def chunk(self) -> bytes | None:
        try:
            if self._inflater is not None:
                return await self._inflated_piece(self._inflater)
            connection = self._connection
            while not (data := connection.piece()) and data is not None:
                await connection.arrival()
        except (CutError, BadAnswerError) as error:
            raise _named(error) from None
        return data

    async def _connected(self) -> Connection:
        try:
            return await self._pool.connect(self._origin)
        except TimeoutError:
            raise _broken(Cause.CONNECT, "Connecting to the provider took too long.") from None
        except OSError as error:
            raise _broken(Cause.CONNECT, f"No connection to the provider: {_reason(error)}.") from None

    async def _inflated_piece(self, inflater: Inflater) -> bytes | None:
        try:
            while not (out := inflater.pull(_INFLATED_PIECE_BYTES)):
                data = self._connection.piece()
                if data is None:
                    _check_whole(inflater)
                    return None
                if data:
                    inflater.push(data)
                else:
                    await self._connection.arrival()
        except zlib.error:
            raise _not_compressed() from None
        return out


@lru_cache(maxsize=_HEADS_KEPT)
def _allowances(names: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes, bool], ...]:
    """The fields among `names` that tell what is left, as X-RateLimit-Remaining-Requests does: with the field that has
    the limit, and whether it is one of tokens. A provider names the same fields in all its answers.
    """
    return tuple(
        (name, name.replace(b"Remaining", b"Limit").replace(b"remaining", b"limit"), b"okens" in name)
        for name in names
        if b"emaining" in name
    )


@lru_cache(maxsize=1)
def _system_tls() -> ssl.SSLContext:
    """Roots of the system and, where it has none (slim containers), certifi's. Shared: reading them takes 40 ms."""
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath  # its certificates are read when they are needed
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).glob("*.0"))):
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return _system_tls()
    context = _system_tls.__wrapped__()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise ValueError(f"'ca_file' {ca_file} has no certificates in PEM form; name a file that has.") from None
    except OSError as error:
        raise ValueError(f"'ca_file' {ca_file} cannot be read: {error.strerror}.") from None
    return context


def _parsed(call: Call) -> tuple[Origin, bytes]:
    """Where a call goes, and the beginning of its head."""
    try:
        parts = urlsplit(call.url)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        host = None
    if not host or call.method not in _METHODS:
        raise _broken(Cause.CONNECT, "The provider's address is not usable; see 'base_url'.", ErrorKind.LOCAL)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    if any(not "!" <= c <= "~" for c in target + authority):
        raise _broken(Cause.CONNECT, "The provider's address has characters that no URL has.", ErrorKind.LOCAL)
    # Compressed streams are held back by the compressor's window; what is compressed all the same is decoded.
    start = f"{call.method} {target} HTTP/1.1\r\nhost: {authority}\r\naccept-encoding: identity\r\n"
    return (parts.scheme == "https", host, port), start.encode()


def _field_lines(headers: list[tuple[str, str]]) -> bytes:
    for name, value in headers:
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            message = f"The header {name[:100]!r} of this provider has characters that no header has."
            raise _broken(Cause.CONNECT, message, ErrorKind.LOCAL)
        if name.lower() in _OWN_FIELDS:
            message = f"The header '{name}' is written by the gateway itself; remove it from this provider's 'headers'."
            raise _broken(Cause.CONNECT, message, ErrorKind.LOCAL)
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")


def _inflater(encoding: bytes) -> Inflater | None:
    if encoding == b"identity":
        return None
    try:
        return Inflater(encoding)
    except ValueError:
        name = encoding.decode("latin-1")[:20]
    raise _broken(Cause.GARBAGE, f"The provider's answer is compressed with {name!r}, which nobody asked for.")


def _inflated(inflater: Inflater, data: bytes, limit: int) -> bytes | None:
    """A whole body decompressed; None beyond `limit` bytes."""
    inflater.push(data)
    kept: list[bytes] = []
    left = limit
    try:
        while out := inflater.pull(left + 1):
            left -= len(out)
            if left < 0:
                return None
            kept.append(out)
    except zlib.error:
        raise _not_compressed() from None
    _check_whole(inflater)
    return b"".join(kept)


def _check_whole(inflater: Inflater) -> None:
    if not inflater.is_whole:
        raise _broken(Cause.RESET, "The provider's answer ended in the middle of its compressed data.")


def _not_compressed() -> ProviderError:
    return _broken(Cause.GARBAGE, "The provider's answer could not be decompressed.")


def _broken(cause: Cause, message: str, kind: ErrorKind = ErrorKind.BROKEN) -> ProviderError:
    return ProviderError(kind, message, cause=cause)


def _which(connection: Connection) -> str:
    return "an idle" if connection.is_reused else "a new"


def _named(error: BaseException) -> BaseException:
    """The failure in the words of this code base; anything that is none of the network's passes as it is."""
    if isinstance(error, CutError):
        return _broken(Cause.RESET, "The provider closed the connection before its answer was complete.")
    if isinstance(error, BadAnswerError):
        return _broken(Cause.GARBAGE, f"The provider's answer is not HTTP: {error}.")
    return error


def _reason(error: OSError) -> str:
    """What went wrong with a connection, without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = error.verify_message.partition(",")[0]  # what follows names the host
        return f"its certificate was refused ({what}); roots beside the system's are named in 'ca_file'"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'handshake'})"
    if isinstance(error, PrivateAddressError):
        return "none of its addresses is public, and 'public_only' refuses the others"
    if isinstance(error, socket.gaierror):
        return f"its name could not be resolved ({error.strerror})"
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    if isinstance(error, ConnectionError):
        return "it closed the connection while it was set up"
    return "none of its addresses could be reached"
