"""A real redis-server on loopback that can die, freeze and come back; and a line to it that can be slow or break."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fakes.gateway import free_port

PROGRAM = "redis-server"
_PATIENCE_S = 20.0


class RedisServer:
    """Use as a context manager. What was written is in an append-only file and survives `kill`."""

    def __init__(self, *options: str) -> None:
        if shutil.which(PROGRAM) is None:
            assert not os.environ.get("CI"), f"{PROGRAM} is not on this machine; .ci/packages installs it"
            pytest.skip(f"{PROGRAM} is not on this machine")
        self._folder = tempfile.TemporaryDirectory(prefix="signalbox-redis-")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.url = ""

    def __enter__(self) -> Self:
        for _ in range(5):
            self.port = free_port()
            with contextlib.suppress(AssertionError):  # somebody else took the port meanwhile
                self.start()
                break
        else:
            raise AssertionError(f"{PROGRAM} does not start")
        self.url = f"redis://127.0.0.1:{self.port}/0"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start, with whatever data there is, and wait until it answers."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder.name, "--save", ""]
        # With `everysec` an answer may leave before it is written; here it is written first, and never synced.
        options += ["--appendonly", "yes", "--appendfsync", "no"]
        options += ["--loglevel", "warning", "--logfile", "log", *self._options]
        self._process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            assert self._process.poll() is None, "redis-server ended at once"
            with contextlib.suppress(redis.RedisError):
                if self.ask("PING"):
                    return
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE_S)
            self._process = None

    def revive(self, *, with_data: bool = True) -> None:
        """Start it again at the same address."""
        if not with_data:
            for path in Path(self._folder.name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.start()

    def freeze(self) -> None:
        """It takes connections and bytes, and does nothing with them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """The answer to one command."""
        once = Retry(NoBackoff(), 0)  # else it tries ten times, for a minute and more
        with redis.Redis(port=self.port, socket_timeout=_PATIENCE_S, retry=once) as client:
            return client.execute_command(*command)

    def calls(self, command: str) -> int:
        """How often this command was called from outside of scripts, and inside of them."""
        return int(self.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


class RedisLine:
    """A proxy in front of a port: use as a context manager. `latency_s` delays each answer. Of new connections, the
    share `resets` ends after the first request on them, whose answer is lost: the server has it all the same.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.latency_s = 0.0
        self.resets = 0.0
        self._target = port
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redis-line", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_PATIENCE_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        is_reset = self._random.random() < self.resets
        try:
            source, sink = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._tasks.discard(task)
            writer.transport.abort()
            return
        up = asyncio.ensure_future(_copy(reader, sink))
        down = asyncio.ensure_future(self._answers(source, writer, is_reset=is_reset))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            for half in (up, down):
                half.cancel()
            if is_reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            sink.transport.abort()
            self._tasks.discard(task)

    async def _answers(self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reset: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if is_reset:
                    return
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                writer.write(data)
                await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
