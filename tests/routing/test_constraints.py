"""What a candidate must meet: each reason, what limits together mean, and in which order they are given up."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema_routes import ConstraintsConfig
from providers.base import Target, Usage
from providers.pricing import Price, resolve
from routing.ask import Ask
from routing.constraints import (
    NO_LIMITS,
    Constraint,
    Limits,
    NoCandidateError,
    check,
    limits_of,
    relaxed,
    screen,
)
from routing.decision import Deployment, Reason, Rejection

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def price(in_usd, out_usd, request_usd=0.0):
    override = {"input_usd_per_mtok": in_usd, "output_usd_per_mtok": out_usd, "request_usd": request_usd}
    found = resolve("mock", "m", now=NOW, override=override)
    assert found is not None
    return found


def made(model="m", provider="p", *, price=None, residency=(), **target):
    capabilities = target.pop("capabilities", None)
    able = None if capabilities is None else frozenset(capabilities)
    identity = f"{provider}/{model}"
    known = Target(model, capabilities=able, **target)
    return Deployment(identity, identity, model, provider, known, price, residency=frozenset(residency))


def ask(content="hi", **more):
    fields = {key: more.pop(key) for key in tuple(more) if key in Ask.__dataclass_fields__}
    return Ask("m", {"model": "m", "messages": [{"role": "user", "content": content}], **more}, **fields)


def nothing_expected(_):
    raise AssertionError("nobody asked for an estimate")


def reason(deployment, limits=NO_LIMITS, cost_nusd=None, ttft_s=None, **more):
    """The reason against one deployment, the same by `check` and by `screen`."""
    request = ask(**more)
    found = check(deployment, request, limits, cost_nusd=cost_nusd, ttft_s=ttft_s)
    good, rejections = screen([deployment], request, limits, lambda _: (cost_nusd, ttft_s))
    assert (good, rejections) == (([deployment], []) if found is None else ([], [Rejection(deployment, found)]))
    return found


def test_without_limits_and_knowledge_everything_passes():
    everything = [made(name, capabilities=None) for name in "abc"]
    request = ask([IMAGE], tools=[{}], max_tokens=10**9, is_stream=True)
    assert screen(everything, request, NO_LIMITS, nothing_expected) == (everything, [])


def test_the_allow_list_of_the_key():
    assert reason(made("a"), allowed=frozenset({"b"})) is Reason.NOT_ALLOWED
    assert reason(made("b"), allowed=frozenset({"b"})) is None


@pytest.mark.parametrize(
    ("able", "request_", "expected"),
    [
        ({"text"}, {}, None),
        ({"text"}, {"is_stream": True}, Reason.NO_STREAMING),
        ({"text", "streaming"}, {"is_stream": True}, None),
        ({"text"}, {"tools": [{"type": "function"}]}, Reason.NO_TOOLS),
        ({"text"}, {"content": [IMAGE]}, Reason.NO_VISION),
        ({"text"}, {"content": [{"type": "input_audio"}]}, Reason.NO_AUDIO),
        ({"text"}, {"content": [{"type": "file"}]}, Reason.NO_PDF),
        ({"text"}, {"response_format": {"type": "json_schema"}}, Reason.NO_JSON_SCHEMA),
        ({"text"}, {"reasoning_effort": "low"}, Reason.NO_REASONING),
        ({"text", "streaming"}, {"operation": "embeddings"}, Reason.NO_EMBEDDINGS),
        ({"embeddings"}, {}, Reason.NO_TEXT),
        ({"text"}, {"content": [IMAGE], "is_stream": True, "tools": [{}]}, Reason.NO_VISION),
        (set(), {"is_stream": True}, Reason.NO_TEXT),
    ],
)
def test_capabilities(able, request_, expected):
    assert reason(made(capabilities=able), **request_) is expected
    assert reason(made(capabilities=None), **request_) is None, "what is not known rules nothing out"


@pytest.mark.parametrize(
    ("runs", "allowed", "expected"),
    [
        ((), {"eu"}, Reason.RESIDENCY),
        (("eu",), {"eu"}, None),
        (("eu", "us"), {"eu"}, Reason.RESIDENCY),
        (("eu", "us"), {"eu", "us", "ca"}, None),
        (("us",), {"eu"}, Reason.RESIDENCY),
        (("us",), set(), Reason.RESIDENCY),
    ],
)
def test_residency_holds_for_every_place(runs, allowed, expected):
    assert reason(made(residency=runs), Limits(residency=frozenset(allowed))) is expected


def test_providers_by_name():
    assert reason(made(), Limits(providers_only=frozenset({"q"}))) is Reason.EXCLUDED
    assert reason(made(), Limits(providers_only=frozenset({"p"}))) is None
    assert reason(made(), Limits(providers_ignore=frozenset({"p"}))) is Reason.EXCLUDED


def test_prices_and_costs():
    cheap = made(price=price(1, 2, request_usd=0.5))
    usd = 1_000_000_000
    for limits, over in [
        (Limits(max_input_nusd_per_mtok=usd), Limits(max_input_nusd_per_mtok=usd - 1)),
        (Limits(max_output_nusd_per_mtok=2 * usd), Limits(max_output_nusd_per_mtok=2 * usd - 1)),
        (Limits(max_request_nusd=usd // 2), Limits(max_request_nusd=usd // 2 - 1)),
    ]:
        assert reason(cheap, limits) is None
        assert reason(cheap, over) is Reason.MAX_PRICE
        assert reason(made(), limits) is Reason.UNPRICED
    assert reason(cheap, Limits(max_cost_nusd=10), cost_nusd=10) is None
    assert reason(cheap, Limits(max_cost_nusd=10), cost_nusd=11) is Reason.MAX_COST
    assert reason(made(), Limits(max_cost_nusd=10)) is Reason.UNPRICED
    assert reason(made(), Limits(max_ttft_s=1.0)) is None, "a limit on time says nothing of money"


def test_the_price_of_a_long_prompt_counts():
    base = price(1, 1).rates
    steps = Price(base, tiers=((1000, price(3, 1).rates),))
    assert steps.cost_nusd(Usage(input=1001)) == 3 * steps.cost_nusd(Usage(input=1000)) * 1001 // 1000
    limits = Limits(max_input_nusd_per_mtok=2_000_000_000)
    assert reason(made(price=steps), limits) is None
    assert reason(made(price=steps), limits, content="some words " * 1000) is Reason.MAX_PRICE


def test_time_to_first_content():
    assert reason(made(), Limits(max_ttft_s=1.0), ttft_s=1.0) is None
    assert reason(made(), Limits(max_ttft_s=1.0), ttft_s=1.1) is Reason.MAX_TTFT
    assert reason(made(), Limits(max_ttft_s=1.0), ttft_s=None) is None


def test_tiers_below_the_floor():
    tiers = {"simple": ["a", "b"], "medium": ["b", "c"], "complex": ["d"]}
    limits = limits_of(ConstraintsConfig(min_tier="medium"), tiers)
    assert [reason(made(name), limits) for name in "abcd"] == [Reason.TIER_FLOOR, None, None, None]
    assert reason(made("elsewhere"), limits) is None
    assert limits_of(ConstraintsConfig(min_tier="simple"), tiers).below_tier == set()


def test_limits_of_a_configuration():
    assert limits_of(None) is NO_LIMITS
    assert limits_of(ConstraintsConfig()) is NO_LIMITS
    config = ConstraintsConfig.model_validate(
        {
            "max_cost_usd": 0.1,
            "max_ttft_s": 2,
            "max_input_usd_per_mtok": 0.3,
            "max_output_usd_per_mtok": 0,
            "residency": "eu",
            "relax": ["max_ttft_s", "residency"],
        }
    )
    assert limits_of(config) == Limits(
        max_cost_nusd=100_000_000,
        max_ttft_s=2.0,
        max_input_nusd_per_mtok=300_000_000,
        max_output_nusd_per_mtok=0,
        residency=frozenset({"eu"}),
        relax=(Constraint.MAX_TTFT_S, Constraint.RESIDENCY),
    )


def test_every_constraint_can_be_relaxed_by_its_name_in_the_configuration():
    assert {*Constraint, "relax"} == set(ConstraintsConfig.model_fields)
    full = Limits(5, 1.0, 5, 5, 5, frozenset({"eu"}), "medium", frozenset({"a"}), relax=tuple(Constraint))
    last = list(relaxed(full))[-1]
    assert last == Limits(max_request_nusd=5), "what has no name in the configuration stays"


def test_relaxing_goes_in_the_operators_order():
    limits = Limits(max_cost_nusd=5, max_ttft_s=1.0, residency=frozenset({"eu"}))
    order = (Constraint.RESIDENCY, Constraint.MAX_TTFT_S)
    steps = list(relaxed(Limits(5, 1.0, residency=frozenset({"eu"}), relax=order)))
    assert [(step.max_cost_nusd, step.max_ttft_s, step.residency) for step in steps] == [
        (5, 1.0, None),
        (5, None, None),
    ]
    assert [step.relax for step in steps] == [(Constraint.MAX_TTFT_S,), ()]
    assert list(relaxed(limits)) == []


def test_what_the_caller_limits_is_not_given_up_for_the_operator():
    route = Limits(max_cost_nusd=100, max_ttft_s=1.0, relax=(Constraint.MAX_COST_USD, Constraint.MAX_TTFT_S))
    caller = Limits(max_cost_nusd=500)
    for both in (route.merged(caller), caller.merged(route)):
        assert (both.max_cost_nusd, both.relax) == (100, (Constraint.MAX_TTFT_S,))


_SETS = st.none() | st.frozensets(st.sampled_from("abc"))
_MOST = st.none() | st.integers(0, 5)
_LIMITS = st.builds(
    Limits,
    max_cost_nusd=_MOST,
    max_ttft_s=_MOST,
    max_input_nusd_per_mtok=_MOST,
    max_output_nusd_per_mtok=_MOST,
    max_request_nusd=_MOST,
    residency=_SETS,
    below_tier=st.frozensets(st.sampled_from("mn")),
    providers_only=_SETS,
    providers_ignore=st.frozensets(st.sampled_from("abc")),
    relax=st.lists(st.sampled_from(Constraint), unique=True).map(tuple),
)
_PRICES = [None, *(price(a / 1e9, b / 1e9, c / 1e9) for a, b, c in itertools.product((0, 3), repeat=3))]
_DEPLOYMENTS = st.builds(
    made,
    model=st.sampled_from("mno"),
    provider=st.sampled_from("abc"),
    price=st.sampled_from(_PRICES),
    residency=st.frozensets(st.sampled_from("abc")),
)


@given(one=_LIMITS, other=_LIMITS, deployment=_DEPLOYMENTS, cost_nusd=_MOST, ttft_s=_MOST)
def test_merged_limits_are_both_at_once(one, other, deployment, cost_nusd, ttft_s):
    def passes(limits):
        return check(deployment, ask(), limits, cost_nusd=cost_nusd, ttft_s=ttft_s) is None

    both = one.merged(other)
    assert passes(both) == (passes(one) and passes(other))
    assert one.merged(NO_LIMITS) == NO_LIMITS.merged(one) == one
    looser = [both, *relaxed(both)]
    assert [passes(limits) for limits in looser] == sorted(passes(limits) for limits in looser), "only ever looser"


@given(deployments=st.lists(_DEPLOYMENTS), limits=_LIMITS)
def test_everybody_is_a_candidate_or_a_rejection(deployments, limits):
    good, rejections = screen(deployments, ask(), limits, lambda _: (3, None))
    assert sorted([d.id for d in good] + [r.deployment.id for r in rejections]) == sorted(d.id for d in deployments)
    assert [d for d in deployments if d in good] == good, "in the given order"
    assert {r.reason for r in rejections} <= set(Reason)


@pytest.mark.parametrize(
    ("reasons", "main"),
    [
        ([], Reason.DISABLED),
        ([Reason.DISABLED] * 2, Reason.DISABLED),
        ([Reason.DISABLED] * 2 + [Reason.NOT_ALLOWED], Reason.NOT_ALLOWED),
        ([Reason.DISABLED] * 2 + [Reason.NO_TOOLS], Reason.NO_TOOLS),
        ([Reason.NO_TOOLS] * 2 + [Reason.CONTEXT_WINDOW], Reason.NO_TOOLS),
        ([Reason.CONTEXT_WINDOW, Reason.MAX_COST], Reason.MAX_COST),
        ([Reason.CONTEXT_WINDOW] * 3 + [Reason.BREAKER_OPEN], Reason.BREAKER_OPEN),
        ([Reason.THROTTLED] * 2 + [Reason.BREAKER_OPEN], Reason.THROTTLED),
    ],
)
def test_the_reason_to_name(reasons, main):
    error = NoCandidateError([Rejection(made(), reason) for reason in reasons])
    assert error.main is main
    assert sum(error.reasons.values()) == len(error.rejections) == len(reasons)
