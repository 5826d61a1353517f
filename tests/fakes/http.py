"""A plain HTTP client for tests that care about bytes: no retries, no redirects, no header of its own accord."""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """A whole answer. Header names are lower-case; a repeated header keeps its last value."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of an OpenAI-shaped refusal; all four keys have to be there."""
        error: dict[str, Any] = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error), error
        return error

    @property
    def frames(self) -> list[str]:
        """The events of a stream, each as its text without the blank line; comments are left out."""
        assert self.headers["content-type"].startswith("text/event-stream"), self.headers
        parts = self.body.decode().split("\n\n")
        assert parts.pop() == "", "the stream does not end with a blank line"
        return [part for part in parts if not part.startswith(":")]

    @property
    def events(self) -> list[Any]:
        """The JSON of every `data:` event but the terminal one."""
        texts = [frame.removeprefix("data: ") for frame in self.frames]
        return [json.loads(text) for text in texts if text != "[DONE]"]

    @property
    def text(self) -> str:
        """The content of the first choice, whole or streamed."""
        if self.headers["content-type"].startswith("application/json"):
            return str(self.json["choices"][0]["message"]["content"])
        deltas = [c["delta"] for e in self.events for c in e.get("choices", []) if c["index"] == 0]
        return "".join(d.get("content") or "" for d in deltas)


def send(
    url: str,
    body: Any = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Answer:
    """One exchange on a connection of its own. Anything but bytes is sent as JSON; iterators of bytes are chunked."""
    parts = urlsplit(url)
    data = body if body is None or isinstance(body, bytes) or _is_chunked(body) else json.dumps(body).encode()
    head = {"content-type": "application/json"} if body is not None else {}
    head |= headers or {}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        verb = method or ("GET" if body is None else "POST")
        connection.request(verb, target, data, head, encode_chunked=_is_chunked(body))
        got = connection.getresponse()
        return Answer(got.status, {n.lower(): v for n, v in got.getheaders()}, got.read())
    finally:
        connection.close()


def raw(url: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
    """Send bytes and read until the server closes or falls silent for `timeout_s`."""
    with connect(url, timeout_s) as sock:
        sock.sendall(data)
        return read_all(sock)


def connect(url: str, timeout_s: float = 30.0) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 80), timeout_s)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the connection, or to the socket's timeout."""
    received = bytearray()
    try:
        while data := sock.recv(1 << 16):
            received += data
    except TimeoutError:
        pass
    return bytes(received)


def head_of(method: str, path: str, **headers: str) -> bytes:
    """The head of a request, to be sent by hand. Underscores in names become hyphens."""
    lines: Iterable[str] = (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *lines, "", ""]).encode()


def _is_chunked(body: Any) -> bool:
    return hasattr(body, "__next__")
