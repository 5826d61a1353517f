"""Hostile connections on real sockets: each is ended in time, and everybody else is served."""

import asyncio

import pytest
import uvloop

from gateway.connection import Connection
from tests.gateway.listening import CHAT, STREAMED, Listening, post, statuses, turns, until
from tests.gateway.scripted import Answer, ScriptedTransport

GOOD = Answer([b"7,3,{}", None])
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


class Impatient(Connection):
    """Limits short enough to wait for."""

    head_s = 0.3
    write_stall_s = 0.3


async def said(client):
    """An answer on a connection that stays open: silence is its end, however long it takes to begin."""
    answer = b""
    while not answer and not client.is_closed:
        answer = await client.read_all(0.05)
    return answer


def serve(work, *answers, connection=Impatient):
    async def main():
        async with Listening({"a": ScriptedTransport(*answers)}, connection=connection) as gateway:
            return await work(gateway)

    return uvloop.run(main())  # as the product does


@pytest.mark.parametrize(
    ("sent", "status", "reason"), [(b"", [], "silent"), (b"GET /healthz HTTP/1.1\r\nhost:", [408], "slow_head")]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_has_to_arrive_in_time(sent, status, reason, is_first):
    async def work(gateway):
        client = await gateway.connect()
        if not is_first:
            client.writer.write(HEALTH)
            assert statuses(await said(client)) == [200]
        client.writer.write(sent)
        data = await client.read_all(3.0 if sent or is_first else 0.6)
        client.writer.close()
        return statuses(data), client.is_closed, gateway.closed

    idles = not sent and not is_first  # between requests the longer limit for idle connections holds
    assert serve(work) == (status, not idles, [] if idles else [reason])


def test_a_head_in_drops_is_no_excuse():
    async def work(gateway):
        client = await gateway.connect()
        for byte in b"GET /healthz HTTP/1.1\r\nhost: " + b"x" * 100:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if gateway.closed:
                break
        assert gateway.closed == ["slow_head"]
        assert statuses(await gateway.talk(HEALTH)) == [200]
        client.writer.close()

    serve(work)


@pytest.mark.parametrize("what", [b"\r\n", b"x"])
def test_what_is_no_request_does_not_keep_a_connection(what):
    """Blank lines, or the rest of a body that was refused: the limit for idle connections runs on."""
    big = post(b"x" * 5000).removesuffix(b"x" * 4000)

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(HEALTH if what == b"\r\n" else big.replace(b"/v1/chat/completions", b"/nowhere"))
        assert statuses(await said(client)) in ([200], [404])
        (connection,) = gateway.state.connections
        timer, over = connection.timeout_keep_alive_task, connection.idle_until
        assert timer is not None
        client.writer.write(what)
        await turns(0.05)
        assert connection.timeout_keep_alive_task is timer
        assert connection.idle_until == over
        assert not timer.cancelled()
        client.writer.close()

    serve(work)


def test_one_timer_is_for_all_idle_times_of_a_connection():
    """It ends the connection when the last wait is over, and neither before that nor while a request is answered."""

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(HEALTH)
        assert statuses(await said(client)) == [200]
        (connection,) = gateway.state.connections
        first = connection.timeout_keep_alive_task
        client.writer.write(HEALTH)
        assert statuses(await said(client)) == [200]
        assert connection.timeout_keep_alive_task is first
        connection.timeout_keep_alive_handler()  # armed for the first wait, it comes too early for the second
        assert connection.timeout_keep_alive_task not in (None, first)
        assert not connection.transport.is_closing()
        client.writer.write(post(CHAT))
        await until(lambda: gateway.service.in_flight == 1)
        assert not connection.is_idle
        connection.timeout_keep_alive_handler()
        assert connection.timeout_keep_alive_task is None
        assert statuses(await said(client)) == [200]
        assert connection.timeout_keep_alive_task is not None
        connection.idle_until = gateway.service.loop.time()
        connection.timeout_keep_alive_handler()
        assert client.is_closed or await client.read_all(3.0) == b""
        assert client.is_closed
        client.writer.close()

    serve(work, Answer(GOOD.pieces, open_s=0.2))


def test_pipelined_requests_are_bounded():
    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(CHAT) * 200)
        most = 0

        async def watch():
            nonlocal most
            while True:
                most = max(most, *(len(c.pipeline) for c in gateway.state.connections), 0)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        data = await client.read_all()
        watcher.cancel()
        assert client.is_closed
        assert most <= 16
        assert statuses(data) == [200] * 17, "those that were taken are answered"
        assert data.count(b"connection: close") == 1
        assert set(gateway.closed) == {"pipeline"}
        client.writer.close()

    serve(work, *[Answer([0.005, b"7,3,{}", None])] * 17)


