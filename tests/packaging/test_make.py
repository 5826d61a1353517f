"""The entry points of a checkout: the Makefile's targets and what continuous integration runs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

_TARGETS = ("install", "demo", "serve", "test", "check", "format", "bench", "bench-peers", "clean")


def _recipe(target: str) -> str:
    """What `make` would run, as if nothing was installed yet."""
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", _TARGETS)
def test_target_exists_and_is_no_file(target: str) -> None:
    assert _recipe(target)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target in phony.split()


@pytest.mark.parametrize("target", ["demo", "test", "check", "serve"])
def test_target_starts_from_nothing(target: str) -> None:
    recipe = _recipe(target)
    made, installed = recipe.index("-m venv .venv"), recipe.index("--require-hashes -r requirements-dev.lock")
    assert made < installed < recipe.index("-e .")


def test_test_checks_installs_clients_and_runs_everything() -> None:
    recipe = _recipe("test")
    for command in ("ruff format --check", "ruff check", "mypy", "lint-imports", "tests/clients/install.sh", "pytest"):
        assert command in recipe


def test_continuous_integration_is_make_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
    assert "export CI=1" in script.read_text()


@pytest.mark.parametrize(("environ", "code"), [({}, 0), ({"CI": "1"}, 1)])
def test_missing_programs_are_named_and_fail_continuous_integration(
    tmp_path: Path, environ: dict[str, str], code: int
) -> None:
    """On a machine that has none of them, nor Debian's tools to get them."""
    (tmp_path / "id").symlink_to(str(shutil.which("id")))
    shell = str(shutil.which("sh"))
    done = subprocess.run(
        [shell, str(ROOT / ".ci/packages")],
        env={"PATH": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "curl redis-server prometheus promtool" in done.stderr
