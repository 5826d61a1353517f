"""A rule may send requests to a route that tries something: that route's limits and copies go with them."""

import pytest

from routing.constraints import NoCandidateError
from routing.decision import Reason
from tests.routing.scene import ask, model, models, router

PROVIDERS = {"eu": {"kind": "mock", "residency": "eu"}, "us": {"kind": "mock", "residency": "us"}}
MODELS = {"here": model("h", provider="eu"), "there": model("t", provider="us")}
RULES = [{"when": {"route": "asked"}, "use": "tried"}]
IN_EUROPE = {"constraints": {"residency": ["eu"]}}


def through_a_rule(**tried):
    routes = {"asked": {"pool": ["here"]}, "tried": {"pool": ["here"]} | tried}
    return router(providers=PROVIDERS, models=MODELS, routes=routes, rules=RULES)


def test_limits_of_the_route_of_an_experiment_hold_for_its_arms():
    arms = {"arms": {"old": {"share": 0, "use": "here"}, "new": {"share": 1, "use": "there"}}, "name": "x"}
    assert models(through_a_rule(experiment=arms).decide(ask("asked"))) == ["there"]
    decision = through_a_rule(experiment=arms, **IN_EUROPE).decide(ask("asked"))
    assert (models(decision), decision.arm) == (["here"], None)


def test_a_copy_is_made_on_behalf_of_the_route_that_has_the_mirror():
    decision = through_a_rule(mirror={"model": "there", "share": 1}).decide(ask("asked"))
    assert (decision.route, decision.mirror, decision.mirror_route) == ("asked", "there", "tried")


def test_copies_are_within_the_limits_of_every_route_on_the_way():
    found = through_a_rule(**IN_EUROPE)
    assert models(found.decide_within(ask("there"), ["asked"])) == ["there"]
    with pytest.raises(NoCandidateError) as caught:
        found.decide_within(ask("there"), ["asked", "tried"])
    assert caught.value.main is Reason.RESIDENCY
