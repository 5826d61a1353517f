"""Bytes on real sockets: framing, limits, pipelining, clients that leave or do not read."""

import asyncio
import zlib

import pytest

from providers.base import Cause, ErrorKind, ProviderError
from tests.gateway.listening import CHAT, STREAMED, Listening, dechunk, post, statuses, turns, until
from tests.gateway.scripted import DONE, Answer, ScriptedTransport

GOOD = Answer([b"7,3,{}", None])
STREAM = Answer([b"role\n", b"text:one\n", b"usage:7,2\n", b"done\n", None])


def serve(work, *answers, **stage):
    """Run `work(gateway)` against one upstream that plays `answers`."""

    async def main():
        async with Listening({"a": ScriptedTransport(*answers)}, **stage) as gateway:
            return await work(gateway)

    return asyncio.run(main())


def talk(*pieces, answers=(GOOD,), **more):
    return serve(lambda gateway: gateway.talk(*pieces, **more), *answers)


def test_keep_alive_and_pieces():
    request = post(CHAT)
    data = talk(request, request[:20], request[20:90], request[90:], answers=[GOOD] * 2)
    assert statuses(data) == [200, 200]
    assert data.count(b"\r\n\r\n{}") == 2


def test_pipelined_requests_are_answered_in_order():
    requests = b"".join(post(CHAT, b"x-request-id: n%d" % number) for number in range(5))
    data = talk(requests, answers=[Answer([0.01, b"7,3,{}", None])] * 5)
    assert statuses(data) == [200] * 5
    assert [data.index(b"x-request-id: n%d" % number) for number in range(5)] == sorted(
        data.index(b"x-request-id: n%d" % number) for number in range(5)
    )


def test_a_stream_is_one_chunked_answer():
    data = talk(post(STREAMED), answers=[STREAM])
    assert dechunk(data) == b"data: role\n\ndata: one\n\n" + DONE


def test_http_1_0_has_no_chunks_and_ends_with_the_connection():
    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(STREAMED).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        data = await client.read_all()
        assert client.is_closed
        client.writer.close()
        return data

    head, body = serve(work, STREAM).split(b"\r\n\r\n", 1)
    assert b"chunked" not in head
    assert body == b"data: role\n\ndata: one\n\n" + DONE


def test_head_has_no_body():
    data = talk(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(data) == [200, 200]
    assert data.count(b'{"status":"alive"}') == 1


def test_a_body_in_chunks():
    chunked = b"".join(b"%x\r\n%b\r\n" % (1, CHAT[i : i + 1]) for i in range(len(CHAT))) + b"0\r\n\r\n"
    head = post(b"", b"transfer-encoding: chunked", length=False)
    assert statuses(talk(head + chunked)) == [200]
    assert statuses(talk(head, chunked[:50], chunked[50:])) == [200]


def test_expect_100_continue():
    head = post(CHAT, b"expect: 100-continue").removesuffix(CHAT)
    assert statuses(talk(head, CHAT)) == [100, 200]
    refused = talk(post(b"x" * 5000, b"expect: 100-continue").removesuffix(b"x" * 5000), b"x" * 100)
    assert statuses(refused) == [413], "no invitation for what is not wanted"


def test_gzip():
    packer = zlib.compressobj(wbits=31)
    assert statuses(talk(post(packer.compress(CHAT) + packer.flush(), b"content-encoding: gzip"))) == [200]


BIG = b"GET /healthz?" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
HUGE = b"GET /healthz?" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"  # the parser itself stops at 64 KiB
MANY = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"h%d: 1\r\n" % n for n in range(120)) + b"\r\n"
FAT = b"GET /healthz HTTP/1.1\r\nfat: " + b"a" * 40_000 + b"\r\n\r\n"
ENDLESS = b"GET /healthz HTTP/1.1\r\nfat: " + b"a" * 20_000, b"a" * 20_000


