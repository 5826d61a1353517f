"""How files are named, how long they are, and what must not be in them."""

import re
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, all_files, name_of, own_files

_MAX_LINES = 400
_VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base_utils"}
_GENERATED = re.compile(r"\.lock$|package-lock\.json$|\.tiktoken$|peers/litellm\.txt$")
# Put together from pieces, so that this file does not find itself.
_FORBIDDEN = {
    "a note of unfinished work": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"),
    "a path of somebody's machine": re.compile(
        r"(?<![\w.~}\])*/-])/(?:ho" r"me|Us" r"ers|ro" r"ot|wo" r"rk|mn" r"t)/\w"
    ),
    "the host of a package registry": re.compile(r"\b(?:py" r"pi\.org|python" r"hosted\.org|npm" r"js\.(?:org|com))"),
}


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in all_files():
        data = path.read_bytes()
        if b"\0" not in data[:8192] and not re.search(r"\.tiktoken$", path.name):
            found.append((name_of(path), data.decode("utf-8", "replace")))
    return found


def test_files_are_short() -> None:
    lengths = {name: text.count("\n") for name, text in _texts() if not _GENERATED.search(name) and name != "LICENSE"}
    checked = {name: length for name, length in lengths.items() if name.endswith((".py", ".mjs", ".sh", ".yaml"))}
    assert checked
    assert {name: length for name, length in checked.items() if length > _MAX_LINES} == {}


def test_package_markers_are_empty() -> None:
    assert [name_of(path) for path in all_files() if path.name == "__init__.py" and path.stat().st_size] == []


def test_every_package_has_its_marker() -> None:
    """A folder without one would be a namespace that any other folder of that name can join."""
    folders = {path.parent for path in own_files()}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_file_is_named_vaguely() -> None:
    vague = [name_of(path) for path in all_files() if {path.stem, *path.relative_to(ROOT).parent.parts} & _VAGUE_NAMES]
    assert vague == []


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_nothing_forbidden_is_written_down(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _texts()
        if not _GENERATED.search(name)
        for number, line in enumerate(text.splitlines(), 1)
        if _FORBIDDEN[what].search(line)
    ]
    assert found == []


def test_locks_name_no_registry() -> None:
    """Package managers write addresses into lock files unless told otherwise."""
    registry = _FORBIDDEN["the host of a package registry"]
    assert [name for name, text in _texts() if _GENERATED.search(name) and registry.search(text)] == []


def test_nothing_is_copied_beside_the_repository() -> None:
    """No link leads out of the checkout."""
    links = [path for path in all_files() if path.is_symlink()]
    assert [name_of(path) for path in links if not Path(path).resolve().is_relative_to(ROOT)] == []
