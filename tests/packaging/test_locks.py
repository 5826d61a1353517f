"""The lock files: complete, by hash, tied to no machine, and about the project as it is now."""

import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.conftest import ROOT

_LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_LINUX = {
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "python_version": "3.11",
    "python_full_version": "3.11.9",
}
# A dependency is a risk that somebody else manages; more than this needs a reason.
_MOST_AT_RUN_TIME = 37


def _entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned package with its hashes."""
    lines = re.sub(r" \\\n\s*", " ", (ROOT / name).read_text()).splitlines()
    found = []
    for line in lines:
        if line and not line.lstrip().startswith("#"):
            pin, *hashes = line.split(" --hash=")
            found.append((Requirement(pin), hashes))
    return found


def _pins(name: str) -> dict[str, str]:
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin, _ in _entries(name)}


@pytest.mark.parametrize("name", _LOCKS)
def test_every_line_is_one_version_with_hashes(name: str) -> None:
    entries = _entries(name)
    assert entries
    for pin, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), pin


@pytest.mark.parametrize("name", _LOCKS)
def test_no_address_and_no_path(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--index-url|--find-links|--extra-index-url|(?:^|\s)/\w", text)


def _fit(wanted: Iterable[str], pins: dict[str, str]) -> list[str]:
    """The requirements that the pins do not meet."""
    requirements = [Requirement(text) for text in wanted]
    return [
        str(requirement)
        for requirement in requirements
        if canonicalize_name(requirement.name) != _PROJECT["project"]["name"]
        and not _holds(requirement, pins.get(canonicalize_name(requirement.name)))
    ]


def _holds(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version)


def test_locks_meet_the_project() -> None:
    project = _PROJECT["project"]
    assert not _fit(project["dependencies"], _pins("requirements.lock"))
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    assert not _fit([*project["dependencies"], *extras], _pins("requirements-dev.lock"))
    assert not _fit(_PROJECT["dependency-groups"]["build"], _pins("requirements-build.lock"))
    assert not _fit(_PROJECT["build-system"]["requires"], _pins("requirements-build.lock"))


def test_locks_agree() -> None:
    development = _pins("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-build.lock"):
        pins = _pins(name)
        differing = {package for package in pins.keys() & development.keys() if pins[package] != development[package]}
        assert not differing
    assert _pins("requirements.lock").keys() <= development.keys()


def test_few_packages_at_run_time() -> None:
    names = [pin.name for pin, _ in _entries("requirements.lock") if pin.marker is None or pin.marker.evaluate(_LINUX)]
    assert len(names) <= _MOST_AT_RUN_TIME, names


def test_the_demo_is_an_extra() -> None:
    """What only the demo needs is not on a server."""
    demo = {canonicalize_name(Requirement(text).name) for text in _PROJECT["project"]["optional-dependencies"]["demo"]}
    assert not demo & _pins("requirements.lock").keys()
