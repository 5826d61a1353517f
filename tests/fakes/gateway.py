"""The real gateway as a process of its own: started on a free port, watched, asked and stopped by a test."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import forked
from tests.fakes.http import Answer, send

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("signalbox")
ADMIN_KEY = "admin-secret-of-the-tests"
_START_S = 60.0
_STOP_S = 30.0
_PATIENCE_S = 20.0  # for what takes milliseconds on a quiet machine
_IDLE_GATEWAYS = 4  # more than any one test uses


class Gateway:
    """Use as a context manager. `config` is the configuration file as data, as YAML text, or None for no file.

    With `has_admin_port` the control plane has a listener of its own.
    `env` adds to, or replaces, what the process gets; nothing of the developer's own environment that could change the
    outcome is passed on.

    The process is forked from a server that has done the imports (tests/fakes/fork_server.py), in a sixth of the time.
    With `is_fresh` it is started anew as an operator does: whoever measures memory or the start itself wants that.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        has_admin_port: bool = False,
        is_fresh: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="signalbox-test-")
        self.folder = Path(self._folder.name)
        self.config_path = self.folder / "signalbox.yaml"
        self._has_config = config is not None
        if config is not None:
            self.write(config)
        self._env = dict(env or {})
        self._workers = workers
        self._process: subprocess.Popen[bytes] | forked.Forked | None = None
        self._is_forked = not is_fresh and forked.can_fork_for(self._env)
        self.port = 0
        self.admin_port: int | None = None
        self._has_admin_port = has_admin_port

    def __enter__(self) -> Self:
        for is_last in (False, True):
            self.port = free_port()
            self.admin_port = free_port() if self._has_admin_port else None
            self._start()
            if self._is_ready_in(_START_S):
                return self
            output = self.output()
            self.stop()
            # Somebody else may have taken the port between choosing and listening.
            if is_last or "in use" not in output:
                self._folder.cleanup()
                raise AssertionError(f"the gateway did not become ready:\n{output[-3000:]}")
        raise AssertionError("unreachable")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def base_url(self) -> str:
        """What a client is configured with."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where the control plane is."""
        return self.root_url if self.admin_port is None else f"http://127.0.0.1:{self.admin_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write(self, config: Mapping[str, Any] | str) -> None:
        """Replace the configuration file in one step, as an editor or a deployment does."""
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        new = self.config_path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config_path)

    def chat(self, model: str, text: str = "hello", *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """One chat call with a single user message."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]} | more
        return send(f"{self.base_url}/chat/completions", body, headers=headers)

    def admin(self, path: str, body: Any = None, *, method: str | None = None) -> Answer:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return send(f"{self.admin_url}/admin/{path}", body, method=method, headers=headers)

    def reload(self) -> Answer:
        """Ask for a reload over HTTP; the answer says how it went."""
        return self.admin("reload", {})

    def forget_trouble(self) -> None:
        """Close the breakers that earlier tests opened, and end the pauses: providers that changed start over."""
        state = send(f"{self.root_url}/readyz").json
        if not state.get("deployments") or not self._has_config:
            return
        config = yaml.safe_load(self.config_path.read_text())
        usual_s = config.get("policies", {}).get("timeouts", {}).get("connect_s", 5)
        for provider in config["providers"].values():
            limits = provider.setdefault("timeouts", {})
            limits["connect_s"] = limits.get("connect_s", usual_s) + 0.001
        self.write(config)
        assert self.reload().status == 200
        assert not send(f"{self.root_url}/readyz").json.get("deployments")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def metrics(self, only: str | None = None) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Every sample of /metrics, or those of one name: name -> (labels, value). The page has to be valid."""
        answer = send(f"{self.admin_url}/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert answer.status == 200, answer.body
        text = answer.body.decode()
        if only is not None:  # a page of many deployments takes longer to parse than to make
            text = "".join(
                line for line in text.splitlines(keepends=True) if line.startswith((f"{only}{{", f"{only} "))
            )
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of one series that carry these labels; 0 where there is none."""
        found = self.metrics(name).get(name, [])
        return sum(value for have, value in found if labels.items() <= have.items())

    def wait_metric(self, name: str, at_least: float, *, timeout_s: float = _PATIENCE_S, **labels: str) -> float:
        """Poll until a counter has come this far; what is recorded after an answer needs a moment."""
        deadline = time.monotonic() + timeout_s
        while (value := self.metric(name, **labels)) < at_least:
            assert time.monotonic() < deadline, f"{name} {labels} is {value} after {timeout_s} s, not {at_least}"
            time.sleep(0.02)
        return value

    def output(self) -> str:
        """All that the process has printed, both streams."""
        files = (self.folder / "stdout", self.folder / "stderr")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def logs(self) -> list[dict[str, Any]]:
        """The structured lines among the output, oldest first."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def wait_log(self, request_id: str, timeout_s: float = _PATIENCE_S) -> dict[str, Any]:
        """The log line of one request. Fails if it is not written."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.logs():
                if line.get("request_id") == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no log line for {request_id} in:\n{self.output()[-4000:]}")

    def memory_bytes(self) -> int:
        """Resident memory of the process and its workers."""
        return sum(_resident(pid) for pid in (self.pid, *self.children()))

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def ended(self) -> int:
        """Wait for the end that a signal asked for: one more would cut what is under way. Returns the exit status."""
        assert self._process is not None
        return self._process.wait(_STOP_S)

    def stop(self) -> int:
        """End the process as a supervisor does. Returns its exit status."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def _start(self) -> None:
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        env |= {
            "SIGNALBOX_HOST": "127.0.0.1",
            "SIGNALBOX_PORT": str(self.port),
            "SIGNALBOX_WORKERS": str(self._workers),
            "SIGNALBOX_ADMIN_KEY": ADMIN_KEY,
            "SIGNALBOX_STATE_DIR": str(self.folder / "state"),
            "SIGNALBOX_DRAIN_S": "3",
            "SIGNALBOX_MAX_SERIES": "200000",  # many tests share a gateway, each with names of its own
            "SIGNALBOX_LAME_DUCK_S": "0",
        }
        if self._has_config:
            env["SIGNALBOX_CONFIG"] = str(self.config_path)
        if self.admin_port is not None:
            env["SIGNALBOX_ADMIN_PORT"] = str(self.admin_port)
        env |= self._env
        command = [str(PROGRAM), "serve"]
        stdout, stderr = self.folder / "stdout", self.folder / "stderr"
        if self._is_forked:
            self._process = forked.of_this_process().start(
                command, folder=self.folder, env=env, stdout=stdout, stderr=stderr
            )
            return
        # -P as in the container: a file named like one of our packages in the working folder must not be imported.
        command = [sys.executable, "-P", *command]
        with stdout.open("wb") as out, stderr.open("wb") as err:
            self._process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=out, stderr=err)

    def _is_ready_in(self, timeout_s: float) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if send(f"{self.admin_url}/readyz", timeout_s=5).status == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.02)
        return False


