"""Rankings: a permutation always, and each strategy by what it is for."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.affinity import AffinityBook
from routing.choice import Choice, Group, World
from routing.latency import LatencyBook
from routing.shares import shuffle_by_weight
from routing.strategies.registry import Spec, strategies
from tests.gateway.scripted import deployment
from tests.routing.scene import HARD, Clock, ask, model, models, router

WEIGHTS = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=5)
TIERS = ("simple", "medium", "complex")


def world(clock=None, seed=1):
    clock = clock or Clock()
    return World(Random(seed), LatencyBook(clock), AffinityBook(clock))


@pytest.mark.parametrize("kind", sorted(strategies()))
@given(groups=st.lists(WEIGHTS, max_size=4), seed=st.integers(), unpriced=st.booleans())
def test_a_ranking_is_a_permutation(kind, groups, seed, unpriced):
    price = {"price": None} if unpriced else {}
    given_groups = [
        Group(f"m{g}", tuple(deployment("p", f"{g}-{i}", weight=w, **price) for i, w in enumerate(ws)), TIERS[g % 3])
        for g, ws in enumerate(groups)
    ]
    ranked = strategies()[kind](Spec()).rank(Choice(ask("r"), given_groups, world(seed=seed)))
    assert sorted(d.id for d in ranked) == sorted(d.id for group in given_groups for d in group.deployments)
    if kind == "ordered":
        assert [d.id.split("-")[0] for d in ranked] == sorted(d.id.split("-")[0] for d in ranked)


@given(weights=WEIGHTS, seed=st.integers())
def test_a_weight_of_nothing_comes_last(weights, seed):
    ranked = shuffle_by_weight([deployment("p", str(i), weight=w) for i, w in enumerate(weights)], Random(seed))
    assert [d.weight == 0 for d in ranked] == sorted(d.weight == 0 for d in ranked)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e6])
def test_weights_hold_on_average_whatever_their_scale(scale):
    weights = [1, 2, 7]
    deployments = [deployment("p", str(w), weight=w * scale) for w in weights]
    rng, draws = Random(5), 6000
    ranked = [shuffle_by_weight(deployments, rng) for _ in range(draws)]
    first = Counter(ranking[0].target.model for ranking in ranked)
    for weight in weights:
        assert first[str(weight)] / draws == pytest.approx(weight / 10, abs=0.02)
    # Of what is left the rest is drawn likewise.
    second = Counter(ranking[1].target.model for ranking in ranked if ranking[0].target.model == "7")
    assert second["2"] / sum(second.values()) == pytest.approx(2 / 3, abs=0.03)


def route(strategy, *pool, **more):
    return {"r": {"strategy": strategy, "pool": list(pool), **more}}


def test_cheapest_counts_input_and_expected_output():
    own = {
        "talker": model("t", price=(1, 10)),
        "reader": model("r", price=(10, 1)),
        "unknown": model("surely-not-in-any-list", provider="local"),
    }
    providers = {"sim": {"kind": "mock"}, "local": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}}
    found = router(models=own, providers=providers, routes=route("cheapest", "unknown", "talker", "reader"))
    assert models(found.decide(ask("r"))) == ["reader", "talker", "unknown"]
    assert models(found.decide(ask("r", "word " * 2000, max_tokens=5))) == ["talker", "reader", "unknown"]
    # What answers of this caller were like replaces the assumption.
    for _ in range(50):
        found.world.outputs.note("anonymous", "talker", 2)
        found.world.outputs.note("anonymous", "reader", 2)
    assert models(found.decide(ask("r", "word " * 20)))[0] == "talker"


def test_fastest_learns_from_answers():
    clock = Clock()
    found = router(clock, models={"slow": model("s"), "fast": model("f")}, routes=route("fastest", "slow", "fast"))
    for name, ttft_s in (("sim/s", 2.0), ("sim/f", 0.2)):
        found.world.latency.began(name)
        found.world.latency.ended(name, ttft_s=ttft_s, tpot_s=0.01, is_ok=True)
    firsts = Counter(models(found.decide(ask("r")))[0] for _ in range(100))
    assert firsts["fast"] >= 90
    assert found.decide(ask("r")).estimates["slow"].latency_s > found.decide(ask("r")).estimates["fast"].latency_s


QUALITIES = {
    "good": model("g", price=(10, 40), quality=0.9),
    "fair": model("f", price=(1, 4), quality=0.8),
    "poor": model("p", price=(0.1, 0.4), quality=0.3),
}


@pytest.mark.parametrize(("weights", "first"), [
    ({"quality": 1, "cost": 0, "latency": 0}, "good"),
    ({"quality": 0.5, "cost": 0.4, "latency": 0.1}, "fair"),
    ({"quality": 0.1, "cost": 0.9, "latency": 0}, "poor"),
])  # fmt: skip
def test_balanced_trades_by_its_weights(weights, first):
    found = router(models=QUALITIES, routes=route("balanced", "good", "fair", "poor", weights=weights))
    decision = found.decide(ask("r"))
    assert models(decision)[0] == first
    assert max(decision.estimates, key=lambda name: decision.estimates[name].utility) == first


@pytest.mark.parametrize(("preset", "first"), [("best", "good"), ("balanced", "fair"), ("cheapest-acceptable", "fair")])
def test_presets(preset, first):
    found = router(models=QUALITIES, routes=route("balanced", "good", "fair", "poor", preset=preset))
    assert models(found.decide(ask("r")))[0] == first


def test_cost_counts_more_as_a_budget_runs_ahead():
    found = router(models=QUALITIES, routes=route("balanced", "good", "fair", "poor"))

    class Hurried:
        def pressure(self, ask):
            return 400.0

    assert models(found.decide(ask("r")))[0] == "fair"
    found.world.spending = Hurried()
    assert models(found.decide(ask("r")))[0] == "poor"


def test_learned_without_a_usable_file_goes_by_what_is_usual(tmp_path):
    found = router(models=QUALITIES, routes=route("learned", "good", "fair", "poor", router_file="none.router"))
    assert models(found.decide(ask("r"))) == ["good", "fair", "poor"]
    lax = {"min_quality_vs_best": 0.8}
    found = router(models=QUALITIES, routes=route("learned", "good", "fair", "poor", router_file="none", goal=lax))
    decision = found.decide(ask("r"))
    assert models(decision) == ["fair", "good", "poor"]
    assert decision.router_version is None


def test_quality_falls_with_difficulty_more_for_the_weaker():
    found = router(models=QUALITIES, routes=route("balanced", "good", "fair", "poor"))
    easy, hard = (found.decide(ask("r", text)).estimates for text in ("hello", HARD))
    falls = {name: easy[name].quality - hard[name].quality for name in QUALITIES}
    assert 0 < falls["good"] < falls["fair"] < falls["poor"]
