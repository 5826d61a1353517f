"""The fake provider does on the wire what its scripts say; everything else rests on that."""

import socket
import threading
import time

import pytest

from tests.fakes.http import connect, head_of, raw, read_all, send
from tests.fakes.promptness import typical
from tests.fakes.script import (
    Script,
    cut_after,
    endless_stream,
    error,
    garbage,
    hang_up,
    reply,
    silent,
    sliced,
    sse,
    stalled_after,
    with_crlf,
    with_pauses,
)
from tests.fakes.upstream import FakeUpstream, refusing_port

AUTH = {"authorization": "Bearer k"}


def ask(upstream: FakeUpstream, model: str = "m", **more: object):
    body = {"model": model, "messages": [{"role": "user", "content": "hi\u2028there"}]} | more
    return send(f"{upstream.base_url}/v1/chat/completions", body, headers=AUTH)


def read_until(sock: socket.socket, end: bytes) -> None:
    received = b""
    while not received.endswith(end):
        data = sock.recv(4096)
        assert data, received
        received += data


def test_requests_are_remembered(upstream):
    began = time.monotonic()
    answer = ask(upstream)
    assert answer.status == 200
    assert answer.text == "You said: hi\u2028there"
    seen = upstream.last
    assert (seen.method, seen.path, seen.model) == ("POST", "/v1/chat/completions", "m")
    assert seen.header("Authorization") == "Bearer k"
    assert seen.json["messages"][0]["content"] == "hi\u2028there"
    # Two threads may read the clock of their core, and those may be some milliseconds apart.
    assert began - 1 < seen.arrived_at < time.monotonic() + 1


def test_scripts_are_used_in_order_and_then_used_up(upstream):
    upstream.script("m", error(500, "broken"), lambda request: reply({"model": request.model}))
    assert [ask(upstream).status for _ in range(3)] == [500, 200, 200]
    assert len(upstream.wait_requests(3, model="m")) == 3
    assert upstream.requests("other") == []


def test_standing_script_and_handler(upstream):
    upstream.always("m", error(503, "down"))
    upstream.on(lambda request: reply({"handled": request.model}) if request.model == "x" else None)
    assert [ask(upstream).status for _ in range(2)] == [503, 503]
    assert ask(upstream, "x").json == {"handled": "x"}
    assert ask(upstream, "y").text.startswith("You said")


def test_streams_in_every_cut(upstream):
    whole = sse([{"choices": [{"index": 0, "delta": {"content": "é\u2028"}}]}, "raw"])
    expected = b"".join(step for step in whole.steps if isinstance(step, bytes))
    assert expected.endswith(b"data: raw\n\ndata: [DONE]\n\n")
    upstream.script("m", whole, sliced(whole, 1), with_crlf(whole), with_pauses(whole, 0.01))
    bodies = [ask(upstream).body for _ in range(4)]
    assert bodies == [expected, expected, expected.replace(b"\n", b"\r\n"), expected]


@pytest.mark.parametrize("reset", [False, True])
def test_cut_in_the_body(upstream, reset):
    upstream.script("m", cut_after(sse(["0123456789"]), 9, reset=reset))
    body = b'{"model":"m"}'
    head = head_of("POST", "/v1/chat/completions", content_length=str(len(body)))
    with connect(upstream.base_url) as sock:
        sock.sendall(head + body)
        received = bytearray()
        try:
            while data := sock.recv(100):
                received += data
            ended = "fin"
        except ConnectionResetError:
            ended = "rst"
    assert ended == ("rst" if reset else "fin")
    assert received.endswith(b"data: 012\r\n")


@pytest.mark.parametrize("script", [hang_up(), hang_up(reset=True)])
def test_hang_up_before_the_head(upstream, script):
    upstream.script("m", script)
    with pytest.raises(ConnectionError):
        ask(upstream)


