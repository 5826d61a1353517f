"""On every recorded exchange: the classes sum to what the provider reported, and the cost error against it is zero.

The oracle prices the provider's raw numbers without going through `Usage`: every token at the plain rate, then the
difference for those that cost something else.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
import pytest

from providers import registry
from providers.base import Operation, ProviderOptions, Request, Target, Usage
from providers.bounds import bound_prompt, most_image_tokens
from providers.catalog import vendors
from providers.openai_usage import usage_of_response
from providers.prices import Price, Rates, Tariff
from providers.pricing import resolve
from tests.providers import cassettes
from tests.providers.cassettes import Exchange
from tests.providers.recorded import every

OPERATIONS: dict[str, Operation] = {"chat": "chat", "completions": "completions", "embeddings": "embeddings"}
FAMILIES = {
    **dict.fromkeys(OPERATIONS, "openai"),
    "responses": "responses",
    "messages": "anthropic",
    "generate": "gemini",
    "generate_stream": "gemini",
}
# A stream that is cut in the middle of an event.
BROKEN = "vercel-ai/packages/anthropic/src/__fixtures__/spliced-message-start.chunks.txt"
# Recorded on paths of dialects that the gateway does not speak.
FOREIGN = {"writer", "api.writer.com:443"}
# No two sums of these are the same for different classes.
RATES = Rates(
    1_000_003, 5_000_011, 100_019, 1_250_033, 2_000_083, 7_000_009, 900_007, 6_000_011, 20_000_003, 40_000_003
)
FLEX, US = RATES.times(1, 2), RATES.times(11, 10)
PRICE = Price(RATES, search_nusd=10_000_007, service_tiers=(("flex", Tariff(FLEX)), ("us", Tariff(US))))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Numbers are how Vertex AI says it where enumerations are sent so.
MODALITIES = {2: "IMAGE", 4: "AUDIO"}
KNOWN = {"openai": 800, "responses": 505, "anthropic": 440, "gemini": 365}


pytestmark = cassettes.marks()


@dataclass(frozen=True)
class Account:
    """An exchange, our usage, the raw usage, and the answer that it stood in."""

    exchange: Exchange
    usage: Any
    raw: dict[str, Any]
    answer: dict[str, Any]

    @property
    def source(self) -> str:
        return self.exchange.source

    @property
    def family(self) -> str:
        return FAMILIES[self.exchange.endpoint]


@cache
def accounts() -> tuple[Account, ...]:
    return tuple(
        account_of(e)
        for e in cassettes.select(None, *FAMILIES)
        if e.status == 200
        and e.provider not in FOREIGN
        and b"usage" in e.response_body
        and e.source != BROKEN
        and e.response_body.count(b"event: message_start") <= 1  # two answers in one
    )


def account_of(exchange: Exchange) -> Account:
    try:
        return Account(exchange, counted(exchange), *reported(exchange))
    except Exception as error:
        error.add_note(f"with the recorded exchange {exchange.source}")
        raise


def told() -> list[Account]:
    """Those that told a usage."""
    return [account for account in accounts() if account.raw]


def events(exchange: Exchange) -> list[dict[str, Any]]:
    if exchange.is_stream:
        lines = [line[5:] for line in re.split(rb"\r\n|\r|\n", exchange.response_body) if line.startswith(b"data:")]
        found = [orjson.loads(line) for line in lines if line.strip() != b"[DONE]" and _is_json(line)]
    else:
        whole = orjson.loads(exchange.response_body)
        found = whole if isinstance(whole, list) else [whole]
    return [event for event in found if isinstance(event, dict)]


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def reported(exchange: Exchange) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provider's own numbers: of a stream the last, and of Anthropic's two the larger."""
    raw: dict[str, Any] = {}
    answer: dict[str, Any] = {}
    family = FAMILIES[exchange.endpoint]
    for event in events(exchange):
        holder = event.get("response") or event.get("message") or event
        holder = holder if isinstance(holder, dict) else event
        name = "usageMetadata" if family == "gemini" else "usage"
        found = holder.get(name) or (event.get("x_groq") or {}).get("usage")
        if not isinstance(found, dict):
            continue
        if family == "gemini" and not any(key.endswith("TokenCount") for key in found):
            continue
        if family == "anthropic":
            kept = {k: v for k, v in raw.items() if isinstance(v, int) and isinstance(found.get(k, 0), int)}
            raw |= {k: v for k, v in found.items() if v is not None}
            raw |= {k: v for k, v in kept.items() if v > (raw[k] if isinstance(raw[k], int) else 0)}
        else:
            raw = found
        answer = holder
    return raw, answer


