"""The benchmark itself works: a run of a second measures every figure, and a broken answer is seen."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import payloads
from benchmarks.generator import Job, perform
from benchmarks.network import PACING
from benchmarks.processes import free_port, start
from benchmarks.subjects import ROOT, own_environ


def _run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    output = tmp_path / "load.json"
    command = [sys.executable, "-m", "benchmarks.load", "--quick", "--rounds", "1", "--seconds", "0.2"]
    done = subprocess.run(
        [*command, *arguments, "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_tiny_run_measures_the_gateway_beside_the_yardstick(tmp_path: Path) -> None:
    found = _run(
        tmp_path,
        *("--scenario", "plain", "stream", "streams-1000", "--crowd", "20", "--pause-ms", "5"),
        *("--subjects", "bare", "gateway", "--transport", "http"),
    )
    results = {(one["scenario"], one["subject"]): one for one in found["results"]}
    assert set(results) == {(s, n) for s in ("plain", "stream", "streams-1000") for n in ("bare", "gateway")}
    for one in results.values():
        assert one["requests"] > 0
        assert (one["wrong"], one["broken"]) == (0, 0)
        assert one["cpu_us"]["median"] > 0
        assert one["peak_rss_mb"] > 10
    assert results["plain", "gateway"]["cpu_ratio_to_bare"]["median"] > 0
    assert results["streams-1000", "gateway"]["requests"] == 20
    assert {start["server"] for start in found["starts"]} == {"bare", "gateway"}
    if os.geteuid() == 0:  # who may not, is told that the figures will suffer
        assert found["machine"]["tcp"] not in PACING
    text = json.dumps(found)
    for place in (socket.gethostname(), str(ROOT), str(tmp_path)):
        assert place not in text, "results name no place"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by the openssl command")
def test_upstream_over_tls(tmp_path: Path) -> None:
    found = _run(tmp_path, "--scenario", "plain", "--subjects", "bare", "gateway", "--transport", "tls")
    assert [(one["subject"], one["transport"]) for one in found["results"]] == [("bare", "tls"), ("gateway", "tls")]


def test_generator_counts_every_answer_of_the_upstream(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    server = start(command, port, None, environ=own_environ(), within_s=60, folder=tmp_path)
    try:
        whole = asyncio.run(perform(Job(port, "m", connections=3, duration_s=10, max_requests=50)))
        streams = asyncio.run(
            perform(Job(port, "m", connections=3, duration_s=10, max_requests=6, chunks=30, pause_ms=1))
        )
    finally:
        server.stop()
    assert (whole.requests, whole.failed, whole.broken) == (50, 0, 0)
    assert (streams.requests, streams.failed, streams.broken) == (6, 0, 0)
    assert streams.first_p50_ms is not None


def test_generator_tells_wrong_answers_and_broken_connections() -> None:
    async def scenario() -> tuple[Any, Any]:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno")
            await reader.read()
            writer.close()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()

        results = []
        for behaviour in (refuse, hang_up):
            server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            results.append(await perform(Job(port, "m", connections=1, duration_s=5, max_requests=1)))
            server.close()
        return results[0], results[1]

    refused, dropped = asyncio.run(scenario())
    assert (refused.requests, refused.failed) == (1, 1)
    assert "500" in refused.example
    assert (dropped.requests, dropped.broken) == (0, 1)


@pytest.mark.parametrize("damage", ["lost", "swapped", "no end", "twice"])
def test_damaged_stream_is_noticed(damage: str) -> None:
    frames = list(payloads.stream_frames(10, has_usage=False))
    assert payloads.is_unbroken(b"".join(frames), 10)
    if damage == "lost":
        del frames[4]
    elif damage == "swapped":
        frames[4], frames[5] = frames[5], frames[4]
    elif damage == "no end":
        frames[-1] = frames[-1].replace(b"data: [DONE]\n\n", b"")
    else:
        frames.insert(4, frames[4])
    assert not payloads.is_unbroken(b"".join(frames), 10)


def test_padded_request_has_the_size_that_was_asked_for() -> None:
    size = len(payloads.chat_request("m", min_bytes=100_000))
    assert 100_000 <= size <= 105_000
