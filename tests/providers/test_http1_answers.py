"""What is an answer, what is none, and that it does not matter how the bytes are cut."""

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.base import Cause, ErrorKind, ProviderError
from providers.http1 import BadAnswerError, Connection, CutError
from tests.fakes.loops import both_loops
from tests.fakes.raw import Peer, answer, chunked, fetch, serving, stream, until

OK = "HTTP/1.1 200 OK\r\n"

# Name: the bytes, and the status and body they are. Those that last until the connection ends stand apart.
GOOD: dict[str, tuple[bytes, tuple[int, bytes]]] = {
    "length": (answer(b"hello"), (200, b"hello")),
    "no body": (answer(b""), (200, b"")),
    "chunks": (chunked(b"hel", b"lo"), (200, b"hello")),
    "no chunk": (chunked(), (200, b"")),
    "upper-case chunk size": (
        f"{OK}transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n".encode(),
        (200, b"0123456789"),
    ),
    "blanks behind the coding": (
        f"{OK}transfer-encoding: \tchunked  \r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode(),
        (200, b"hello"),
    ),
    "chunk extensions": (
        f'{OK}Transfer-Encoding: Chunked\r\n\r\n5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n'.encode(),
        (200, b"hello"),
    ),
    "trailers": (chunked(b"hello", trailers="x-checksum: 1\r\nretry-after: 9\r\n"), (200, b"hello")),
    "an error status": (answer(b"slow down", status="429 Too Many Requests"), (429, b"slow down")),
    "a redirect": (answer(b"", "location: http://localhost:1/", status="307 Temporary Redirect"), (307, b"")),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", (204, b"")),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", (304, b"")),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"hello"), (200, b"hello")),
    "103 with fields": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + chunked(b"hello"), (200, b"hello")),
    "many interim answers": (b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + answer(b"hello"), (200, b"hello")),
    "an upgrade offered": (answer(b"hello", "upgrade: h2,h2c", "connection: Upgrade"), (200, b"hello")),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", (200, b"hello")),
    "bytes beyond ASCII": (answer(b"hello", "x-name: caf\u00e9"), (200, b"hello")),
    "HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", (200, b"hello")),
    "closing": (answer(b"hello", "connection: close"), (200, b"hello")),
}
UNTIL_THE_END: dict[str, tuple[bytes, tuple[int, bytes]]] = {
    "neither length nor chunks": (f"{OK}\r\nhello".encode(), (200, b"hello")),
    "nothing at all": (f"{OK}\r\n".encode(), (200, b"")),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nhello", (200, b"hello")),
    "keep-alive is no length": (f"{OK}connection: keep-alive\r\n\r\nhello".encode(), (200, b"hello")),
}
# Not HTTP as RFC 9112 has it.
BAD: dict[str, bytes] = {
    "another protocol": b"220 mail.example ESMTP\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a page without a head": b"<html>",
    "an unknown version": b"HTTP/1.9 200 OK\r\ncontent-length: 1\r\n\r\nx",
    "two digits of status": b"HTTP/1.1 20 OK\r\ncontent-length: 1\r\n\r\nx",
    "status zero": b"HTTP/1.1 000 OK\r\ncontent-length: 1\r\n\r\nx" + answer(b"hello"),
    "status below 100": b"HTTP/1.1 099 OK\r\ncontent-length: 1\r\n\r\nx" + answer(b"hello"),
    "101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "length beside chunks": f"{OK}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    "chunks beside length": f"{OK}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n".encode(),
    "two lengths": f"{OK}content-length: 1\r\ncontent-length: 2\r\n\r\nxx".encode(),
    "the same length twice": f"{OK}content-length: 1\r\ncontent-length: 1\r\n\r\nx".encode(),
    "a list of lengths": f"{OK}content-length: 1, 1\r\n\r\nx".encode(),
    "a negative length": f"{OK}content-length: -1\r\n\r\nx".encode(),
    "a signed length": f"{OK}content-length: +1\r\n\r\nx".encode(),
    "a hexadecimal length": f"{OK}content-length: 0x1\r\n\r\nx".encode(),
    "an empty length": f"{OK}content-length: \r\n\r\nx".encode(),
    "an enormous length": f"{OK}content-length: 99999999999999999999\r\n\r\nx".encode(),
    "a folded line": f"{OK}a: b\r\n c\r\ncontent-length: 1\r\n\r\nx".encode(),
    "a blank before the first field": f"{OK} content-length: 1\r\n\r\nx".encode(),
    "a blank before the colon": f"{OK}content-length : 1\r\n\r\nx".encode(),
    "a field without a name": f"{OK}: b\r\ncontent-length: 1\r\n\r\nx".encode(),
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 1\n\nx",
    "a bare carriage return": f"{OK}a: b\rc\r\ncontent-length: 1\r\n\r\nx".encode(),
    "a zero byte": f"{OK}a: b\0c\r\ncontent-length: 1\r\n\r\nx".encode(),
    "an unknown transfer coding": f"{OK}transfer-encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode(),
    "chunks inside another coding": f"{OK}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n".encode(),
    "another coding inside chunks": f"{OK}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".encode(),
    "a tab behind the coding": f"{OK}transfer-encoding: chunked\t\r\n\r\n0\r\n\r\n".encode(),
    "the identity coding": f"{OK}transfer-encoding: identity\r\n\r\nhello".encode(),
    "a negative chunk": f"{OK}transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n".encode(),
    "a chunk size with prefix": f"{OK}transfer-encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n".encode(),
    "no chunk size": f"{OK}transfer-encoding: chunked\r\n\r\n\r\nx\r\n0\r\n\r\n".encode(),
    "an enormous chunk": f"{OK}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nx".encode(),
    "a chunk longer than it says": f"{OK}transfer-encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n".encode(),
    "chunks with bare line feeds": f"{OK}transfer-encoding: chunked\r\n\r\n1\nx\n0\n\n".encode(),
}
CUT: dict[str, bytes] = {
    "in the status line": b"HTTP/1.1 20",
    "in the head": f"{OK}content-le".encode(),
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "in the body": f"{OK}content-length: 9\r\n\r\nhello".encode(),
    "before the body": f"{OK}content-length: 9\r\n\r\n".encode(),
    "in a chunk": f"{OK}transfer-encoding: chunked\r\n\r\n9\r\nhello".encode(),
    "between chunks": f"{OK}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".encode(),
    "before the first chunk": f"{OK}transfer-encoding: chunked\r\n\r\n".encode(),
    "in the last chunk": f"{OK}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n".encode(),
    "in the trailers": f"{OK}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n".encode(),
}

