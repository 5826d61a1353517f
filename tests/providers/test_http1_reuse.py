"""Which connection carries the next exchange, and that no answer ever reaches a request it does not belong to."""

import asyncio
import os
import time

import pytest

from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.loops import both_loops
from tests.fakes.raw import LIMIT, Peer, RawServer, answer, chunked, fetch, open_files, serving, stream, until

OK = "HTTP/1.1 200 OK\r\n"
EVIL = answer(b"evil")


def name_of(peer: Peer) -> bytes:
    """A body that says which connection carried it, and as its how-many-eth."""
    return f"{peer.number}.{len(peer.requests)}".encode()


async def forever(peer: Peer) -> None:
    """A well-behaved provider."""
    while True:
        await peer.request()
        await peer.send(answer(name_of(peer)))


@pytest.mark.parametrize("read", [fetch, stream], ids=["whole", "pieces"])
@both_loops
async def test_one_connection_carries_exchange_after_exchange(read) -> None:
    async with serving(forever) as (server, transport):
        bodies = [(await read(transport, server.call()))[1] for _ in range(20)]
        assert bodies == [f"0.{n}".encode() for n in range(1, 21)]
        assert len(server.peers) == 1


@both_loops
async def test_every_shape_of_answer_keeps_its_connection() -> None:
    shapes = [
        answer(b"a"),
        chunked(b"b", trailers="x: y\r\n"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"c", status="429 Too Many Requests"),
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nd",
        answer(b"e"),
    ]

    async def script(peer: Peer) -> None:
        for shape in shapes:
            await peer.answer(shape)

    async with serving(script) as (server, transport):
        bodies = [(await fetch(transport, server.call()))[1] for _ in shapes]
        assert bodies == [b"a", b"b", b"", b"c", b"d", b"e"]
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "last",
    [
        answer(b"x", "connection: close"),
        answer(b"x", "Connection: Keep-Alive, Close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
    ids=["close", "close in a list", "HTTP/1.0", "HTTP/1.0 with chunks"],
)
@both_loops
async def test_a_last_answer_ends_the_connection(last) -> None:
    closed = []

    async def script(peer: Peer) -> None:
        await peer.answer(last)
        closed.append(await peer.gone())

    async with serving(script) as (server, transport):
        for count in (1, 2):
            assert await fetch(transport, server.call()) == (200, b"x")
            await until(lambda count=count: len(closed) == count)
        assert len(server.peers) == 2


# Answers that have more behind them than belongs to them.
TOO_LONG = {
    "a second answer": answer(b"good") + EVIL,
    "a second answer after chunks": chunked(b"good") + EVIL,
    "a body longer than it says": f"{OK}content-length: 4\r\n\r\ngood and more".encode(),
    "one byte more": answer(b"good") + b"H",
    "an answer after 204": b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL,
    "an answer after a closing one": answer(b"good", "connection: close") + EVIL,
    "an interim answer afterwards": answer(b"good") + b"HTTP/1.1 100 Continue\r\n\r\n" + EVIL,
}


@pytest.mark.parametrize("pause_s", [None, 0.0, 0.01], ids=["together", "apart", "later"])
@pytest.mark.parametrize("name", TOO_LONG)
@both_loops
async def test_what_follows_an_answer_belongs_to_nobody(name, pause_s) -> None:
    data = TOO_LONG[name]
    end = data.find(b"HTTP/1.1", 10)
    end = end if end > 0 else data.index(b"\r\n\r\n") + 8
    end = min(end, len(data) - 1)
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number:
            await forever(peer)
        try:
            await peer.request()
            if pause_s is None:
                await peer.send(data)
            else:
                await peer.send(data[:end])
                await asyncio.sleep(pause_s)
                await peer.send(data[end:])
            await forever(peer)
        finally:
            left.set()

    async with serving(script) as (server, transport):
        assert (await fetch(transport, server.call()))[1] in (b"good", b"")
        if pause_s:
            await left.wait()
        for n in range(1, 4):
            assert await fetch(transport, server.call()) == (200, f"1.{n}".encode())


@pytest.mark.parametrize("extra", [EVIL, b"x", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n"])
@both_loops
async def test_bytes_on_an_idle_connection_end_it(extra) -> None:
    closed = []

    async def script(peer: Peer) -> None:
        await peer.answer(answer(name_of(peer)))
        await asyncio.sleep(0.005)
        await peer.send(extra)
        closed.append(await peer.gone())

    async with serving(script) as (server, transport):
        await fetch(transport, server.call())
        await until(lambda: closed)
        await fetch(transport, server.call())
        assert len(server.peers) == 2


@both_loops
async def test_bytes_that_the_event_loop_has_not_seen_yet_end_an_idle_connection() -> None:
    """They are in the kernel when the next request is about to be sent: without a look there it would be answered."""

    async with serving(forever) as (server, transport):
        await fetch(transport, server.call())
        await asyncio.sleep(0.01)
        os.write(server.peers[0].writer.get_extra_info("socket").fileno(), EVIL)
        assert await fetch(transport, server.call()) == (200, b"1.1")


@both_loops
async def test_a_greeting_before_any_request_is_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with serving(script) as (server, transport):
        for _ in range(5):
            with pytest.raises(ProviderError) as caught:
                await fetch(transport, server.call())
            assert caught.value.cause in (Cause.GARBAGE, Cause.RESET)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@both_loops
async def test_a_new_connection_that_dies_before_any_byte_is_stale(reset) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.STALE, Cause.RESET)
        assert caught.value.message == "The provider closed a new connection before it answered."


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@both_loops
async def test_a_connection_that_dies_at_once_is_stale(reset) -> None:
    async def script(peer: Peer) -> None:
        (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        for _ in range(10):
            with pytest.raises(ProviderError) as caught:
                await fetch(transport, server.call())
            assert caught.value.kind in (ErrorKind.STALE, ErrorKind.BROKEN)
            assert caught.value.cause in (Cause.RESET, Cause.CONNECT)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@both_loops
async def test_a_reused_connection_that_dies_before_any_byte_is_stale_and_a_fresh_one_answers(reset) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(answer(name_of(peer)))
        await peer.request()
        if peer.number == 0:
            (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        await fetch(transport, server.call())
        began = time.monotonic()
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.STALE, Cause.RESET)
        assert caught.value.message == "The provider closed an idle connection before it answered."
        assert await fetch(transport, server.call(), fresh=True) == (200, b"1.0")
        assert time.monotonic() - began < 5, "neither waits for a limit: the shortest is that for connecting, 10 s"


@both_loops
async def test_a_connection_that_dies_late_is_not_stale() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(1.02)
        peer.reset()

    async with serving(script) as (server, transport):
        with pytest.raises(ProviderError) as caught:
            await fetch(transport, server.call())
        assert (caught.value.kind, caught.value.cause) == (ErrorKind.BROKEN, Cause.RESET)


@both_loops
async def test_fresh_leaves_idle_connections_where_they_are() -> None:
    async with serving(forever) as (server, transport):
        await fetch(transport, server.call())
        assert await fetch(transport, server.call(), fresh=True) == (200, b"1.1")
        assert len(server.peers) == 2
        reused = {(await fetch(transport, server.call()))[1][:1] for _ in range(4)}
        assert reused == {b"1"}, "the latest is reused first"


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@both_loops
async def test_a_connection_closed_while_idle_is_not_used_again(reset) -> None:
    is_idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(answer(name_of(peer)))
        await is_idle.wait()
        is_idle.clear()
        (peer.reset if reset else peer.end)()

    async with serving(script) as (server, transport):
        files = open_files()
        for n in range(5):
            assert await fetch(transport, server.call()) == (200, f"{n}.0".encode())
            is_idle.set()
            await until(lambda: open_files() <= files)  # the client has seen it, too, and closed its side


@both_loops
async def test_many_connections_closed_while_idle_at_the_same_moment() -> None:
    """A stale keep-alive: a close that crosses the next request is stale, everything else is answered."""

    async def script(peer: Peer) -> None:
        await peer.answer(answer(b"x"))
        await asyncio.sleep(0.003)
        peer.end()

    async with serving(script) as (server, transport):
        failures: list[ErrorKind] = []

        async def client(pause_s: float) -> None:
            for _ in range(10):
                try:
                    await fetch(transport, server.call())
                except ProviderError as error:
                    failures.append(error.kind)
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(client(0.001 + n * 0.0002) for n in range(20)))
        assert set(failures) <= {ErrorKind.STALE}


@both_loops
async def test_idle_connections_are_closed_in_time_without_further_traffic() -> None:
    closed = []

    async def script(peer: Peer) -> None:
        await peer.answer(answer(name_of(peer)))
        began = asyncio.get_running_loop().time()
        closed.append(await peer.gone() - began)

    async with serving(script, idle_connection_s=0.1) as (server, transport):
        await asyncio.gather(*(fetch(transport, server.call()) for _ in range(5)))
        await until(lambda: len(closed) == 5)
        assert all(after_s > 0.08 for after_s in closed)
        await fetch(transport, server.call())
        await until(lambda: len(closed) == 6)


@both_loops
async def test_close_ends_what_is_idle_and_lets_exchanges_finish() -> None:
    gate, closed = asyncio.Event(), []

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number:
            await gate.wait()
        await peer.send(answer(name_of(peer)))
        await peer.gone()
        closed.append(peer.number)

    async with serving(script) as (server, transport):
        await fetch(transport, server.call())
        running = asyncio.ensure_future(fetch(transport, server.call(), fresh=True))
        await until(lambda: len(server.peers) == 2 and server.peers[1].requests)
        await transport.close()
        await until(lambda: closed == [0])
        gate.set()
        assert await running == (200, b"1.1")
        await until(lambda: closed == [0, 1])


@both_loops
async def test_an_exchange_that_is_over_shows_nothing_of_the_next_one() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(answer(b"mine", "x-whose: mine"))
        await peer.answer(answer(b"yours", "x-whose: yours"))

    async with serving(script) as (server, transport):
        async with transport.open(server.call()) as first:
            await first.read(LIMIT)
        async with transport.open(server.call()) as second:
            assert first.headers["x-whose"] == "mine"
            for read in (first.chunk, lambda: first.read(LIMIT)):
                with pytest.raises(AttributeError):
                    await read()
            assert await second.read(LIMIT) == b"yours"


@both_loops
async def test_an_answer_that_is_not_read_to_its_end_costs_its_connection() -> None:
    async with serving(forever) as (server, transport):
        async with transport.open(server.call()) as exchange:
            assert exchange.status == 200
        assert await fetch(transport, server.call()) == (200, b"1.1")


@both_loops
async def test_origins_do_not_share_connections() -> None:
    async with serving(forever) as (server, transport), RawServer(forever) as other:
        await fetch(transport, server.call())
        await fetch(transport, server.call(url=other.url))
        assert (len(server.peers), len(other.peers)) == (1, 1)
        await fetch(transport, server.call(url=server.url + "?api-version=1"))
        assert len(server.peers) == 1
