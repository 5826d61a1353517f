"""Prices against the arithmetic of the package the data comes from, and the operator's overrides over both."""

import math
import random
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Usage
from providers.pricing import ModelFacts, Price, PriceError, Rates, model_facts, resolve

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MTOK = 1_000_000

counts = st.integers(0, 3_000_000)
usages = st.builds(
    Usage,
    input=counts,
    cache_read=counts,
    cache_write_5m=counts,
    cache_write_1h=counts,
    audio_input=counts,
    image_input=counts,
    output=counts,
    reasoning=counts,
    audio_output=counts,
    image_output=counts,
)
rates = st.builds(Rates, *[st.integers(0, 200_000_000_000)] * 10)
prices = st.builds(
    Price,
    rates,
    st.lists(st.tuples(st.integers(1, 2_000_000), rates), max_size=3, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers, key=lambda tier: tier[0]))
    ),
    st.integers(0, 10_000_000),
)


def genai_usage(usage: Usage):
    from genai_prices import Usage as Counted

    return Counted(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_input,
        input_image_tokens=usage.image_input,
        input_video_tokens=0,
        cache_audio_read_tokens=0,
        cache_image_read_tokens=0,
        output_tokens=usage.completion_tokens,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.audio_output,
        output_image_tokens=usage.image_output,
        output_video_tokens=0,
        output_citation_tokens=0,
    )


def random_usage(rng: random.Random, scale: int) -> Usage:
    fields = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
    fields += ("output", "reasoning", "audio_output", "image_output")
    return Usage(**{name: rng.choice((0, rng.randrange(scale))) for name in fields})


def _search_in_every_call(model: str) -> int:
    """What the package leaves out: OpenAI charges a search for each call of its search models."""
    return {"gpt-4o-search-preview": 25_000_000, "gpt-5-search-api": 10_000_000}.get(model, 0)


@pytest.mark.parametrize("when", [NOON, datetime(2026, 11, 20, 2, 30, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)])
def test_cost_equals_the_packages_own_for_every_model_in_its_data(when: datetime) -> None:
    from genai_prices.data_snapshot import get_snapshot

    rng = random.Random(20261120)
    checked = equal = unpriced = 0
    for price_list in get_snapshot().providers:
        for info in price_list.models:
            try:
                found = get_snapshot().find_provider_model(info.id, None, price_list.id, None)[1]
            except LookupError:
                continue  # an entry whose pattern does not match its own id
            price = resolve(price_list.id, info.id, now=when, prices=price_list.id)
            if price is None:
                unpriced += 1
                continue
            for scale in (2_000, 90_000):
                usage = random_usage(rng, scale)
                listed = found.calc_price(genai_usage(usage), price_list, genai_request_timestamp=when)
                exact = math.ceil(listed.total_price * 10**9) + _search_in_every_call(info.id)
                # Off by one only where the list carries more than nine decimals (0.0833333333333333).
                assert abs(price.cost_nusd(usage) - exact) <= 1, (price_list.id, info.id, usage)
                checked += 1
                equal += price.cost_nusd(usage) == exact
    assert checked > 4_000
    assert equal / checked > 0.99
    assert unpriced < 60


def test_a_dated_price_says_when_to_resolve_again() -> None:
    from genai_prices.data_snapshot import get_snapshot

    for price_list in get_snapshot().providers:
        for info in price_list.models:
            price = resolve(price_list.id, info.id, now=NOON, prices=price_list.id)
            if price is None or price.expires_at_s is None:
                continue
            assert price.expires_at_s > NOON.timestamp()
            just_before = datetime.fromtimestamp(price.expires_at_s - 1, UTC)
            same = resolve(price_list.id, info.id, now=just_before, prices=price_list.id)
            assert same is not None
            assert same.rates == price.rates


@pytest.mark.parametrize(
    ("kind", "model", "price_list"),
    [
        ("openai", "gpt-5-mini", "openai"),
        ("anthropic", "claude-sonnet-4-5", "anthropic"),
        ("gemini", "gemini-2.5-flash", "google"),
        ("groq", "llama-3.3-70b-versatile", "groq"),
        ("xai", "grok-4", "x-ai"),
        ("azure", "gpt-4o", "azure"),
        ("mock", "gpt-5-mini", "openai"),
        ("openai_compatible", "openai/gpt-4o", "openai"),
    ],
)
def test_kinds_find_their_price_list(kind: str, model: str, price_list: str) -> None:
    facts = model_facts(kind, model)
    assert facts is not None
    assert facts.price_list == price_list
    assert resolve(kind, model, now=NOON) is not None


def test_the_address_decides_before_the_name() -> None:
    facts = model_facts("openai_compatible", "openai/gpt-4o", base_url="https://openrouter.ai/api/v1")
    assert facts is not None
    assert facts.price_list == "openrouter"


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_a_model_on_this_machine_is_not_priced_by_its_name(url: str) -> None:
    assert resolve("openai_compatible", "gpt-4o", now=NOON, base_url=url) is None
    assert resolve("openai_compatible", "gpt-4o", now=NOON, base_url="https://llm.example.com/v1") is not None


