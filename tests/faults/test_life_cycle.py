"""Rows 26 to 28: the process ends, or its configuration changes, while requests are under way."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.dialects.choose import answer as usual
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect, read_all, send
from tests.fakes.script import endless_stream, with_pauses
from tests.faults.other_apis import STREAMED, STREAMED_CHAT, of_crowd
from tests.faults.setup import AUTH, matrix_config

pytestmark = pytest.mark.e2e
CHUNK = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}],
}


TEXT_CHUNK = CHUNK | {"choices": [{"index": 0, "text": "word ", "finish_reason": None}]}


def endless(request):
    return endless_stream(CHUNK if "chat" in request.path else TEXT_CHUNK, delay_s=0.02)(request)


def small_config(upstream):
    """One healthy provider."""
    url = upstream.base_url
    config = matrix_config(url, url, url, url)
    return config | {"models": {"good": config["models"]["good"]}, "routes": {}}


def readiness(gateway):
    """The status of /readyz; 0 where nobody listens any more."""
    try:
        return send(f"{gateway.root_url}/readyz", timeout_s=5).status
    except OSError:
        return 0


def test_row_26_sigterm(upstream):
    """Whoever had begun gets all of its answer; for the time of the lame duck new requests are served as well."""
    upstream.on(lambda request: with_pauses(usual(request), 0.05))
    env = {"SIGNALBOX_LAME_DUCK_S": "0.6", "SIGNALBOX_DRAIN_S": "20"}
    with Gateway(small_config(upstream), env=env) as gateway, ThreadPoolExecutor(40) as pool:
        assert gateway.chat("good", headers=AUTH).status == 200
        running = [pool.submit(of_crowd(n).ask, gateway, "good") for n in range(30)]
        upstream.wait_requests(20)
        gateway.signal(signal.SIGTERM)
        while readiness(gateway) == 200:
            time.sleep(0.005)
        late = [pool.submit(of_crowd(n).ask, gateway, "good") for n in range(5)]
        for asked in (running, late):
            for number, future in enumerate(asked):
                of_crowd(number).check_answered(future.result()[0])
        assert all(future.result()[0].headers.get("connection") == "close" for future in late)
        assert gateway.stop() == 0
        assert {line["outcome"] for line in gateway.logs() if line["event"] == "request"} == {"ok"}


def test_row_27_sigterm_endless_streams(upstream):
    """What never ends is cut with a word at the end of the drain, and the process is gone in time."""
    upstream.always("good", endless)
    env = {"SIGNALBOX_LAME_DUCK_S": "0", "SIGNALBOX_DRAIN_S": "1"}
    with Gateway(small_config(upstream), env=env) as gateway:
        socks = [connect(gateway.root_url) for _ in range(10)]
        for number, sock in enumerate(socks):
            sock.sendall((STREAMED_CHAT, STREAMED)[number % 2].request_bytes("good"))
        heads = [sock.recv(1024) for sock in socks]
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        for sock, head in zip(socks, heads, strict=True):
            with sock:
                received = head + read_all(sock)
            assert received.startswith(b"HTTP/1.1 200")
            assert b'"code":"stream_interrupted"' in received.rsplit(b"data: ", 1)[1]
            assert b"[DONE]" not in received
            assert received.endswith(b"0\r\n\r\n")
        assert gateway.stop() == 0
        assert time.monotonic() - began < 10, "endless streams hold nothing"
        outcomes = [line["outcome"] for line in gateway.logs() if line["event"] == "request"]
        assert outcomes == ["shutdown"] * 10
    for request in upstream.requests("good"):
        request.wait_closed()


def test_row_28_reload_good_and_bad(upstream):
    """Good and bad files in turn, under load: nobody notices, and a bad one changes nothing."""
    config = small_config(upstream)
    with Gateway(config, env={"SIGNALBOX_WATCH": "false"}) as gateway:
        is_over = threading.Event()

        def work(number):
            wrong, count = [], 0
            while not is_over.is_set():
                api = of_crowd(count + number)
                answer, _ = api.ask(gateway, "good")
                count += 1
                try:
                    api.check_answered(answer)
                except AssertionError:
                    wrong.append(answer.body)
            return wrong, count

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(work, number) for number in range(4)]
            for number in range(4):
                config["models"][f"new-{number}"] = config["models"]["good"]
                gateway.write(config)
                assert gateway.reload().status == 200
                gateway.write("models: {broken: 1\n")
                assert gateway.reload().status != 200
                assert gateway.metric("signalbox_config_valid") == 0
                assert gateway.chat(f"new-{number}", headers=AUTH).status == 200
            is_over.set()
            results = [worker.result() for worker in workers]
        assert [wrong for wrong, _ in results] == [[]] * 4
        assert all(count for _, count in results)
        assert gateway.metric("signalbox_reloads_total", result="ok") >= 4
        assert gateway.metric("signalbox_reloads_total", result="refused") == 4