def counted(exchange: Exchange) -> Usage | None:
    """Through the dialect, as the gateway does it."""
    family = FAMILIES[exchange.endpoint]
    if family == "responses":
        return usage_of_response(reported(exchange)[1])
    known = exchange.provider in ("openai", "azure", *vendors())
    kind = family if family != "openai" else exchange.provider if known else "openai_compatible"
    provider = registry.build(
        ProviderOptions("up", kind, api_key="sk-test", base_url="https://up.example/v1", extra={"account": "a"})
    )
    operation = OPERATIONS.get(exchange.endpoint, "chat")
    request = Request(operation, {"model": "m", "messages": []}, b"{}", "m", exchange.is_stream, True, "r1")
    if not exchange.is_stream:
        body = exchange.response_body
        if body.startswith(b"["):  # a stream that was recorded as the list of its events
            body = orjson.dumps(orjson.loads(body)[-1])
        return provider.reply(request, Target("m"), body).usage
    decoder = provider.decoder(request, Target("m"))
    decoder.feed(exchange.response_body)
    decoder.close()
    if decoder.error is not None:
        raise decoder.error
    return decoder.usage


def number(raw: Any, *path: str) -> int:
    for key in path:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if isinstance(raw, int) else 0


def totals(family: str, raw: dict[str, Any]) -> tuple[int, int]:
    """Input and output as the provider has them."""
    if family == "anthropic":
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        return sum(number(raw, name) for name in names), number(raw, "output_tokens")
    if family == "gemini":
        prompt = number(raw, "promptTokenCount") + number(raw, "toolUsePromptTokenCount")
        told = number(raw, "candidatesTokenCount") + number(raw, "thoughtsTokenCount")
        return prompt, max(told, number(raw, "totalTokenCount") - prompt)
    completion = number(raw, "completion_tokens") or number(raw, "output_tokens")
    has_prompt = "prompt_tokens" in raw or "input_tokens" in raw
    total = number(raw, "total_tokens")
    prompt = (number(raw, "prompt_tokens") or number(raw, "input_tokens")) if has_prompt else total - completion
    return prompt, max(completion, total - prompt)


