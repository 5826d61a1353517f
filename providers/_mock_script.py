"""What the mock provider sends for one call and when: the well-behaved answer, and every way of misbehaving by name."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from providers import _mock_wire as wire
from providers._mock_answer import Answer, Manner, answer
from providers.base import Cause, ErrorKind, ProviderError, error_object

SILENCE_S = math.inf  # a pause that only the other side can end


@dataclass(slots=True, frozen=True)
class Pace:
    """How fast the mock is. Medians in seconds; `is_on` false answers at once. `length` fixes the tokens of a text."""

    is_on: bool = True
    ttft_s: float = 0.03
    tpot_s: float = 0.003
    slow_s: float = 5.0
    retry_after_s: float = 2.0
    length: int | None = None


@dataclass(slots=True)
class Script:
    """One answer: wait `delay_s`, then the head, then each piece after its own pause.

    The iterator may raise ProviderError where the connection is to break.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    pieces: Iterator[tuple[float, bytes]] = field(default_factory=lambda: iter(()))


@dataclass(slots=True, frozen=True)
class Turn:
    """One call as a script writer sees it. `path` is the endpoint's last part: completions, chat/completions, ..."""

    operation: str
    body: Mapping[str, Any]
    pace: Pace
    created: int
    is_fresh: bool

    @property
    def is_stream(self) -> bool:
        return bool(self.body.get("stream")) and self.operation != "embeddings"


# The spread of a provider's latencies; the median is what is configured.
_SIGMA_TTFT, _SIGMA_TPOT = 0.3, 0.4


def behave(turn: Turn, manner: Manner | None = None) -> Script:
    """The answer a working provider would give. Raises ValueError for a request the real API would refuse."""
    pace = turn.pace
    if turn.operation == "embeddings":
        return _json(wire.embeddings(turn.body), delay_s=pace.ttft_s if pace.is_on else 0.0)
    reply = answer(turn.body, manner or Manner(length=pace.length))
    rng = random.Random(reply.id) if pace.is_on else None  # noqa: S311 - reproducible, not secret
    delay_s = 0.0
    if rng is not None:
        delay_s = pace.ttft_s * rng.lognormvariate(0, _SIGMA_TTFT) + pace.tpot_s * reply.reasoning_tokens
    if turn.is_stream:
        script = Script(headers=_headers(reply, "text/event-stream; charset=utf-8"), delay_s=delay_s)
        script.pieces = _paced(_frames(turn, reply), rng, pace.tpot_s)
        return script
    if rng is not None:
        delay_s += pace.tpot_s * rng.lognormvariate(0, 0.1) * (reply.completion_tokens - reply.reasoning_tokens)
    whole = wire.chat if turn.operation == "chat" else wire.completion
    return _json(whole(reply, turn.body, turn.created), delay_s=delay_s, headers=_headers(reply, "application/json"))


def _frames(turn: Turn, reply: Answer) -> Iterator[tuple[bool, bytes]]:
    frames = wire.chat_frames if turn.operation == "chat" else wire.completion_frames
    return frames(reply, turn.body, turn.created)


def _paced(
    frames: Iterator[tuple[bool, bytes]], rng: random.Random | None, tpot_s: float
) -> Iterator[tuple[float, bytes]]:
    is_first = True
    for is_token, frame in frames:
        # The first token is what the head was waiting for.
        pause_s = tpot_s * rng.lognormvariate(0, _SIGMA_TPOT) if rng is not None and is_token and not is_first else 0.0
        is_first = is_first and not is_token
        yield pause_s, frame


def _headers(reply: Answer, content_type: str) -> dict[str, str]:
    return {"content-type": content_type, "x-request-id": f"req_{reply.id}"}


def _json(body: bytes, *, status: int = 200, delay_s: float = 0.0, headers: dict[str, str] | None = None) -> Script:
    headers = {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}
    return Script(status, headers, delay_s, iter([(0.0, body)]))