@pytest.mark.parametrize(("head", "status"), [([BIG], 414), ([HUGE], 414), ([MANY], 431), ([FAT], 431), (ENDLESS, 431)])
@pytest.mark.parametrize("is_first", [True, False])
def test_heads_have_limits_on_every_request_of_a_connection(head, status, is_first):
    before = [] if is_first else [b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"]
    data = talk(*before, *head, *([b"a" * 20_000] if head is ENDLESS else []))
    assert statuses(data) == [200] * len(before) + [status]
    assert b"connection: close" in data


def test_a_large_body_is_no_large_head():
    filler = CHAT[:-1] + b',"user":"' + b"x" * 100_000 + b'"}'

    async def work(gateway):
        return await gateway.talk(post(filler) + post(filler))

    async def main():
        async with Listening({"a": ScriptedTransport(GOOD, GOOD)}) as gateway:
            object.__setattr__(gateway.stage.runtime, "max_body_bytes", 1 << 20)
            return await work(gateway)

    assert statuses(asyncio.run(main())) == [200, 200]


MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "length twice": post(CHAT, b"content-length: 3"),
    "signed length": post(CHAT, b"content-length: +%d" % len(CHAT), length=False),
    "length and chunks": post(CHAT, b"transfer-encoding: chunked"),
    "chunks and length": post(b"0\r\n\r\n", b"transfer-encoding: chunked", b"content-length: 5", length=False),
    "unknown coding": post(b"0\r\n\r\n", b"transfer-encoding: xchunked", length=False),
    "coding after chunks": post(b"0\r\n\r\n", b"transfer-encoding: chunked, gzip", length=False),
    "folded field": b"GET /healthz HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
    "blank before colon": b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
    "line feeds alone": b"GET /healthz HTTP/1.1\nhost: x\n\n",
    "carriage return in a field": b"GET /healthz HTTP/1.1\r\nhost: x\ry\r\n\r\n",
    "zero byte": b"GET /healthz HTTP/1.1\r\nhost: x\0y\r\n\r\n",
    "huge length": post(CHAT, b"content-length: 99999999999999999999999", length=False),
    "bad chunk size": post(b"zz\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
    "negative chunk size": post(b"-1\r\nabc\r\n0\r\n\r\n", b"transfer-encoding: chunked", length=False),
}
SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: smuggled\r\n\r\n"


@pytest.mark.parametrize("name", MALFORMED)
def test_ambiguous_framing_gets_one_answer_at_most(name):
    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(MALFORMED[name] + SMUGGLED)
        data = await client.read_all()
        client.writer.close()
        return data, client.is_closed

    data, is_closed = serve(work, GOOD)
    assert is_closed
    assert statuses(data) == [400]
    assert b'"code":"malformed_http"' in data
    assert b"alive" not in data


def test_a_malformed_request_behind_a_good_one_does_not_tear_its_answer():
    may_go_on = []

    def slow():
        yield b"text:one\n"
        while not may_go_on:
            yield 0.005
        yield from (b"text:two\n", b"usage:7,2\ndone\n", None)

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(STREAMED))
        data = await client.reader.readuntil(b"data: one\n\n")
        client.writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        await turns(0.05)
        may_go_on.append(True)
        data += await client.read_all()
        assert client.is_closed
        client.writer.close()
        return data

    data = serve(work, Answer(slow()))
    assert statuses(data) == [200]
    assert dechunk(data) == b"data: one\n\ndata: two\n\n" + DONE


@pytest.mark.parametrize("given", [b"a\tb", b"x" * 129, b"a b", b"\xc3\xa4", b"a;b", b""])
def test_a_request_id_that_is_not_harmless_is_replaced(given):
    data = talk(post(CHAT, b"x-request-id: " + given))
    assert b"x-request-id: req_1\r\n" in data


def test_a_model_name_cannot_break_a_head():
    body = b'{"model":"a/b\\r\\nset-cookie: x\\u0000\\u00e9","messages":[{"role":"user","content":"hi"}]}'
    data = talk(post(body))
    assert statuses(data) == [404]
    assert b"set-cookie" not in data.split(b"\r\n\r\n")[0]


def test_half_a_connection_is_a_client_that_left():
    async def work(gateway):
        data = await gateway.talk(post(CHAT), half_close=True)
        await until(lambda: gateway.stage.value("signalbox_client_gone_total", phase="wait") == 1)
        return data

    assert serve(work, Answer()) == b""


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_client_that_leaves_ends_the_upstream_call_whatever_it_sent(size, stream, pieces):
    body = (STREAMED if stream else CHAT)[:-1] + b',"user":"' + b"x" * size + b'"}'
    request = post(body)

    async def main():
        transport = ScriptedTransport(Answer([b"role\n"]))
        async with Listening({"a": transport}) as gateway:
            object.__setattr__(gateway.stage.runtime, "max_body_bytes", 1 << 20)
            client = await gateway.connect()
            step = len(request) // pieces + 1
            for start in range(0, len(request), step):
                client.writer.write(request[start : start + step])
                await client.writer.drain()
                await turns(0.01)
            await until(lambda: transport.running == 1)
            client.writer.transport.abort()
            await until(lambda: transport.running == 0 and not gateway.state.tasks)
            assert gateway.stage.value("signalbox_requests_total", outcome="client_gone") == 1

    asyncio.run(main())