def test_a_vendor_without_a_list_is_not_priced_by_another_seller() -> None:
    assert resolve("somebody_else", "gpt-4o", now=NOON) is None


def test_known_figures() -> None:
    price = resolve("openai", "gpt-4o", now=NOON)
    assert price is not None
    assert price.rates.input == 2_500_000_000
    assert price.cost_nusd(Usage(input=1, output=1)) == 2_500 + 10_000
    assert model_facts("openai", "gpt-4o") == ModelFacts("openai", "gpt-4o", 128_000)


@pytest.mark.parametrize(
    ("kind", "model"),
    [("openai", "no-such-model"), ("ollama", "llama3.2:3b"), ("mock", "429"), ("groq", "whisper-large-v3")],
)
def test_what_no_list_knows_is_unpriced_rather_than_free(kind: str, model: str) -> None:
    assert resolve(kind, model, now=NOON) is None


def test_override_wins_field_by_field() -> None:
    listed = resolve("anthropic", "claude-sonnet-4-5", now=NOON)
    price = resolve("anthropic", "claude-sonnet-4-5", now=NOON, override={"input_usd_per_mtok": 2.5})
    assert listed is not None
    assert price is not None
    assert price.rates.input == 2_500_000_000
    assert price.rates.audio_input == 2_500_000_000  # has no rate of its own in the list: goes with the input
    assert price.rates.output == listed.rates.output
    assert price.rates.cache_read == listed.rates.cache_read
    assert all(tier.input == 2_500_000_000 for _, tier in price.tiers)


def test_override_alone_prices_a_private_model() -> None:
    price = resolve("vllm", "mine", now=NOON, override={"input_usd_per_mtok": 0.1, "output_usd_per_mtok": "0.4"})
    assert price is not None
    assert price.cost_nusd(Usage(input=10, cache_read=10, output=10, reasoning=5)) == 2_000 + 4_000 + 2_000


def test_free_is_free_when_declared() -> None:
    price = resolve("vllm", "mine", now=NOON, override={"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0})
    assert price == Price(Rates(*[0] * 10))


def test_a_price_per_request() -> None:
    price = resolve("vllm", "mine", now=NOON, override={"request_usd": "0.005"})
    assert price is not None
    assert price.cost_nusd(Usage(input=10**6, output=10**6)) == 5_000_000


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ({"input_usd_per_mtok": -1}, "input_usd_per_mtok"),
        ({"input_usd_per_mtok": "cheap"}, "input_usd_per_mtok"),
        ({"input_usd_per_mtok": math.nan}, "input_usd_per_mtok"),
        ({"input_usd_per_token": 1}, "input_usd_per_token"),
        ({"input_usd_per_mtok": 1}, "output_usd_per_mtok"),
        ({"cache_read_usd_per_mtok": 1}, "input_usd_per_mtok"),
    ],
)
def test_an_unusable_override_names_the_key(override: dict, key: str) -> None:
    with pytest.raises(PriceError) as caught:
        resolve("vllm", "mine", now=NOON, override=override)
    assert caught.value.key == key


@given(prices, usages)
def test_cost_is_exact_and_rounded_up_once(price: Price, usage: Usage) -> None:
    in_force = price.rates
    for above, tier in price.tiers:
        if usage.prompt_tokens > above:
            in_force = tier
    names = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
    names += ("reasoning", "audio_output", "image_output")
    exact = sum(Decimal(getattr(usage, name)) * getattr(in_force, name) for name in names) / MTOK
    assert price.cost_nusd(usage) == math.ceil(exact) + price.request_nusd


@given(rates, usages, usages)
def test_splitting_a_call_never_makes_it_cheaper(flat: Rates, one: Usage, two: Usage) -> None:
    price = Price(flat)
    both = Usage(**{name: getattr(one, name) + getattr(two, name) for name in Rates.__dataclass_fields__})
    whole, parts = price.cost_nusd(both), price.cost_nusd(one) + price.cost_nusd(two)
    assert whole <= parts <= whole + 1


@given(st.decimals("0", "1000", places=9))
def test_declared_decimals_survive_exactly(usd: Decimal) -> None:
    price = resolve("vllm", "m", now=NOON, override={"input_usd_per_mtok": usd, "output_usd_per_mtok": str(usd)})
    assert price is not None
    assert Decimal(price.rates.input) == usd * 10**9 == price.rates.output


def test_importing_the_module_loads_no_price_data_and_resolving_starts_no_thread() -> None:
    code = (
        "import sys, threading, datetime, providers.pricing as p\n"
        "assert 'genai_prices' not in sys.modules\n"
        "p.resolve('openai', 'gpt-4o', now=datetime.datetime.now(datetime.UTC))\n"
        "assert 'genai_prices' in sys.modules and threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
