"""A real HTTP server on loopback that keeps what gateways tell an operator."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_PATIENCE_S = 20.0


class Hook:
    """Use as a context manager. `told` are the messages so far, `url` is where to send them."""

    def __init__(self) -> None:
        told: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self.told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/budgets"

    def soft(self) -> dict[str, Any]:
        """What a budget says that tells this server when half of it is used."""
        return {"soft_ratio": 0.5, "on_soft": {"webhook": self.url}}

    def wait_told(self, budget: str) -> None:
        """It was told of this budget, and once in all."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.told:
            assert time.monotonic() < deadline, "nobody tells the operator"
            time.sleep(0.02)
        heard = [(told["event"], told["budget"]) for told in self.told]
        assert heard == [("budget_soft_limit", budget)], self.told

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
