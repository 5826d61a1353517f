"""A process that has imported what the gateway imports, and becomes a gateway in a fork of itself whenever asked.

Most of a start is the same each time: imports, the models of the configuration, the roots of TLS, the tables by which
tokens are counted. A fork finds these made and nothing else: it is a process of its own, gets the working folder,
environment, output files and arguments of the request, and then runs the file of the console script to its end, as
Python does with `python -P signalbox serve`.

Run as a script, with the numbers of a socket that listens and of a pipe. Whoever connects, such as a worker of pytest,
gets a fork of its own to ask. Requests and answers are JSON, one a packet: `{"start": ..., ...}` forks once more (see
`_become`) and answers `{"pid": ...}`; `{"reap": pid}` answers with the exit status as `subprocess` gives it, None while
the process runs. Until it was asked for, a dead process stays a zombie, so its number is not given to another. When a
connection closes, which it also does when whoever asks is killed, its fork ends and takes the gateways that still run
with it. When the pipe closes, this process ends.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from gateway.cli.launch import import_all
from gateway.cli.source import open_source
from providers.tokens import EncodingName, load_encoding
from providers.transport import HttpTransport

_PACKET = 1 << 18
_EXAMPLE = Path(__file__).parents[2] / "signalbox.example.yaml"  # has every section


def _one_for_each(listener: socket.socket, lifeline: int) -> socket.socket:
    """Returns in every fork, with the connection it is for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how the forks ended
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    while not any(file == lifeline for file, _ in poll.poll()):
        channel, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(lifeline)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return channel
        channel.close()
    os._exit(0)


def _answer_until_forked(channel: socket.socket) -> dict[str, Any]:
    """Answers requests, and returns once in every fork: with what it was started for."""
    running: set[int] = set()
    while packet := channel.recv(_PACKET):
        request = json.loads(packet)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                channel.close()
                return request
            running.add(pid)
            channel.send(json.dumps({"pid": pid}).encode())
        else:
            pid, status = os.waitpid(request["reap"], os.WNOHANG)
            running.discard(pid)
            channel.send(json.dumps({"status": os.waitstatus_to_exitcode(status) if pid else None}).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _become(*, start: list[str], folder: str, env: dict[str, str], stdout: str, stderr: str) -> None:
    """Run the script `start[0]` with the arguments after it, as if this process had been made for it."""
    for number, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = start
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(start[0], run_name="__main__")


def _make_ready() -> None:
    """Everything that the first start of a process makes for good."""
    import_all()
    import_module("gateway.cli.main")
    example = open_source(_EXAMPLE, {}, _EXAMPLE.parent)
    example.load(example.read())
    HttpTransport(connect_s=1.0)
    for encoding in get_args(EncodingName):
        load_encoding(encoding)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is for pytest, which then closes the socket
    _make_ready()
    gc.collect()
    gc.freeze()  # else the first collection of every fork would copy all of this
    _become(**_answer_until_forked(_one_for_each(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))))
