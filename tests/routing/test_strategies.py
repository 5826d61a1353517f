"""Rankings: a permutation always, by weight on average."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.strategies.registry import strategies
from routing.strategies.weighted import shuffle_by_weight
from tests.gateway.scripted import deployment

WEIGHTS = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), max_size=5)


@pytest.mark.parametrize("kind", sorted(strategies()))
@given(groups=st.lists(WEIGHTS, max_size=4), seed=st.integers())
def test_a_ranking_is_a_permutation(kind, groups, seed):
    models = [
        [deployment("p", f"{g}-{i}", weight=weight) for i, weight in enumerate(weights)]
        for g, weights in enumerate(groups)
    ]
    ranked = strategies()[kind](models, Random(seed))
    assert sorted(d.id for d in ranked) == sorted(d.id for model in models for d in model)
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
