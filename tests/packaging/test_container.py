"""The Dockerfile, as far as it can be judged without a container engine."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.fakes.gateway import GatewayPool, free_port
from tests.packaging.conftest import ROOT

_INSTRUCTIONS = [
    tuple(line.split(None, 1))
    for line in re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _all(name: str) -> list[str]:
    return [rest for instruction, rest in _INSTRUCTIONS if instruction == name]


def _copied() -> set[str]:
    """What is taken from the checkout."""
    return {
        source.removeprefix("./").rstrip("/")
        for rest in _all("COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    }


def _ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text().split()


def test_every_copied_file_exists() -> None:
    missing = [source for source in _copied() if not (ROOT / source).exists()]
    assert not missing
    assert not _copied() & set(_ignored())


def test_all_that_the_wheel_needs_is_copied() -> None:
    packages = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    project = _PROJECT["project"]
    assert {*packages, "pyproject.toml", project["readme"], *project["license-files"]} <= _copied()


def test_whatever_is_installed_has_a_hash() -> None:
    commands = [part for rest in _all("RUN") for part in rest.split("&&") if "pip install" in part]
    assert commands
    for command in commands:
        assert "--require-hashes" in command or {"--no-deps", "--no-index"} <= set(command.split())
    (wheel,) = [part for rest in _all("RUN") for part in rest.split("&&") if "pip wheel" in part]
    assert {"--no-deps", "--no-build-isolation"} <= set(wheel.split())


def test_runs_as_nobody_special_from_a_safe_path() -> None:
    environ = dict(pair.split("=", 1) for rest in _all("ENV") for pair in rest.split())
    assert environ["PYTHONSAFEPATH"] == "1"
    assert environ["SIGNALBOX_HOST"] == "0.0.0.0"
    assert environ["SIGNALBOX_PORT"] == _all("EXPOSE")[0]
    assert _all("USER")
    assert _all("USER")[-1] not in ("root", "0")
    assert [rest for instruction, rest in _INSTRUCTIONS if instruction == "FROM"][-1] == "python:3.11-slim"


def test_both_stages_have_the_same_python() -> None:
    assert len({rest.split()[0] for rest in _all("FROM")}) == 1


def _probe(port: int) -> int:
    (healthcheck,) = _all("HEALTHCHECK")
    command = json.loads(healthcheck.partition(" CMD ")[2])
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SIGNALBOX_PORT": str(port)}
    return subprocess.run(command, env=environ, capture_output=True, timeout=90, check=False).returncode


def test_health_check_tells_a_running_gateway_from_none(gateways: GatewayPool) -> None:
    assert _probe(gateways.get(None).port) == 0
    assert _probe(free_port()) != 0
