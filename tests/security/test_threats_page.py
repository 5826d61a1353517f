"""THREATS.md names tests that exist, and every file of this folder is named there."""

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "THREATS.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`([a-z0-9_]+/[a-z0-9_/]+\.py)`", _PAGE))
    assert len(named) > 20
    assert not [name for name in named if not (_ROOT / "tests" / name).is_file()]


def test_every_test_here_is_named() -> None:
    here = {f"security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert not [name for name in here - {f"security/{Path(__file__).name}"} if f"`{name}`" not in _PAGE]


def test_every_class_says_what_stands_against_it() -> None:
    sections = _PAGE.split("\n## ")[1:]
    assert len(sections) > 12
    assert not [section.split("\n")[0] for section in sections if ".py`" not in section]
