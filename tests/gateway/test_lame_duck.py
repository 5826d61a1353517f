"""The time between "asked to end" and "listens no more": new requests are served, and everybody is told to leave."""

import os
import signal
import socket
import threading
import time
from dataclasses import replace

import pytest

from config.settings import Settings
from tests.fakes.dialects.choose import answer as usual
from tests.fakes.gateway import Gateway
from tests.fakes.http import send
from tests.fakes.script import Until
from tests.gateway.test_serving import _answers, ask, read_all, wait_until

pytestmark = pytest.mark.e2e
LONG = {"SIGNALBOX_LAME_DUCK_S": "60", "SIGNALBOX_DRAIN_S": "60"}


def config_of(upstream):
    return {
        "providers": {"up": {"kind": "openai", "api_key": "k", "base_url": f"{upstream.base_url}/v1"}},
        "models": {"m": {"deployments": [{"provider": "up", "model": "up-m"}]}},
    }


def is_leaving(gateway):
    return send(f"{gateway.root_url}/readyz").status == 503


def test_it_lasts_five_seconds_unless_told_otherwise():
    assert Settings().lame_duck_s == 5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_it_is_sat_out_without_any_request_until_a_second_signal(workers, second):
    """Whoever balances load still sends requests here, so that nobody is here now means nothing."""
    with Gateway(env=LONG, workers=workers) as gateway:
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: is_leaving(gateway))
        time.sleep(0.3)
        for _ in range(3):  # each on a new connection
            answer = gateway.chat("mock/echo")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        before = time.monotonic()
        gateway.signal(second)
        assert gateway.stop() == 0
        assert time.monotonic() - before < 20


def test_workers_that_are_told_by_a_service_manager_as_well_sit_it_out():
    """systemd tells every process of a service; the parent passes it on, which is no second signal."""
    with Gateway(env=LONG, workers=2) as gateway:
        for pid in (*gateway.children(), gateway.pid):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: is_leaving(gateway))
        time.sleep(0.3)
        for _ in range(3):
            answer = gateway.chat("mock/echo")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        gateway.signal(signal.SIGTERM)
        assert gateway.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_person_at_a_terminal_does_not_sit_it_out(workers):
    """Ctrl-C: what is under way is finished, and then it is over."""
    with Gateway(env=LONG, workers=workers) as gateway:
        before = time.monotonic()
        gateway.signal(signal.SIGINT)
        wait_until(lambda: not _answers(gateway.port))
        assert gateway.stop() == 0
        assert time.monotonic() - before < 20


def test_answers_that_had_not_begun_tell_their_clients_to_leave(upstream):
    """A client that keeps its connection would send its next request into the end of this process."""
    is_told = threading.Event()
    upstream.on(lambda request: replace(usual(request), before=(Until(is_told),)))
    with Gateway(config_of(upstream), env=LONG) as gateway:
        waiting = ask(gateway.port, "m")
        upstream.wait_requests(1)
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: is_leaving(gateway))
        is_told.set()
        answer = read_all(waiting)  # to the end of the connection
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nconnection: close\r\n" in answer
        gateway.signal(signal.SIGTERM)


def test_a_stream_that_had_begun_leaves_its_connection_for_one_more_request(upstream):
    is_told = threading.Event()

    def told_later(request):
        script = usual(request)
        *first, last = script.steps
        return replace(script, steps=(*first, Until(is_told), last))

    upstream.on(told_later)
    with Gateway(config_of(upstream), env=LONG) as gateway:
        sock = ask(gateway.port, "m", stream=True)
        upstream.wait_requests(1)
        data = sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 200")
        gateway.signal(signal.SIGTERM)
        wait_until(lambda: is_leaving(gateway))
        is_told.set()
        while not data.endswith(b"0\r\n\r\n"):
            piece = sock.recv(65536)
            assert piece, data
            data += piece
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nconnection: close\r\n" in answer
        gateway.signal(signal.SIGTERM)


def test_nobody_can_connect_to_workers_that_only_finish():
    """The parent has the listening socket too: connections would pile up on it, unheard, to the end of the drain."""
    env = {"SIGNALBOX_LAME_DUCK_S": "0", "SIGNALBOX_DRAIN_S": "60"}
    with Gateway(env=env, workers=2) as gateway:
        held = ask(gateway.port, "mock/stall")
        gateway.wait_metric("signalbox_in_flight", 1)
        gateway.signal(signal.SIGTERM)

        def is_refused():
            try:
                socket.create_connection(("127.0.0.1", gateway.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(is_refused, timeout_s=10)
        gateway.signal(signal.SIGTERM)
        read_all(held)
        assert gateway.stop() == 0
