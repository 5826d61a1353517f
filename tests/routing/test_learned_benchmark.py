"""The routing benchmark reads what is there, and its noise leaves the task as it is."""

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("sklearn")

from benchmarks.routing import __main__ as benchmark
from benchmarks.routing import data, measure, noise
from routing.learned.feedback import assemble


def test_noise_keeps_the_words_or_nearly() -> None:
    text = "Explain carefully why seventeen is a prime number and eighteen is none"
    rng = Random(3)
    assert noise.in_other_case(text, rng).lower() == text.lower()
    assert noise.with_blanks(text, rng).split() == text.split()
    assert text in noise.with_politeness(text, rng)
    typos = noise.with_typos(text, rng, share=1.0)
    assert typos != text
    assert sorted(typos) == sorted(text)


def test_neighbours_with_the_same_words_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_NEIGHBOURS", 3)
    rows = [
        {"prompt": f"{'red apple' if n % 2 else 'blue sky'} {chr(97 + n)}", "scores": {"a": float(n % 2)}}
        for n in range(12)
    ]
    train, test = assemble(rows), assemble([{"prompt": "red apple", "scores": {"a": 1.0}}])
    assert measure.neighbours(train, test)[0, 0] == 1.0


def test_without_data_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGNALBOX_SHARED", str(tmp_path / "nothing"))
    assert benchmark.main([]) == 1
    assert "SIGNALBOX_SHARED" in capsys.readouterr().err


@pytest.mark.skipif(not data.folder().is_dir(), reason="the graded outcomes are not here")
def test_the_classifier_beats_length_and_chance_on_the_sets() -> None:
    """The whole sets give .58; 300 rows of each leave room for chance."""
    examples = {
        name: assemble(data.read(name)[-300:]) for name in ("nine_models", "zeroeval_gsm", "zeroeval_numersense")
    }
    found = measure.zero_configuration(examples)
    assert sum(found.values()) / len(found) > 0.54
