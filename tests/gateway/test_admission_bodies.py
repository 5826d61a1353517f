"""Bodies that take their time: they hold no place, and of one caller there are only so many."""

import asyncio
import gzip
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.admission import Gate, OverloadLimits, ShedReason
from gateway.telemetry.metrics import Metrics
from gateway.uploads import Uploads
from gateway.wire.refusals import RefusedError
from tests.gateway.listening import CHAT, post, statuses, turns, until
from tests.gateway.scripted import Answer
from tests.gateway.test_admission_on_sockets import GOOD, holding, serve

MIB = 1024 * 1024


def uploads_of(gateway):
    return gateway.service.gate.uploads


async def half_sent(gateway, body=CHAT, *headers, sent=20):
    """A client of whose body not all has come."""
    return await holding(gateway, body[:sent], b"content-length: %d" % len(body), *headers, length=False)


def test_bodies_that_are_not_all_here_hold_no_place():
    async def work(gateway):
        late = [await half_sent(gateway) for _ in range(5)]
        assert gateway.service.gate.in_flight == 0
        assert statuses(await gateway.talk(post(CHAT))) == [200]
        for client in late:
            client.writer.write(CHAT[20:])
            assert statuses(await client.read_all()) == [200]
            client.writer.close()

    serve(work, *[GOOD] * 6, max_in_flight=1, queue_max=0)


def test_a_whole_body_waits_for_a_place_as_others_do():
    async def work(gateway):
        first = await holding(gateway)
        late = await half_sent(gateway)
        late.writer.write(CHAT[20:])
        await until(lambda: gateway.service.gate.waiting == 1)
        assert uploads_of(gateway).total_bytes == len(CHAT), "it waits in memory"
        first.writer.transport.abort()
        assert statuses(await late.read_all()) == [200]
        assert uploads_of(gateway).total_bytes == 0
        late.writer.close()

    serve(work, Answer(), GOOD, max_in_flight=1, queue_wait_s=20.0)


def test_a_caller_may_have_so_many_bodies_under_way():
    async def work(gateway):
        late = [await half_sent(gateway) for _ in range(20)]
        one_too_many = post(CHAT[:20], b"content-length: %d" % len(CHAT), length=False)
        assert statuses(await gateway.talk(one_too_many)) == [429]
        assert gateway.stage.value("signalbox_shed_total", reason="bodies") == 1
        assert statuses(await gateway.talk(post(CHAT))) == [200], "one that is all here is none of them"
        late.pop().writer.transport.abort()
        await until(lambda: gateway.service.in_flight == 19)
        client = await half_sent(gateway)
        client.writer.write(CHAT[20:])
        assert statuses(await client.read_all()) == [200]
        for other in (*late, client):
            other.writer.transport.abort()

    serve(work, GOOD, GOOD, max_in_flight=40)


def test_a_body_that_is_too_much_with_the_others_is_refused():
    body = CHAT.replace(b"hi", b"x" * 900)

    async def work(gateway):
        uploads_of(gateway).max_bytes = 3000
        late = await half_sent(gateway, body, sent=800)
        await until(lambda: uploads_of(gateway).total_bytes == 800)
        one_too_many = post(body[:800], b"content-length: %d" % len(body), length=False)
        assert statuses(await gateway.talk(one_too_many)) == [429]
        assert gateway.stage.value("signalbox_shed_total", reason="bodies") == 1
        late.writer.write(body[800:])
        assert statuses(await late.read_all()) == [200]
        late.writer.close()

    serve(work, GOOD)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def untold(size=20):
    """Headers of a body that does not say how long it is, and the first `size` bytes of it."""
    return post(chunk(CHAT[:size]), b"transfer-encoding: chunked", length=False)


def test_bodies_of_unknown_length_come_one_after_the_other(monkeypatch):
    """Beyond a few bytes of them; and whoever says how much is coming is not held up."""
    monkeypatch.setattr("gateway.uploads._UNTOLD_BYTES", 30)

    async def work(gateway):
        clients = [await gateway.connect() for _ in range(3)]
        for client in clients:
            client.writer.write(untold())
        await until(lambda: gateway.service.in_flight == 3)
        assert uploads_of(gateway).total_bytes <= 40
        for client in clients:
            client.writer.write(chunk(CHAT[20:]) + b"0\r\n\r\n")
        for client in clients:
            assert statuses(await client.read_all()) == [200]
            client.writer.close()
        assert uploads_of(gateway).total_bytes == 0

    serve(work, *[GOOD] * 3)