how_read = pytest.mark.parametrize("read", [fetch, stream], ids=["whole", "pieces"])
how_cut = pytest.mark.parametrize("size", [None, 1], ids=["at once", "byte by byte"])


@how_cut
@how_read
@pytest.mark.parametrize("name", [*GOOD, *UNTIL_THE_END])
@both_loops
async def test_an_answer_is_read(name, read, size) -> None:
    data, expected = (GOOD | UNTIL_THE_END)[name]

    async def script(peer: Peer) -> None:
        await peer.answer(data, piece=size)
        if name in UNTIL_THE_END:
            peer.end()

    async with serving(script) as (server, transport):
        assert await read(transport, server.call()) == expected


@how_cut
@pytest.mark.parametrize("name", BAD)
@both_loops
async def test_what_is_no_answer_is_garbage(name, size) -> None:
    closed = []

    async def script(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            await peer.answer(BAD[name], piece=size)
        closed.append(await peer.gone())

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.GARBAGE)
        assert caught.value.message.startswith("The provider's answer is not HTTP: ")
        await until(lambda: closed)


@how_read
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("name", CUT)
@both_loops
async def test_a_cut_answer_is_never_whole(name, reset, read) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CUT[name])
        await asyncio.sleep(0.002)
        (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await read(transport, server.call())
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.RESET)


@how_read
@both_loops
async def test_a_reset_is_no_end_of_a_body(read) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(UNTIL_THE_END["neither length nor chunks"][0])
        await asyncio.sleep(0.002)
        peer.reset()

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await read(transport, server.call())
        assert caught.value.cause is Cause.RESET


@both_loops
async def test_what_came_before_a_cut_is_handed_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CUT["in a chunk"])
        await asyncio.sleep(0.002)
        peer.reset()

    async with serving(script) as (server, transport), transport.open(server.call()) as exchange:
        assert await exchange.chunk() == b"hello"
        for _ in range(2):
            with pytest.raises(ProviderError):
                await exchange.chunk()


@both_loops
async def test_headers_have_small_names_and_the_first_value() -> None:
    data = answer(
        b"{}",
        "X-Request-ID: one",
        "x-request-id: two",
        "Retry-After: 3",
        "RETRY-AFTER: 4",
        "x-empty:",
        "x-blanks: \t two words \t",
    )

    async def script(peer: Peer) -> None:
        await peer.answer(data)

    async with serving(script) as (server, transport), transport.open(server.call()) as exchange:
        names = {name: exchange.headers[name] for name in ("x-request-id", "retry-after", "x-empty", "x-blanks")}
        assert names == {"x-request-id": "one", "retry-after": "3", "x-empty": "", "x-blanks": "two words"}
        assert exchange.headers.get("absent") is None


