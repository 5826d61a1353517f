"""The simulators end, repeat, and show what they are there to show; figures at full length are in the results."""

import json
from dataclasses import replace

import pytest

from benchmarks.routing import latency_choice
from benchmarks.routing.latency_choice import CHOOSERS, SCENARIOS, Simulation


def simulated(chooser: str, scenario: str = "stuck", duration_s: float = 1_200.0, seed: int = 1) -> Simulation:
    simulation = Simulation(replace(SCENARIOS[scenario], duration_s=duration_s), chooser, seed)
    simulation.run()
    return simulation


@pytest.mark.parametrize("chooser", sorted(CHOOSERS))
def test_every_request_is_answered_or_failed_and_the_same_seed_gives_the_same(chooser):
    first, again = (simulated(chooser, duration_s=300.0) for _ in range(2))
    assert first.figures() == again.figures()
    answered = sum(len(times) for times in first.times_s.values())
    lost = sum(first.failed_requests.values())
    # Eight a second.
    assert answered + lost == pytest.approx(2_400, abs=150)
    assert sum(first.attempts.values()) == answered + sum(first.failed_attempts.values())


def test_a_slow_phase_hits_ours_least_and_keeps_within_the_bars():
    ours = simulated("signalbox").figures()
    others = {name: simulated(name).figures() for name in CHOOSERS if name != "signalbox"}
    assert ours["slow_p99_s"] <= 4.5
    assert ours["failed_attempts"] <= 0.05
    assert all(ours["slow_p99_s"] < other["slow_p99_s"] for other in others.values())
    assert others["mean of 10"]["slow_p99_s"] > 8.0
    assert others["mean of 10"]["failed_attempts"] > 0.1


def test_where_calls_are_only_slow_ours_is_ahead_too():
    ours = simulated("signalbox", "slow").figures()
    assert all(
        ours["slow_p99_s"] < simulated(name, "slow").figures()["slow_p99_s"] for name in CHOOSERS if name != "signalbox"
    )


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    output = tmp_path / "found.json"
    assert latency_choice.main(["--output", str(output), "--hours", "0.05", "--seeds", "1"]) == 0
    document = json.loads(output.read_text())
    assert set(document["scenarios"]) == set(SCENARIOS)
    for one in document["scenarios"].values():
        assert set(one["results"]) == set(CHOOSERS)
    assert "mean of 10" in capsys.readouterr().out