def endless():
    while True:
        yield b"text:" + b"x" * 65536 + b"\n"


@pytest.mark.parametrize("close", [b"close", b"keep-alive"])
def test_a_client_that_does_not_read_is_dropped(close):
    async def work(gateway):
        transport = gateway.stage.transports["a"]
        client = await gateway.connect(receive_buffer=4096)
        client.writer.write(post(STREAMED, b"connection: " + close))
        await until(lambda: transport.running == 1)
        await until(lambda: gateway.closed)
        await until(lambda: transport.running == 0 and gateway.service.in_flight == 0)
        assert gateway.closed == ["write_stall"]
        assert gateway.stage.value("signalbox_client_gone_total", phase="stream") == 1
        client.writer.transport.abort()

    serve(work, Answer(endless()))


def test_a_slow_reader_is_not():
    async def work(gateway):
        client = await gateway.connect(receive_buffer=4096)
        client.writer.write(post(STREAMED))
        loop = asyncio.get_running_loop()
        began, taken = loop.time(), 0
        while loop.time() - began < 2.0:  # several times the limit
            taken += len(await client.reader.read(65536))
            await asyncio.sleep(0.01)
        assert taken
        assert gateway.closed == []
        client.writer.transport.abort()

    serve(work, Answer(endless()))


class Roomy(Impatient):
    """Takes an answer whole, so that nothing tells that its bytes do not flow."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1 << 30)


@pytest.mark.parametrize("connection", [Impatient, Roomy])
def test_the_rest_of_a_last_answer_does_not_stay_for_ever(connection):
    """The answer is complete and the connection closing, but nobody takes the bytes."""
    whole = b"7,3,{" + b" " * 8_000_000 + b"}"

    async def work(gateway):
        client = await gateway.connect(receive_buffer=4096)
        client.writer.write(post(CHAT, b"connection: close"))
        await until(lambda: gateway.closed)
        await until(lambda: not gateway.state.connections)
        assert gateway.closed == ["write_stall"]
        client.writer.transport.abort()

    serve(work, Answer([whole, None]), connection=connection)


def test_an_idle_connection_goes_for_a_new_one():
    async def work(gateway):
        gateway.state.max_connections = 3
        clients = [await gateway.connect() for _ in range(3)]
        for client in clients:
            client.writer.write(HEALTH)
            assert statuses(await said(client)) == [200]
        assert statuses(await gateway.talk(HEALTH)) == [200]
        assert gateway.closed == ["idle_for_new"]
        for client in clients:
            client.writer.close()

    serve(work, connection=Connection)


def test_where_none_is_idle_only_health_checks_are_heard():
    async def work(gateway):
        gateway.state.max_connections = 2
        clients = []
        for number in (1, 2):
            clients.append(await gateway.connect())
            clients[-1].writer.write(post(CHAT))
            await until(lambda number=number: gateway.service.in_flight == number)
        refused = await gateway.talk(post(CHAT))
        assert statuses(refused) == [429]
        assert b"retry-after-ms: " in refused
        assert b"connection: close" in refused
        healthy = await gateway.talk(HEALTH)
        assert statuses(healthy) == [200]
        assert b"connection: close" in healthy
        assert gateway.closed == ["too_many"]
        for client in clients:
            client.writer.transport.abort()
        await until(lambda: not gateway.state.connections)
        assert statuses(await gateway.talk(post(CHAT))) == [200]

    serve(work, Answer(), Answer(), GOOD, connection=Connection)


def test_far_too_many_connections_are_cut():
    async def work(gateway):
        gateway.state.max_connections = 10
        clients = [await gateway.connect() for _ in range(40)]
        await until(lambda: len(gateway.state.connections) <= 12)
        assert gateway.closed.count("too_many") >= 28
        for client in clients:
            client.writer.transport.abort()

    serve(work, connection=Connection)
