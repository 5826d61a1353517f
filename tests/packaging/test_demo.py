"""`signalbox demo` as a newcomer runs it, and what it says when something is not as it should be."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.demo.processes import DemoError, GatewayProcess
from gateway.demo.steps import Stage, client_for, fallback
from tests.packaging.conftest import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("packaging")]

_STEPS = ("easy", "hard", "streamed", "tool call", "tool result", "structured", "embeddings", "wrong name", "fallback")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/v1")
_WITHOUT_OPENAI = "import sys; sys.modules['openai'] = None; from gateway.cli.main import main; main(['demo'])"


def _is_listening(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _ports(output: str) -> list[int]:
    return [int(port) for port in _ADDRESS.findall(output.partition("Next:")[0])]


def test_demo_shows_every_step_and_ends(installation: Installation, decoys: Path) -> None:
    """From the wheel, beside decoys, with the usual port taken and a shell full of settings that must not matter."""
    shell = {
        "OPENAI_API_KEY": "sk-not-for-the-demo",
        "SIGNALBOX_PORT": "8080",
        "SIGNALBOX_CONFIG": "/nowhere.yaml",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "COLUMNS": "110",
    }
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        done = installation.run("signalbox", "demo", cwd=decoys, env=shell)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("why")[2]
    for step in _STEPS:
        assert re.search(rf"^{step} ", table, re.MULTILINE), done.stdout
    assert re.search(
        r"^fallback +auto +south/large +simple +\d\.\d\d +scored 0\.\d\d, then fallback +2 ", table, re.MULTILINE
    )
    for step, chosen, tier in (("easy", "north/small", "simple"), ("hard", "south/large", "complex")):
        told = rf"^{step} +auto +{chosen} +{tier} +\d\.\d\d +scored 0\.\d\d +1 +[1-9]\d* +[1-9][\d.]* +[\d.]+\s*$"
        assert re.search(told, table, re.MULTILINE), done.stdout
        assert (
            f"'{step}' was answered with the header x-signalbox-decision: complexity;route=auto;tier={tier};" in table
        )
    assert re.search(r"^streamed +large +south/large +- +- +asked by name +1 ", table, re.MULTILINE)
    ports = _ports(done.stdout)
    assert len(ports) == 3
    assert not any(_is_listening(port) for port in ports)


def test_demo_that_is_stopped_ends_what_it_started(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("signalbox")
    command = [sys.executable, "-P", "-u", str(program), "demo"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "110"}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while len(_ports(said)) < 3:
            line = process.stdout.readline()
            assert line, f"the demo ended early:\n{said}"
            said += line
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 143
    assert not any(_is_listening(port) for port in _ports(said))


def test_demo_without_its_packages_says_what_to_install() -> None:
    command = [sys.executable, "-P", "-c", _WITHOUT_OPENAI]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1
    assert done.stderr == ("Error: the demo needs openai; install them with: pip install 'signalbox-gateway[demo]'\n")


def test_a_process_that_does_not_start_is_reported(tmp_path: Path) -> None:
    with (
        GatewayProcess("gateway", "gateway.yaml", {}, tmp_path) as process,  # the variables it refers to are missing
        pytest.raises(DemoError, match=r"'gateway' did not start(?s:.*)DEMO_KEY_SHA256"),
    ):
        process.wait_ready()


def test_a_missing_log_line_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.demo.processes._LOG_S", 0.1)
    with GatewayProcess("north", "provider.yaml", {}, tmp_path) as process:
        with pytest.raises(DemoError, match="no log line for request req-nowhere"):
            process.log_line("req-nowhere")
        started = time.monotonic()
    assert time.monotonic() - started < 10


def test_a_step_that_goes_wrong_fails_the_demo(tmp_path: Path) -> None:
    """A fallback that did not happen, because the provider was never taken away."""
    with GatewayProcess("both", "provider.yaml", {}, tmp_path) as providers:
        providers.wait_ready()
        environ = dict.fromkeys(("DEMO_NORTH_URL", "DEMO_SOUTH_URL"), providers.base_url) | {
            "DEMO_KEY_SHA256": sha256(b"any").hexdigest()
        }
        with GatewayProcess("gateway", "gateway.yaml", environ, tmp_path) as gateway:
            gateway.wait_ready()
            never_stopped = cast(GatewayProcess, SimpleNamespace(stop=lambda: None))
            stage = Stage(client_for(gateway.base_url, "any"), gateway, never_stopped)
            with stage.client, pytest.raises(DemoError, match="north/small answered after 1 attempts"):
                fallback(stage)
