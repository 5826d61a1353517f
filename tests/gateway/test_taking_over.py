"""A process takes over the port of another one while clients keep coming."""

import errno
import http.client
import json
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.listeners import listening_socket, turn_away, waiting_at
from tests.fakes.gateway import Gateway
from tests.fakes.http import send
from tests.gateway.listening import CHAT, STREAMED, post, statuses, until
from tests.gateway.scripted import Answer
from tests.gateway.test_connection import GOOD, serve

CONFIG = {
    "providers": {"sim": {"kind": "mock", "pace": False}},
    "models": {"m": {"deployments": [{"provider": "sim", "model": "echo"}]}},
}
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "alpha"}]})
SHARED = {"SIGNALBOX_REUSE_PORT": "true", "SIGNALBOX_DRAIN_S": "20"}
# So long everybody has to hear of it; on a busy machine a client may be silent for a second.
LAME_DUCK = {"SIGNALBOX_LAME_DUCK_S": "2"}


def client(port, is_changing, is_over):
    """Requests on one connection for as long as it may be used, unhurried before anything changes. Returns (what went
    wrong, how many went well).
    """
    wrong, count = [], 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not is_over.is_set():
        try:
            connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))
            connection.close()
            continue
        count += 1
        if answer.status != 200:
            wrong.append(answer.status)
        if answer.getheader("connection") == "close" or count % 7 == 0:
            connection.close()  # and a new one: whichever process gets it
        is_changing.wait(0.01)
    connection.close()
    return wrong, count


@pytest.mark.e2e
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost_when_another_takes_over(workers):
    with Gateway(CONFIG, env=SHARED | LAME_DUCK, workers=workers) as old:
        env = SHARED | {"SIGNALBOX_PORT": str(old.port)}
        is_changing, is_over = threading.Event(), threading.Event()
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(client, old.port, is_changing, is_over) for _ in range(4)]
            try:
                # The admin port is its own, so that it can be asked alone whether it is ready.
                with Gateway(CONFIG, env=env, workers=workers, has_admin_port=True) as new:
                    new.wait_metric("signalbox_requests_total", 1)
                    is_changing.set()
                    old.signal(signal.SIGTERM)
                    assert old.ended() == 0
                    before = new.metric("signalbox_requests_total")
                    new.wait_metric("signalbox_requests_total", before + 20)
                    is_over.set()
                    results = [future.result() for future in running]
            finally:
                is_changing.set()
                is_over.set()
    assert [wrong for wrong, _ in results] == [[]] * 4
    assert all(count for _, count in results)


@pytest.mark.e2e
def test_without_it_a_second_one_on_the_port_is_refused():
    with Gateway(CONFIG) as old:
        with pytest.raises(AssertionError, match="in use"), Gateway(CONFIG, env={"SIGNALBOX_PORT": str(old.port)}):
            pass
        assert send(f"{old.root_url}/readyz").status == 200


def test_a_request_on_its_way_is_answered_when_nobody_listens_any_more():
    async def work(gateway):
        client = await gateway.connect()
        await until(lambda: gateway.state.connections)
        gateway.state.is_draining = True
        for connection in list(gateway.state.connections):
            connection.shutdown()
        client.writer.write(post(CHAT))
        data = await client.read_all(silence_s=2.0)
        assert statuses(data) == [200]
        assert b"connection: close" in data
        assert client.is_closed

    serve(work, GOOD)


def test_who_stays_silent_then_is_hung_up_on(monkeypatch):
    monkeypatch.setattr("gateway.connection.Connection.first_word_s", 0.05)

    async def work(gateway):
        client = await gateway.connect()
        await until(lambda: gateway.state.connections)
        for connection in list(gateway.state.connections):
            connection.shutdown()
        assert await client.read_all(silence_s=2.0) == b""
        assert client.is_closed

    serve(work)


def end(gateway):
    """As the server does when its socket is closed."""
    gateway.state.is_draining = True
    for connection in list(gateway.state.connections):
        connection.shutdown()


def test_what_came_while_nobody_had_time_to_look_is_answered():
    """On a busy machine a request may lie there unread when an idle connection's end is due."""

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(CHAT))
        assert b"connection: close" not in await client.read_all()
        client.writer.write(post(CHAT))
        end(gateway)
        data = await client.read_all(silence_s=2.0)
        assert statuses(data) == [200]
        assert b"connection: close" in data
        assert client.is_closed

    serve(work, GOOD, GOOD)


@pytest.mark.parametrize("asks_again", [True, False])
def test_after_a_stream_that_could_not_announce_the_end_one_more_request_is_heard(monkeypatch, asks_again):
    if not asks_again:
        monkeypatch.setattr("gateway.connection.Connection.first_word_s", 0.05)

    async def work(gateway):
        client = await gateway.connect()
        client.writer.write(post(STREAMED))
        assert b"connection: close" not in await client.reader.readuntil(b"role\n\n")
        end(gateway)
        rest = await client.reader.readuntil(b"0\r\n\r\n")
        assert b"[DONE]" in rest
        if asks_again:
            client.writer.write(post(CHAT))
        data = await client.read_all(silence_s=2.0)
        assert statuses(data) == [200] * asks_again
        assert (b"connection: close" in data) == asks_again
        assert client.is_closed

    serve(work, Answer([b"role\n", b"text:one\n", 0.2, b"usage:7,2\n", b"done\n", None]), GOOD)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the one moment remains")
def test_whoever_connects_while_a_shared_port_is_given_up_comes_to_the_other_process():
    with listening_socket("127.0.0.1", 0, may_share=True) as leaving:
        port = leaving.getsockname()[1]
        leaving.listen()
        before = socket.create_connection(("127.0.0.1", port), 10)
        assert turn_away(leaving)
        before.sendall(b"who had connected is heard")
        late = socket.socket()
        late.setblocking(False)
        assert late.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS, "nobody says no to it either"
        (heard,) = waiting_at(leaving)
    with before, late, heard, listening_socket("127.0.0.1", port, may_share=True) as staying:
        heard.setblocking(True)
        assert heard.recv(100) == b"who had connected is heard"
        staying.listen()
        staying.settimeout(20)
        served, address = staying.accept()  # a second later, when its system asks again
        served.close()
        assert address == late.getsockname()


def test_a_port_of_its_own_is_given_up_at_once():
    with listening_socket("127.0.0.1", 0) as leaving:
        leaving.listen()
        assert not turn_away(leaving)
