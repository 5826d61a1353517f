"""From a name to candidates."""

from random import Random

import pytest

from routing.decision import Reason, Rejection
from routing.router import _DIRECT_NAMES_KEPT, Plan, Router, UnknownModelError
from routing.strategies import ordered, weighted
from tests.gateway.scripted import deployment

A, B, C = (deployment(name) for name in "abc")


def plan(name="m", models=((A,),), **more):
    return Plan(name, more.pop("strategy", "ordered"), more.pop("rank", ordered.rank), models, **more)


def router(*plans, made=None):
    def make(model):
        if made is not None:
            made.append(model)
        return deployment("p", model)

    return Router({p.name: p for p in plans}, {"p": make}, Random(3))


def test_fallbacks_come_after_everything_and_nobody_twice():
    decision = router(plan(models=((A,), (B,)), fallbacks=(A, C))).decide("m")
    assert decision.candidates == (A, B, C)


def test_a_fixed_order_is_decided_once():
    found = router(plan(models=((A,), (B,))), plan("w", ((A, B),), strategy="weighted", rank=weighted.rank))
    assert found.decide("m") is found.decide("m")
    orders = {found.decide("w").candidates for _ in range(60)}
    assert orders == {(A, B), (B, A)}


def test_a_disabled_provider_is_a_rejection():
    rejection = Rejection(B, Reason.DISABLED)
    decision = router(plan(models=((A,),), rejections=(rejection,))).decide("m")
    assert decision.candidates == (A,)
    assert decision.rejections == (rejection,)


@pytest.mark.parametrize("name", ["gpt-5-mni", "x", "p/", "/m", "p", "q/m", "", "/", "gpt" * 5000, "\ud800", "p\0/m"])
def test_unknown_names(name):
    with pytest.raises(UnknownModelError) as caught:
        router(plan("gpt-5-mini"), plan("claude")).decide(name)
    assert caught.value.near == (("gpt-5-mini",) if name == "gpt-5-mni" else ())


def test_direct_names_are_remembered_within_bounds():
    made = []
    found = router(plan(), made=made)
    assert found.decide("p/x/y").candidates[0].target.model == "x/y"
    assert found.decide("p/x/y") is found.decide("p/x/y")
    assert made == ["x/y"]
    for number in range(3 * _DIRECT_NAMES_KEPT):
        assert found.decide(f"p/{number}").strategy == "direct"
        assert len(found._direct_fixed) <= _DIRECT_NAMES_KEPT


def test_a_configured_name_wins_over_a_direct_one():
    assert router(plan("p/x")).decide("p/x").candidates == (A,)
