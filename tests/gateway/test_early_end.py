"""A process that is told to end before it serves: nothing was begun, so it is a clean end."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.fakes.gateway import PROGRAM, free_port
from tests.gateway.test_serving import wait_until

pytestmark = pytest.mark.e2e
CONFIG = b"providers: {sim: {kind: mock}}\n"


def wait_for_reader(fifo):
    """The writing end of the pipe, as soon as somebody reads; whoever reads next finds another pipe in its place."""

    def opened():
        with suppress(OSError):  # nobody reads yet
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        return None

    writer = wait_until(opened)
    following = fifo.with_suffix(".next")
    os.mkfifo(following)
    following.replace(fifo)
    return writer


def start(tmp_path, *options):
    """A gateway that waits for its configuration, and the pipe through which it comes."""
    fifo = tmp_path / "signalbox.yaml"
    os.mkfifo(fifo)
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    env |= {"SIGNALBOX_WATCH": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", str(PROGRAM), "serve", "--config", str(fifo), "--port", str(free_port()), *options]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT), fifo


# The file is read by the command, which shows what is wrong with it, and then by each process that serves.
@pytest.mark.parametrize(("reads", "workers"), [(0, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_while_it_starts_is_a_clean_end(tmp_path, number, reads, workers):
    process, fifo = start(tmp_path, "--workers", str(workers))
    with process:
        try:
            for _ in range(reads):
                writer = wait_for_reader(fifo)
                os.write(writer, CONFIG)
                os.close(writer)
            writer = wait_for_reader(fifo)
            process.send_signal(number)
            os.close(writer)  # it may be on its way into the reading, where a signal that is there already wakes nobody
            assert process.wait(20) == 0
            said = process.stdout.read().decode()
            assert "Traceback" not in said
            assert "Aborted" not in said
        finally:
            process.kill()


def test_the_command_heeds_signals_before_it_loads_anything():
    """Most of a start is imports. Without a handler the first process of a container would never hear the signal."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'config.settings':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from gateway.cli.main import main\n"
        "main(['serve'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
