"""The log: a line per event and nothing private in it, whoever reads it and however slowly."""

import asyncio
import io
import json
import logging
import os
import resource
import threading
import time
from pathlib import Path

import pytest

from gateway.telemetry.logs import _MAX_WAITING_LINES, BatchWriter, Logger
from providers.base import Cause, ErrorKind, ProviderError, error_object
from tests.gateway.listening import Listening, post, statuses
from tests.gateway.scripted import Answer, Lines, ScriptedTransport

PROMPT, KEY = "canary-of-the-prompt", "canary-of-the-key"
BODY = b'{"model":"%b","stream":%b,"messages":[{"role":"user","content":"' + PROMPT.encode() + b'"}]}'
LAST = b"connection: close"  # the end of the answer is the end of the connection, and nobody waits for more
ANSWERS = {
    "answer": Answer([b"7,3,{}", None]),
    "failure": Answer([b"overloaded", None], status=503),
    "caller's": Answer([b"caller", None], status=400),
    "bug": Answer([b"bug", None]),
    "interrupted": Answer([b"text:one\n", b"bad\n"]),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("text", [False, True])
def test_one_line_for_each_request_and_nothing_private(name, text):
    stream = name == "interrupted"

    async def main():
        async with Listening({"a": ScriptedTransport(ANSWERS[name])}) as gateway:
            log = Lines()
            gateway.stage.recorder.logger = Logger(log, "info", text=text)
            await gateway.talk(
                post(BODY % (b"m", b"true" if stream else b"false"), b"authorization: Bearer " + KEY.encode(), LAST)
            )
            return log.lines

    lines = asyncio.run(main())
    requests = [line for line in lines if b"request" in line and b"internal error" not in line]
    assert len(requests) == 1
    for line in lines:
        assert PROMPT.encode() not in line
        assert KEY.encode() not in line
        if not text:
            assert json.loads(line)["timestamp"]


@pytest.mark.parametrize("text", [False, True])
def test_a_model_name_cannot_forge_a_line(text):
    log = Lines()
    Logger(log, "info", text=text).info("request", model="m\n12:00:00 error forged \u2028 x=1", caller="a b")
    (line,) = log.lines
    assert len(line.decode().splitlines() if text else line.split(b"\n")) == 1
    if text:
        assert b'caller="a b"' in line


def test_half_a_character_in_a_providers_words_is_no_fault_of_the_request():
    odd = ProviderError(ErrorKind.CALLER, "half \ud83d", cause=Cause.IN_BAND, status=400)
    broken = ProviderError(ErrorKind.BROKEN, "half \ud83d", cause=Cause.IN_BAND)
    for stream, answer in ((b"false", Answer(fails=odd)), (b"true", Answer([b"text:one\n", broken]))):

        async def main(stream=stream, answer=answer):
            async with Listening({"a": ScriptedTransport(answer)}) as gateway:
                data = await gateway.talk(post(BODY % (b"m", stream), LAST))
                return data, gateway.stage.log.lines

        data, lines = asyncio.run(main())
        assert statuses(data) == [400 if stream == b"false" else 200]
        assert b"half" in data
        assert len(lines) == 1
        assert json.loads(lines[0])["outcome"] in ("caller_error", "interrupted")


def test_an_exception_is_written_without_the_text_it_holds():
    log = Lines()
    try:
        (PROMPT + "\ud83d").encode()
    except UnicodeEncodeError as error:
        Logger(log, "info").error("internal error", error=error)
    assert PROMPT.encode() not in log.lines[0]
    assert "UnicodeEncodeError" in json.loads(log.lines[0])["error"]


@pytest.mark.parametrize(("level", "is_told"), [("info", False), ("debug", True)])
def test_what_exceptions_say_is_for_debugging(level, is_told):
    """The text of most exceptions is what could not be handled, and so is that of those which led to them."""
    log = Lines()
    try:
        try:
            int(PROMPT)
        except ValueError:
            {}[PROMPT]
    except KeyError as error:
        Logger(log, level).error("internal error", error=error)
    line = json.loads(log.lines[0])
    assert (PROMPT in log.lines[0].decode()) == is_told
    assert line["error"].startswith("KeyError")
    assert "ValueError" in line["trace"]
    assert line["trace"].count(f"in {test_what_exceptions_say_is_for_debugging.__name__}") == 2


def test_what_libraries_report_of_faults_has_no_text_either():
    """uvicorn and asyncio write to standard error by themselves when something of ours fails in their hands."""
    shown = []
    for message, arguments in (("Exception in ASGI application\n", ()), (f"never retrieved\n{PROMPT}", ()),
                               ("failed: %r", (PROMPT,))):  # fmt: skip
        try:
            int(PROMPT)
        except ValueError as error:
            record = logging.LogRecord("uvicorn.error", logging.ERROR, "f", 1, message, arguments, None)
            record.exc_info = (type(error), error, error.__traceback__)
        shown.append(logging.lastResort.format(record))
    assert all("ValueError" in text and "test_logs.py" in text for text in shown)
    assert not [text for text in shown if PROMPT in text]


def test_why_a_file_failed_is_always_told():
    log = Lines()
    Logger(log, "info").error("x", error=FileNotFoundError(2, "No such file or directory", PROMPT))
    assert json.loads(log.lines[0])["error"] == "FileNotFoundError: No such file or directory"
    assert PROMPT.encode() not in log.lines[0]


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize(
    ("error", "is_always_told"),
    [
        (ProviderError(ErrorKind.BROKEN, "it said so", status=500), False),
        (ProviderError(ErrorKind.CALLER, "it said so", error=error_object("x", code=PROMPT)), False),
        (ProviderError(ErrorKind.BROKEN, "it said so", cause=Cause.IN_BAND), False),
        (ProviderError(ErrorKind.BROKEN, "it said so", cause=Cause.GARBAGE), False),
        (ProviderError(ErrorKind.CALLER, "it said so", cause=Cause.UNSUPPORTED), False),
        (ProviderError(ErrorKind.BROKEN, "it said so", cause=Cause.CONNECT), True),
        (ProviderError(ErrorKind.BROKEN, "it said so", cause=Cause.CUT), True),
    ],
)
def test_what_a_provider_said_is_for_debugging(level, error, is_always_told):
    async def main():
        async with Listening({"a": ScriptedTransport(Answer(fails=error))}, max_attempts=1) as gateway:
            log = Lines()
            gateway.stage.recorder.logger = Logger(log, level)
            data = await gateway.talk(post(BODY % (b"m", b"false"), LAST))
            return data, log.lines

    data, lines = asyncio.run(main())
    (line,) = (line for line in lines if b'"attempts"' in line)
    assert error.error["message"].encode() in data, "the caller hears it either way"
    assert (b"it said so" in line) == (is_always_told or level == "debug")
    attempt = json.loads(line)["attempts"][0]
    assert (attempt["kind"], attempt["cause"]) == (error.kind, error.cause)
    assert PROMPT.encode() not in line


def test_a_code_that_is_in_our_list_is_told():
    error = ProviderError(ErrorKind.CALLER, "x", error=error_object("x", code="model_not_found"), status=404)

    async def main():
        async with Listening({"a": ScriptedTransport(Answer(fails=error))}) as gateway:
            await gateway.talk(post(BODY % (b"m", b"false"), LAST))
            return gateway.stage.log.lines

    (line,) = asyncio.run(main())
    assert json.loads(line)["code"] == "model_not_found"


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level, count):
    log = Lines()
    logger = Logger(log, level)
    logger.info("a")
    logger.warning("b")
    logger.error("c")
    assert [json.loads(line)["event"] for line in log.lines] == ["a", "b", "c"][3 - count :]