def failure(status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> Script:
    """An error status with an OpenAI-shaped body."""
    return _json(orjson.dumps({"error": error}), status=status, headers=headers)


def script(name: str, turn: Turn) -> Script:
    """What the model (or fault) `name` does with this call; any name that means nothing special behaves.

    Raises ProviderError where no answer is to come at all, ValueError for a request the real API would refuse.
    """
    writer = _MISBEHAVIOURS.get(name)
    if writer is not None:
        return writer(turn)
    if len(name) == 3 and name.isdecimal() and 400 <= int(name) <= 599:
        return failure(int(name), error_object(f"The mock provider was asked for status {name}.", "mock_error"))
    return behave(turn)


# --- misbehaviour, one function or lambda per model name


def _rate_limited(turn: Turn) -> Script:
    wait_s = turn.pace.retry_after_s
    message = f"Rate limit reached for requests. Please try again in {wait_s:g}s."
    headers = {
        "retry-after": str(math.ceil(wait_s)),  # whole seconds by RFC 9110
        "retry-after-ms": str(round(wait_s * 1000)),
        "x-ratelimit-remaining-requests": "0",
    }
    return failure(429, error_object(message, "requests", None, "rate_limit_exceeded"), headers)


def _out_of_money(_turn: Turn) -> Script:
    message = "You exceeded your current quota, please check your plan and billing details."
    return failure(429, error_object(message, "insufficient_quota", None, "insufficient_quota"))


def _bad_key(_turn: Turn) -> Script:
    message = "Incorrect API key provided."
    return failure(401, error_object(message, "invalid_request_error", None, "invalid_api_key"))


def _server_error(_turn: Turn) -> Script:
    return failure(500, error_object("The server had an error while processing your request.", "server_error"))


def _overloaded(_turn: Turn) -> Script:
    return failure(503, error_object("The engine is currently overloaded, please try again later.", "server_error"))


def _too_long(turn: Turn) -> Script:
    message = "This model's maximum context length is 4096 tokens. Please reduce the length of the messages."
    param = "messages" if turn.operation == "chat" else None
    return failure(400, error_object(message, "invalid_request_error", param, "context_length_exceeded"))


def _slow(turn: Turn) -> Script:
    made = behave(turn)
    made.delay_s = turn.pace.slow_s
    return made


_TOKENS_BEFORE_TROUBLE = 4  # frames of a stream that still arrive: the role and a few tokens


def _stall(turn: Turn) -> Script:
    """Some of the answer, then nothing for ever, with the connection open."""
    made = behave(turn)
    before = list(islice(made.pieces, _TOKENS_BEFORE_TROUBLE)) if turn.is_stream else []
    made.pieces = iter([*before, (SILENCE_S, b"")])
    return made


def _hang(turn: Turn) -> Script:
    """Not even a head."""
    made = behave(turn)
    made.delay_s = SILENCE_S
    return made


def _cut_stream(turn: Turn) -> Script:
    """A stream that ends like a proper one but too early; a whole answer that breaks off."""
    made = behave(turn)
    if turn.is_stream:
        made.pieces = islice(made.pieces, _TOKENS_BEFORE_TROUBLE)
        return made
    made.pieces = _broken_after([(pause_s, piece[: len(piece) // 2]) for pause_s, piece in made.pieces])
    return made


def _reset(turn: Turn) -> Script:
    """The head arrives, then the connection dies before any of the body."""
    made = behave(turn)
    made.pieces = _broken_after([])
    return made


def _reset_late(turn: Turn) -> Script:
    """The connection dies after some of the answer."""
    made = behave(turn)
    made.pieces = _broken_after(list(islice(made.pieces, _TOKENS_BEFORE_TROUBLE)) if turn.is_stream else [])
    return made


def _broken_after(pieces: list[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    yield from pieces
    raise ProviderError(
        ErrorKind.BROKEN, "The provider closed the connection before its answer was complete.", cause=Cause.RESET
    )


def _unreachable(_turn: Turn) -> Script:
    raise ProviderError(ErrorKind.BROKEN, "No connection to the provider: refused.", cause=Cause.CONNECT)


def _stale(turn: Turn) -> Script:
    """A pooled connection that had died; a fresh one works."""
    if turn.is_fresh:
        return behave(turn)
    raise ProviderError(ErrorKind.STALE, "The provider closed the connection before it answered.", cause=Cause.RESET)


def _garbage(turn: Turn) -> Script:
    made = behave(turn)
    body = (
        b'data: {"id": \xff\xfe<html>\n\ndata: oops\n\n'
        if turn.is_stream
        else b"<html><body>502 \xff\xfe</body></html>"
    )
    made.headers = {name: value for name, value in made.headers.items() if name != "content-length"}
    made.pieces = iter([(0.0, body)])
    return made


def _nothing(turn: Turn) -> Script:
    """Status 200 and a body of zero bytes."""
    made = behave(turn)
    made.headers.pop("content-length", None)
    made.pieces = iter(())
    return made


def _error_frame(turn: Turn) -> Script:
    """An error object inside a 200 answer, after some of a stream."""
    error = orjson.dumps(
        {"error": error_object("The server had an error in the middle of its answer.", "server_error")}
    )
    if not turn.is_stream:
        return _json(error)
    made = behave(turn)
    before = list(islice(made.pieces, _TOKENS_BEFORE_TROUBLE))
    made.pieces = iter([*before, (0.0, b"data: " + error + b"\n\n")])
    return made


def _always(manner: str) -> Callable[[Turn], Script]:
    def write(turn: Turn) -> Script:
        return behave(turn, Manner(always=manner, length=turn.pace.length))

    return write


_MISBEHAVIOURS: Mapping[str, Callable[[Turn], Script]] = {
    "401": _bad_key,
    "429": _rate_limited,
    "500": _server_error,
    "503": _overloaded,
    "quota": _out_of_money,
    "context": _too_long,
    "slow": _slow,
    "stall": _stall,
    "hang": _hang,
    "cut-stream": _cut_stream,
    "reset": _reset,
    "reset-late": _reset_late,
    "unreachable": _unreachable,
    "stale": _stale,
    "garbage": _garbage,
    "empty": _nothing,
    "error-frame": _error_frame,
    "blank": _always("blank"),
    "refuse": _always("refuse"),
    "tools": _always("tools"),
    "json": _always("json"),
}

MISBEHAVIOURS: tuple[str, ...] = tuple(_MISBEHAVIOURS)
"""Every model name with a meaning of its own, for documentation and `models` listings."""
