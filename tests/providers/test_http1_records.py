"""TLS as the network may deliver it: in slivers, broken, and cut in the middle of a record."""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from providers.base import ErrorKind, ProviderError
from tests.fakes.certificates import Authority, make_authority
from tests.fakes.loops import both_loops
from tests.fakes.raw import Peer, answer, fetch, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
_BODY = bytes(range(256)) * 200


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> ssl.SSLContext:
    return authority.server("good")


async def script(peer: Peer) -> None:
    while True:
        await peer.answer(answer(_BODY))


@contextlib.asynccontextmanager
async def relaying(port: int, change: Callable[[bytes], list[bytes]]) -> AsyncIterator[int]:
    """A port in front of `port`; what comes back passes through `change`. An empty piece ends the connection."""
    writers: list[asyncio.StreamWriter] = []

    async def one_way(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], list[bytes]]
    ) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while data := await reader.read(65536):
                for piece in change(data):
                    if not piece:
                        writer.close()
                        return
                    writer.write(piece)
                    await asyncio.sleep(0)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        await asyncio.gather(one_way(reader, far_writer, lambda data: [data]), one_way(far_reader, writer, change))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        for _ in range(10):
            await asyncio.sleep(0)


@both_loops
async def test_records_in_slivers_are_put_together(authority, good) -> None:
    def slivers(data: bytes) -> list[bytes]:
        head, rest = data[:60], data[60:]
        return [head[at : at + 1] for at in range(len(head))] + [rest[at : at + 999] for at in range(0, len(rest), 999)]

    async with (
        serving(script, tls=good, ca_file=authority.ca_file) as (server, transport),
        relaying(server.port, slivers) as port,
    ):
        for _ in range(2):
            assert await fetch(transport, server.call(url=f"https://127.0.0.1:{port}/")) == (200, _BODY)
        assert len(server.peers) == 1


@pytest.mark.parametrize("fault", ["broken", "cut", "foreign"])
@both_loops
async def test_nothing_of_a_broken_record_is_believed(fault, authority, good) -> None:
    is_faulty = False

    def change(data: bytes) -> list[bytes]:
        if not is_faulty:
            return [data]
        if fault == "broken":
            return [data[:200] + bytes([data[200] ^ 1]) + data[201:]]
        return [data[:200], b""] if fault == "cut" else [answer(b"from somebody else")]

    async with (
        serving(script, tls=good, ca_file=authority.ca_file) as (server, transport),
        relaying(server.port, change) as port,
    ):
        call = server.call(url=f"https://127.0.0.1:{port}/")
        assert await fetch(transport, call) == (200, _BODY)
        is_faulty = True
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, call)
        assert caught.value.kind is ErrorKind.STALE  # not a byte of an answer was seen
        is_faulty = False
        assert await fetch(transport, call) == (200, _BODY)
        assert len(server.peers) == 2
