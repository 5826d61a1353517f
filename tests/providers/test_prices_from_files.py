"""Prices from the operator's own files: LiteLLM's fields, the keys of `price:`, and which file has the say."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from providers.base import Usage
from providers.price_files import find, of_entry
from providers.prices import Price
from providers.pricing import resolve

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
D = Decimal
CHAT: dict[str, Any] = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": D("4e-06"),
    "output_cost_per_token": D("0.00002"),
    "cache_read_input_token_cost": D("4e-07"),
    "cache_creation_input_token_cost": D("5e-06"),
    "cache_creation_input_token_cost_above_1hr": D("8e-06"),
    "input_cost_per_audio_token": D("4e-05"),
    "output_cost_per_reasoning_token": D("0.00003"),
    "input_cost_per_token_above_200k_tokens": D("8e-06"),
    "output_cost_per_token_above_200k_tokens": D("0.00004"),
    "input_cost_per_token_priority": D("8e-06"),
    "output_cost_per_token_priority": D("0.00004"),
    "input_cost_per_token_above_200k_tokens_priority": D("0.000016"),
    "input_cost_per_token_batches": D("2e-06"),
    "output_cost_per_token_batches": D("0.00001"),
    "search_context_cost_per_query": {"search_context_size_low": D("0.01"), "search_context_size_high": D("0.03")},
    "provider_specific_entry": {"us": D("1.1"), "fast": 2},
    "max_tokens": 128_000,
    "supports_vision": True,
}


def priced(**members: Any) -> Price:
    price = of_entry({**CHAT, **members})
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("usage", "nusd"),
    [
        (Usage(input=10, output=10), 40_000 + 200_000),
        (Usage(cache_read=10, cache_write_5m=10, cache_write_1h=10), 4_000 + 50_000 + 80_000),
        (Usage(audio_input=10, image_input=10), 400_000 + 40_000),
        (Usage(reasoning=10, audio_output=10), 300_000 + 200_000),
        (Usage(input=200_000), 800_000_000),
        (Usage(input=200_001), 1_600_008_000),
        (Usage(input=10, output=10, service_tier="priority"), 80_000 + 400_000),
        (Usage(input=300_000, service_tier="priority"), 4_800_000_000),
        (Usage(input=10, output=10, service_tier="batch"), 20_000 + 100_000),
        (Usage(input=300_000, service_tier="batch"), 1_200_000_000),  # as much cheaper as short prompts are
        (Usage(input=10, output=10, service_tier="us"), 44_000 + 220_000),
        (Usage(input=10, output=10, service_tier="fast+us"), 88_000 + 440_000),
        (Usage(input=10, searches=2), 40_000 + 60_000_000),  # the size of the context is not told: the dearest
    ],
)
def test_litellms_fields(usage: Usage, nusd: int) -> None:
    assert priced().cost_nusd(usage) == nusd


def test_a_class_without_a_price_follows_the_one_it_is_a_kind_of() -> None:
    bare = {name: CHAT[name] for name in ("litellm_provider", "input_cost_per_token", "output_cost_per_token")}
    price = of_entry(bare)
    assert price is not None
    assert price.cost_nusd(Usage(cache_read=10, audio_input=10, reasoning=10)) == 40_000 + 40_000 + 200_000
    assert price.service_tiers == ()


def test_ranges_of_prompt_lengths() -> None:
    steps = [
        {"range": [256_000, D(1_000_000)], "input_cost_per_token": D("2e-06"), "output_cost_per_token": D("8e-06")},
        {"range": [0, D(256_000)], "input_cost_per_token": D("1e-06"), "output_cost_per_token": D("4e-06")},
    ]
    price = of_entry({"litellm_provider": "dashscope", "tiered_pricing": steps})
    assert price is not None
    assert price.cost_nusd(Usage(input=256_000, output=1)) == 256_000_000 + 4_000
    assert price.cost_nusd(Usage(input=256_001)) == 512_002_000


def test_xai_counts_from_the_length_on() -> None:
    price = priced(litellm_provider="xai")
    assert price.cost_nusd(Usage(input=200_000)) == 1_600_000_000


@pytest.mark.parametrize(("unit", "searches"), [({}, 1), ({"web_search_billing_unit": "per_query"}, 3)])
def test_grounding_is_paid_by_prompt_or_by_query(unit: dict[str, str], searches: int) -> None:
    price = priced(litellm_provider="gemini", **unit)
    assert price.cost_nusd(Usage(searches=3)) == searches * 30_000_000


def test_an_entry_that_is_not_sold_by_tokens_is_no_price() -> None:
    assert of_entry({"litellm_provider": "fal_ai", "output_cost_per_image": D("0.04")}) is None
    assert of_entry({"litellm_provider": "exa", "tiered_pricing": [{"max_results_range": [0, 25]}]}) is None


OWN = {"input_usd_per_mtok": D("1"), "output_usd_per_mtok": D("2"), "cache_read_usd_per_mtok": None}


def test_entries_with_the_keys_of_a_price_section() -> None:
    price = of_entry(OWN)
    assert price is not None
    assert price.cost_nusd(Usage(input=1_000, cache_read=1_000, output=1_000)) == 4_000_000


@pytest.mark.parametrize(
    ("kind", "name", "model", "entry", "is_found"),
    [
        ("openai", "openai", "gpt-x", CHAT, True),
        ("azure", "openai", "gpt-x", CHAT, False),  # another seller's price
        ("azure", "openai/gpt-x", "gpt-x", CHAT, False),
        ("azure", "azure/gpt-x", "gpt-x", {**CHAT, "litellm_provider": "azure"}, True),
        ("together", "together_ai/a/b", "a/b", {**CHAT, "litellm_provider": "together_ai"}, True),
        ("vertex", "gpt-x", "gpt-x", {**CHAT, "litellm_provider": "vertex_ai-language-models"}, True),
        ("azure", "gpt-x", "gpt-x", OWN, True),  # names no seller
        ("openai_compatible", "gpt-x", "gpt-x", CHAT, True),
        ("vllm", "mine/gpt-x", "gpt-x", CHAT, True),  # by the provider's name in the configuration
    ],
)
def test_an_entry_is_found_for_its_seller(kind: str, name: str, model: str, entry: dict, is_found: bool) -> None:
    key = model if name == kind else name
    assert (find([{key: entry}], kind, model, "mine", None) is not None) == is_found


def test_a_model_on_this_machine_is_not_priced_as_its_makers() -> None:
    assert find([{"gpt-x": CHAT}], "openai_compatible", "gpt-x", "local", "http://127.0.0.1:8000/v1") is None


def test_who_has_the_say() -> None:
    first, second = {"gpt-4o": OWN}, {"gpt-4o": {**OWN, "input_usd_per_mtok": D(7)}, "gpt-5": OWN}

    def input_nusd(model: str, override: dict[str, float] | None = None) -> int:
        price = resolve("openai", model, now=NOON, files=[first, second], override=override)
        assert price is not None
        return price.cost_nusd(Usage(input=1))

    assert input_nusd("gpt-4o") == 1_000, "the first file"
    assert input_nusd("gpt-5") == 1_000, "the second, which the first says nothing about"
    assert input_nusd("o3") == 2_000, "the installed list"
    assert input_nusd("gpt-4o", {"input_usd_per_mtok": 3}) == 3_000, "the model's own price"
