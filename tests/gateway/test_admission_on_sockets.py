"""The gate in front of real requests: what they see, and that every way to end gives the place back."""

import asyncio
import json

import pytest

from gateway.admission import OverloadLimits, ShedReason
from tests.gateway.listening import CHAT, STREAMED, Listening, post, statuses, until
from tests.gateway.scripted import Answer, ScriptedTransport

LARGE = 8_000_000
GOOD = Answer([b"7,3,{}", None])


def serve(work, *answers, **limits):
    async def main():
        async with Listening({"a": ScriptedTransport(*answers)}) as gateway:
            gateway.service.gate.use(OverloadLimits(**limits))
            await work(gateway)
            await until(lambda: gateway.service.in_flight == 0)
            gate = gateway.service.gate
            assert (gate.in_flight, gate.waiting) == (0, 0)
            assert gate.open_below == gate.limits.max_in_flight

    asyncio.run(main())


async def holding(gateway, body=CHAT, *headers, length=True):
    """A client whose request is under way, or waits."""
    before = gateway.service.in_flight
    client = await gateway.connect()
    client.writer.write(post(body, *headers, length=length))
    await until(lambda: gateway.service.in_flight == before + 1)
    return client


def test_one_too_many_is_told_when_to_come_back():
    async def work(gateway):
        client = await holding(gateway)
        began = asyncio.get_running_loop().time()
        data = await gateway.talk(post(CHAT))
        assert asyncio.get_running_loop().time() - began < 1
        head, body = data.split(b"\r\n\r\n", 1)
        assert statuses(data) == [429]
        assert b"x-should-retry: true" in head
        assert b"retry-after-ms: " in head
        assert json.loads(body)["error"]["code"] == "overloaded"
        assert gateway.stage.value("signalbox_shed_total", reason="queue_full") == 1
        assert gateway.stage.value("signalbox_refusals_total", reason="overloaded") == 1
        client.writer.transport.abort()

    serve(work, Answer(), max_in_flight=1, queue_max=0)


def test_who_waits_is_served_when_a_place_is_free():
    async def work(gateway):
        first = await holding(gateway)
        second = await holding(gateway)
        assert gateway.service.gate.waiting == 1
        first.writer.transport.abort()
        assert statuses(await second.read_all()) == [200]
        second.writer.close()

    serve(work, Answer(), GOOD, max_in_flight=1, queue_wait_s=20.0)


def test_a_client_that_leaves_the_queue_is_forgotten_at_once():
    async def work(gateway):
        first = await holding(gateway)
        clients = [await holding(gateway) for _ in range(5)]
        assert gateway.service.gate.waiting == 5
        for client in clients:
            client.writer.transport.abort()
        await until(lambda: gateway.service.gate.waiting == 0)
        assert gateway.service.in_flight == 1
        first.writer.transport.abort()

    serve(work, Answer(), max_in_flight=1, queue_wait_s=20.0)


def test_a_callers_own_limit_shortens_the_wait():
    async def work(gateway):
        first = await holding(gateway)
        assert statuses(await gateway.talk(post(CHAT, b"x-signalbox-timeout-ms: 50"))) == [429]
        assert gateway.stage.value("signalbox_shed_total", reason="queue_timeout") == 1
        first.writer.transport.abort()

    serve(work, Answer(), max_in_flight=1, queue_wait_s=20.0)


def test_a_stream_counts_until_its_last_byte():
    may_end = []

    def stream():
        yield b"text:one\n"
        while not may_end:
            yield 0.005
        yield from (b"usage:7,2\ndone\n", None)

    async def work(gateway):
        client = await holding(gateway, STREAMED)
        await client.reader.readuntil(b"data: one\n\n")
        assert statuses(await gateway.talk(post(CHAT))) == [429]
        may_end.append(True)
        await client.read_all()
        assert statuses(await gateway.talk(post(CHAT))) == [200]
        client.writer.close()

    serve(work, Answer(stream()), GOOD, max_in_flight=1, queue_max=0)


@pytest.mark.parametrize("ending", ["read", "left"])
def test_a_large_answer_counts_until_it_is_read(ending):
    async def work(gateway):
        client = await gateway.connect(receive_buffer=8192)
        client.writer.write(post(CHAT))
        await until(lambda: gateway.stage.value("signalbox_requests_total", outcome="ok") == 1)
        assert gateway.service.gate.in_flight == 1
        assert statuses(await gateway.talk(post(CHAT))) == [429]
        if ending == "left":
            client.writer.transport.abort()
        else:
            assert len(await client.read_all()) > LARGE
        await until(lambda: gateway.service.gate.in_flight == 0)
        assert statuses(await gateway.talk(post(CHAT))) == [200]
        client.writer.close()

    serve(work, Answer([b"7,3," + b"x" * LARGE, None]), GOOD, max_in_flight=1, queue_max=0)


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/metrics", b"/v1/models"])
def test_what_watches_the_gateway_passes_by(path):
    async def work(gateway):
        gateway.service.gate.shed(ShedReason.LAG)
        client = await holding(gateway)
        assert statuses(await gateway.talk(post(CHAT))) == [429]
        assert statuses(await gateway.talk(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")) == [200]
        gateway.service.gate.shed(None)
        client.writer.transport.abort()

    serve(work, Answer(), max_in_flight=1, queue_max=0)


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"{"),
        post(CHAT, b"x-signalbox-timeout-ms: soon"),
        post(b"x" * 2000),
        post(CHAT.replace(b'"m"', b'"none"')),
        post(CHAT, b"content-encoding: gzip"),
    ],
)
def test_a_refused_request_gives_its_place_back(request_bytes):
    async def work(gateway):
        for _ in range(3):
            data = await gateway.talk(request_bytes)
            assert statuses(data)[0] in (400, 404, 413, 415)
        assert statuses(await gateway.talk(post(CHAT))) == [200]

    serve(work, GOOD, max_in_flight=1, queue_max=0)