def test_who_waits_too_long_for_its_turn_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr("gateway.uploads._UNTOLD_BYTES", 10)
    monkeypatch.setattr("gateway.api.exchange._BODY_STALL_S", 1.0)

    async def work(gateway):
        first = await gateway.connect()
        first.writer.write(untold())
        await until(lambda: uploads_of(gateway).total_bytes == 20)
        second = await gateway.connect()
        second.writer.write(untold())
        async with asyncio.timeout(20):
            while not gateway.stage.value("signalbox_shed_total", reason="bodies"):
                first.writer.write(b"1\r\n \r\n")  # slow, but never still
                await turns(0.05)
        assert statuses(await second.read_all()) == [429]
        client = await half_sent(gateway)
        client.writer.write(CHAT[20:])
        assert statuses(await client.read_all()) == [200]
        for other in (first, second, client):
            other.writer.transport.abort()

    serve(work, GOOD)


@pytest.mark.parametrize("why", [ShedReason.LAG, ShedReason.QUEUE_FULL])
def test_who_would_be_refused_anyhow_need_not_send_its_body(why):
    async def work(gateway):
        first = await holding(gateway)
        if why is ShedReason.LAG:
            gateway.service.gate.shed(why)
        data = await gateway.talk(post(CHAT[:20], b"content-length: 900", length=False))
        assert statuses(data) == [429]
        assert gateway.stage.value("signalbox_shed_total", reason=why) == 1
        gateway.service.gate.shed(None)
        first.writer.transport.abort()

    serve(work, Answer(), max_in_flight=1, queue_max=0)


def test_a_body_that_stands_still_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("gateway.api.exchange._BODY_STALL_S", 0.5)

    async def work(gateway):
        client = await half_sent(gateway)
        for position in range(20, len(CHAT) - 1, 4):
            await turns(0.05)
            client.writer.write(CHAT[position : position + 4])
        client.writer.write(CHAT[-1:])
        assert statuses(await client.read_all()) == [200], "slow, but never still"
        still = await half_sent(gateway)
        data = await still.read_all(silence_s=3.0)
        assert statuses(data) == [408]
        assert still.is_closed
        assert b"next byte did not arrive within 0.5 s" in data
        client.writer.close()

    serve(work, GOOD)


def test_a_packed_body_is_unpacked_once_it_has_a_place():
    packed = gzip.compress(CHAT)

    async def work(gateway):
        request = post(packed, b"content-encoding: gzip")
        first = await holding(gateway)
        assert statuses(await gateway.talk(request)) == [429]
        first.writer.transport.abort()
        await until(lambda: gateway.service.in_flight == 0)
        assert statuses(await gateway.talk(request)) == [200]
        late = await half_sent(gateway, packed, b"content-encoding: gzip")
        late.writer.write(packed[20:])
        assert statuses(await late.read_all()) == [200]
        late.writer.close()

    serve(work, Answer(), GOOD, GOOD, max_in_flight=1, queue_max=0)


def test_the_bounds_follow_the_limits():
    uploads = Uploads(2000, None)
    assert (uploads.max_bodies, uploads.max_bytes) == (1000, 512 * MIB)
    uploads.use(8, 400 * MIB)
    assert (uploads.max_bodies, uploads.max_bytes) == (16, 100 * MIB)
    uploads.container_bytes = 200 * MIB
    uploads.use(8, 400 * MIB)
    assert uploads.max_bytes == 100 * MIB
    uploads.use(8, None)
    assert uploads.max_bytes == 50 * MIB


def test_the_announcement_says_what_asking_would():
    """Whatever the queue is like: `receive` refuses those whom `ask` would refuse at once, and nobody else."""

    async def main():
        rng = Random(5)
        for _ in range(300):
            limits = OverloadLimits(
                max_in_flight=rng.randint(1, 3), queue_max=rng.randint(0, 3), reserve=rng.randint(0, 1)
            )
            gate = Gate(asyncio.get_running_loop(), Metrics(CollectorRegistry()).admission, limits, rng)
            favoured = rng.choice(("", "a", "b"))
            for _ in range(rng.randint(0, 8)):
                name = rng.choice("abc")
                gate.ask(name, is_priority=name in favoured)
            if rng.random() < 0.3:
                gate.shed(ShedReason.LAG)
            is_priority = "a" in favoured
            try:
                gate.receive("a", is_priority=is_priority)
                is_refused = False
            except RefusedError:
                is_refused = True
            future = gate.ask("a", is_priority=is_priority).future
            assert is_refused == (future.done() and future.result() is not None)

    asyncio.run(main())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 100), st.booleans()), max_size=20), st.integers(0, 200))
def test_nothing_stays_counted_and_no_bytes_pass_the_bounds(bodies, memory_bytes):
    uploads = Uploads(4, memory_bytes * 4)
    held = []
    for name, size, has_arrived in bodies:
        upload = uploads.begin(name)
        upload.__enter__()
        if not upload.grow(size):
            upload.__exit__(None, None, None)
            continue
        if has_arrived:
            upload.arrived()
        held.append((name, size, upload))
        for other in "ab":
            own = [size for name, size, _ in held if name == other]
            assert len(own) <= 1 or sum(own) <= max(memory_bytes // 2, 100)
    for *_, upload in held:
        upload.__exit__(None, None, None)
    assert uploads.total_bytes == 0
    assert not uploads._arriving
    assert not uploads._bytes
