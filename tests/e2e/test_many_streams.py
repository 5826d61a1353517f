"""A thousand streams at once complete, and a client that does not read costs little."""

import asyncio
import json
import resource
import socket
import threading
import time

import pytest

from tests.e2e.setup import KEY, standard_config
from tests.fakes.dialects.choose import answer
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect, head_of
from tests.fakes.script import Script, Until, endless_stream

pytestmark = pytest.mark.e2e
STREAMS = 1000
MIB = 1024 * 1024
MAX_STALLED_BYTES = 3 * MIB  # of the gateway's memory, for each client that does not read


def request_bytes(text, model="chat-openai"):
    body = json.dumps(
        {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]},
    ).encode()
    head = head_of(
        "POST",
        "/v1/chat/completions",
        authorization=f"Bearer {KEY}",
        content_type="application/json",
        content_length=str(len(body)),
        connection="close",
    )
    return head + body


@pytest.fixture
def many_files():
    """Room for a few thousand sockets here and in what is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8192:
        pytest.skip(f"this machine allows {hard} open files only")
    if soft < 8192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_1000_concurrent_streams_complete(upstream, many_files, measured):
    everybody_is_here = threading.Event()

    def slowly(request) -> Script:
        """The first words at once, the rest when all streams have begun."""
        script = answer(request)
        first, second, *rest = script.steps
        return Script(200, script.headers, (first, second, Until(everybody_is_here), *rest), "chunked")

    upstream.on(slowly)
    config = standard_config(upstream)
    config["policies"]["timeouts"] = {"connect_s": 60, "ttft_s": 60, "idle_s": 60, "total_s": 120}
    with Gateway(config, is_fresh=True) as gateway:
        idle = gateway.memory_bytes()
        peak = {"in_flight": 0.0, "memory": 0}
        bodies = asyncio.run(_all(gateway, peak, everybody_is_here))
        measured("peak in flight", peak["in_flight"])
        measured("KiB per stream", (peak["memory"] - idle) / 1024 / STREAMS)
        whole = [b for i, b in enumerate(bodies) if b.count(b"data: [DONE]\n\n") == 1 and said(b) == f"You said: {i}"]
        assert len(whole) == STREAMS
        assert peak["in_flight"] >= STREAMS
        gateway.wait_metric("signalbox_requests_total", STREAMS, outcome="ok", stream="true")
        assert gateway.metric("signalbox_in_flight") <= 1
        assert gateway.metric("signalbox_attempts_total", outcome="ok") == STREAMS


def said(received: bytes) -> str:
    text = ""
    for line in received.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
    return text


async def _all(gateway, peak, everybody_is_here) -> list[bytes]:
    async def one(number: int) -> bytes:
        # Arrivals over a second: the kernel's queue of new connections is not what is tested.
        await asyncio.sleep(number / STREAMS)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(str(number)))
        try:
            return dechunked(await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.5)
            samples = await asyncio.to_thread(gateway.metric, "signalbox_in_flight")
            peak["in_flight"] = max(peak["in_flight"], samples)
            peak["memory"] = max(peak["memory"], gateway.memory_bytes())
            if samples >= STREAMS:
                everybody_is_here.set()

    watcher = asyncio.create_task(watch())
    try:
        async with asyncio.timeout(150):
            return await asyncio.gather(*(one(number) for number in range(STREAMS)))
    finally:
        watcher.cancel()


def dechunked(received: bytes) -> bytes:
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), received
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


def test_a_client_that_does_not_read_costs_little(upstream, measured):
    content = {"index": 0, "delta": {"content": "x" * 4000}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [content]}
    upstream.always("up-openai", endless_stream(event))
    readers = 10
    with Gateway(standard_config(upstream), is_fresh=True) as gateway:
        assert gateway.chat("second", headers={"authorization": f"Bearer {KEY}"}, stream=True).status == 200
        before = gateway.memory_bytes()
        sockets = []
        try:
            for _ in range(readers):
                sock = connect(gateway.root_url)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                sock.sendall(request_bytes("hello"))
                sockets.append(sock)
            requests = upstream.wait_requests(readers, model="up-openai")
            # Back pressure reaches the provider: once all buffers are full, nothing flows any more. Without it bytes
            # would flow into the gateway's memory for ever. How soon they stop depends on the machine.
            deadline = time.monotonic() + 120
            sent = [0] * readers
            while (now := [r.sent_bytes for r in requests]) != sent:
                assert gateway.memory_bytes() - before < readers * MAX_STALLED_BYTES, f"no back pressure: {now}"
                assert time.monotonic() < deadline, f"still flowing: {now}"
                sent = now
                time.sleep(1.0)
            grown = gateway.memory_bytes() - before
            measured("MiB per stalled reader", grown / MIB / readers)
            measured("MiB sent per stalled reader", sum(sent) / MIB / readers)
            assert grown < readers * MAX_STALLED_BYTES
            # Others are served meanwhile.
            assert gateway.chat("second", headers={"authorization": f"Bearer {KEY}"}).status == 200
        finally:
            for sock in sockets:
                sock.close()
        for request in requests:
            request.wait_closed()
