"""Clients that are late: requests that do not arrive whole are not waited for."""

import asyncio

import pytest

from tests.gateway.listening import CHAT, post, statuses
from tests.gateway.test_connection import GOOD, serve


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", None), (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", 408), (post(CHAT)[:-10], 408)],
    ids=["silent", "half a head", "half a body"],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(monkeypatch, sent, status):
    monkeypatch.setattr("gateway.connection.Connection.head_s", 0.1)
    monkeypatch.setattr("gateway.api.exchange._BODY_S", 0.1)

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(sent)
        data = await client.read_all(silence_s=2.0)
        assert client.is_closed
        assert statuses(data) == ([] if status is None else [status])
        assert gateway.service.in_flight == 0
        client.writer.close()

    serve(work)


def test_a_head_in_two_packets_and_an_idle_connection_are_no_late_heads(monkeypatch):
    monkeypatch.setattr("gateway.connection.Connection.head_s", 1.0)

    async def work(gateway):
        client = await gateway.connect()
        for _ in range(2):
            client.writer.write(post(CHAT)[:30])
            await asyncio.sleep(0.05)
            client.writer.write(post(CHAT)[30:])
            assert statuses(await client.read_all()) == [200]
            await asyncio.sleep(1.1)
        assert not client.is_closed
        client.writer.close()

    serve(work, GOOD, GOOD)