def test_a_client_that_leaves_while_it_sends_its_body_is_forgotten():
    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(CHAT)[:-10])
        await until(lambda: gateway.service.in_flight == 1)
        client.writer.close()
        await until(lambda: gateway.service.in_flight == 0)

    serve(work)


def test_a_slow_reader_holds_the_provider_back():
    piece = b"text:" + b"x" * 65536 + b"\n"
    asked = []

    def endless():
        for _ in range(2000):
            asked.append(1)
            yield piece

    async def work(gateway):
        client = await gateway.connect(receive_buffer=4096)
        client.writer.write(post(STREAMED))
        first = -1
        while len(asked) != first:
            first = len(asked)
            await turns(0.2)
        assert 0 < first < 200, "the provider is read without regard to the client"
        client.writer.transport.abort()

    serve(work, Answer(endless()))


def test_an_upgrade_that_is_not_offered_does_no_harm():
    headers = (
        b"connection: Upgrade, HTTP2-Settings",
        b"upgrade: h2c",
        b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    )

    async def work(gateway):
        client = await gateway.connect()
        data = b""
        for _ in range(2):
            client.writer.write(post(CHAT, *headers))
            data += await client.read_all()
        client.writer.close()
        return data

    assert statuses(serve(work, GOOD, GOOD)) == [200, 200]


def test_draining_asks_clients_to_go_elsewhere():
    async def work(gateway):
        gateway.state.is_draining = True
        client = await gateway.connect()
        client.writer.write(post(CHAT))
        data = await client.read_all()
        assert client.is_closed
        client.writer.close()
        return data

    assert b"connection: close" in serve(work, GOOD)


BUG = {False: Answer([b"bug", None]), True: Answer([b"text:one\n", b"bug\n"])}


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_ours_still_has_an_answer(stream):
    async def work(gateway):
        data = await gateway.talk(post(STREAMED if stream else CHAT), post(CHAT))
        assert gateway.stage.value("signalbox_refusals_total", reason="internal_error") == 1
        return data

    data = serve(work, BUG[stream], GOOD)
    assert statuses(data) == [200 if stream else 500, 200], "and the connection goes on"
    if stream:
        body = dechunk(data[: data.rindex(b"HTTP/1.1")])
        assert body.startswith(b"data: one\n\ndata: {")
        assert b"stream_interrupted" in body
        assert b"[DONE]" not in body
    else:
        assert b"req_1" in data
        assert b"LookupError" not in data


@pytest.mark.parametrize("phase", ["body", "whole", "before content", "stream", "after done"])
def test_what_is_cut_at_the_end_of_a_drain_gets_a_word(phase):
    answer = {
        "body": GOOD,
        "whole": Answer([b"7,3"]),
        "before content": Answer([b"role\n"]),
        "stream": Answer([b"text:one\n"]),
        "after done": Answer([b"text:one\nusage:7,1\ndone\n"]),
    }[phase]
    request = post(CHAT if phase in ("body", "whole") else STREAMED)

    async def work(gateway):
        from gateway.pipeline import SHUTDOWN

        client = await gateway.connect()
        client.writer.write(request[:-5] if phase == "body" else request)
        await until(
            lambda: gateway.service.in_flight == 1 and (phase == "body" or gateway.stage.transports["a"].running)
        )
        await turns(0.05)  # for what the provider has sent
        for task in list(gateway.state.tasks):
            task.cancel(msg=SHUTDOWN)
        data = await client.read_all()
        client.writer.close()
        expected = {"body": 0, "after done": 0}.get(phase, 1)
        assert gateway.stage.value("signalbox_requests_total", outcome="shutdown") == expected
        return data

    data = serve(work, answer)
    if phase in ("body", "whole", "before content"):
        assert statuses(data) == [503]
        assert b"x-should-retry: true" in data
        assert b"connection: close" in data
        assert b'"code":"shutting_down"' in data
        return
    body = dechunk(data)
    if phase == "after done":
        assert body == b"data: one\n\n" + DONE
    else:
        assert body.startswith(b"data: one\n\n")
        assert b"stream_interrupted" in body


def test_an_answer_to_nobody_is_not_an_error(caplog):
    """The provider fails just when the client leaves: nothing is logged by the server, nothing stays."""
    has_left = []

    def fails_then():
        yield b"text:one\n"
        while not has_left:
            yield 0.001
        yield ProviderError(ErrorKind.BROKEN, "reset", cause=Cause.RESET)

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(STREAMED))
        await client.reader.readuntil(b"data: one\n\n")
        client.writer.transport.abort()
        has_left.append(True)
        await until(lambda: not gateway.state.tasks)

    serve(work, Answer(fails_then()))
    assert not caplog.records
