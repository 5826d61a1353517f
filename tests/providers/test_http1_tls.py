"""TLS against an authority of our own: who is believed, who is not, and that everything else works as without."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from providers.base import Cause, ErrorKind, ProviderError
from providers.transport import HttpTransport
from tests.fakes.certificates import Authority, make_authority
from tests.fakes.loops import both_loops
from tests.fakes.promptness import typically
from tests.fakes.raw import Peer, answer, chunked, fetch, open_files, serving, settled, stream, until

_AT_ONCE_S = 0.5  # as without TLS; without an end of its own the provider's side would stay for ever

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> ssl.SSLContext:
    return authority.server("good")


@pytest.fixture(scope="module")
def refused(authority: Authority) -> dict[str, ssl.SSLContext]:
    return {
        "wrong name": authority.server("wrong", hosts="DNS:elsewhere.example"),
        "expired": authority.server("expired", is_expired=True),
        "self-signed": authority.self_signed(),
    }


async def forever(peer: Peer) -> None:
    while True:
        body = f"{peer.number}".encode()
        await peer.answer(answer(body) if len(peer.requests) % 2 else chunked(body))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@both_loops
async def test_a_private_root_is_believed_when_it_is_named(host, authority, good) -> None:
    async with serving(forever, tls=good, ca_file=authority.ca_file) as (server, transport):
        call = server.call(url=server.url.replace("127.0.0.1", host))
        for read in (fetch, stream, fetch):
            assert await read(transport, call) == (200, b"0")
        assert server.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


REFUSALS = {
    "wrong name": r"its certificate was refused \((Hostname|IP address) mismatch\)",
    "expired": r"its certificate was refused \(certificate has expired\)",
    "self-signed": r"its certificate was refused \(self-signed certificate\)",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("name", REFUSALS)
@both_loops
async def test_nobody_else_is_believed(name, host, authority, refused) -> None:
    async with serving(forever, tls=refused[name], ca_file=authority.ca_file) as (server, transport):
        with pytest.raises(ProviderError, match=REFUSALS[name]) as caught:
            await fetch(transport, server.call(url=server.url.replace("127.0.0.1", host)))
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.CONNECT)
        assert not any(part in caught.value.message for part in ("127.0.0.1", "localhost", str(server.port)))
        assert not any(peer.requests for peer in server.peers)


@both_loops
async def test_a_private_root_is_not_believed_unasked(authority, good) -> None:
    async with serving(forever, tls=good) as (server, transport):
        with pytest.raises(ProviderError, match=r"certificate was refused .*; roots .* are named in 'ca_file'"):
            await fetch(transport, server.call())


def test_a_named_root_does_not_become_everybodys(authority) -> None:
    HttpTransport(connect_s=1, ca_file=authority.ca_file)
    assert HttpTransport(connect_s=1)._pool._tls is HttpTransport(connect_s=2)._pool._tls
    subjects = [root["subject"] for root in HttpTransport(connect_s=1)._pool._tls.get_ca_certs()]
    assert all("Test root" not in str(subject) for subject in subjects)


def test_a_file_of_roots_that_is_none_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"'ca_file' .*empty\.pem has no certificates in PEM form"):
        HttpTransport(connect_s=1, ca_file=str(empty))
    with pytest.raises(ValueError, match=r"'ca_file' .*absent\.pem cannot be read: No such file"):
        HttpTransport(connect_s=1, ca_file=str(tmp_path / "absent.pem"))


@both_loops
async def test_a_server_without_tls_is_named_as_that() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serving(script) as (server, transport):
        with pytest.raises(
            ProviderError, match=r"No connection to the provider: TLS failed \(WRONG_VERSION_NUMBER\)\."
        ):
            await fetch(transport, server.call(url=server.url.replace("http:", "https:")))


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@both_loops
async def test_a_server_that_leaves_during_the_handshake(reset) -> None:
    async def script(peer: Peer) -> None:
        await peer._reader.read(100)
        (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call(url=server.url.replace("http:", "https:")))
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.CONNECT)


@both_loops
async def test_a_silent_handshake_has_an_end() -> None:
    gone: list[float] = []

    async def script(peer: Peer) -> None:
        await peer._reader.read(100)
        gone.append(await peer.gone())

    async with serving(script, connect_s=0.1) as (server, transport):
        with pytest.raises(ProviderError, match="took too long"):
            await fetch(transport, server.call(url=server.url.replace("http:", "https:")))
        await until(lambda: gone)


@both_loops
async def test_a_silent_handshake_can_be_left() -> None:
    async def once() -> float:
        gone: list[float] = []
        waiting = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer._reader.read(100)
            waiting.set()
            gone.append(await peer.gone())

        async with serving(script) as (server, transport):  # connecting has an end after 10 s only
            task = asyncio.ensure_future(fetch(transport, server.call(url=server.url.replace("http:", "https:"))))
            await waiting.wait()
            await asyncio.sleep(0.005)
            left = asyncio.get_running_loop().time()
            task.cancel()
            await until(lambda: gone)
            return gone[0] - left

    assert await typically(once, _AT_ONCE_S) < _AT_ONCE_S


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"])
@both_loops
async def test_leaving_is_seen_at_once(sent, authority, good, record_property) -> None:
    async def once() -> float:
        gone: list[float] = []
        waiting = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(sent)
            waiting.set()
            gone.append(await peer.gone())

        async with serving(script, tls=good, ca_file=authority.ca_file) as (server, transport):
            task = asyncio.ensure_future(stream(transport, server.call()))
            await waiting.wait()
            await asyncio.sleep(0.01)
            left = asyncio.get_running_loop().time()
            task.cancel()
            await until(lambda: gone)
            record_property("provider sees the caller leave after ms, TLS", round((gone[0] - left) * 1000, 2))
            return gone[0] - left

    assert await typically(once, _AT_ONCE_S) < _AT_ONCE_S


@both_loops
async def test_a_connection_closed_while_idle_is_not_used_again(authority, good) -> None:
    is_idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(answer(f"{peer.number}".encode()))
        await is_idle.wait()
        is_idle.clear()
        peer.end()

    async with serving(script, tls=good, ca_file=authority.ca_file) as (server, transport):
        files = open_files()
        for n in range(3):
            assert await fetch(transport, server.call()) == (200, f"{n}".encode())
            is_idle.set()
            await until(lambda: open_files() <= files)  # the client has seen the end, too, and closed its side


@both_loops
async def test_a_reused_connection_that_dies_is_stale(authority, good) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(answer(f"{peer.number}".encode()))
        await peer.request()
        if peer.number == 0:
            peer.end()
        else:
            await peer.send(answer(b"again"))

    async with serving(script, tls=good, ca_file=authority.ca_file) as (server, transport):
        await fetch(transport, server.call())
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert caught.value.kind is ErrorKind.STALE
        assert await fetch(transport, server.call(), fresh=True) == (200, b"1")


@both_loops
async def test_cut_answers_and_answers_until_the_end(authority, good) -> None:
    data = {0: b"HTTP/1.1 200 OK\r\n\r\nhello", 1: b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"}

    async def script(peer: Peer) -> None:
        await peer.answer(data[peer.number])
        peer.end()

    async with serving(script, tls=good, ca_file=authority.ca_file) as (server, transport):
        assert await fetch(transport, server.call()) == (200, b"hello")
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert caught.value.cause is Cause.RESET


@both_loops
async def test_much_in_both_directions(authority, good) -> None:
    body = bytes(range(256)) * 20_000

    async def script(peer: Peer) -> None:
        for _ in range(2):
            _, received = await peer.request()
            assert received == body
            await peer.send(answer(received))

    async with serving(script, tls=good, ca_file=authority.ca_file) as (server, transport):
        for read in (fetch, stream):
            assert await read(transport, server.call(body)) == (200, body)
        assert len(server.peers) == 1


@both_loops
async def test_a_stalled_reader_holds_the_provider_back(authority, good) -> None:
    total, sent = 50_000_000, 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(f"HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n".encode())
        while sent < total:
            await peer.send(bytes(500_000))
            sent += 500_000

    provider = serving(script, tls=good, ca_file=authority.ca_file)
    async with provider as (server, transport), transport.open(server.call()) as exchange:
        received = len(await exchange.chunk() or b"")
        assert await settled(lambda: sent) < total / 2
        while (piece := await exchange.chunk()) is not None:
            received += len(piece)
        assert received == total
