"""The installed wheel: complete, quick to start, and not fooled by files with the names of our packages."""

import json
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

from gateway import intruders
from tests.packaging.conftest import ROOT, Installation

pytestmark = pytest.mark.xdist_group("packaging")

_PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "packages"
]
_SERVER_LIBRARIES = (
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pyreqwest", "prometheus_client", "watchfiles"),
    *("redis", "genai_prices", "tiktoken", "httpx2", "openai", "rich"),
)
_IMPORTED = """
import json, sys
from gateway.cli.main import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    print(json.dumps({"code": end.code, "imported": [name for name in json.loads(sys.argv[1]) if name in sys.modules]}))
"""


def test_wheel_has_every_file_of_our_packages_and_nothing_else(installation: Installation) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *_PACKAGES],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    expected = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    with ZipFile(installation.wheel) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_wheel_carries_licence_and_command(installation: Installation) -> None:
    with ZipFile(installation.wheel) as wheel:
        names = {name.partition(".dist-info/")[2] for name in wheel.namelist()}
    assert {"licenses/LICENSE", "METADATA", "entry_points.txt"} <= names


def test_version_beside_decoys(installation: Installation, decoys: Path) -> None:
    done = installation.run("signalbox", "--version", cwd=decoys)
    assert (done.stdout, done.stderr) == (f"signalbox {version('signalbox-gateway')}\n", "")


def test_check_beside_decoys(installation: Installation, decoys: Path) -> None:
    done = installation.run("signalbox", "check", str(ROOT / "signalbox.example.yaml"), cwd=decoys)
    assert "Traceback" not in done.stderr
    assert "decoy" not in done.stderr


def test_code_comes_from_the_wheel(installation: Installation, decoys: Path) -> None:
    code = "import config.load, gateway.cli.main; print(config.load.__file__); print(gateway.cli.main.__file__)"
    done = installation.run("python", "-P", "-c", code, cwd=decoys)
    found = [Path(line) for line in done.stdout.splitlines()]
    assert len(found) == 2, done.stderr
    assert all(path.is_relative_to(installation.packages) for path in found)


@pytest.mark.parametrize("arguments", [["--version"], ["check", "signalbox.yaml"], ["schema"]])
def test_quick_commands_load_no_server_library(
    installation: Installation, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "signalbox.yaml").write_text("providers: {sim: {kind: mock}}\n")
    libraries = json.dumps(_SERVER_LIBRARIES)
    done = installation.run("python", "-P", "-c", _IMPORTED, libraries, *arguments, cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "imported": []}, done.stderr


@pytest.mark.parametrize("name", intruders.PACKAGES)
def test_an_intruder_is_named(installation: Installation, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('a decoy was imported')\n")
    work = tmp_path / "work"
    work.mkdir()
    for command in (["serve", "--port", "0"], ["check"]):
        done = installation.run("signalbox", *command, cwd=work, env={"PYTHONPATH": str(tmp_path)})
        assert done.returncode == 1
        assert str(tmp_path / f"{name}.py") in done.stderr
        assert "PYTHONPATH" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_intruding_folder_is_named(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing/__init__.py").touch()
    done = installation.run("signalbox", "check", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert f"'routing' would be imported from {tmp_path / 'routing'}" in done.stderr


def test_a_plain_folder_of_the_same_name_does_no_harm(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    done = installation.run("signalbox", "--version", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr


def test_a_missing_package_is_named() -> None:
    found = intruders.find(["no_package_of_this_name"])
    assert found == {"no_package_of_this_name": None}
    assert "install signalbox-gateway again" in intruders.describe(found)


def test_all_packages_are_watched() -> None:
    assert sorted([*intruders.PACKAGES, "gateway"]) == sorted(_PACKAGES)
    assert intruders.find() == {}
