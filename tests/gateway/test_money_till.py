"""Calls beyond the first: what a tab covers, what it refuses, and what becomes of scopes that nobody needs."""

import pytest

from gateway.wire.refusals import RefusedError
from policies.stores.base import Unavailable
from policies.stores.memory import MemoryStore
from providers.base import Usage
from tests.fakes.virtual_time import run_virtual
from tests.gateway.money_scene import MODELS, Scene, key, request_of, runtime_of

ENOUGH = {"limit_usd": 1000, "window": "total"}
ROUTES = {
    "r": {"strategy": "ordered", "pool": ["cheap"], "context_window_fallbacks": ["dear", "unpriced"]},
    "both": {"strategy": "ordered", "pool": ["cheap", "dear"]},
    "any": {"strategy": "ordered", "pool": ["unpriced", "cheap"]},
}


def own(**more):
    return {"own": ENOUGH | more}


def virtual(scenario):
    """Run the test on a virtual clock, and look afterwards whether anything is left."""

    def test():
        scene = run_virtual(scenario())
        assert scene.store.open_holds() == []
        assert not scene.till.open_tabs

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


@virtual
async def test_a_detour_to_another_provider_is_paid_for_too():
    scene = Scene(runtime_of(budgets=own(), routes=ROUTES))
    opened = await scene.open(request_of("r", max_tokens=100))
    held = scene.balance("own").held
    opened.call()  # refused as too long: it cost nothing
    assert await opened.covers("dear")
    assert scene.balance("own").held == pytest.approx(10 * held)
    opened.call(scene.deployment("dear"), Usage(input=10, output=100))
    opened.settle()
    assert scene.balance("own").spent == 10 * 10_000 + 100 * 100_000
    return scene


@virtual
async def test_nobody_without_a_price_is_called_under_a_budget():
    scene = Scene(runtime_of(budgets=own(), routes=ROUTES))
    opened = await scene.open(request_of("r", max_tokens=100))
    opened.call()
    assert not await opened.covers("unpriced")
    opened.settle()
    opened = await scene.open(request_of("any", max_tokens=100))
    assert [one.model for one in opened.decision.candidates] == ["cheap"]
    opened.settle()
    with pytest.raises(RefusedError) as refused:
        await scene.open(request_of("unpriced"))
    assert refused.value.refusal.error["code"] == "model_unpriced"
    return scene


@virtual
async def test_only_a_limit_asks_for_no_price():
    keys = [key("k", limits="few")]
    scene = Scene(runtime_of(keys=keys, limits={"few": {"requests_per_minute": 5}}, routes=ROUTES))
    opened = await scene.open(request_of("unpriced"))
    assert opened.tab.output_cap(opened.decision.candidates[0]) is None
    opened.call(usage=Usage(input=1))
    opened.settle()
    return scene


@virtual
async def test_a_detour_stays_within_what_one_request_may_cost():
    scene = Scene(runtime_of(budgets=own(max_request_usd=0.005), routes=ROUTES))
    opened = await scene.open(request_of("r", max_tokens=100))
    opened.call()
    assert not await opened.covers("dear")
    opened.settle()
    return scene


@virtual
async def test_a_detour_pays_from_the_budget_of_its_model():
    models = MODELS | {"dear": MODELS["dear"] | {"budget": "of-dear"}}
    budgets = own() | {"of-dear": {"limit_usd": 0.02, "window": "total"}}
    scene = Scene(runtime_of(budgets=budgets, models=models, routes=ROUTES))
    first, second = [await scene.open(request_of("r", max_tokens=100)) for _ in range(2)]
    assert scene.balance("of-dear").held == 0
    for opened in (first, second):
        opened.call()
    assert await first.covers("dear")
    assert not await second.covers("dear"), "the model's budget pays for one of them"
    first.call(scene.deployment("dear"), Usage(input=1, output=100))
    first.settle()
    second.settle()
    assert scene.balance("of-dear").spent == 10_000 + 100 * 100_000
    return scene


@virtual
async def test_a_budget_that_no_candidate_needs_refuses_nobody():
    """It is beyond its limit, as after a reload that lowers it; a detour to its model is not made."""
    models = MODELS | {"dear": MODELS["dear"] | {"budget": "of-dear"}}
    budgets = own() | {"of-dear": {"limit_usd": 0.02, "window": "total"}}
    scene = Scene(runtime_of(budgets=budgets, models=models, routes=ROUTES))
    meter = next(s.meter for s in scene.runtime.scopes.all(()) if s.name == "of-dear")
    scene.store.raise_limit(meter, -30_000_000)
    opened = await scene.open(request_of("r", max_tokens=100))
    opened.call()
    assert not await opened.covers("dear")
    opened.settle()
    opened = await scene.open(request_of("both", max_tokens=100))
    assert [one.model for one in opened.decision.candidates] == ["cheap"]
    opened.settle()
    return scene


