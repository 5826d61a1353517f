"""Whole processes: how they end, and how several of them work together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.gateway import Gateway

pytestmark = pytest.mark.e2e
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)


def ask(port, model, *, stream=False):
    """Send a chat call and leave the connection open."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(REQUEST % len(body) + body)
    return sock


def read_all(sock):
    data = b""
    with sock:
        while piece := sock.recv(65536):
            data += piece
    return data


def wait_until(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.03)
    return found


def is_alive(pid):
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_begun(pid):
    """Whether a worker has read its configuration: from then on it acts on SIGHUP, which it has ignored before."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught & 1 << (signal.SIGHUP - 1))


@pytest.mark.parametrize("how", ["end of the drain", "second signal"])
def test_what_is_under_way_at_the_end_gets_a_word(how):
    env = {"SIGNALBOX_DRAIN_S": "0.4" if how.startswith("end") else "60", "SIGNALBOX_LAME_DUCK_S": "0"}
    with Gateway(env=env) as gateway:
        whole = ask(gateway.port, "mock/stall")
        stream = ask(gateway.port, "mock/stall", stream=True)
        gateway.wait_metric("signalbox_in_flight", 2)
        began = stream.recv(65536)
        assert b"200 OK" in began
        gateway.signal(signal.SIGTERM)
        if how == "second signal":
            wait_until(lambda: not _answers(gateway.port))  # the first one is being acted upon
            gateway.signal(signal.SIGTERM)
        cut, rest = read_all(whole), began + read_all(stream)
        assert cut.startswith(b"HTTP/1.1 503")
        assert b"x-should-retry: true" in cut
        assert b"shutting_down" in cut
        assert b"stream_interrupted" in rest
        assert rest.endswith(b"0\r\n\r\n")
        assert b"[DONE]" not in rest
        assert gateway.stop() == 0
        ended = [line for line in gateway.logs() if line["event"] == "request"]
        assert [line["outcome"] for line in ended] == ["shutdown"] * 2
        assert gateway.logs()[-1]["event"] == "stopped"


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_to_the_very_end_do_not_spoil_a_clean_end(workers):
    """As from a supervisor that is impatient: also while Python itself takes leave."""
    with Gateway(workers=workers, env={"SIGNALBOX_LAME_DUCK_S": "0"}) as gateway:
        while Path(f"/proc/{gateway.pid}").exists() and is_alive(gateway.pid):
            gateway.signal(signal.SIGTERM)
            time.sleep(0.0005)
        assert gateway.stop() == 0


def test_a_reader_of_the_log_who_stopped_reading_stops_nothing():
    """Standard output is a pipe that nobody empties: requests go on, lines are counted as lost, the end is clean."""
    from tests.fakes.gateway import PROGRAM, free_port

    port = free_port()
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME")} | {
        "SIGNALBOX_DRAIN_S": "1",
        "SIGNALBOX_LAME_DUCK_S": "0",
    }
    command = [sys.executable, "-P", str(PROGRAM), "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
    try:
        wait_until(lambda: _answers(port))
        body = b'{"model":"mock/echo","messages":[]}'
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            for _ in range(180):  # 10 refusals a turn, of some 150 bytes each: far more than a pipe takes
                sock.sendall((REQUEST % len(body) + body) * 10)
                seen = 0
                while seen < 10:
                    received = sock.recv(1 << 20)
                    assert received, "the connection was closed"
                    seen += received.count(b"HTTP/1.1 400")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert b"Fatal" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def two_workers():
    with Gateway(workers=2, env={"SIGNALBOX_DRAIN_S": "1", "SIGNALBOX_LAME_DUCK_S": "0"}) as gateway:
        wait_until(lambda: gateway.metric("python_info") or len(gateway.children()) == 2)
        yield gateway


def test_workers_are_replaced_and_all_end_together():
    with two_workers() as gateway:
        for _ in range(10):
            assert gateway.chat("mock/echo").status == 200
        gateway.wait_metric("signalbox_requests_total", 10)
        first, second = gateway.children()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in gateway.children() and len(gateway.children()) == 2)
        replaced = (set(gateway.children()) - {second}).pop()
        for _ in range(10):
            assert gateway.chat("mock/echo").status == 200
        # What the dead worker counted is kept.
        assert gateway.wait_metric("signalbox_requests_total", 20) == 20
        gateway.wait_metric("signalbox_in_flight", 0)
        gateway.wait_metric("signalbox_config_valid", 1)  # the lowest of all workers: the new one begins with 0
        assert gateway.stop() == 0
        assert not is_alive(second)
        assert not is_alive(replaced)


def test_workers_that_cannot_start_end_the_supervisor(tmp_path):
    code = (
        "import socket, sys\n"
        "from gateway import supervisor\n"
        "supervisor._RESTART_PAUSE_S = 0.01\n"
        "sock = socket.create_server(('127.0.0.1', 0))\n"
        "sys.exit(supervisor.Supervisor(lambda: None, lambda: 1, [sock], 2, 1.0).run())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "as soon as they start" in done.stderr


def test_whoever_forks_workers_runs_no_threads():
    with two_workers() as gateway:
        assert len(list(Path(f"/proc/{gateway.pid}/task").iterdir())) == 1
        first, second = map(os.getsid, gateway.children())
        assert len({first, second, os.getsid(gateway.pid)}) == 3, "a session each"


def test_workers_do_not_outlive_a_supervisor_that_was_killed():
    with two_workers() as gateway:
        workers = gateway.children()
        gateway.signal(signal.SIGKILL)
        wait_until(lambda: not any(is_alive(worker) for worker in workers))


def test_a_worker_that_cannot_start_does_not_end_those_that_serve():
    env = {"SIGNALBOX_DRAIN_S": "1", "SIGNALBOX_LAME_DUCK_S": "0"}
    config = {
        "providers": {"sim": {"kind": "mock", "pace": False}},
        "models": {"m": {"deployments": [{"provider": "sim", "model": "m"}]}},
    }
    with Gateway(config, workers=2, env=env) as gateway:
        wait_until(lambda: len(gateway.children()) == 2 and all(map(has_begun, gateway.children())))
        gateway.write("bad: 1\n")
        first, second = gateway.children()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: gateway.output().count("nothing was started") >= 2)  # by the first one's successors
        assert is_alive(second)
        assert gateway.chat("m").status == 200
        gateway.write(config)
        wait_until(lambda: len(gateway.children()) == 2 and gateway.metric("signalbox_config_valid") == 1)
        assert gateway.chat("m").status == 200
