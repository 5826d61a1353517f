"""The models that a route keeps for requests that are too long, or that a content filter refuses."""

import json
from dataclasses import replace

import pytest

from gateway.pipeline import Pipeline
from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError
from providers.base import ErrorKind, Target
from routing.choice import Group
from routing.constraints import Limits
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage, deployment

GOOD = Answer([b"7,3,fine", None])
LONG, FILTERED = ErrorKind.CONTEXT_LENGTH, ErrorKind.CONTENT_FILTER


def failing(kind):
    return Answer([kind.value.encode(), None], status=400)


def scene_of(answers, detours, *, limits=None, target=None, fallbacks=(), residency=None, **stage):
    """A route `m` over candidate `a`; every other provider has a model of its own name."""
    scene = Stage({name: ScriptedTransport(*own) for name, own in answers.items()}, **stage)
    places = {name: frozenset({place}) for name, place in (residency or {}).items()}
    models = {name: deployment(name, name, residency=places.get(name, frozenset())) for name in answers}
    models["a"] = replace(models["a"], target=target or Target("a"))
    plans = {name: Plan(name, "weighted", Ordered(), (Group(name, (own,)),)) for name, own in models.items()}
    plans["m"] = replace(
        plans["a"],
        name="m",
        route="m",
        limits=limits or Limits(),
        fallbacks=tuple(Group(name, (models[name],)) for name in fallbacks),
    )
    scene.runtime = replace(
        scene.runtime,
        router=Router(plans, {}, scene.world),
        detours={("m", kind): names for kind, names in detours.items()},
    )
    scene.pipeline = Pipeline(scene.runtime, scene.recorder, scene.loop, scene.clock, lambda: 0.0)
    return scene


def play(answers, detours, *, caller=None, body=None, **more):
    async def work():
        scene = scene_of(answers, detours, **more)
        request = scene.request()
        request.body.update(body or {})
        request.raw = json.dumps(request.body).encode()
        outcome = await scene.pipeline.run(request, caller or Caller("tester"), scene.sink, scene.clock())
        return scene, outcome

    return run_virtual(work())


def tried(outcome):
    return [attempt.deployment.provider for attempt in outcome.attempts]


@pytest.mark.parametrize("kind", [LONG, FILTERED])
def test_the_list_for_the_cause_is_taken_and_no_other(kind):
    other = FILTERED if kind is LONG else LONG
    answers = {"a": [failing(kind)], "b": [GOOD], "c": [GOOD], "d": [GOOD]}
    _, outcome = play(answers, {kind: ("c",), other: ("b",)}, fallbacks=["d"])
    assert tried(outcome) == ["a", "c"]
    assert outcome.ending == "ok"


@pytest.mark.parametrize("kind", set(ErrorKind) - {LONG, FILTERED})
def test_other_errors_take_the_usual_fallbacks(kind):
    answers = {"a": [failing(kind)] * 2, "b": [GOOD], "d": [GOOD]}
    _, outcome = play(answers, {LONG: ("b",), FILTERED: ("b",)}, fallbacks=["d"])
    assert "b" not in tried(outcome)


def test_without_a_list_the_error_is_the_callers():
    _, outcome = play({"a": [failing(LONG)], "b": [GOOD]}, {FILTERED: ("b",)})
    assert outcome.ending == "caller_error"
    assert tried(outcome) == ["a"]


def test_a_fallback_may_meet_its_own_list():
    answers = {"a": [failing(LONG)], "b": [failing(FILTERED)], "c": [GOOD]}
    _, outcome = play(answers, {LONG: ("b",), FILTERED: ("c", "a")})
    assert tried(outcome) == ["a", "b", "c"]


def test_it_is_a_decision_and_no_retry():
    scene, outcome = play({"a": [failing(LONG)], "b": [GOOD]}, {LONG: ("b",)})
    assert outcome.ending == "ok"
    assert scene.runtime.retries["m"].budget.tokens == pytest.approx(10.2)
    assert scene.guard.is_calm


def test_nobody_is_asked_twice_and_the_attempts_are_bounded():
    _, outcome = play({"a": [failing(LONG)], "b": [failing(LONG)]}, {LONG: ("a", "b")})
    assert tried(outcome) == ["a", "b"]
    assert outcome.refusal.status == 400
    _, outcome = play({"a": [failing(LONG)], "b": [GOOD]}, {LONG: ("b",)}, max_attempts=1)
    assert tried(outcome) == ["a"]


def test_only_models_that_the_key_allows():
    caller = Caller("narrow", candidates=frozenset({"a", "c"}))
    _, outcome = play({"a": [failing(LONG)], "b": [GOOD], "c": [GOOD]}, {LONG: ("b", "c")}, caller=caller)
    assert tried(outcome) == ["a", "c"]


def test_the_limits_of_the_route_hold():
    answers = {"a": [failing(LONG)], "b": [GOOD], "c": [GOOD]}
    scene_limits = Limits(residency=frozenset({"eu"}))
    _, outcome = play(answers, {LONG: ("b", "c")}, limits=scene_limits, residency={"a": "eu", "b": "us", "c": "eu"})
    assert tried(outcome) == ["a", "c"]


def test_a_caller_without_fallbacks_gets_none():
    _, outcome = play(
        {"a": [failing(LONG)], "b": [GOOD]}, {LONG: ("b",)}, body={"provider": {"allow_fallbacks": False}}
    )
    assert tried(outcome) == ["a"]


SMALL = Target("a", context_window=300)


def test_what_is_known_to_be_too_long_goes_there_at_once():
    body = {"messages": [{"role": "user", "content": "word " * 3000}]}
    _, outcome = play({"a": [], "b": [GOOD]}, {LONG: ("b",)}, target=SMALL, body=body)
    assert tried(outcome) == ["b"]
    assert outcome.decision.route == "m"


def test_what_fits_nowhere_is_refused():
    async def work():
        scene = scene_of({"a": [], "b": [GOOD]}, {FILTERED: ("b",)}, target=SMALL)
        request = scene.request()
        request.body["messages"] = [{"role": "user", "content": "word " * 3000}]
        request.raw = json.dumps(request.body).encode()
        with pytest.raises(RefusedError) as caught:
            await scene.pipeline.run(request, Caller("tester"), scene.sink, scene.clock())
        assert caught.value.refusal.error["constraint"] == "context_window"

    run_virtual(work())


def test_the_error_of_the_last_one_is_told():
    _, outcome = play({"a": [failing(LONG)], "b": [failing(ErrorKind.MONEY)]}, {LONG: ("b",)})
    assert outcome.refusal.status == 503
    assert [attempt["kind"] for attempt in outcome.refusal.error["attempts"]] == ["context_length", "money"]
