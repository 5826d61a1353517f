"""Providers that play scripts, and the ledger of what was really called, sent and used."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from providers.base import Call, Cause, ErrorKind, ProviderError
from tests.simulation.scenario import LATE, Course, Deployed, LateRandom, Script

TOKENS_PER_PIECE = 2
_COMMENT = b": still here\n\n"
_DONE = b"data: [DONE]\n\n"
_COMMENT_EVERY_S = 0.25
# What an answer says of a rate limit that has nothing left for a second.
_USED_UP = {
    "x-ratelimit-limit-requests": "9",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
}

Tell = Callable[[str, str], None]


def piece(number: int, index: int) -> str:
    """The content of one event: eight bytes, which are two tokens, that name the call they come from."""
    return f"{number:03x}.{index:03x} "


@dataclass(slots=True)
class Line:
    """What the provider knows of one call. `used` is (prompt, completion) as it would be on the bill."""

    number: int
    provider: str
    request_id: str
    script: Script
    opened_s: float
    closed_s: float | None = None
    last_s: float = 0.0  # when its latest content was sent
    paused_s: tuple[float, float] = (0.0, 0.0)  # from when to when it asked to be left alone
    pieces_sent: int = 0
    told_usage: bool = False
    is_whole: bool = False


@dataclass(slots=True)
class Ledger:
    """All calls of a scenario. `prompts` are tokens by request."""

    tell: Tell
    prompts: dict[str, int] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    on_open: Callable[[Line], None] = lambda _: None

    def close(self, line: Line, now: float) -> None:
        line.closed_s = now
        self.tell(line.provider, f"call {line.number:03x} for {line.request_id} is over")


class ScriptedTransport:
    """A Transport whose calls go as their provider's scripts say."""

    def __init__(self, deployed: Deployed, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._deployed, self._ledger, self._loop = deployed, ledger, loop
        self._slicing = LateRandom(deployed.name)

    def open(self, call: Call, *, fresh: bool = False) -> "ScriptedExchange":
        at = call.body.index(b"req-")
        request_id = call.body[at : at + 6].decode()
        script, ledger = self._deployed.script(), self._ledger
        if fresh and script.course is Course.STALE:
            script.course = Course.ANSWER
        line = Line(len(ledger.lines), self._deployed.name, request_id, script, self._loop.time())
        ledger.lines.append(line)
        is_stream = b'"stream":true' in call.body
        return ScriptedExchange(line, ledger, self._loop, is_stream, self._slicing)

    async def close(self) -> None:
        """Nothing is kept open."""


class ScriptedExchange:
    """One call, as context manager and Exchange."""

    def __init__(
        self, line: Line, ledger: Ledger, loop: asyncio.AbstractEventLoop, is_stream: bool, slicing: LateRandom
    ) -> None:
        self._line, self._ledger, self._loop, self._is_stream = line, ledger, loop, is_stream
        self._script = line.script
        self.status, code, hint = line.script.status if line.script.course is Course.STATUS else (200, None, None)
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream" if is_stream else "application/json"}
        if line.script.course is Course.UNSTREAMED:
            self.headers = {"content-type": "application/json"}
        if hint is not None:
            self.headers = {"retry-after": hint}
        elif line.script.is_used_up:
            self.headers = {**self.headers, **_USED_UP}
        self._code, self._pause_s = code, float(hint or 0)
        self._slicing = slicing
        self._plays = self._stream() if is_stream else self._whole()

    async def __aenter__(self) -> "ScriptedExchange":
        line, ledger, script = self._line, self._ledger, self._script
        ledger.tell(line.provider, f"call {line.number:03x} for {line.request_id} arrives; it goes: {_words(script)}")
        ledger.on_open(line)
        try:
            if script.open_s:
                await asyncio.sleep(script.open_s)
            match script.course:
                case Course.CONNECT:
                    raise ProviderError(ErrorKind.BROKEN, "No connection to the provider.", cause=Cause.CONNECT)
                case Course.STALE:
                    raise ProviderError(ErrorKind.STALE, "An idle connection was dead.", cause=Cause.RESET)
                case Course.RESET_HEAD:
                    raise _reset()
                case Course.STALL_HEAD:
                    await asyncio.Event().wait()
        except BaseException:
            ledger.close(line, self._loop.time())
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._plays.aclose()
        self._ledger.close(self._line, self._loop.time())

    async def chunk(self) -> bytes | None:
        return await anext(self._plays, None)

    async def read(self, limit: int) -> bytes:
        body = b""
        while (data := await self.chunk()) is not None:
            body += data
        return body

    # -- what it plays

    async def _whole(self) -> Any:
        """The body of an answer that is not streamed, in two pieces."""
        script, line = self._script, self._line
        course = script.course
        if script.gap_s:
            await asyncio.sleep(script.gap_s * script.pieces)
        if course in (Course.RESET_EARLY, Course.RESET_LATE):
            yield b'{"id":'
            raise _reset()
        if course in (Course.STALL_EARLY, Course.STALL_LATE):
            yield b'{"id":'
            await asyncio.Event().wait()
        if course in (Course.CUT_EARLY, Course.CUT_LATE, Course.GARBAGE_EARLY, Course.GARBAGE_LATE):
            yield b'{"id": "x", "choices": ['
            return
        if course is Course.STATUS or course in (Course.IN_BAND_EARLY, Course.IN_BAND_LATE):
            yield self._error()
            self._ask_for_pause()
            return
        body = self._answer()
        yield body[:40]
        if script.gap_s:
            await asyncio.sleep(script.gap_s)
        line.is_whole = line.told_usage = True
        line.pieces_sent = script.pieces
        yield body[40:]

    async def _stream(self) -> Any:
        """The body of a stream, torn where the network tears it."""
        script, line = self._script, self._line
        if script.course is Course.STATUS or script.course is Course.UNSTREAMED:
            line.told_usage = script.course is Course.UNSTREAMED
            line.pieces_sent, line.last_s = script.pieces if line.told_usage else 0, self._loop.time()
            yield self._answer() if line.told_usage else self._error()
            self._ask_for_pause()
            return
        sent = b""
        ends: list[int] = []  # of content events
        for gap_s, event, has_content in self._events():
            if gap_s:
                await asyncio.sleep(gap_s)
            before = len(sent)
            sent += event
            if has_content:
                ends.append(len(sent))
            for start, end in self._torn(before, len(sent)):
                if line.pieces_sent < (count := bisect_right(ends, end)):
                    line.pieces_sent, line.last_s = count, self._loop.time()
                line.told_usage |= end == len(sent) and b'"usage":{' in event
                line.is_whole |= end == len(sent) and event == _DONE
                yield sent[start:end]
        if script.course in (Course.RESET_EARLY, Course.RESET_LATE):
            raise _reset()
        if script.course in (Course.STALL_EARLY, Course.STALL_LATE, Course.LINGER):
            while script.has_comments:
                await asyncio.sleep(_COMMENT_EVERY_S)
                yield _COMMENT
            await asyncio.Event().wait()

    def _ask_for_pause(self) -> None:
        """Its error was read to the end."""
        now = self._loop.time()
        self._line.paused_s = (now, now + self._pause_s)

    def _torn(self, start: int, end: int) -> list[tuple[int, int]]:
        if not self._script.is_sliced or end - start < 2:
            return [(start, end)]
        middle = self._slicing().randint(start + 1, end - 1)
        return [(start, middle), (middle, end)]

    def _events(self) -> Any:
        """(seconds before it, bytes, whether it has content) of each event up to where the course ends."""
        script, line = self._script, self._line
        course = script.course
        if course is Course.IN_BAND_EARLY:
            yield 0.0, b"data: %b\n\n" % self._error(), False
            return
        yield 0.0, self._event({"role": "assistant", "content": ""}), False
        if course is Course.GARBAGE_EARLY:
            yield script.gap_s, b"data: {not json\n\n", False
        if course in (Course.RESET_EARLY, Course.STALL_EARLY, Course.CUT_EARLY, Course.GARBAGE_EARLY):
            return
        for index in range(script.stops_after if course in LATE else script.pieces):
            yield script.gap_s, self._event({"content": piece(line.number, index)}), True
        if course is Course.GARBAGE_LATE:
            yield script.gap_s, b"data: {not json\n\n", False
        if course is Course.IN_BAND_LATE:
            yield script.gap_s, b"data: %b\n\n" % self._error(), False
        if course in LATE:
            return
        yield 0.0, self._event({}, "stop"), False
        if course is not Course.UNTOLD:
            yield (
                0.0,
                b"data: %b\n\n" % orjson.dumps({**self._envelope(), "choices": [], "usage": self._usage()}),
                False,
            )
        yield 0.0, _DONE, False

    def _event(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: %b\n\n" % orjson.dumps({**self._envelope(), "choices": [choice]})

    def _envelope(self) -> dict[str, Any]:
        return {"id": f"c{self._line.number}", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def _answer(self) -> bytes:
        text = "".join(piece(self._line.number, index) for index in range(self._script.pieces))
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        whole = {**self._envelope(), "object": "chat.completion", "choices": [choice], "usage": self._usage()}
        return orjson.dumps(whole)

    def _usage(self) -> dict[str, int]:
        prompt = self._ledger.prompts[self._line.request_id]
        completion = TOKENS_PER_PIECE * self._script.pieces
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _error(self) -> bytes:
        code = self._code if self._script.course is Course.STATUS else "overloaded"
        return orjson.dumps({"error": {"message": "It does not work.", "type": None, "param": None, "code": code}})


def _reset() -> ProviderError:
    return ProviderError(ErrorKind.BROKEN, "The provider closed the connection.", cause=Cause.RESET)


def _words(script: Script) -> str:
    what: str = script.course
    if script.course is Course.STATUS:
        status, code, hint = script.status
        what = f"status {status} {code or ''} {f'retry-after {hint}' if hint else ''}".strip()
    elif script.course in LATE:
        what += f" after {script.stops_after} events"
    return f"{what}, {script.pieces} events, {script.gap_s:g} s between them, {script.open_s:g} s to the head"
