"""Leaving an exchange: the provider sees it at once, in every phase, and nothing stays behind."""

import asyncio
import contextlib
import gc
import random
import socket
from collections.abc import Iterator

import pytest

from providers.base import Call, Cause, ProviderError
from providers.http1 import Connection
from providers.transport import HttpTransport
from tests.fakes.loops import both_loops
from tests.fakes.promptness import typically
from tests.fakes.raw import HEADERS, Peer, RawServer, answer, fetch, open_files, serving, until

# The promise is 100 ms on a quiet machine, and the figure is reported. A transport that waited for the provider's end
# would wait for ever in every try; so a try that other load has spoilt may be repeated.
_AT_ONCE_S = 0.5

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"


async def leave(task: "asyncio.Task[object]") -> float:
    """Cancel, and tell when."""
    at = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return at


async def read_on(transport: HttpTransport, call: Call) -> None:
    async with transport.open(call) as exchange:
        while await exchange.chunk() is not None:
            pass


# What the provider has sent when the caller leaves.
PHASES: dict[str, list[bytes]] = {
    "nothing": [],
    "an interim answer": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "half a head": [HEAD[:20]],
    "the head": [HEAD],
    "half a chunk": [HEAD, CHUNK[:6]],
    "a chunk": [HEAD, CHUNK],
    "many chunks": [HEAD, *[CHUNK] * 50],
    "all but the end": [HEAD, CHUNK, b"0\r\n"],
}


@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("phase", PHASES)
@both_loops
async def test_the_provider_sees_it_at_once(phase, reused, record_property) -> None:
    async def once() -> float:
        seen: list[float] = []
        sent = asyncio.Event()

        async def script(peer: Peer) -> None:
            if reused:
                await peer.answer(answer())
            await peer.request()
            for data in PHASES[phase]:
                await peer.send(data)
                await asyncio.sleep(0)
            sent.set()
            seen.append(await peer.gone())

        async with serving(script) as (server, transport):
            if reused:
                await fetch(transport, server.call())
            task = asyncio.ensure_future(read_on(transport, server.call()))
            await sent.wait()
            await asyncio.sleep(0.005)
            left = await leave(task)
            await until(lambda: seen)
            assert len(server.peers) == 1
            record_property("provider sees the caller leave after ms", round((seen[0] - left) * 1000, 2))
            return seen[0] - left

    assert await typically(once, _AT_ONCE_S) < _AT_ONCE_S


@both_loops
async def test_it_is_seen_during_a_large_upload() -> None:
    async def once() -> float:
        seen: list[float] = []
        begun = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer._reader.readuntil(b"\r\n\r\n")
            begun.set()
            await asyncio.sleep(0.05)  # a provider that is slow to read
            seen.append(await peer.gone())

        async with serving(script) as (server, transport):
            task = asyncio.ensure_future(fetch(transport, server.call(bytes(10_000_000))))
            await begun.wait()
            left = await leave(task)
            await until(lambda: seen)
            return seen[0] - left

    assert await typically(once, _AT_ONCE_S) < _AT_ONCE_S


@both_loops
async def test_it_is_seen_while_the_reader_does_something_else() -> None:
    """The caller is held back by its own client, with a paused connection behind it."""

    async def once() -> float:
        seen: list[float] = []
        is_stalled = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(HEAD)
            with contextlib.suppress(ConnectionError):
                while True:
                    await peer.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            seen.append(asyncio.get_running_loop().time())

        async def stalled(transport: HttpTransport, call: Call) -> None:
            async with transport.open(call) as exchange:
                await exchange.chunk()
                is_stalled.set()
                await asyncio.Event().wait()

        async with serving(script) as (server, transport):
            task = asyncio.ensure_future(stalled(transport, server.call()))
            await is_stalled.wait()
            await asyncio.sleep(0.05)  # until all buffers between the two are full
            left = await leave(task)
            await until(lambda: seen)
            return seen[0] - left

    assert await typically(once, _AT_ONCE_S) < _AT_ONCE_S


@both_loops
async def test_leaving_by_an_exception_is_leaving() -> None:
    seen: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.answer(HEAD + CHUNK)
        seen.append(await peer.gone())

    async with serving(script) as (server, transport):
        with pytest.raises(KeyError):
            async with transport.open(server.call()) as exchange:
                await exchange.chunk()
                raise KeyError
        await until(lambda: seen)


@both_loops
async def test_a_refused_answer_leaves_no_connection_open() -> None:
    seen: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.answer(answer(b"", "content-encoding: br"))
        seen.append(await peer.gone())

    async with serving(script) as (server, transport):
        for count in (1, 2):
            with pytest.raises(ProviderError):
                await fetch(transport, server.call())
            await until(lambda count=count: len(seen) == count)


@both_loops
async def test_between_exchanges_nothing_is_closed() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.answer(answer())

    async def one_and_wait(transport: HttpTransport, call: Call) -> None:
        await fetch(transport, call)
        await asyncio.Event().wait()

    async with serving(script) as (server, transport):
        task = asyncio.ensure_future(one_and_wait(transport, server.call()))
        await until(lambda: server.peers and server.peers[0].requests)
        await asyncio.sleep(0.005)
        await leave(task)
        await fetch(transport, server.call())
        assert len(server.peers) == 1


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port whose kernel answers no more: its queue of connections is full, so that a SYN is dropped."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        port = server.getsockname()[1]
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


@both_loops
async def test_while_connecting(full_backlog) -> None:
    files = open_files()
    transport = HttpTransport(connect_s=5)
    call = Call(f"http://127.0.0.1:{full_backlog}/", HEADERS, b"")
    for _ in range(20):
        task = asyncio.ensure_future(fetch(transport, call))
        await asyncio.sleep(0.002)
        await leave(task)
    await until(lambda: open_files() <= files + 1)


@both_loops
async def test_connecting_has_an_end(full_backlog) -> None:
    transport = HttpTransport(connect_s=0.1)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ProviderError, match="Connecting to the provider took too long") as caught:
        await fetch(transport, Call(f"http://127.0.0.1:{full_backlog}/", HEADERS, b""))
    assert caught.value.cause is Cause.CONNECT
    assert asyncio.get_running_loop().time() - began < 10, "the kernel would go on asking for minutes"


def connections() -> int:
    """Connection objects that are still referred to."""
    gc.collect()
    return sum(isinstance(thing, Connection) for thing in gc.get_objects())


@both_loops
async def test_a_thousand_departures_leave_nothing_behind(record_property) -> None:
    """At random moments between nothing and the whole answer; afterwards everything works as before."""
    rng = random.Random(7)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(rng.random() * 0.01)
            await peer.send(HEAD + CHUNK)
            await asyncio.sleep(rng.random() * 0.01)
            await peer.send(CHUNK + b"0\r\n\r\n")

    async def one(transport: HttpTransport, server: RawServer) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.random() * 0.02):
                await read_on(transport, server.call())

    async with serving(script) as (server, transport):
        await asyncio.gather(*(fetch(transport, server.call()) for _ in range(4)))
        tasks, files, kept = len(asyncio.all_tasks()), open_files(), connections()
        for _ in range(20):
            await asyncio.gather(*(one(transport, server) for _ in range(50)))
        await asyncio.sleep(0.05)
        await transport.close()
        await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
        assert connections() <= kept
        assert await fetch(transport, server.call()) == (200, b"hellohello")
        record_property("connections for 1,000 calls", len(server.peers))
