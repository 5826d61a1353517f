"""From a request to candidates."""

import pytest

from routing.constraints import NoCandidateError
from routing.decision import Reason
from routing.router import _DIRECT_NAMES_KEPT, UnknownModelError
from tests.routing.scene import EASY, HARD, ask, model, models, router

TIERS = {"simple": ["small"], "medium": ["middle"], "complex": ["large", "middle"]}
MODELS = {"small": model("s"), "middle": model("m"), "large": model("l"), "spare": model("x")}


def auto(**route):
    return {"auto": {"strategy": "complexity", "tiers": TIERS, "default_tier": "medium"} | route}


@pytest.mark.parametrize(("text", "tier", "expected"), [
    (EASY, "simple", ["small", "middle", "large"]),
    (HARD, "complex", ["large", "middle", "small"]),
    ("Kolmogorov", "medium", ["middle", "large", "small"]),
])  # fmt: skip
def test_difficulty_chooses_the_tier_and_the_others_follow(text, tier, expected):
    decision = router(models=MODELS, routes=auto()).decide(ask("auto", text))
    assert (decision.tier, models(decision)) == (tier, expected)
    assert decision.strategy == "complexity"
    assert decision.summary.startswith(f"complexity;route=auto;tier={tier};confidence=")


def test_fallbacks_come_after_the_tier_and_nobody_twice():
    decision = router(models=MODELS, routes=auto(fallbacks=["spare", "small"])).decide(ask("auto", EASY))
    assert models(decision) == ["small", "spare", "middle", "large"]


def test_an_ordered_route_is_decided_once_for_what_surely_fits():
    found = router(models=MODELS, routes={"r": {"strategy": "ordered", "pool": ["middle", "small"]}})
    assert found.decide(ask("r")) is found.decide(ask("r", HARD))
    assert models(found.decide(ask("r"))) == ["middle", "small"]


def test_weights_spread_a_model_over_its_deployments():
    own = {"deployments": [{"provider": "sim", "model": n, "weight": w} for n, w in (("a", 3), ("b", 1), ("c", 0))]}
    found = router(models={"m": own})
    firsts = [found.decide(ask("m")).candidates[0].target.model for _ in range(400)]
    assert 0.65 < firsts.count("a") / 400 < 0.85
    assert "c" not in firsts


def test_a_disabled_provider_is_a_rejection():
    providers = {"sim": {"kind": "mock"}, "off": {"kind": "openai", "api_key": "$NOT_SET_ANYWHERE"}}
    own = {"a": model("a"), "b": model("b", provider="off")}
    decision = router(providers=providers, models=own, routes={"r": {"pool": ["b", "a"]}}).decide(ask("r"))
    assert models(decision) == ["a"]
    assert [(r.deployment.id, r.reason) for r in decision.rejections] == [("off/b", Reason.DISABLED)]


@pytest.mark.parametrize("name", ["gpt-5-mni", "x", "p/", "/m", "p", "q/m", "", "/", "gpt" * 5000, "\ud800", "p\0/m"])
def test_unknown_names(name):
    with pytest.raises(UnknownModelError) as caught:
        router(models={"gpt-5-mini": model("a"), "claude": model("b")}).decide(ask(name))
    assert caught.value.near == (("gpt-5-mini",) if name == "gpt-5-mni" else ())


def test_direct_names_are_remembered_within_bounds():
    found = router(models=MODELS)
    assert found.decide(ask("sim/x/y")).candidates[0].target.model == "x/y"
    assert found.decide(ask("sim/x/y")) is found.decide(ask("sim/x/y"))
    for number in range(3 * _DIRECT_NAMES_KEPT):
        assert found.decide(ask(f"sim/{number}")).strategy == "direct"
        assert len(found._lanes) <= _DIRECT_NAMES_KEPT + len(MODELS)
        assert len(found._direct_plans) <= _DIRECT_NAMES_KEPT


def test_a_configured_name_wins_over_a_direct_one():
    decision = router(models={"sim/x": model("y")}).decide(ask("sim/x"))
    assert decision.candidates[0].target.model == "y"


# Rules.


def test_the_first_rule_that_matches_decides():
    found = router(models=MODELS, routes=auto(), rules=[
        {"name": "tools", "when": {"route": "auto", "has_tools": True}, "use": "large"},
        {"when": {"keywords_any": ["hello"]}, "tier": "complex"},
        {"when": {"keywords_any": ["hello"]}, "use": "spare"},
    ])  # fmt: skip
    with_tools = found.decide(ask("auto", tools=[{"type": "function", "function": {"name": "f"}}]))
    assert (models(with_tools), with_tools.rule, with_tools.route) == (["large"], "tools", "auto")
    assert with_tools.summary == "weighted;route=auto;rule=tools"
    decision = found.decide(ask("auto", EASY))
    assert (decision.tier, models(decision)[0]) == ("complex", "large")
    assert ';rule="rules[1]"' in decision.summary
    assert decision.classification is None
    assert found.decide(ask("auto", "Kolmogorov")).rule is None


def test_a_rule_reaches_models_and_direct_names():
    rules = [{"when": {"max_output_tokens": {"gt": 1000}}, "use": "large"}]
    found = router(models=MODELS, routes=auto(), rules=rules)
    for name in ("small", "sim/anything", "auto"):
        assert models(found.decide(ask(name, max_tokens=2000))) == ["large"]
        assert models(found.decide(ask(name, max_tokens=10))) != ["large"]


