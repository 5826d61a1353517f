"""The routing benchmark reads what is there, and its noise leaves the task as it is."""

import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from benchmarks.routing import data, noise  # noqa: E402
from routing.learned.feedback import assemble  # noqa: E402

# It trains, with scikit-learn, which takes seconds to import: only where it runs, and in one worker.
pytestmark = [
    pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed"),
    pytest.mark.xdist_group("training"),
]


@pytest.fixture
def measure() -> Any:
    from benchmarks.routing import measure

    return measure


@pytest.fixture
def limits() -> Any:
    from benchmarks.routing import limits

    return limits


@pytest.fixture
def peers() -> Any:
    from benchmarks.routing import peers

    return peers


def test_noise_keeps_the_words_or_nearly() -> None:
    text = "Explain carefully why seventeen is a prime number and eighteen is none"
    rng = Random(3)
    assert noise.in_other_case(text, rng).lower() == text.lower()
    assert noise.with_blanks(text, rng).split() == text.split()
    assert text in noise.with_politeness(text, rng)
    typos = noise.with_typos(text, rng, share=1.0)
    assert typos != text
    assert sorted(typos) == sorted(text)


def test_neighbours_with_the_same_words_decide(monkeypatch: pytest.MonkeyPatch, measure: Any) -> None:
    monkeypatch.setattr(measure, "_NEIGHBOURS", 3)
    rows = [
        {"prompt": f"{'red apple' if n % 2 else 'blue sky'} {chr(97 + n)}", "scores": {"a": float(n % 2)}}
        for n in range(12)
    ]
    train, test = assemble(rows), assemble([{"prompt": "red apple", "scores": {"a": 1.0}}])
    assert measure.neighbours(train, test)[0, 0] == 1.0


def test_answers_of_others_to_the_same_questions_tell_what_words_cannot(
    monkeypatch: pytest.MonkeyPatch, limits: Any
) -> None:
    monkeypatch.setattr(limits, "_TREES", 10)
    monkeypatch.setattr(limits, "_RESAMPLES", 20)
    rng = Random(7)
    rows, theirs = [], []
    for number in range(60):
        prompt, is_hard = f"question {number} {rng.choice('abcdef')}", rng.random() < 0.5
        rows.append({"prompt": prompt, "scores": {"big": 1.0, "small": float(not is_hard)}})
        scores = {limits._SAME_MODEL: float(not is_hard), "other": float(rng.random() < 0.5)}
        theirs.append({"prompt": prompt, "scores": scores})
    theirs = [*theirs[::-1], {"prompt": "unknown", "scores": {limits._SAME_MODEL: 1.0, "other": 1.0}}]
    texts, their_texts = ([row["prompt"] for row in some] for some in (rows, theirs))
    found = limits.measure(assemble(rows), texts, assemble(theirs), their_texts, 1)
    assert found["rows"] == 60
    assert found["weak_model_agrees_with_itself"] == 1.0
    is_hard_row = [1.0 - row["scores"]["small"] for row in rows]
    apgr = {name: figures["apgr"] for name, figures in found["orders"].items()}
    assert apgr["forest on the answers"] > apgr["the trained router"] + 0.1
    assert apgr["the weak model's failures in another run"] == pytest.approx(1 - 0.5 * np.mean(is_hard_row), abs=1e-3)
    assert 0.0 <= found["resamples_that_reach"]["apgr"] < 0.5


def test_without_data_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.routing.__main__ import main

    monkeypatch.setenv("SIGNALBOX_SHARED", str(tmp_path / "nothing"))
    assert main([]) == 1
    assert "SIGNALBOX_SHARED" in capsys.readouterr().err


@pytest.mark.skipif(not data.folder().is_dir(), reason="the graded outcomes are not here")
def test_the_classifier_beats_length_and_chance_on_the_sets(measure: Any) -> None:
    """The whole sets give .58; 300 rows of each leave room for chance."""
    examples = {
        name: assemble(data.read(name)[-300:]) for name in ("nine_models", "zeroeval_gsm", "zeroeval_numersense")
    }
    found = measure.zero_configuration(examples)
    assert sum(found.values()) / len(found) > 0.54


def test_without_litellm_there_is_nothing_to_compare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, peers: Any
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.setattr(peers, "_INSTALLED", tmp_path / "python")
    assert peers.measure({}, {}) == {}


def test_scores_of_litellm_are_given_back_to_their_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, peers: Any
) -> None:
    """Whatever scores by length stands for LiteLLM: order and set borders must survive the other process."""
    script = tmp_path / "scores.py"
    script.write_text(
        "import json, sys\n"
        "texts = json.load(sys.stdin)\n"
        "json.dump({'v1': [len(t) for t in texts], 'v2': [-len(t) for t in texts], 'cpu_us': {}}, sys.stdout)\n"
    )
    monkeypatch.setattr(peers, "interpreter", lambda: Path(sys.executable))
    monkeypatch.setattr(peers, "_SCRIPT", script)
    texts = {"hard_is_long": ["a", "b" * 50], "hard_is_short": ["a" * 50, "b", "c" * 60]}
    rows = {
        "hard_is_long": [
            {"prompt": t, "scores": {"weak": float(len(t) < 9), "strong": 1.0}} for t in texts["hard_is_long"]
        ],
        "hard_is_short": [
            {"prompt": t, "scores": {"weak": float(len(t) > 9), "strong": 1.0}} for t in texts["hard_is_short"]
        ],
    }
    found = peers.measure({name: assemble(some) for name, some in rows.items()}, texts)["apgr"]
    assert found["hard_is_long"]["v1"] > 0.6 > 0.4 > found["hard_is_long"]["v2"]
    assert found["hard_is_short"]["v2"] > 0.6 > 0.4 > found["hard_is_short"]["v1"]


def test_a_small_set_is_split_in_several_ways(measure: Any) -> None:
    rng = Random(2)
    rows = [
        {"prompt": f"{'prove' if n % 2 else 'greet'} {rng.random()}", "scores": {"a": float(n % 2 == 0), "b": 1.0}}
        for n in range(60)
    ]
    found = measure.other_splits(assemble(rows), 2)
    assert [len(values) for values in found.values()] == [2, 2, 2]
    assert min(found["apgr"]) > 0.6
