"""What the gateways of all scenarios have alike: who may call them, what they know and what a token costs."""

from copy import copy
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any

from gateway.runtime import Caller
from policies.cache.rules import CacheRules
from policies.hedging import HedgeRules, Hedges, SlowTimes
from providers.base import Provider, ProviderOptions, Target
from providers.openai_compatible import build
from providers.pricing import Price, resolve
from routing.decision import Deployment, header_text
from tests.simulation.loop import ShufflingLoop
from tests.simulation.scenario import CachePlan, ClientPlan, Scenario

IN_NUSD, OUT_NUSD = 1_000, 10_000  # a token's price
SECRETS = (b"sk-one", b"sk-two", b"sk-three")
CALLERS = {
    sha256(secret).hexdigest(): Caller(name, is_priority=name == "three")
    for secret, name in zip(SECRETS, ("one", "two", "three"), strict=True)
}
MAX_TOKENS = 20  # more than any of the scripted answers has
_USUAL_ANSWERS = 50


def experienced(scenario: Scenario, loop: ShufflingLoop) -> Hedges:
    """A gateway that has answered often enough to know what is usual."""
    hedges = Hedges(loop.time)
    if scenario.hedged_after_s is not None:
        for name in ("m", "r"):
            for is_stream in (False, True):
                hedges.delay_s(name, HedgeRules(max_extra_ratio=1.0), is_stream=is_stream)
                hedges.note(name, None, _USUAL_ANSWERS * 10**9, 0, is_stream=is_stream)
                hedges._books[name].times[is_stream] = _usual(scenario.hedged_after_s)
    return hedges


def _usual(seconds: float) -> SlowTimes:
    times = copy(_usual_once(seconds))
    times._counts = list(times._counts)
    return times


@cache
def _usual_once(seconds: float) -> SlowTimes:
    times = SlowTimes()
    for _ in range(_USUAL_ANSWERS):
        times.add(seconds)
    return times


def body_of(plan: ClientPlan, *, is_limited: bool) -> dict[str, Any]:
    subject = plan.id if plan.topic is None else f"topic {plan.topic}"
    body: dict[str, Any] = {
        "model": plan.model,
        "messages": [{"role": "user", "content": f"{subject}: how far is it to the moon?"}],
        "stream": plan.is_stream,
    }
    if plan.topic is not None:
        body["user"] = plan.id  # makes no other question of it, and tells the provider whose call it is
    if plan.wants_usage and plan.is_stream:
        body["stream_options"] = {"include_usage": True}
    if is_limited:
        body["max_tokens"] = MAX_TOKENS
    return body


def cache_rules(plan: CachePlan, kind: type[CacheRules]) -> CacheRules:
    """What a configuration would say."""
    groups = {"one": "both", "two": "both"} if plan.is_grouped else {}
    return kind(ttl_s=plan.ttl_s, stale_s=plan.stale_s, groups=groups)


@cache
def dialect(name: str) -> Provider:
    return build(ProviderOptions(name, "openai_compatible", base_url="http://provider.test/v1"))


@cache
def _price() -> Price:
    override = {"input_usd_per_mtok": IN_NUSD / 1000, "output_usd_per_mtok": OUT_NUSD / 1000}
    price = resolve("openai_compatible", "none", now=datetime(2026, 1, 1, tzinfo=UTC), override=override)
    assert price is not None
    return price


@cache
def deployment(provider: str) -> Deployment:
    name = f"{provider}/m"
    return Deployment(name, name, "m", provider, Target("m"), _price(), header=header_text(name))
