"""Every file of `mistakes/` is a configuration and what Signalbox says about it; `WRITE_EXPECTED=1` writes it anew."""

import os
from pathlib import Path

import pytest

from config.load import load_bytes

KINDS = ("anthropic", "azure", "gemini", "groq", "mock", "openai", "openai_compatible")
_CASES = sorted((Path(__file__).parent / "mistakes").glob("*.txt"))
_RULE = "=" * 40 + " says\n"
_ENVIRONMENT = "# environment: "


def _answer(text: str) -> str:
    first = text.partition("\n")[0]
    words = first.removeprefix(_ENVIRONMENT).split() if first.startswith(_ENVIRONMENT) else []
    environ = dict(word.split("=", 1) for word in words)
    loaded = load_bytes(text.encode(), file="signalbox.yaml", environ=environ, known_kinds=KINDS)
    blocks = [diagnostic.to_text() for diagnostic in loaded.diagnostics]
    verdict = "cannot be used" if loaded.config is None else "can be used"
    return "\n\n".join([*blocks, verdict]) + "\n"


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.stem)
def test_a_mistake_is_explained(case: Path) -> None:
    text, _, expected = case.read_text("utf-8").partition(_RULE)
    answer = _answer(text)
    if os.environ.get("WRITE_EXPECTED"):
        case.write_text(text + _RULE + answer, "utf-8")
        return
    assert answer == expected


def test_there_are_cases() -> None:
    assert len(_CASES) >= 25
