"""The simulators end, repeat, and show what they are there to show; figures at full length are in the results."""

import json
from dataclasses import replace

import pytest

from benchmarks.routing import budget_pacing, latency_choice
from benchmarks.routing.latency_choice import CHOOSERS, SCENARIOS, Simulation
from routing.pacing import Pace


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


def day(demand: float, *, is_paced: bool) -> budget_pacing.Outcome:
    traffic = budget_pacing.Day(requests=4_000)
    requests = budget_pacing.arrivals(traffic, seed=2)
    limit_nusd = round(budget_pacing.unlimited_nusd(traffic, requests) / demand)
    pace = Pace(limit_nusd, 0.0, 86_400.0)
    return budget_pacing.simulate(traffic, requests, limit_nusd, pace.multiplier if is_paced else lambda *_: 1.0)


@pytest.mark.parametrize("demand", [1.2, 2.0, 4.0])
def test_a_paced_budget_lasts_the_day_and_serves_better(demand):
    paced, plain = (day(demand, is_paced=is_paced).figures() for is_paced in (True, False))
    assert plain["served"] < 0.9
    assert paced["served"] > 0.999
    assert paced["quality"] > plain["quality"] + 0.1


@pytest.mark.parametrize("is_paced", [True, False])
def test_no_budget_is_overspent(is_paced):
    outcome = day(4.0, is_paced=is_paced)
    assert 0 < outcome.spent_nusd <= outcome.limit_nusd


def test_a_budget_that_is_enough_is_left_alone():
    assert day(0.5, is_paced=True).figures() == pytest.approx(day(0.5, is_paced=False).figures(), abs=0.01)


def test_the_days_come_back_and_their_table_is_written(tmp_path, capsys):
    output = tmp_path / "found.json"
    arguments = ["--output", str(output), "--requests", "500", "--seeds", "1"]
    assert budget_pacing.main(arguments) == 0
    first = json.loads(output.read_text())
    assert budget_pacing.main(arguments) == 0
    assert json.loads(output.read_text()) == first
    assert {row["pacing"] for row in first["results"]} == {"none", "pace", "best fixed"}
    assert all(row["overspent"] == 0 for row in first["results"])
    assert "best fixed" in capsys.readouterr().out
