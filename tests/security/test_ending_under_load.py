"""A process that is told to end while clients keep coming: with a second one beside it nobody loses anything."""

import http.client
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.gateway import Gateway

pytestmark = pytest.mark.e2e
REQUESTS, CLIENTS = 2_000, 8
BODY = {"model": "m", "messages": [{"role": "user", "content": "alpha beta gamma"}]}
CONFIG = {
    "providers": {"sim": {"kind": "mock", "pace": False}},
    "models": {"m": {"deployments": [{"provider": "sim", "model": "echo"}]}},
}


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
            return self.count if self.count <= REQUESTS else None

    def port(self) -> int:
        return self.ports[1] if self.left.is_set() else self.ports[0]


def client(fleet: Fleet) -> list[str]:
    """Requests on one connection for as long as it may be used. Returns what went wrong."""
    wrong: list[str] = []
    port = fleet.port()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while (number := fleet.take()) is not None:
        body = json.dumps(BODY | {"stream": number % 2 == 0})
        try:
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(f"{number}: {error!r}")
            connection.close()
            continue
        ended = data.endswith(b"data: [DONE]\n\n") if number % 2 == 0 else data.endswith(b"}")
        if answer.status != 200 or not ended:
            wrong.append(f"{number}: {answer.status} {data[-200:]!r}")
        if answer.getheader("connection") == "close":
            fleet.left.set()
            connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", fleet.port(), timeout=60)
    connection.close()
    return wrong


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost(workers: int) -> None:
    env = {"SIGNALBOX_LAME_DUCK_S": "2", "SIGNALBOX_DRAIN_S": "20"}
    with Gateway(CONFIG, env=env, workers=workers) as ending, Gateway(CONFIG) as staying:
        fleet = Fleet(ending, staying)
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client, fleet) for _ in range(CLIENTS)]
            while fleet.count < REQUESTS // 4:
                fleet.left.wait(0.005)
            ending.signal(signal.SIGTERM)
            wrong = [what for running in clients for what in running.result()]
        assert wrong == []
        assert fleet.left.is_set(), "it ended while they were asking, and said so"
        assert ending.stop() == 0
        # The one that ended has answered for all that it took on, and the other one for the rest.
        ended = [line["outcome"] for line in ending.logs() if line["event"] == "request"]
        assert set(ended) == {"ok"}
        staying.wait_metric("signalbox_requests_total", REQUESTS - len(ended), outcome="ok")