@virtual
async def test_a_limit_of_one_model_leaves_the_others():
    models = MODELS | {"cheap": MODELS["cheap"] | {"limits": "one"}}
    scene = Scene(runtime_of(models=models, limits={"one": {"concurrency": 1}}, routes=ROUTES))
    first = await scene.open(request_of("both"))
    second = await scene.open(request_of("both"))
    assert [one.model for one in first.decision.candidates] == ["cheap", "dear"]
    assert [one.model for one in second.decision.candidates] == ["dear"]
    with pytest.raises(RefusedError) as refused:
        await scene.open(request_of("cheap"))
    assert refused.value.refusal.error["code"] == "rate_limit_exceeded"
    first.settle()
    second.settle()
    return scene


@virtual
async def test_each_candidate_is_asked_for_no_more_than_is_held_for_it():
    models = MODELS | {"cheap": MODELS["cheap"] | {"max_output_tokens": 100_000}}
    scene = Scene(runtime_of(models=models, budgets=own(), routes=ROUTES))
    opened = await scene.open(request_of("both"))
    caps = {one.model: opened.tab.output_cap(one) for one in opened.decision.candidates}
    assert caps == {"cheap": 100_000, "dear": 32_768}
    for one in opened.decision.candidates:
        usage = Usage(input=100, output=caps[one.model])
        assert one.price.cost_nusd(usage) <= scene.balance("own").held
    opened.settle()
    return scene


@virtual
async def test_a_repeat_is_held_beside_what_the_first_call_cost():
    scene = Scene(runtime_of(budgets={"own": {"limit_usd": 0.0032, "window": "total"}}))
    opened = await scene.open(request_of("cheap", max_tokens=100))
    held = scene.balance("own").held
    opened.call(usage=Usage(input=10, output=100))
    assert await opened.covers("cheap")
    assert scene.balance("own").held == held + 1_010_000
    opened.call(usage=Usage(input=10, output=100))
    assert not await opened.covers("cheap"), "a third call does not fit beside the two"
    opened.settle()
    assert scene.balance("own").spent == 2_020_000
    return scene


@virtual
async def test_a_place_is_one_place_whatever_was_used():
    keys = [key("k", limits="one")]
    scene = Scene(runtime_of(keys=keys, limits={"one": {"concurrency": 1}}))
    opened = await scene.open(request_of("cheap"))
    opened.call(usage=Usage(input=1000, output=1000))
    opened.settle()
    assert scene.store.reports.overruns == []
    return scene


@virtual
async def test_shrinking_asks_for_what_the_rest_pays_for():
    scene = Scene(
        runtime_of(budgets={"own": {"limit_usd": 0.003, "window": "total", "shrink_answers": True}}, models=MODELS)
    )
    opened = await scene.open(request_of("cheap", max_tokens=4000))
    cap = opened.tab.output_cap(opened.decision.candidates[0])
    assert 3_000_000 - 10_000 < scene.balance("own").held <= 3_000_000
    assert f"x-signalbox-max-tokens: {cap}\r\n".encode() in opened.lines
    with pytest.raises(RefusedError):
        await scene.open(request_of("cheap", max_tokens=4000))
    opened.settle()
    return scene


class _Gone(MemoryStore):
    def hold(self, *_, **__):
        return Unavailable("it is gone")


@virtual
async def test_a_store_that_cannot_be_asked_is_an_error_of_ours():
    runtime = runtime_of(budgets=own())
    scene = Scene(runtime)
    scene = Scene(runtime, _Gone(scene.loop.time))
    with pytest.raises(RefusedError) as refused:
        await scene.open(request_of("cheap"))
    assert refused.value.refusal.status == 503
    return scene


@virtual
async def test_whoever_leaves_while_a_shared_store_is_asked_holds_nothing():
    """Wherever the request ends: before the store has answered, or after."""

    class Slow(MemoryStore):
        is_remote = True

        async def hold(self, *given, **more):
            await scene.loop.create_task(_later(scene.loop, 1.0))
            verdict = super().hold(*given, **more)
            await scene.loop.create_task(_later(scene.loop, 1.0))
            return verdict

    runtime = runtime_of(budgets=own())
    scene = Scene(runtime)
    scene = Scene(runtime, Slow(scene.loop.time))
    for leaves_s in (0.5, 1.5):
        task = scene.loop.create_task(scene.open(request_of("cheap")))
        await _later(scene.loop, leaves_s)
        task.cancel()
        await _later(scene.loop, 3.0)
        assert task.cancelled()
    assert scene.balance("own").held == 0
    return scene


async def _later(loop, seconds):
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done