@both_loops
async def test_neither_interim_answers_nor_trailers_are_headers() -> None:
    """RFC 9110, 6.5.1: a trailer must not be merged into the head unless its field is defined for that."""
    data = b"HTTP/1.1 103 Early Hints\r\nearly: 1\r\n\r\n" + chunked(b"{}", trailers="retry-after: 9\r\n")

    async def script(peer: Peer) -> None:
        await peer.answer(data)
        await peer.answer(answer(b"2"))

    async with serving(script) as (server, transport):
        async with transport.open(server.call()) as exchange:
            await exchange.read(100)
            assert dict(exchange.headers) == {"transfer-encoding": "chunked"}
        async with transport.open(server.call()) as exchange:
            assert dict(exchange.headers) == {"content-length": "1"}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
@both_loops
async def test_redirects_are_answers_like_any_other(status) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(answer(b"", "location: /elsewhere", status=status))

    async with serving(script) as (server, transport):
        assert (await fetch(transport, server.call()))[0] == int(status[:3])
        assert len(server.peers[0].requests) == 1


# The same without sockets: here every cut really is one.


class _Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    closing = False

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:  # type: ignore[override]
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


Result = tuple[int, bytes, dict[bytes, bytes], bool] | str


def parsed(pieces: Sequence[bytes]) -> Result:
    """What a connection makes of `pieces` and an end: status, body, headers and whether it is kept, or the error."""

    async def run() -> Result:
        connection, wire = Connection(asyncio.get_running_loop()), _Wire()
        connection.connection_made(wire)
        connection.send(b"", b"")
        for piece in pieces:
            if not wire.closing:
                connection.data_received(piece)
        if not wire.closing:
            connection.eof_received()
        try:
            while not connection.has_head:
                await connection.arrival()
            body = await connection.read_all(1 << 20)
        except (BadAnswerError, CutError) as error:
            return type(error).__name__
        assert body is not None
        return connection.status, body, connection.headers, connection.finish()

    return asyncio.run(run())


ANY = {**{name: data for name, (data, _) in (GOOD | UNTIL_THE_END).items()}, **BAD, **CUT}


@settings(max_examples=200)
@given(st.sampled_from(list(ANY.values())), st.data())
def test_any_cut_of_an_answer_is_the_same_answer(data, choices) -> None:
    cuts = sorted(choices.draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    edges = [0, *cuts, len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(edges) if start < stop]
    assert parsed(pieces) == parsed([data])


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=4))
@example([b"HTTP/1.1 200 OK\r\n\r\n"])
@example([b"HTTP/1.1 1"])
def test_any_bytes_are_an_answer_or_a_failure_with_a_name(pieces) -> None:
    result = parsed([piece for piece in pieces if piece])
    assert result in ("BadAnswerError", "CutError") or isinstance(result, tuple)


@settings(max_examples=200)
@given(st.sampled_from([data for data, _ in (GOOD | UNTIL_THE_END).values()]), st.data())
def test_a_damaged_answer_is_an_answer_or_a_failure_with_a_name(data, choices) -> None:
    at = choices.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + choices.draw(st.binary(max_size=3)) + data[at + choices.draw(st.integers(0, 3)) :]
    result = parsed([damaged]) if damaged else "CutError"
    assert result in ("BadAnswerError", "CutError") or isinstance(result, tuple)


def test_random_bytes_over_a_socket_are_a_providers_failure() -> None:
    """The socket's part of the two above: on one loop, for the time it takes."""
    samples = iter(())

    async def script(peer: Peer) -> None:
        await peer.answer(next(samples))
        peer.end()

    async def run(data: bytes) -> None:
        nonlocal samples
        samples = iter([data, data])
        async with asyncio.timeout(30), serving(script) as (server, transport):
            try:
                await fetch(transport, server.call())
            except ProviderError as error:
                assert error.kind in (ErrorKind.BROKEN, ErrorKind.STALE)

    with asyncio.Runner() as runner:

        @settings(max_examples=200)
        @given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: OK.encode() + tail))
        def check(data: bytes) -> None:
            runner.run(run(data))

        check()


@both_loops
async def test_fields_that_tell_of_a_rate_limit_are_noticed_where_they_matter() -> None:
    """To read all fields of every answer would cost more than it tells."""
    limits = {
        "X-RateLimit-Limit-Tokens: 150000\r\nX-RateLimit-Remaining-Tokens: 149000": False,
        "X-RateLimit-Limit-Tokens: 150000\r\nX-RateLimit-Remaining-Tokens: 120000": True,
        "x-ratelimit-remaining-tokens: 900": True,
        "x-ratelimit-remaining-requests: 12": False,
        "x-ratelimit-remaining-requests: 0": True,
        "anthropic-ratelimit-tokens-limit: 4000000\r\nanthropic-ratelimit-tokens-remaining: 900000": True,
    }

    async def script(peer: Peer) -> None:
        for lines in limits:
            await peer.answer(f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n\r\n".encode())

    async with serving(script) as (server, transport):
        for lines, is_tight in limits.items():
            async with transport.open(server.call()) as exchange:
                await exchange.read(10)
                assert exchange.is_tight is is_tight, lines
