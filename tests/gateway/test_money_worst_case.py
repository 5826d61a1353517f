"""What is held is never less than what a call can cost, whatever the request says and the provider reports."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.worst_case import UNSAID_OUTPUT_TOKENS, WorstCase
from gateway.runtime import Runtime
from policies.stores.base import Unit
from providers.base import Usage
from providers.bounds import bound_prompt
from routing.ask import Ask
from tests.gateway.money_scene import PRICE, request_of, runtime_of

_TIERED = {
    "gpt-4o": {"deployments": [{"provider": "one", "model": "gpt-4o"}]},
    "claude": {"deployments": [{"provider": "claude", "model": "claude-sonnet-4-5"}]},
    "gemini": {"deployments": [{"provider": "gemini", "model": "gemini-2.5-pro"}]},
    "short": {"deployments": [{"provider": "one", "model": "short"}], "price": PRICE, "max_output_tokens": 100},
    "small": {"deployments": [{"provider": "one", "model": "small"}], "price": PRICE, "context_window": 600},
}


@cache
def runtime() -> Runtime:
    providers = {
        "one": {"kind": "openai", "api_key": "x"},
        "claude": {"kind": "anthropic", "api_key": "x"},
        "gemini": {"kind": "gemini", "api_key": "x"},
    }
    return runtime_of(providers=providers, models=_TIERED, keys=[])


def deployment(model):
    return next(iter(runtime().router.plans[model].deployments()))


def worst_of(request):
    ask = Ask(request.model, request.body, len(request.raw), request.operation)
    return WorstCase(request, ask, runtime().upstreams)


def split(draw, total, parts):
    """Whole numbers that add up to at most `total`."""
    found = []
    for _ in range(parts):
        found.append(draw(st.integers(0, total)))
        total -= found[-1]
    return found


@given(
    data=st.data(),
    model=st.sampled_from(sorted(_TIERED)),
    text=st.text(max_size=200),
    repeat=st.sampled_from([1, 40, 4000]),
    limit=st.one_of(st.none(), st.integers(1, 100_000)),
    choices=st.one_of(st.none(), st.integers(1, 5)),
    cap=st.one_of(st.none(), st.integers(16, 50_000)),
)
def test_no_usage_costs_more_than_is_held(data, model, text, repeat, limit, choices, cap):
    more = {name: value for name, value in (("max_tokens", limit), ("n", choices)) if value is not None}
    request = request_of(model, text * repeat, **more)
    worst, target = worst_of(request), deployment(model)
    worst.output_cap = cap
    prompt = bound_prompt(request.body)
    if target.target.context_window is not None:
        prompt = min(prompt, target.target.context_window)
    output = limit or target.target.max_output_tokens or UNSAID_OUTPUT_TOKENS
    if cap is not None:
        output = min(output, cap)
    uncached, read, write_5m, write_1h, audio, image = split(data.draw, prompt, 6)
    said, thought, heard, seen = split(data.draw, output * (choices or 1), 4)
    usage = Usage(
        input=uncached, cache_read=read, cache_write_5m=write_5m, cache_write_1h=write_1h, audio_input=audio,
        image_input=image, output=said, reasoning=thought, audio_output=heard, image_output=seen,
    )  # fmt: skip
    held = worst.nusd(target)
    assert held is not None
    assert target.price.cost_nusd(usage) <= held


@given(
    model=st.sampled_from(sorted(_TIERED)),
    room=st.integers(0, 3_000_000_000),
    limit=st.one_of(st.none(), st.integers(1, 40_000)),
    choices=st.integers(1, 4),
)
def test_a_shorter_answer_is_as_long_as_the_rest_pays_for(model, room, limit, choices):
    request = request_of(model, "hello", n=choices, **({} if limit is None else {"max_tokens": limit}))
    worst, target = worst_of(request), deployment(model)
    most = worst.output_of(target)
    cap = worst.cap_for(target, room)
    assert worst.output_cap is None, "it only looked"
    assert 0 <= cap <= most
    for length in (cap, cap + 1):
        worst.output_cap = length
        fits = worst.nusd(target) <= room
        assert fits == (length == cap) or (length == cap == 0) or (length == cap + 1 > most)


def test_a_cap_never_grows():
    worst, target = worst_of(request_of("short")), deployment("short")
    worst.output_cap = 40
    assert worst.cap_for(target, 10**12) == 40


def test_every_choice_is_paid_for():
    one = worst_of(request_of("short", max_tokens=50)).nusd(deployment("short"))
    three = worst_of(request_of("short", max_tokens=50, n=3)).nusd(deployment("short"))
    both = worst_of(request_of("short", ["a", "b"], "completions", max_tokens=50)).nusd(deployment("short"))
    assert three - one == pytest.approx(100 * 10_000, abs=7_000)  # `"n":3,` is a few bytes of input more
    assert both - one == pytest.approx(50 * 10_000, abs=60_000)


def test_an_answer_without_a_limit_is_as_long_as_the_model_can_write():
    assert worst_of(request_of("short")).output_of(deployment("short")) == 100
    assert worst_of(request_of("small")).output_of(deployment("small")) == UNSAID_OUTPUT_TOKENS


def test_embeddings_have_no_output():
    worst = worst_of(request_of("short", "hello", "embeddings"))
    assert worst.output_of(deployment("short")) == worst.tokens(Unit.OUTPUT_TOKENS) == 0
    assert not worst.is_open_ended
    assert 0 < worst.nusd(deployment("short")) < 700_000


def test_a_prompt_is_no_longer_than_the_context_window():
    worst = worst_of(request_of("small", "x" * 100_000, max_tokens=10))
    assert worst.nusd(deployment("small")) == 600 * 1_000 + 10 * 10_000


def test_a_close_count_goes_before_the_bound_where_it_is_exact():
    request = request_of("short", "hello " * 1000, max_tokens=10)
    worst = worst_of(request)
    bound = worst.nusd(deployment("short"))
    worst.counted = 1_010
    assert worst.nusd(deployment("short")) == (1_010 + 16) * 1_000 + 100_000 < bound
    elsewhere = worst_of(request)
    before = elsewhere.nusd(deployment("claude"))
    elsewhere.counted = 1_010
    assert elsewhere.nusd(deployment("claude")) == before, "its tokenizer is another one"


def test_what_counts_for_a_rate():
    worst = worst_of(request_of("short", "hello there", max_tokens=70, n=2))
    asked = worst.tokens(Unit.INPUT_TOKENS)
    assert 5 <= asked <= 15
    assert worst.tokens(Unit.OUTPUT_TOKENS) == 140
    assert worst.tokens(Unit.TOKENS) == asked + 140
    worst.output_cap = 20
    assert worst.tokens(Unit.OUTPUT_TOKENS) == 40
