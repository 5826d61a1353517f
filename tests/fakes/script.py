"""What a fake upstream sends for one request: a list of steps, played in order over a real socket.

Scripts are plain data, so a test reads as the sequence of bytes, pauses and accidents that it is about.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Framing = Literal["length", "chunked", "close", "raw"]


@dataclass(slots=True, frozen=True)
class Pause:
    """Nothing is sent for `seconds`."""

    seconds: float


@dataclass(slots=True, frozen=True)
class Stall:
    """Nothing more is sent until the peer goes away."""


@dataclass(slots=True, frozen=True)
class Cut:
    """The connection ends here, in the middle of whatever was being said: FIN, or RST with `reset`."""

    reset: bool = False


@dataclass(slots=True, frozen=True)
class Until:
    """Nothing is sent before `event` is set, give or take 0.2 s."""

    event: threading.Event


Step = bytes | Pause | Stall | Cut | Until


@dataclass(slots=True, frozen=True)
class Script:
    """One answer. `framing` says how its end is marked on the wire; `raw` sends the steps without any HTTP head.

    `steps` may be any iterable of steps, also an endless generator. `length_extra` makes Content-Length lie. `before`
    is played ahead of the head. With `dies_idle` the connection stays open, and is closed without a byte as soon as
    another request comes in on it: the race every keep-alive client can lose.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    steps: Iterable[Step] = ()
    framing: Framing = "length"
    before: tuple[Step, ...] = ()
    length_extra: int = 0
    dies_idle: bool = False


def reply(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Script:
    """A whole answer: JSON for anything but bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"content-type": "application/json"} | (headers or {})
    return Script(status, tuple(head.items()), (data,))


def error(
    status: int,
    message: str,
    *,
    type_: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> Script:
    """An OpenAI error answer."""
    body = {"error": {"message": message, "type": type_, "param": param, "code": code}}
    return reply(body, status=status, headers=headers)


def sse(
    events: Iterable[Any],
    *,
    done: bool = True,
    crlf: bool = False,
    delay_s: float = 0.0,
    headers: dict[str, str] | None = None,
    framing: Framing = "chunked",
) -> Script:
    """A stream of `data:` events, one write each. Strings are sent as they are, everything else as JSON."""
    end = "\r\n\r\n" if crlf else "\n\n"
    pieces: list[Step] = []
    for event in events:
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        if delay_s and pieces:
            pieces.append(Pause(delay_s))
        pieces.append(f"data: {text}{end}".encode())
    if done:
        pieces.append(f"data: [DONE]{end}".encode())
    head = {"content-type": "text/event-stream"} | (headers or {})
    return Script(200, tuple(head.items()), tuple(pieces), framing)


def cut_after(script: Script, size: int, *, reset: bool = False) -> Script:
    """The same answer, ended after `size` bytes of its body."""
    return replace(script, steps=(*_first_bytes(script.steps, size), Pause(0.02), Cut(reset)))


def stalled_after(script: Script, size: int) -> Script:
    """The same answer, silent for ever after `size` bytes of its body."""
    return replace(script, steps=(*_first_bytes(script.steps, size), Stall()))


def sliced(script: Script, size: int, *, delay_s: float = 0.0) -> Script:
    """The same body in writes of `size` bytes (characters and events are torn apart), optionally as a slow drip."""
    body = b"".join(step for step in script.steps if isinstance(step, bytes))
    steps: list[Step] = []
    for start in range(0, len(body), size):
        steps.append(body[start : start + size])
        if delay_s:
            steps.append(Pause(delay_s))
    return replace(script, steps=tuple(steps))


def with_pauses(script: Script, delay_s: float) -> Script:
    """The same answer with a pause before every write but the first."""
    steps: list[Step] = []
    for step in script.steps:
        if steps:
            steps.append(Pause(delay_s))
        steps.append(step)
    return replace(script, steps=tuple(steps))


def with_crlf(script: Script) -> Script:
    """The same event stream with CRLF line ends."""
    return replace(script, steps=tuple(s.replace(b"\n", b"\r\n") if isinstance(s, bytes) else s for s in script.steps))


def silent() -> Script:
    """The request is read and never answered."""
    return Script(before=(Stall(),))


def hang_up(*, reset: bool = False) -> Script:
    """The connection ends before any byte of an answer."""
    return Script(before=(Cut(reset),))


def garbage(data: bytes = b"\x00\x01\x02 this is not HTTP\r\n\r\n") -> Script:
    """Bytes that are not HTTP."""
    return Script(steps=(data, Cut()), framing="raw")


def endless_stream(event: Any, *, delay_s: float = 0.0) -> Callable[[Any], Script]:
    """A factory of streams that repeat `event` until the peer goes away."""
    line = f"data: {json.dumps(event)}\n\n".encode()

    def steps() -> Iterator[Step]:
        while True:
            yield line
            if delay_s:
                yield Pause(delay_s)

    return lambda _request: Script(200, (("content-type", "text/event-stream"),), steps(), "chunked")


def _first_bytes(steps: Iterable[Step], size: int) -> Iterator[Step]:
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        if size <= 0:
            return
        yield step[:size]
        size -= len(step)
