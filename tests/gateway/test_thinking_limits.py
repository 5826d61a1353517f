"""Models that think before they speak: they get more time, and their breakers stay closed."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.pipeline import Pipeline
from gateway.runtime import Caller
from policies.breaker import BreakerState
from policies.timeouts import Timeouts
from providers.base import Cause, Target
from providers.reasoning import asks_to_think, thinks
from routing.choice import Group
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer, ScriptedTransport, Stage, deployment
from tests.routing.scene import assembled

CLOCKS = Timeouts().with_thinking(())
REQUESTS = 6


THINKERS = """
    o1 o3-mini o4-mini-2025-04-16 openai/gpt-5 gpt-5-mini gpt-oss-120b deepseek-reasoner deepseek-ai/DeepSeek-R1
    gemini-2.5-pro models/gemini-2.5-flash gemini-3-pro-preview grok-4 grok-3-mini grok-4-fast-reasoning qwq-32b
    moonshotai/Kimi-K2-Thinking magistral-medium-latest
"""
OTHERS = """
    gpt-4o gpt-4.1 gpt-5-chat-latest o2 omni claude-opus-4-1 deepseek-chat gemini-2.0-flash gemini-2.5-flash-lite
    gemini-3.1-flash-lite grok-3 grok-4-fast-non-reasoning llama-3.3-70b text-embedding-3-small
"""


@pytest.mark.parametrize("model", THINKERS.split())
def test_models_that_think(model):
    assert thinks(model)


@pytest.mark.parametrize("model", OTHERS.split())
def test_models_that_do_not(model):
    assert not thinks(model)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, False),
        ({"reasoning_effort": 3}, False),
        ({"reasoning": {"effort": "high"}}, True),
        ({"reasoning": {"max_tokens": 2000}}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"enabled": False, "effort": "high"}}, False),
        ({"reasoning": "high"}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
    ],
)
def test_requests_that_ask_for_it(body, expected):
    assert asks_to_think(body) is expected


def play(pieces: list[Any], *, thinker: bool, body: dict[str, Any] | None = None, timeouts: Timeouts = CLOCKS) -> Any:
    """Some streamed requests to one deployment. Returns their outcomes and the state of its breaker."""

    async def work() -> Any:
        scene = Stage({"a": ScriptedTransport(*[Answer(list(pieces)) for _ in range(REQUESTS)])}, timeouts=timeouts)
        own = replace(deployment("a"), target=Target("m", thinks=thinker))
        plan = Plan("m", "ordered", Ordered(), (Group("m", (own,)),))
        scene.runtime = replace(scene.runtime, router=Router({"m": plan}, {}, scene.world))
        scene.pipeline = Pipeline(scene.runtime, scene.recorder, scene.loop, scene.clock, lambda: 0.0)
        outcomes = []
        for _ in range(REQUESTS):
            request = scene.request(stream=True)
            request.body.update(body or {})
            sink = type(scene.sink)()
            outcomes.append(await scene.pipeline.run(request, Caller("tester"), sink, scene.clock()))
            if outcomes[-1].ending != "ok":
                break
        return outcomes, scene.guard.states()["a/m"]

    return run_virtual(work())


LATE = [b"role\n", 45.0, b"text:one\n", 200.0, b"text:two\n", b"done\n", None]


@pytest.mark.parametrize(("thinker", "body"), [(True, {}), (False, {"reasoning_effort": "high"})])
def test_thinking_takes_its_time(thinker, body):
    outcomes, state = play(LATE, thinker=thinker, body=body)
    assert [outcome.ending for outcome in outcomes] == ["ok"] * REQUESTS
    assert state is BreakerState.CLOSED


@pytest.mark.parametrize("body", [{}, {"reasoning_effort": "none"}])
def test_others_have_the_usual_limits(body):
    outcomes, _ = play(LATE, thinker=False, body=body)
    assert outcomes[0].attempts[0].cause is Cause.TTFT
    assert outcomes[0].duration_s == pytest.approx(30)
    outcomes, _ = play([b"text:one\n", 200.0, b"done\n", None], thinker=False, body=body)
    assert outcomes[0].ending == "interrupted"


def test_thinking_has_an_end():
    outcomes, _ = play([b"role\n"], thinker=True)
    assert outcomes[0].duration_s == pytest.approx(120)
    outcomes, _ = play([b"text:one\n"], thinker=True)
    assert outcomes[0].duration_s == pytest.approx(300)


def limits(*, usual: Any = None, provider: Any = None, route: Any = None) -> tuple[Timeouts, Timeouts]:
    """What a configuration makes of these: the limits of the provider, and those of a route."""
    policies = {} if usual is None else {"policies": {"timeouts": usual}}
    own = {} if provider is None else {"timeouts": provider}
    of_route = {} if route is None else {"timeouts": route}
    _, runtime = assembled(
        providers={"sim": {"kind": "mock"} | own},
        models={"m": {"deployments": [{"provider": "sim", "model": "o3-mini"}]}},
        routes={"r": {"pool": ["m"]} | of_route},
        **policies,
    )
    return runtime.timeouts_of(None, "sim"), runtime.timeouts_of("r", "sim")


def test_what_nobody_stated_is_longer_for_them():
    own, of_route = limits()
    assert own is of_route
    assert (own.ttft_s, own.idle_s, own.total_s) == (30, 30, 300)
    assert (own.thinking.ttft_s, own.thinking.idle_s, own.thinking.total_s) == (120, 300, 300)


@pytest.mark.parametrize("where", ["usual", "provider", "route"])
def test_what_somebody_stated_holds_for_them_too(where):
    _, found = limits(**{where: {"ttft_s": 30}})
    assert (found.thinking.ttft_s, found.thinking.idle_s) == (30, 300)
    _, found = limits(**{where: {"idle_s": 7}})
    assert (found.thinking.ttft_s, found.thinking.idle_s) == (120, 7)
    _, found = limits(**{where: {"idle_s": 7, "ttft_s": 9}})
    assert found.thinking is None


def test_limits_of_several_places_are_put_together():
    own, of_route = limits(usual={"total_s": 600}, provider={"ttft_s": 8}, route={"idle_s": 9})
    assert (own.thinking.ttft_s, own.thinking.idle_s, own.total_s) == (8, 300, 600)
    assert of_route.thinking is None
    assert (of_route.ttft_s, of_route.idle_s, of_route.total_s) == (8, 9, 600)


def test_little_time_in_all_leaves_half_of_it_for_another_candidate():
    own, _ = limits(usual={"total_s": 100})
    assert (own.thinking.ttft_s, own.thinking.idle_s) == (50, 100)
    own, _ = limits(usual={"total_s": 40})
    assert own.thinking.ttft_s == 30


@pytest.mark.parametrize(("capabilities", "expected"), [(None, True), (["tools"], False), (["reasoning"], True)])
def test_a_model_is_known_by_its_name_and_what_its_operator_says(capabilities, expected):
    more = {} if capabilities is None else {"capabilities": capabilities}
    _, runtime = assembled(
        providers={"sim": {"kind": "mock"}},
        models={"m": {"deployments": [{"provider": "sim", "model": "o3-mini"}]} | more},
    )
    (found,) = runtime.router.find("m").deployments()
    assert found.target.thinks is expected
    assert next(iter(runtime.router.find("sim/o1").deployments())).target.thinks
    assert not next(iter(runtime.router.find("sim/gpt-4o").deployments())).target.thinks