def test_a_rule_sets_the_strategy():
    own = {"dear": model("d", price=(5, 20)), "cheap": model("c", price=(1, 2))}
    rules = [{"when": {"keywords_any": ["cheaply"]}, "strategy": "cheapest"}]
    found = router(models=own, routes={"r": {"pool": ["dear", "cheap"]}}, rules=rules)
    assert models(found.decide(ask("r"))) == ["dear", "cheap"]
    decision = found.decide(ask("r", "do it cheaply"))
    assert (models(decision), decision.strategy) == (["cheap", "dear"], "cheapest")


# Constraints.


def test_what_cannot_take_the_request_is_no_candidate():
    own = {
        "blind": model("b", capabilities=["text"]),
        "tiny": model("t", context_window=2000),
        "seeing": model("s", capabilities=["text", "vision"]),
    }
    found = router(models=own, routes={"r": {"pool": ["blind", "tiny", "seeing"]}})
    image = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    decision = found.decide(ask("r", messages=[{"role": "user", "content": image}], max_tokens=5000))
    assert models(decision) == ["seeing"]
    reasons = {r.deployment.model: r.reason for r in decision.rejections}
    assert reasons == {"blind": Reason.NO_VISION, "tiny": Reason.CONTEXT_WINDOW}
    assert models(found.decide(ask("r"))) == ["blind", "tiny", "seeing"]


def test_a_single_model_refuses_what_it_cannot_hold():
    found = router(models={"tiny": model("t", context_window=1000)})
    assert found.decide(ask("tiny"))
    with pytest.raises(NoCandidateError) as caught:
        found.decide(ask("tiny", "word " * 3000))
    assert caught.value.main is Reason.CONTEXT_WINDOW


def test_an_empty_set_names_the_constraint_or_is_relaxed_in_order():
    own = {"dear": model("d", price=(50, 200)), "also": model("a", price=(80, 300))}
    route = {"strategy": "ordered", "pool": ["dear", "also"], "constraints": {"max_cost_usd": 0.0001}}
    with pytest.raises(NoCandidateError) as caught:
        router(models=own, routes={"r": route}).decide(ask("r"))
    assert caught.value.main is Reason.MAX_COST
    route["constraints"] = {"max_cost_usd": 0.0001, "max_output_usd_per_mtok": 250, "relax": ["max_cost_usd"]}
    decision = router(models=own, routes={"r": route}).decide(ask("r"))
    assert models(decision) == ["dear"]
    assert decision.relaxed == ("max_cost_usd",)


def test_a_tier_floor_holds():
    route = auto(constraints={"min_tier": "medium"})
    decision = router(models=MODELS, routes=route).decide(ask("auto", EASY))
    assert (decision.tier, models(decision)) == ("medium", ["middle", "large"])
    assert [(r.deployment.model, r.reason) for r in decision.rejections] == [("small", Reason.TIER_FLOOR)]


def test_a_key_limits_what_routes_may_choose():
    found = router(models=MODELS, routes=auto())
    decision = found.decide(ask("auto", HARD, allowed=frozenset({"small"})))
    assert models(decision) == ["small"]
    with pytest.raises(NoCandidateError) as caught:
        found.decide(ask("large", allowed=frozenset({"small"})))
    assert caught.value.main is Reason.NOT_ALLOWED


def test_a_rule_does_not_lift_the_limits_of_the_route():
    providers = {"eu": {"kind": "mock", "residency": "eu"}, "us": {"kind": "mock", "residency": "us"}}
    own = {"here": model("h", provider="eu"), "there": model("t", provider="us")}
    route = {"pool": ["here"], "constraints": {"residency": ["eu"]}}
    rules = [{"when": {"keywords_any": ["far"]}, "use": "there"}]
    found = router(providers=providers, models=own, routes={"r": route}, rules=rules)
    assert models(found.decide(ask("r"))) == ["here"]
    with pytest.raises(NoCandidateError) as caught:
        found.decide(ask("r", "far away"))
    assert caught.value.main is Reason.RESIDENCY
    assert models(found.decide(ask("here", "far away"))) == ["there"]


def test_streaming_goes_without_saying():
    own = {
        "said": model("a", capabilities=["text"]),
        "never": model("b", capabilities=["text"], streaming=False),
        "unsaid": model("c", streaming=False),
    }
    found = router(models=own, routes={"r": {"pool": ["never", "unsaid", "said"]}})
    assert models(found.decide(ask("r", is_stream=True))) == ["said"]
    assert models(found.decide(ask("r"))) == ["never", "unsaid", "said"]


def test_well_known_tiers_mean_the_same_in_any_order():
    tiers = {"complex": ["large"], "medium": ["middle"], "simple": ["small"]}
    found = router(models=MODELS, routes=auto(tiers=tiers))
    assert [models(found.decide(ask("auto", text)))[0] for text in (EASY, HARD)] == ["small", "large"]
    own = {"zero": ["small"], "alpha": ["large"]}  # names that say nothing: from the least demanding
    found = router(models=MODELS, routes=auto(tiers=own, default_tier="alpha"))
    assert [models(found.decide(ask("auto", text)))[0] for text in (EASY, HARD)] == ["small", "large"]
