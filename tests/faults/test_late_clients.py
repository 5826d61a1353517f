"""Rows 22 and 25: clients that do not finish their request, or do not read their answer."""

import contextlib
import select
import socket
import threading
import time

import pytest

from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect
from tests.fakes.promptness import typical
from tests.fakes.script import endless_stream, reply
from tests.faults.setup import WHOLE_TEXT, matrix_config, request_bytes, timed

pytestmark = pytest.mark.e2e
LIMIT_S = 1.0
MEAN_KEY = f"{KEY}-mean"
EACH = 25
REQUEST = request_bytes("good", stream=False)
HEAD_SIZE = REQUEST.index(b"\r\n\r\n") + 4
# What is sent at once, and what then drips, a byte at a time.
BEGINNINGS = {
    "silent": (b"", b""),
    "half a head": (REQUEST[:40], b""),
    "a slow head": (REQUEST[:10], REQUEST[10:HEAD_SIZE]),
    "half a body": (REQUEST[:-20], b""),
    "a slow body": (REQUEST[:HEAD_SIZE], REQUEST[HEAD_SIZE:]),
}
# The program with other limits: those of the product are longer than a test may take.
PROGRAM = f"""
import gateway.api.exchange
from gateway.connection import Connection
for owner, name in ((Connection, "head_s"), (Connection, "write_stall_s"), (gateway.api.exchange, "_BODY_S")):
    assert hasattr(owner, name)
    setattr(owner, name, {LIMIT_S})
from gateway.cli.main import main
main()
"""
MIB = 1024 * 1024
MAX_STALLED_BYTES = 12 * MIB  # of the gateway's memory, for each client that does not read


@pytest.fixture
def impatient(upstream, tmp_path, monkeypatch):
    program = tmp_path / "impatient.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr("tests.fakes.gateway.PROGRAM", program)
    url = upstream.base_url
    config = matrix_config(url, url, url, url)
    config |= {"models": {"good": config["models"]["good"]}, "routes": {}}
    with Gateway(config, is_fresh=True) as gateway:
        yield gateway


def drip(sockets: dict[socket.socket, bytes], is_over: threading.Event) -> None:
    """Send a byte of each rest every now and then: no limit may begin anew with it."""
    position = 0
    while not is_over.wait(0.1):
        for sock, rest in sockets.items():
            with contextlib.suppress(OSError):  # closed, as it has to be
                sock.send(rest[position : position + 1])
        position += 1


def test_row_22_slowloris(impatient, upstream):
    began = time.monotonic()
    late = {connect(impatient.root_url): name for name in BEGINNINGS for _ in range(EACH)}
    for sock, name in late.items():
        sock.sendall(BEGINNINGS[name][0])
    is_over = threading.Event()
    dripping = {sock: rest for sock, name in late.items() if (rest := BEGINNINGS[name][1])}
    dripper = threading.Thread(target=drip, args=(dripping, is_over))
    dripper.start()
    try:
        assert typical(lambda: timed(impatient, "good", stream=True)[1], 0.5) < 0.5, "others are served"
        answers = {name: [] for name in BEGINNINGS}
        while late:
            assert time.monotonic() - began < LIMIT_S + 15, f"{len(late)} are still open"
            for sock in select.select(list(late), [], [], 1)[0]:
                answers[late.pop(sock)].append(_last_words(sock))
    finally:
        is_over.set()
        dripper.join()
        for sock in (*late, *dripping):
            sock.close()
    assert answers["silent"] == [b""] * EACH
    for name in set(BEGINNINGS) - {"silent"}:
        # A byte that comes after the end turns it into a reset, which may overtake the answer.
        told = [answer for answer in answers[name] if answer]
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in told), name
        assert told or name.startswith("a slow"), name
    impatient.wait_metric("signalbox_refusals_total", 4 * EACH, reason="request_timeout")
    impatient.wait_metric("signalbox_connections_closed_total", EACH, reason="silent")
    impatient.wait_metric("signalbox_connections_closed_total", 2 * EACH, reason="slow_head")
    answer, _ = timed(impatient, "good", stream=False)
    assert answer.text == WHOLE_TEXT


def test_row_22_bodies_that_never_end_take_no_places():
    """More of them than there are places, from a caller of its own: another caller does not notice."""
    config = {
        "providers": {"sim": {"kind": "mock", "pace": False}},
        "keys": [key_row("nice", KEY), key_row("mean", MEAN_KEY)],
        "policies": {"overload": {"max_in_flight": 8, "queue_max": 4}},
    }
    request = request_bytes("sim/echo", stream=False)
    mean = request.replace(KEY.encode(), MEAN_KEY.encode())[:-20]
    with Gateway(config) as gateway, contextlib.ExitStack() as stack:
        late = [stack.enter_context(connect(gateway.root_url)) for _ in range(EACH)]
        for sock in late:
            sock.sendall(mean)
        gateway.wait_metric("signalbox_in_flight", 16)
        gateway.wait_metric("signalbox_shed_total", EACH - 16, reason="bodies")
        for _ in range(5):
            assert timed(gateway, "sim/echo", stream=False)[0].status == 200
            slow = stack.enter_context(connect(gateway.root_url))
            slow.sendall(request[:-20])
            assert not select.select([slow], [], [], 0.1)[0]
            slow.sendall(request[-20:])
            assert _last_words(slow).startswith(b"HTTP/1.1 200")
        assert gateway.metric("signalbox_in_flight") == 16


def _last_words(sock: socket.socket) -> bytes:
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionError:
        pass
    sock.close()
    return received


def large(request):
    """An endless stream, or a whole answer that no buffer of the kernel takes."""
    text = "x" * 4000
    if request.json.get("stream"):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return endless_stream(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        )(request)
    choice = {"index": 0, "message": {"role": "assistant", "content": text * 2000}, "finish_reason": "stop"}
    return reply({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})


def test_row_25_clients_stop_reading(impatient, upstream, stream):
    timed(impatient, "good", stream=stream)
    upstream.always("good", large)
    before = impatient.memory_bytes()
    readers = []
    for _ in range(5):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.connect(("127.0.0.1", impatient.port))
        sock.sendall(request_bytes("good", stream=stream))
        readers.append(sock)
    try:
        impatient.wait_metric("signalbox_connections_closed_total", len(readers), reason="write_stall")
        assert impatient.memory_bytes() - before < len(readers) * MAX_STALLED_BYTES
        for request in upstream.requests("good")[1:] if stream else ():
            request.wait_closed()
    finally:
        for sock in readers:
            sock.close()
    upstream.always("good", lambda _: None)
    answer, _ = timed(impatient, "good", stream=stream)
    assert answer.text == WHOLE_TEXT
