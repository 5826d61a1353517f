"""The short way and the long way to a decision come to the same result."""

from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from providers.base import Usage
from routing.constraints import NoCandidateError
from tests.routing.scene import EASY, HARD, ask, model, router

NAMES = ("m0", "m1", "m2", "m3")
CAPABILITIES = (["text", "tools"], ["text", "streaming", "tools", "json_schema"], ["text", "vision", "streaming"])
PROVIDERS = {"sim": {"kind": "mock"}, "off": {"kind": "openai", "api_key": "$NOT_SET_ANYWHERE"}}
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "done"}
IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]

some = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
contents = st.sampled_from([EASY, HARD, "", "Fix def f(x): return x +", "a" * 3000, "words and " * 900, IMAGE])


@st.composite
def routers(draw):
    """A function that makes the same router again and again."""
    models = {}
    for name in NAMES:
        limits = {
            "capabilities": draw(st.sampled_from([None, None, *CAPABILITIES])),
            "context_window": draw(st.sampled_from([None, 2_000, 8_192])),
            "max_output_tokens": draw(st.sampled_from([None, 256, 4_096])),
        }
        provider = draw(st.sampled_from(["sim", "sim", "sim", "off"]))
        more = {key: value for key, value in limits.items() if value is not None}
        models[name] = model(name, price=(draw(st.sampled_from([0.1, 3])), 4), provider=provider, **more)
    kind = draw(st.sampled_from(["complexity", "complexity", "ordered"]))
    chosen = {"pool": draw(some)}
    if kind == "complexity":
        tiers = draw(st.lists(st.sampled_from(["simple", "medium", "complex", "extreme"]), min_size=1, unique=True))
        chosen = {"tiers": {tier: draw(some) for tier in tiers}}
    fallbacks = draw(st.one_of(st.just([]), some))
    route = {"strategy": kind, "fallbacks": fallbacks, "sticky": draw(st.booleans())} | chosen
    return lambda: router(providers=PROVIDERS, models=models, routes={"auto": route})


@st.composite
def requests(draw):
    """What makes an Ask, for each of both ways its own."""
    messages = [{"role": "user", "content": draw(contents)}]
    messages += draw(st.sampled_from([[], [CALL, RESULT], [CALL, RESULT, {"role": "user", "content": HARD}]]))
    odd = st.sampled_from([None, 0, -5, 100, 300, 50_000, True, "12", 1.5, 2**63])
    more = draw(st.fixed_dictionaries({}, optional={"max_tokens": odd, "max_completion_tokens": odd}))
    more |= draw(st.sampled_from([{}, {}, {"tools": [{"type": "function"}]}, {"reasoning_effort": "high"}]))
    return MappingProxyType({"messages": messages, "is_stream": draw(st.booleans()), **more})


def outcome_of(found, name, request):
    """What the caller gets, and the decision itself."""
    try:
        decision = found.decide(ask(name, **request))
    except NoCandidateError as error:
        return (error.main, {(r.deployment.id, r.reason) for r in error.rejections}), None
    ids = [candidate.id for candidate in decision.candidates]
    assert len(set(ids)) == len(ids), "a candidate stands twice"
    rejected = [(rejection.deployment.id, rejection.reason) for rejection in decision.rejections]
    why = (decision.tier, decision.summary, decision.classification, decision.is_stay, decision.session)
    return (ids, rejected, *why), decision


@given(routers(), st.lists(st.tuples(st.sampled_from(["auto", "auto", "m0", "sim/other"]), requests()), max_size=6))
def test_a_lane_decides_as_the_long_way_does(make, asked):
    short, long = make(), make()
    for name, request in asked:
        for known in long._lanes:
            long._lanes[known] = None
        ours, decision = outcome_of(short, name, request)
        theirs, other = outcome_of(long, name, request)
        assert ours == theirs
        for found, made in ((short, decision), (long, other)):
            if made is not None and made.session is not None:
                usage = Usage(input=1_500, output=10)
                found.world.affinity.note(made.session, made.candidates[0], made.tier, usage)
