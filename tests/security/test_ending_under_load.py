"""A process that is told to end while clients keep coming: with a second one beside it nobody loses anything."""

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.http import head_of

pytestmark = pytest.mark.e2e
REQUESTS, CLIENTS = 10_000, 8  # of all runs together
WORKERS = (1, 2)
SHARE = REQUESTS // len(WORKERS)
CONFIG = {
    "providers": {"sim": {"kind": "mock", "pace": False}},
    "models": {"m": {"deployments": [{"provider": "sim", "model": "echo"}]}},
}


def request_of(is_stream: bool) -> bytes:
    body = json.dumps({"model": "m", "stream": is_stream, "messages": [{"role": "user", "content": "alpha"}]}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return head_of("POST", "/v1/chat/completions", **fields) + body


WHOLE, STREAMED = request_of(False), request_of(True)


class Fleet:
    """Two gateways and what a load balancer knows: which of them has asked its clients to go elsewhere."""

    def __init__(self, *gateways: Gateway) -> None:
        self.ports = [gateway.port for gateway in gateways]
        self.left = threading.Event()
        self.count = 0
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """The number of the next request, None when there have been enough."""
        with self._lock:
            self.count += 1
            return self.count if self.count <= SHARE else None

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[1] if self.left.is_set() else self.ports[0]), 60)


def ask(sock: socket.socket, *, is_stream: bool) -> bytes:
    """One exchange on a connection that stays open; all that came. Raises OSError."""
    sock.sendall(STREAMED if is_stream else WHOLE)
    data = b""
    while True:
        piece = sock.recv(65_536)
        if not piece:
            raise ConnectionResetError(f"the connection ended after {data!r}")
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        if end and b"transfer-encoding: chunked" in head:
            if body.endswith(b"0\r\n\r\n"):
                return data
        elif end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return data


def client(fleet: Fleet) -> list[str]:
    """Requests on one connection for as long as it may be used. Returns what went wrong."""
    wrong: list[str] = []
    sock = fleet.connect()
    while (number := fleet.take()) is not None:
        is_stream = number % 2 == 0
        try:
            data = ask(sock, is_stream=is_stream)
        except OSError as error:
            wrong.append(f"{number}: {error!r}")
            sock.close()
            sock = fleet.connect()
            continue
        if not data.startswith(b"HTTP/1.1 200 OK\r\n") or is_stream != (b"data: [DONE]\n\n" in data):
            wrong.append(f"{number}: {data!r}")
        if b"\r\nconnection: close\r\n" in data:
            fleet.left.set()
            sock.close()
            sock = fleet.connect()
    sock.close()
    return wrong


@pytest.mark.parametrize("workers", WORKERS)
def test_nothing_is_lost(workers: int) -> None:
    env = {"SIGNALBOX_LAME_DUCK_S": "2", "SIGNALBOX_DRAIN_S": "20"}
    with Gateway(CONFIG, env=env, workers=workers) as ending, Gateway(CONFIG) as staying:
        fleet = Fleet(ending, staying)
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client, fleet) for _ in range(CLIENTS)]
            while fleet.count < SHARE // 4:
                fleet.left.wait(0.005)
            ending.signal(signal.SIGTERM)
            wrong = [what for running in clients for what in running.result()]
        assert wrong == []
        assert fleet.left.is_set(), "it ended while they were asking, and said so"
        assert ending.stop() == 0
        # The one that ended has answered for all that it took on, and the other one for the rest.
        ended = [line["outcome"] for line in ending.logs() if line["event"] == "request"]
        assert set(ended) == {"ok"}
        staying.wait_metric("signalbox_requests_total", SHARE - len(ended), outcome="ok")
