"""The structured log: one JSON line per event, written in batches off the request path.

A slow reader of our output must not stop the event loop: lines wait in a bounded buffer and are counted when it is
full.
"""

import io
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import orjson

from policies.outcome import Attempt, Outcome, Refusal
from providers import lenient_json
from providers.base import Cause
from providers.errors import LISTED_CODES
from routing.decision import Decision

Level = Literal["debug", "info", "warning", "error"]
_LEVELS = ("debug", "info", "warning", "error")
_MAX_WAITING_LINES = 20_000
# Failures that the gateway describes itself. All other messages are a provider's words, or name what a caller sent, and
# providers quote prompts.
_IN_OWN_WORDS = frozenset({Cause.CONNECT, Cause.RESET, Cause.TTFT, Cause.IDLE, Cause.TOTAL, Cause.CUT, Cause.TOO_LARGE})


class Stream(Protocol):
    """Where lines go. `write` returns how many bytes it took."""

    def write(self, data: memoryview, /) -> int | None: ...


class BatchWriter:
    """Collects lines and writes them from a thread of its own, at most `interval_s` later."""

    def __init__(
        self, stream: Stream, *, interval_s: float = 0.05, on_dropped: Callable[[int], None] = lambda _: None
    ) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self.on_dropped = on_dropped
        self._lines: list[bytes] = []
        self._has_lines = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue one line (without its newline). Never blocks."""
        if len(self._lines) >= _MAX_WAITING_LINES:
            self.on_dropped(1)
            return
        # A copy: what orjson returns is cut from a buffer of many times its length, and the rest is hardly used again.
        self._lines.append(line + b"\n")
        if not self._has_lines.is_set():
            self._has_lines.set()

    def close(self) -> None:
        """Write what is left and stop. Waits at most two seconds for a reader that does not read."""
        self._is_closed = True
        self._has_lines.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        pause = threading.Event()
        while not self._is_closed:
            self._has_lines.wait()
            if not self._is_closed:
                pause.wait(self._interval_s)
            self._has_lines.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        left = memoryview(b"".join(lines))
        try:
            while left:
                left = left[self._stream.write(left) or 0 :]
        except (OSError, ValueError):
            self.on_dropped(len(lines))  # the reader of our output is gone; serving goes on


class Logger:
    """Writes events at or above `level` (debug, info, warning, error): one JSON object per line, or text for people.

    Thirty lines of our own instead of a logging library: at one line per request its chain of calls cost more than the
    formatting, and its optional imports five megabytes.
    """

    def __init__(self, writer: BatchWriter, level: str, *, text: bool = False) -> None:
        self._write = writer.write
        self._least = _LEVELS.index(level)
        self.is_debug = self._least == 0  # also what may quote a prompt is written: the operator's choice
        self._render = _render_text if text else _render

    def info(self, event: str, **fields: Any) -> None:
        self.log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """`error` as a field may be an exception: its trace is then written as text, what it says at debug only."""
        error = fields.get("error")
        if isinstance(error, BaseException):
            # Not its repr: that of a UnicodeError has the whole text which could not be encoded.
            fields["error"] = f"{type(error).__name__}: {error}" if self.is_debug else _name_of(error)
            fields["trace"] = "".join(traceback.format_exception(error) if self.is_debug else _frames_of(error))
        self.log("error", event, fields)

    def log(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """Write one event. `fields` is taken over, not copied."""
        if _LEVELS.index(level) >= self._least:
            fields["event"] = event
            fields["level"] = level
            self._write(self._render(fields))


def standard_stream() -> Stream:
    """Where log lines go: standard output is for them alone once the server runs.

    Without Python's own buffer: a write that a stopped reader holds up would keep its lock, and the process could not
    end.
    """
    return io.FileIO(sys.stdout.fileno(), "wb", closefd=False)


def _name_of(error: BaseException) -> str:
    """Which exception it is, without its text: that of a ValueError or KeyError has what could not be handled."""
    name = type(error).__name__
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.strerror else name


def _frames_of(error: BaseException) -> list[str]:
    """The trace of an exception and of those that led to it, the first one first, without what they say."""
    lines: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        lines[:0] = [*traceback.format_tb(cause.__traceback__), f"{_name_of(cause)}\n"]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return lines


class _WithoutText(logging.Formatter):
    """What libraries report of faults (uvicorn, asyncio): which exception and where it came from, not what it says."""

    def format(self, record: logging.LogRecord) -> str:
        # The first line of the message as it was written; arguments and further lines have reprs of exceptions.
        line = f"{record.name}: {str(record.msg).partition(chr(10))[0]}\n"
        error = record.exc_info[1] if record.exc_info else None
        return "".join([line, *(_frames_of(error) if error is not None else ())]).rstrip()


if logging.lastResort is not None:  # writes to standard error what no handler takes, and we install none
    logging.lastResort.setFormatter(_WithoutText())


def _render(fields: dict[str, Any]) -> bytes:
    # The time is left to orjson's own formatting, which costs a tenth of a string's.
    fields["timestamp"] = datetime.now(UTC)
    try:
        return orjson.dumps(fields, default=str)
    except TypeError:  # half a surrogate pair in a provider's words; a line of the log is never the end of a request
        return lenient_json.dumps({key: value if type(value) is list else str(value) for key, value in fields.items()})


def _render_text(fields: dict[str, Any]) -> bytes:
    level, event, trace = fields.pop("level"), fields.pop("event"), fields.pop("trace", None)
    pairs = " ".join(f"{key}={_plain(value)}" for key, value in fields.items())
    line = f"{datetime.now(UTC):%H:%M:%S.%f} {level:<7} {event} {pairs}"
    return (line if trace is None else f"{line}\n{trace}").encode("utf-8", "replace")


def _plain(value: object) -> str:
    """A value on one line: what a caller or a provider wrote cannot look like a line of its own."""
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    return lenient_json.dumps(text).decode() if " " in text else text


def request_fields(outcome: Outcome, *, quotes: bool = False) -> dict[str, Any]:
    """The fields of a request's line. No prompt, no answer, no key: names, counts and times only.

    With `quotes` providers' messages are among them, with keys redacted; a provider may quote the prompt in them.
    """
    request = outcome.request
    fields: dict[str, Any] = {
        "request_id": request.request_id,
        "operation": request.operation,
        "caller": outcome.caller,
        "model": request.model,
        "stream": request.stream,
        "outcome": outcome.ending,
        # Not by `round`, here and below: it is exact about halves of decimals, and takes ten times as long.
        "duration_ms": int(outcome.duration_s * 100_000 + 0.5) / 100,
        "overhead_ms": int(outcome.overhead_s * 1_000_000 + 0.5) / 1000,
        "cache": outcome.cache,
    }
    fields["decision"] = outcome.decision.summary
    if outcome.decision.route is not None:
        _add_decision(fields, outcome.decision)
    if outcome.answered_by is not None:
        fields["answered_by"] = outcome.answered_by.deployment.id
    if outcome.ttft_s is not None:
        fields["ttft_ms"] = round(outcome.ttft_s * 1000, 2)
    if outcome.usage is not None:
        fields["prompt_tokens"] = outcome.usage.prompt_tokens
        fields["completion_tokens"] = outcome.usage.completion_tokens
        if outcome.usage.is_estimated:
            fields["usage_estimated"] = True
    if outcome.cost_nusd is not None:
        fields["cost_usd"] = outcome.cost_nusd / 1_000_000_000
    if outcome.finish_reason is not None:
        fields["finish_reason"] = outcome.finish_reason
    if outcome.refusal is not None:
        fields |= _refusal_fields(outcome.refusal)
    if len(outcome.attempts) > 1 or outcome.ending != "ok":
        fields |= _trouble_fields(outcome, quotes)
    else:
        fields["attempts"] = len(outcome.attempts)
    return fields


def _trouble_fields(outcome: Outcome, quotes: bool) -> dict[str, Any]:
    """What is said of a request that took more than one call, or did not end well."""
    fields: dict[str, Any] = {"attempts": [_attempt_fields(attempt, quotes) for attempt in outcome.attempts]}
    if outcome.continuation is not None:
        fields["continuation"] = outcome.continuation
    return fields


def _add_decision(fields: dict[str, Any], decision: Decision) -> None:
    """What a route decided on: numbers and names, nothing of the text."""
    found = decision.classification
    if found is not None:
        fields["score"] = int(found.score * 10_000 + 0.5) / 10_000
        fields["confidence"] = int(found.confidence * 10_000 + 0.5) / 10_000
        fields["task"] = found.task_type
    if decision.router_version is not None:
        fields["router_version"] = decision.router_version
    if decision.shadow is not None:
        fields["shadow"] = decision.shadow
    if decision.rejections:
        fields["rejected"] = {rejection.deployment.id: rejection.reason for rejection in decision.rejections}


def _refusal_fields(refusal: Refusal) -> dict[str, Any]:
    code = refusal.error["code"]
    if code in LISTED_CODES:  # any other word may come from a prompt
        return {"status": refusal.status, "code": code}
    return {"status": refusal.status}


def _attempt_fields(attempt: Attempt, quotes: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "deployment": attempt.deployment.id,
        "duration_ms": round((attempt.ended - attempt.started) * 1000, 2),
        "status": attempt.status,
    }
    if attempt.is_hedge:
        fields["is_hedge"] = True
    if attempt.is_outrun:
        fields["is_outrun"] = True
    if attempt.kind is not None:
        fields |= {"kind": attempt.kind, "cause": attempt.cause}
        if quotes or attempt.cause in _IN_OWN_WORDS:
            fields["message"] = attempt.message
    return fields