class GatewayPool:
    """Gateways by configuration, started when first asked for.

    The few that were asked for last go on running: one that nobody asks costs little, but many for a whole session
    cost more than starting some of them again.
    """

    def __init__(self) -> None:
        self._running: dict[str, Gateway] = {}  # who was asked for last stands last
        self._kept: set[str] = set()
        self._failed: dict[str, AssertionError] = {}

    def get(
        self,
        config: Mapping[str, Any] | None,
        *,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        is_kept: bool = False,
    ) -> Gateway:
        """For the test that asks. With `is_kept` it runs to the end of the session."""
        key = json.dumps([config, dict(env or {}), workers], sort_keys=True)
        if key in self._failed:  # said once more, but not tried once more for every test
            raise AssertionError(f"as before: {str(self._failed[key])[-200:]}")
        if is_kept:
            self._kept.add(key)
        if key in self._running:
            gateway = self._running[key] = self._running.pop(key)
            gateway.forget_trouble()
            return gateway
        try:
            gateway = self._running[key] = Gateway(config, env=env, workers=workers).__enter__()
        except AssertionError as failed:
            self._failed[key] = failed
            raise
        leaving = [key for key in self._running if key not in self._kept][:-_IDLE_GATEWAYS]
        for key in leaving:
            self._running.pop(key).__exit__(None, None, None)
        return gateway

    def close(self) -> None:
        for gateway in self._running.values():
            gateway.__exit__(None, None, None)


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