class Blocked:
    """A stream whose reader has stopped until `opened`."""

    def __init__(self):
        self.opened, self.entered = threading.Event(), threading.Event()
        self.data = b""

    def write(self, data):
        self.entered.set()
        self.opened.wait(60)
        piece = bytes(data[:7000])  # as a pipe does: a part of it
        self.data += piece
        return len(piece)


def test_a_blocked_reader_blocks_nobody_and_what_is_lost_is_counted():
    stream, dropped = Blocked(), []
    writer = BatchWriter(stream, interval_s=0.001, on_dropped=dropped.append)
    writer.write(b"first")
    assert stream.entered.wait(20), "it hangs in the stream now"
    began = time.perf_counter()
    for number in range(_MAX_WAITING_LINES + 500):
        writer.write(b"%d" % number)
    assert time.perf_counter() - began < 20, "the reader has stopped for a minute"
    assert sum(dropped) == 500
    stream.opened.set()
    writer.close()
    assert stream.data == b"first\n" + b"".join(b"%d\n" % n for n in range(_MAX_WAITING_LINES))


def test_lines_that_wait_take_little_more_than_their_length():
    """What makes the JSON writes into a buffer of many times the line, and hardly gives back the rest."""
    gone = threading.Event()

    class Stopped:
        def write(self, data):
            gone.wait()
            return len(data)

    log = Logger(BatchWriter(Stopped(), interval_s=0.001), "info")
    before = resident_bytes()
    for number in range(10_000):
        log.info("request", request_id=f"req-{number}", words="x" * 400)
    assert resident_bytes() - before < 20 * 2**20, "4.5 MB of lines"
    gone.set()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_reader_that_is_gone_is_counted_as_well():
    reading, writing = os.pipe()
    os.close(reading)
    dropped = []
    with io.FileIO(writing, "wb") as stream:
        writer = BatchWriter(stream, interval_s=0.001, on_dropped=dropped.append)
        for _ in range(3):
            writer.write(b"x")
        writer.close()
    assert sum(dropped) == 3
