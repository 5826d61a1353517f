"""The most that a call can cost is never below what one does cost; service tiers and searches are charged by report."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Usage
from providers.prices import Price, Rates, Tariff
from providers.pricing import resolve

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ALL_KINDS = ("openai", "anthropic", "google", "x-ai", "groq", "mistral", "deepseek", "openrouter", "perplexity", "aws")
UNASKED = (None, "default", "flex", "batch", "us", "batch+us", "standard", "made-up")

counts = st.integers(0, 3_000_000)
usages = st.builds(
    Usage,
    **dict.fromkeys(Rates.__dataclass_fields__, counts),
    searches=st.integers(0, 30),
    service_tier=st.sampled_from(UNASKED),
)
rates = st.builds(Rates, *[st.integers(0, 200_000_000_000)] * 10)
steps = st.lists(st.tuples(st.integers(0, 6_000_000), rates), max_size=3, unique_by=lambda step: step[0]).map(
    lambda found: tuple(sorted(found, key=lambda step: step[0]))
)
names = st.sampled_from(("flex", "batch", "us", "batch+us", "priority", "fast", "fast+us", "ultrafast"))
prices = st.builds(
    Price,
    rates,
    steps,
    st.integers(0, 10_000_000),
    search_nusd=st.integers(0, 50_000_000),
    searches_max=st.none() | st.integers(0, 3),
    service_tiers=st.lists(st.tuples(names, st.builds(Tariff, rates, steps)), max_size=4, unique_by=lambda t: t[0]).map(
        tuple
    ),
)


def check(price: Price, usage: Usage, asked: str | None = None) -> None:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    worst = price.worst_nusd(prompt, completion, asked_tier=asked, searches=usage.searches)
    assert price.cost_nusd(usage, asked) <= worst
    assert worst <= price.worst_nusd(prompt + 1, completion, asked_tier=asked, searches=usage.searches)
    assert worst <= price.worst_nusd(prompt, completion + 1, asked_tier=asked, searches=usage.searches + 1)


@given(prices, usages)
def test_no_call_costs_more_than_the_worst_one(price: Price, usage: Usage) -> None:
    check(price, usage)


@given(prices, usages, st.sampled_from(("priority", "fast", "ultrafast", "made-up")), st.booleans())
def test_nor_does_one_in_the_tier_that_was_asked_for(price: Price, usage: Usage, asked: str, is_told: bool) -> None:
    check(price, replace(usage, service_tier=asked if is_told else None), asked)
    check(price, replace(usage, service_tier="default"), asked)


@given(usages, st.integers(0, 10_000))
def test_nor_with_any_price_of_the_installed_lists(usage: Usage, pick: int) -> None:
    listed = listed_prices()
    check(listed[pick % len(listed)], usage)


def listed_prices(known: list[Price] = []) -> list[Price]:  # noqa: B006 - made once
    if not known:
        from genai_prices.data_snapshot import get_snapshot

        for price_list in get_snapshot().providers:
            if price_list.id in ALL_KINDS:
                found = (resolve(price_list.id, info.id, now=NOON, prices=price_list.id) for info in price_list.models)
                known += [price for price in found if price is not None]
    assert len(known) > 500
    return known


def test_the_worst_case_is_as_tight_as_the_dearest_class() -> None:
    price = Price(Rates(*range(1_000_000, 11_000_000, 1_000_000)))
    assert price.worst_nusd(10, 0) == 10 * 7  # image input, the dearest of the prompt
    assert price.worst_nusd(0, 10) == 10 * 10


def test_a_long_prompts_price_is_held_for_long_prompts_only() -> None:
    cheap, dear = Rates(*[1_000_000] * 10), Rates(*[5_000_000] * 10)
    price = Price(cheap, ((1_000, dear),))
    assert price.worst_nusd(1_000, 0) == 1_000
    assert price.worst_nusd(1_001, 0) == 5_005


def test_priority_is_held_for_who_asks_for_it() -> None:
    price = resolve("openai", "gpt-4o", now=NOON)
    assert price is not None
    usual = price.worst_nusd(1_000, 1_000)
    for plain in ("auto", "default", "flex", "scale"):
        assert price.worst_nusd(1_000, 1_000, asked_tier=plain) == usual
    assert price.worst_nusd(1_000, 1_000, asked_tier="priority") * 10 == usual * 17
    assert price.worst_nusd(1_000, 1_000, asked_tier="brand-new") * 10 == usual * 17, "the dearest that is known"


@pytest.mark.parametrize(
    ("kind", "model", "tier", "percent"),
    [
        ("openai", "gpt-4o", "priority", 170),
        ("openai", "gpt-4o", "batch", 50),
        ("openai", "o3", "flex", 50),
        ("anthropic", "claude-sonnet-4-5", "batch", 50),
        ("anthropic", "claude-opus-4-6", "us", 110),
        ("anthropic", "claude-sonnet-4-5", "priority", 100),  # paid for in advance
        ("gemini", "gemini-2.5-flash", "priority", 180),
        ("gemini", "gemini-2.5-flash", "flex", 50),
        ("groq", "llama-3.3-70b-versatile", "on_demand", 100),
    ],
)
def test_the_reported_tier_decides_and_else_the_asked_one(kind: str, model: str, tier: str, percent: int) -> None:
    price = resolve(kind, model, now=NOON)
    assert price is not None
    plain = Usage(input=100_000, output=10_000)
    expected = price.cost_nusd(plain) * percent
    assert price.cost_nusd(replace(plain, service_tier=tier)) * 100 == expected
    assert price.cost_nusd(plain, tier) * 100 == expected
    assert price.cost_nusd(replace(plain, service_tier="default"), tier) == price.cost_nusd(plain), "it was downgraded"


@pytest.mark.parametrize(
    ("kind", "model", "searches", "nusd"),
    [
        ("anthropic", "claude-sonnet-4-5", 3, 30_000_000),
        ("openai", "gpt-5", 2, 20_000_000),
        ("gemini", "gemini-2.5-flash", 4, 35_000_000),  # by prompt
        ("gemini", "gemini-3-flash-preview", 4, 56_000_000),  # by query
        ("xai", "grok-4.3", 2, 10_000_000),
        ("groq", "llama-3.3-70b-versatile", 2, 0),
    ],
)
def test_searches_are_charged_as_the_seller_does(kind: str, model: str, searches: int, nusd: int) -> None:
    price = resolve(kind, model, now=NOON)
    assert price is not None
    assert price.cost_nusd(Usage(input=7, searches=searches)) - price.cost_nusd(Usage(input=7)) == nusd


def test_unpriced_is_not_free_and_free_is_not_unpriced() -> None:
    assert resolve("vllm", "mine", now=NOON) is None
    free = resolve("vllm", "mine", now=NOON, override={"input_usd_per_mtok": 0, "output_usd_per_mtok": 0})
    assert free is not None
    assert free.cost_nusd(Usage(input=10**9, output=10**9)) == free.worst_nusd(10**9, 10**9) == 0


def test_a_negotiated_price_holds_for_service_tiers_in_proportion() -> None:
    listed = resolve("openai", "gpt-4o", now=NOON)
    own = resolve("openai", "gpt-4o", now=NOON, override={"input_usd_per_mtok": 1.25})  # half the list
    assert listed is not None
    assert own is not None
    usage = Usage(input=1_000_000, service_tier="priority")
    assert own.cost_nusd(usage) * 2 == listed.cost_nusd(usage)
    free = resolve("openai", "gpt-4o", now=NOON, override={"input_usd_per_mtok": 0, "search_usd": 0.5})
    assert free is not None
    assert free.cost_nusd(usage) == 0
    assert free.cost_nusd(Usage(searches=2)) == 1_000_000_000
