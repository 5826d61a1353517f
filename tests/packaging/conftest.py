"""The wheel as a user gets it, installed in an environment where nothing of this checkout can be found."""

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installation:
    """`bin` has `python` and `signalbox`; `packages` is where the wheel was unpacked."""

    wheel: Path
    bin: Path
    packages: Path

    def run(self, *command: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, without anything of the developer's Python settings."""
        command = (str(self.bin / command[0]), *command[1:])
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **(env or {})}
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installed")
    _python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    _python("-m", "venv", "--without-pip", str(environment))
    python = environment / "bin/python"
    _python("-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # The dependencies are lent by the development environment. Its own .pth files are not read this way, so its
    # editable installation of this project stays out.
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installation(wheel, environment / "bin", packages)


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A folder with files that have the names of our packages, and fail when they are imported."""
    for name in ("config", "policies", "providers", "routing", "gateway"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a decoy was imported')\n")
    return tmp_path


def _python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
