"""Rows 11 to 14: connections that die between requests, and clients that leave in every phase of one."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.chaos import Fault
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect
from tests.fakes.promptness import typical
from tests.fakes.script import Script, Stall, endless_stream, silent
from tests.faults.other_apis import CROWD, of_crowd
from tests.faults.setup import AUTH, DIALECTS, begin, check_answered, matrix_config, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
CLOSED_WITHIN_S = 1.0
CHUNK = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "four more words here"}, "finish_reason": None}],
}
DEPARTURES = 1000


@only("kind", DIALECTS)
def test_row_11_stale_keep_alive(gateway, upstream, chaos, lane, stream, kind):
    """The provider closes an idle connection just when it is used again: repeated at once, and nobody knows."""
    own = lane(f"patient-{kind}")
    chaos.script(own.upstream_model, Fault(dies_on_reuse=True))
    before = gateway.metric("signalbox_stale_retries_total", provider=own.provider)
    for _ in range(2):
        answer, _ = timed(gateway, own.route, stream=stream)
        check_answered(answer, own.deployment)
    assert len(upstream.requests()) == 2
    assert gateway.metric("signalbox_stale_retries_total", provider=own.provider) - before == 1


def test_row_11_stale_keep_alive_under_load(gateway, upstream, chaos, lane):
    own = lane("patient-openai")
    chaos.always(own.upstream_model, Fault(idle_s=0.01))
    wrong = []

    def work():
        for number in range(25):
            answer, _ = timed(gateway, own.sole, stream=number % 2 == 0)
            if answer.status != 200:
                wrong.append(answer.body)
            time.sleep(0.009)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_row_12_client_leaves_mid_stream(gateway, upstream, lane):
    def once():
        own = lane("patient-openai")
        upstream.always(own.upstream_model, endless_stream(CHUNK, delay_s=0.01))
        before = gateway.metric("signalbox_client_gone_total", phase="stream")
        with begin(gateway, own.route, stream=True) as sock:
            received = b""
            while b"four more words" not in received:
                received += sock.recv(65536)
        left_at = time.monotonic()
        took_s = upstream.requests(own.upstream_model)[0].wait_closed() - left_at
        gateway.wait_metric("signalbox_client_gone_total", before + 1, phase="stream")
        # What had been generated is on the provider's bill, and so in ours.
        for class_ in ("input", "output"):
            labels = {"deployment": own.deployment, "class": class_}
            gateway.wait_metric("signalbox_tokens_total", 1, **labels)
        return took_s

    assert typical(once, CLOSED_WITHIN_S) < CLOSED_WITHIN_S


@only("kind", ["fin", "rst"])
def test_row_13_client_leaves_before_the_answer(gateway, upstream, lane, stream, kind):
    def once():
        own = lane()
        upstream.always(own.upstream_model, silent())
        before = gateway.metric("signalbox_client_gone_total", phase="wait")
        sock = begin(gateway, own.sole, stream=stream)
        (request,) = upstream.wait_requests(1, model=own.upstream_model)
        if kind == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        left_at = time.monotonic()
        sock.close()
        took_s = request.wait_closed() - left_at
        gateway.wait_metric("signalbox_client_gone_total", before + 1, phase="wait")
        return took_s

    assert typical(once, CLOSED_WITHIN_S) < CLOSED_WITHIN_S


def open_files(pid):
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_row_14_1000_departures_at_once(upstream, chaos):
    """Half of them mid-stream, half before the first byte. Limits are so long that only noticing them frees a place."""
    begun = Script(200, (("content-type", "text/event-stream"),), (b'data: {"choices":[]}\n\n', Stall()), "chunked")
    upstream.on(lambda request: {"silent": silent(), "begun": begun}.get(request.model))
    config = matrix_config(upstream.base_url, chaos.base_url, upstream.base_url, upstream.base_url)
    config["models"] = {"good": config["models"]["good"]} | {
        name: {"deployments": [{"provider": "good", "model": name}]} for name in ("silent", "begun")
    }
    config["routes"] = {}
    with Gateway(config) as gateway:
        assert gateway.chat("good", headers=AUTH).status == 200
        before = open_files(gateway.pid)
        streams = [api for api in CROWD if api.is_stream]
        calling = [(streams[n // 2 % 2], "begun") if n % 2 else (of_crowd(n // 2), "silent") for n in range(DEPARTURES)]
        socks = [connect(gateway.root_url) for _ in calling]
        for sock, (api, model) in zip(socks, calling, strict=True):
            sock.sendall(api.request_bytes(model))
        calls = upstream.wait_requests(DEPARTURES + 1)
        for sock in socks:
            sock.close()
        for call in calls[1:]:
            call.wait_closed(timeout_s=15)
        gateway.wait_metric("signalbox_client_gone_total", DEPARTURES)
        assert gateway.metric("signalbox_in_flight") <= 1
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: gateway.chat("good", headers=AUTH, stream=True), range(200)))
        assert [a.text for a in answers] == ["You said: hello"] * 200
        # Idle connections to the provider and to our own clients come and go; a leak would be a thousand.
        assert open_files(gateway.pid) - before < 60