def own_price(family: str, raw: dict[str, Any], answer: dict[str, Any], price: Price) -> int:
    """Nano-dollars for the raw numbers. Every token costs the plain rate; what is special, the difference to it."""
    rates = price.rates
    traffic = str(raw.get("trafficType", "")).lower().removeprefix("on_demand_")
    tier = raw.get("serviceTier") or answer.get("service_tier") or traffic
    prompt, output = totals(family, raw)
    for name, tariff in price.service_tiers:
        if name == (raw.get("inference_geo") if family == "anthropic" else tier):
            rates = tariff.rates
    for above, longer in price.tiers:
        if prompt > above:
            rates = longer
    total = prompt * rates.input + output * rates.output
    left = {rates.input: prompt, rates.output: output}
    for tokens, own, plain in special(family, raw, rates, output):
        # Some recorded details exceed their total, or count a token as two things: what is left of it is what counts.
        counting = min(tokens, left[plain])
        left[plain] -= counting
        total += counting * (own - plain)
    return -(-total // 10**6)


def special(family: str, raw: dict[str, Any], rates: Rates, output: int) -> list[tuple[int, int, int]]:
    """(tokens, their rate, the plain rate) of what costs something else."""
    if family == "anthropic":
        hour = number(raw, "cache_creation", "ephemeral_1h_input_tokens")
        return [
            (number(raw, "cache_read_input_tokens"), rates.cache_read, rates.input),
            (number(raw, "cache_creation_input_tokens") - hour, rates.cache_write_5m, rates.input),
            (hour, rates.cache_write_1h, rates.input),
            (number(raw, "output_tokens_details", "thinking_tokens"), rates.reasoning, rates.output),
        ]
    if family == "gemini":
        fresh = [*(raw.get("promptTokensDetails") or ()), *(raw.get("toolUsePromptTokensDetails") or ())]
        said: Counter[str] = Counter()
        for sign, details in ((1, fresh), (-1, raw.get("cacheTokensDetails") or ())):
            for detail in details:
                said[MODALITIES.get(detail["modality"], detail["modality"])] += sign * number(detail, "tokenCount")
        made = Counter({str(d["modality"]): number(d, "tokenCount") for d in raw.get("candidatesTokensDetails") or ()})
        return [
            (number(raw, "cachedContentTokenCount"), rates.cache_read, rates.input),
            (max(0, said["AUDIO"]), rates.audio_input, rates.input),
            (max(0, said["IMAGE"]), rates.image_input, rates.input),
            (made["AUDIO"], rates.audio_output, rates.output),
            (made["IMAGE"], rates.image_output, rates.output),
            (output - number(raw, "candidatesTokenCount"), rates.reasoning, rates.output),
        ]
    inputs = "prompt_tokens_details" if raw.get("prompt_tokens_details") else "input_tokens_details"
    outputs = "completion_tokens_details" if raw.get("completion_tokens_details") else "output_tokens_details"
    elsewhere = [number(raw, name) for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")]
    beyond = output - (number(raw, "completion_tokens") or number(raw, "output_tokens"))
    return [
        (number(raw, inputs, "cached_tokens") or max(elsewhere), rates.cache_read, rates.input),
        (number(raw, inputs, "cache_write_tokens"), rates.cache_write_5m, rates.input),
        (number(raw, inputs, "audio_tokens"), rates.audio_input, rates.input),
        (number(raw, inputs, "image_tokens"), rates.image_input, rates.input),
        (beyond or number(raw, outputs, "reasoning_tokens"), rates.reasoning, rates.output),
        (number(raw, outputs, "audio_tokens"), rates.audio_output, rates.output),
        (number(raw, outputs, "image_tokens"), rates.image_output, rates.output),
    ]


def test_as_many_exchanges_are_looked_at_as_are_known() -> None:
    found = Counter(account.family for account in told())
    assert {family: found[family] >= least for family, least in KNOWN.items()} == dict.fromkeys(KNOWN, True), found
    streams = {(a.family, a.exchange.provider) for a in told() if a.exchange.is_stream}
    assert len(streams) >= 15


@every(accounts)
def test_a_usage_is_what_was_told_or_estimated(account: Account) -> None:
    if account.raw:
        assert account.usage is not None
    else:
        assert account.usage is None or account.usage.is_estimated


@every(told)
def test_the_classes_sum_to_what_the_provider_reported(account: Account) -> None:
    usage = account.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == totals(account.family, account.raw)
    assert all(value >= 0 for name in Rates.__dataclass_fields__ if (value := getattr(usage, name)) is not None)


@every(told)
def test_the_cost_error_against_the_reported_usage_is_zero(account: Account) -> None:
    usage, raw, answer = account.usage, account.raw, account.answer
    listed = price_of(account.exchange.provider, str(answer.get("model") or answer.get("modelVersion") or "?"))
    for price in (PRICE, listed):
        if price is not None:
            extra = price.request_nusd + price.search_nusd * min(usage.searches, price.searches_max or usage.searches)
            assert price.cost_nusd(usage) == own_price(account.family, raw, answer, price) + extra
            assert price.cost_nusd(usage) <= price.worst_nusd(
                usage.prompt_tokens, usage.completion_tokens, searches=usage.searches, asked_tier=usage.service_tier
            )


@cache
def price_of(provider: str, model: str) -> Price | None:
    return resolve(provider, model, now=NOW)


@every(told)
def test_costs_that_providers_report_are_kept(account: Account) -> None:
    usage = account.usage
    ticks, cost = account.raw.get("cost_in_usd_ticks"), account.raw.get("cost")
    if isinstance(ticks, int):
        assert usage.reported_nusd == -(-ticks // 10)
    elif isinstance(cost, int | float) and not account.raw.get("is_byok"):
        assert usage.reported_nusd == pytest.approx(cost * 10**9, abs=1)
    else:
        assert isinstance(cost, dict) or account.raw.get("is_byok") or usage.reported_nusd is None


def test_searches_and_costs_that_providers_report_are_many() -> None:
    found: Counter[str] = Counter()
    for account in told():
        if account.family == "anthropic":
            found["anthropic"] += number(account.raw, "server_tool_use", "web_search_requests")
        found[f"searched {account.family}"] += account.usage.searches
        found["priced"] += account.usage.reported_nusd is not None
    assert found["anthropic"] == found["searched anthropic"] > 5
    assert found["searched responses"] > 5
    assert found["searched gemini"] > 5
    assert found["priced"] > 90


def test_our_cost_is_what_providers_say_they_charged() -> None:
    """All of xAI's, and nearly all of OpenRouter's: prices of the day of the recording were others for some models."""
    same, asked = Counter[str](), Counter[str]()
    for account in told():
        usage, provider = account.usage, account.exchange.provider
        price = price_of(provider, str(account.answer.get("model") or "?"))
        if usage.reported_nusd and price is not None:
            asked[provider] += 1
            same[provider] += abs(price.cost_nusd(usage) - usage.reported_nusd) <= 1
    assert asked["xai"] > 20
    assert asked["openrouter"] > 50
    assert same["xai"] >= asked["xai"] * 0.9
    assert same["openrouter"] >= asked["openrouter"] * 0.8


def bounded() -> list[Account]:
    """Without those where the provider read what its own tools fetched, or a conversation that it keeps."""
    return [
        account
        for account in told()
        if account.family != "gemini"
        and isinstance(account.exchange.request_json, dict)
        and not account.usage.is_estimated
        and not account.usage.searches
        and not _reads_more(account.exchange.request_json)
    ]


@every(bounded)
def test_no_recorded_prompt_has_more_tokens_than_its_bound(account: Account) -> None:
    body = account.exchange.request_json
    model = str(account.answer.get("model") or body.get("model"))
    assert account.usage.prompt_tokens <= bound_prompt(body, image_tokens=most_image_tokens(model))


def test_the_bound_is_looked_at_for_many_prompts() -> None:
    checked = Counter(account.family for account in bounded())
    assert checked["openai"] > 350
    assert checked["responses"] > 200
    assert checked["anthropic"] > 300


def _reads_more(body: dict[str, Any]) -> bool:
    """Whether the provider read what is not in the body: by tools of its own, or kept under a name."""
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict)]
    has_own = any(tool.get("type", "function") not in ("function", "custom") for tool in tools)
    named = ("previous_response_id", "conversation", "mcp_servers", "container")
    is_system = str(body.get("model")).startswith(("compound", "groq/compound"))
    return has_own or is_system or any(body.get(name) for name in named) or isinstance(body.get("prompt"), dict)
