"""What an answer may weigh, compressed answers, and that nobody is read from who is not waited for."""

import asyncio
import contextlib
import gzip
import resource
import zlib

import pytest

from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.loops import both_loops
from tests.fakes.raw import Peer, answer, chunked, fetch, serving, settled, stream, until

OK = "HTTP/1.1 200 OK\r\n"
TEXT = b'data: {"text": "hello"}\n\n' * 400
how_read = pytest.mark.parametrize("read", [fetch, stream], ids=["whole", "pieces"])


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


async def once(data: bytes, read=fetch, *, piece=None, end=False):
    """What a client makes of one answer; the connection has to be closed afterwards, or be good for another one."""

    async def script(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            await peer.answer(data, piece=piece)
        if end:
            peer.end()

    async with serving(script) as (server, transport):
        return await read(transport, server.call())


@pytest.mark.parametrize("make", [answer, chunked, lambda body: OK.encode() + b"\r\n" + body])
@pytest.mark.parametrize(("limit", "fits"), [(1000, True), (999, False), (0, False)])
@both_loops
async def test_a_limit_is_exact(make, limit, fits) -> None:
    async def read(transport, call):
        async with transport.open(call) as exchange:
            return await exchange.read(limit)

    if fits:
        assert await once(make(bytes(1000)), read, end=True) == bytes(1000)
        return
    with pytest.raises(ProviderError, match=f"larger than {limit} bytes") as caught:
        await once(make(bytes(1000)), read, end=True)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.TOO_LARGE)


@both_loops
async def test_an_answer_without_end_stops_at_the_limit() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(f"{OK}\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while True:
                await peer.send(bytes(65536))
                sent += 65536

    async with serving(script) as (server, transport), transport.open(server.call()) as exchange:
        with pytest.raises(ProviderError):
            await exchange.read(1_000_000)
        assert sent < 20_000_000


@pytest.mark.parametrize("piece", [None, 4096])
@both_loops
async def test_a_large_head_is_read(piece) -> None:
    lines = [f"x-{n}: {'v' * 1000}" for n in range(60)]
    assert await once(answer(b"hello", *lines), piece=piece) == (200, b"hello")


# Each of them more than 64 KB that bring no content.
BLOATED = {
    "one field": answer(b"hello", "x: " + "v" * 66_000),
    "many fields": answer(b"hello", *(f"x-{n}: {'v' * 1000}" for n in range(70))),
    "a field without end": f"{OK}x: ".encode() + b"v" * 66_000,
    "a reason without end": b"HTTP/1.1 200 " + b"O" * 66_000,
    "interim answers": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2500 + answer(b"hello"),
    "a chunk extension": f"{OK}transfer-encoding: chunked\r\n\r\n5;".encode() + b"e" * 66_000,
    "trailers": chunked(b"hello", trailers="x: y\r\n" * 11_000 + "x: " + "v" * 66_000),
}


# One read of the kernel may bring more than that of these; the next one is the last.
_ONLY_IN_PIECES = ("a chunk extension", "interim answers", "trailers")


@pytest.mark.parametrize(
    ("name", "piece"),
    [(name, 8192) for name in BLOATED] + [(name, None) for name in BLOATED if name not in _ONLY_IN_PIECES],
)
@both_loops
async def test_what_brings_no_content_has_a_limit(name, piece) -> None:
    with pytest.raises(ProviderError) as caught:
        await once(BLOATED[name], piece=piece)
    assert caught.value.cause is Cause.GARBAGE


@how_read
@both_loops
async def test_a_large_body_beside_its_head_is_no_large_head(read) -> None:
    for data in (answer(bytes(300_000)), chunked(*[bytes(1)] * 40_000), chunked(bytes(300_000))):
        status, body = await once(data, read)
        assert status == 200
        assert not body.strip(b"\0")


ENCODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "GZIP": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "Deflate": raw_deflate(TEXT),
    "identity": TEXT,
    "gzip ": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
}


@pytest.mark.parametrize("piece", [None, 7])
@how_read
@pytest.mark.parametrize("encoding", ENCODED)
@both_loops
async def test_what_is_compressed_all_the_same_is_understood(encoding, read, piece) -> None:
    data = answer(ENCODED[encoding], f"content-encoding: {encoding}")
    assert await once(data, read, piece=piece) == (200, TEXT)


@how_read
@both_loops
async def test_nothing_compressed_is_nothing(read) -> None:
    assert await once(answer(b"", "content-encoding: gzip"), read) == (200, b"")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip", "x"])
@both_loops
async def test_other_encodings_are_refused_by_name(encoding) -> None:
    with pytest.raises(ProviderError, match=f"compressed with '{encoding}', which nobody asked for") as caught:
        await once(answer(b"x", f"content-encoding: {encoding}"))
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.GARBAGE)