@pytest.mark.parametrize("script", [stalled_after(sse(["x"]), 4), silent()], ids=["stalled", "silent"])
def test_stall_notices_the_peer_leaving(upstream, script):
    upstream.always("m", script)
    body = b'{"model":"m"}'

    def once():
        asked = len(upstream.requests())
        with connect(upstream.base_url) as sock:
            sock.sendall(head_of("POST", "/v1/chat/completions", content_length=str(len(body))) + body)
            request = upstream.wait_requests(asked + 1)[asked]
            time.sleep(0.05)
            assert request.closed_at is None
            left_at = time.monotonic()
        took = request.wait_closed() - left_at
        assert request.is_interrupted
        return took

    assert typical(once, 0.2) < 0.2


def test_keep_alive_and_the_ways_it_ends(upstream):
    body = b'{"model":"m"}'
    request = head_of("POST", "/v1/chat/completions", content_length=str(len(body))) + body
    before = upstream.connection_count
    upstream.script("m", reply({}), Script(steps=(b"{}",), dies_idle=True))
    with connect(upstream.base_url) as sock:
        for _ in range(2):
            sock.sendall(request)
            read_until(sock, b"{}")
        sock.sendall(request)
        assert sock.recv(1000) == b""
    assert upstream.connection_count == before + 1
    assert len(upstream.requests()) == 2
    with connect(upstream.base_url) as sock:
        sock.sendall(request)
        read_until(sock, b"}}")
        upstream.drop_idle_connections()
        assert sock.recv(1000) == b""


def test_idle_close(upstream):
    upstream.idle_close_s = 0.05
    upstream.script("m", reply({}))
    body = b'{"model":"m"}'
    began = time.monotonic()
    raw(upstream.base_url, head_of("POST", "/v1/chat/completions", content_length=str(len(body))) + body)
    assert 0.01 < time.monotonic() - began < 8, "silence alone ends the reading after 10 s; clocks may tick in 20 ms"


def test_garbage_and_refusal(upstream):
    upstream.script("m", garbage())
    body = b'{"model":"m"}'
    request = head_of("POST", "/v1/chat/completions", content_length=str(len(body))) + body
    assert raw(upstream.base_url, request).startswith(b"\x00\x01")
    with refusing_port() as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), 1)


def test_an_endless_stream_waits_for_its_reader(upstream):
    upstream.always("m", endless_stream({"x": "y" * 10_000}))
    body = b'{"model":"m"}'
    with connect(upstream.base_url) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.sendall(head_of("POST", "/v1/chat/completions", content_length=str(len(body))) + body)
        request = upstream.wait_requests(1)[0]
        sizes = [0]
        while not sizes[-1] or len(sizes) < 3 or sizes[-3] != sizes[-1]:
            assert sizes[-1] < 32 * 1024 * 1024, "more than the kernel's buffers hold"
            time.sleep(0.1)
            sizes.append(request.sent_bytes)
    request.wait_closed()


def test_wrong_requests_get_the_complaint_of_their_dialect(upstream):
    url = upstream.base_url
    assert send(f"{url}/v1/chat/completions", {"model": "m", "messages": []}).status == 401
    assert send(f"{url}/v1/messages", {"model": "m"}).json["error"]["type"] == "authentication_error"
    head = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert send(f"{url}/v1/messages", body, headers=head).json["content"][0]["text"] == "You said: hi"
    leak = send(f"{url}/v1/messages", body | {"stream_options": {}}, headers=head)
    assert (leak.status, leak.json["error"]["message"]) == (400, "stream_options: Extra inputs are not permitted")
    gemini = f"{url}/v1beta/models/g:generateContent"
    contents = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert send(gemini, contents).status == 403
    head = {"x-goog-api-key": "k"}
    answer = send(gemini, contents, headers=head).json
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "You said: hi"}]
    assert send(gemini, contents | {"stream": True}, headers=head).status == 400
    assert send(f"{url}/elsewhere", {}).status == 404


def test_many_at_once(upstream):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(upstream).status)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20


def test_read_all_returns_at_the_timeout(upstream):
    upstream.script("m", silent())
    with connect(upstream.base_url, 0.1) as sock:
        assert read_all(sock) == b""
