"""`signalbox train` as a person meets it."""

import json
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("numpy")

from click.testing import CliRunner, Result

from gateway.cli.main import signalbox
from routing.learned.model_file import load

# scikit-learn takes seconds to import: in one worker only.
pytestmark = [
    pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed"),
    pytest.mark.xdist_group("training"),
]


def train(file: Path, out: Path, *options: str) -> Result:
    # By way of the whole program: click remembers how a command's help option was first made.
    return CliRunner().invoke(signalbox, ["train", str(file), "--out", str(out), *options], prog_name="signalbox")


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    lines = []
    for number in range(120):
        is_hard = number % 2 == 0
        text = "prove the lemma, because it must hold" if is_hard else "say hello"
        scores = {"small": float(not is_hard or number % 10 == 0), "big": float(number % 15 > 0)}
        lines.append(
            json.dumps({"prompt": f"{text} {chr(97 + number % 26)}{chr(97 + number // 26)}", "scores": scores})
        )
    path = tmp_path / "feedback.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_it_writes_a_file_once_and_then_only_a_better_one(feedback: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.router"
    first = train(feedback, out)
    assert first.exit_code == 0, first.output
    assert "classifier" in first.output
    assert "no more than chance" not in first.output
    written = out.read_bytes()
    assert load(written).models == ("big", "small")

    second = train(feedback, out)
    assert second.exit_code == 1
    assert "not better than the one at" in second.output
    assert out.read_bytes() == written

    assert train(feedback, out, "--force").exit_code == 0
    assert out.read_bytes() == written, "the same rows give the same file"


def test_a_file_that_is_no_router_is_replaced(feedback: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.router"
    out.write_bytes(b"something else")
    result = train(feedback, out)
    assert result.exit_code == 0, result.output
    assert "nothing to compare with" in result.output


def test_where_no_model_is_ahead_the_report_says_so(tmp_path: Path) -> None:
    path, chance = tmp_path / "feedback.jsonl", Random(7)
    rows = (
        {"prompt": f"say {n} words", "scores": {name: float(chance.random() < 0.5) for name in ("small", "big")}}
        for n in range(40)
    )
    path.write_text("\n".join(map(json.dumps, rows)))
    assert "no more than chance" in train(path, tmp_path / "x.router", "--force").output


def test_a_folder_that_is_not_there_is_said_before_training(feedback: Path, tmp_path: Path) -> None:
    result = train(feedback, tmp_path / "nowhere" / "x.router")
    assert result.exit_code == 1
    assert "there is no folder" in result.output
    assert "APGR" not in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"prompt": "x", "scores": {"a": 1}}', "a choice needs two models"),
        ('{"prompt": "x", "scores": {"a": 1, "b": 0}}', "training needs at least 20"),
        ('{"prompt": "x", "scores": {"a": 7}}', "line 1: 'scores' of 'a' is 7.0"),
    ],
)
def test_what_cannot_be_trained_on_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text(text)
    result = train(path, tmp_path / "x.router")
    assert result.exit_code == 1
    assert says in result.output
    assert not (tmp_path / "x.router").exists()