@how_read
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"not compressed", Cause.GARBAGE),
        (gzip.compress(TEXT)[:-1], Cause.RESET),
        (gzip.compress(TEXT)[:20], Cause.RESET),
        (gzip.compress(TEXT) + b"more", Cause.GARBAGE),
        (gzip.compress(TEXT)[:-6] + b"\0\0\0\0\0\0", Cause.GARBAGE),
    ],
    ids=["plain", "last byte", "beginning", "more behind", "wrong sum"],
)
@both_loops
async def test_damaged_compression_is_never_an_answer(body, cause, read) -> None:
    with pytest.raises(ProviderError) as caught:
        await once(answer(body, "content-encoding: gzip"), read)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, cause)


def memory_mb() -> float:
    """The most this process has ever used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """300 KB that become 300 MB."""
    compressor = zlib.compressobj(wbits=31)
    block = bytes(10_000_000)
    return b"".join(compressor.compress(block) for _ in range(30)) + compressor.flush()


@both_loops
async def test_a_bomb_is_stopped_by_the_limit(bomb) -> None:
    before = memory_mb()

    async def read(transport, call):
        async with transport.open(call) as exchange:
            return await exchange.read(2_000_000)

    with pytest.raises(ProviderError) as caught:
        await once(answer(bomb, "content-encoding: gzip"), read)
    assert caught.value.cause is Cause.TOO_LARGE
    assert memory_mb() - before < 30


@both_loops
async def test_a_bomb_in_a_stream_comes_in_pieces(bomb) -> None:
    before = memory_mb()

    async def read(transport, call):
        total = largest = 0
        async with transport.open(call) as exchange:
            while (piece := await exchange.chunk()) is not None and total < 50_000_000:
                total, largest = total + len(piece), max(largest, len(piece))
        return total, largest

    total, largest = await once(answer(bomb, "content-encoding: gzip"), read)
    assert total >= 50_000_000
    assert largest <= 256 * 1024
    assert memory_mb() - before < 30


@both_loops
async def test_a_reader_that_stalls_holds_the_provider_back(record_property) -> None:
    """200 MB are ready; what is not read stays where it is, and all of it arrives when reading goes on."""
    total, block = 200_000_000, bytes(1_000_000)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(f"{OK}content-length: {total}\r\n\r\n".encode())
        while sent < total:
            await peer.send(block)
            sent += len(block)

    async with serving(script) as (server, transport), transport.open(server.call()) as exchange:
        before = memory_mb()
        received = len(await exchange.chunk() or b"")
        stalled_at = await settled(lambda: sent)
        assert stalled_at < 20_000_000
        assert memory_mb() - before < 25
        record_property("MB sent before a stalled reader holds them back", stalled_at / 1e6)
        while (piece := await exchange.chunk()) is not None:
            received += len(piece)
        assert received == total
        assert memory_mb() - before < 40


@both_loops
async def test_a_stalled_reader_of_tiny_chunks_costs_no_more() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(f"{OK}transfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(100):
            await peer.send(b"2\r\nab\r\n" * 5000)
            sent += 1
        await peer.send(b"0\r\n\r\n")

    async with serving(script) as (server, transport), transport.open(server.call()) as exchange:
        await asyncio.sleep(0.1)
        first = await exchange.chunk()
        assert first is not None
        assert len(first) < 150_000
        total = len(first)
        while (piece := await exchange.chunk()) is not None:
            total += len(piece)
        assert total == 1_000_000


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 100_000, 10_000_000])
@both_loops
async def test_a_body_arrives_as_it_is(size) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.answer(answer())

    async with serving(script) as (server, transport):
        for _ in range(2):
            await fetch(transport, server.call(body))
        peer = server.peers[0]
        assert [sent for _, sent in peer.requests] == [body, body]


@both_loops
async def test_an_answer_before_the_end_of_the_upload_is_the_answer_and_ends_the_connection() -> None:
    """What is left of the body would stand before the next request."""
    gone = []

    async def script(peer: Peer) -> None:
        if peer.number:
            await peer.answer(answer(b"again"))
            return
        await peer._reader.readuntil(b"\r\n\r\n")
        await peer.send(answer(b"too much", status="413 Content Too Large"))
        await asyncio.sleep(0.05)
        gone.append(await peer.gone())

    async with serving(script) as (server, transport):
        assert await fetch(transport, server.call(bytes(10_000_000))) == (413, b"too much")
        await until(lambda: gone)
        assert await fetch(transport, server.call()) == (200, b"again")


@pytest.mark.parametrize("how", ["end", "reset"])
@both_loops
async def test_a_provider_that_leaves_during_the_upload_is_no_hang(how) -> None:
    async def script(peer: Peer) -> None:
        await peer._reader.readuntil(b"\r\n\r\n")
        if how == "end":  # an answer that lasts until the end, of which only the sending half comes
            await peer.send(f"{OK}\r\nhello".encode())
            peer.writer.write_eof()
            await asyncio.Event().wait()
        else:
            peer.reset()

    async with serving(script) as (server, transport), asyncio.timeout(30):
        if how == "end":
            assert await fetch(transport, server.call(bytes(10_000_000))) == (200, b"hello")
            return
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call(bytes(10_000_000)))
        assert caught.value.kind is ErrorKind.STALE
