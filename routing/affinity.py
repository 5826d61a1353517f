"""Which conversation a request belongs to, where that conversation has been, and whether it should stay there.

A provider keeps the prompt of a conversation in its cache for some minutes and reads it again for a tenth to a half of
the price. Whoever moves the conversation to another model loses that. docs/explanation/stickiness.md derives the rule.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from providers.base import Usage
from providers.pricing import Price
from routing.decision import Deployment
from routing.opening import opening

# Where clients name a conversation, the most specific first.
# Codex: session-id and thread-id, older ones with underscores (codex-rs/codex-api/src/requests/headers.rs); a
# sub-agent has a thread of its own. Claude Code: code.claude.com/docs/en/llm-gateway-protocol. OpenCode:
# x-session-affinity, x-opencode-session. LiteLLM: docs.litellm.ai/docs/proxy/request_headers. Helicone:
# docs.helicone.ai/features/sessions. xAI: docs.x.ai, "Maximizing cache hits". Open WebUI, Amp: their clients' sources.
_HEADERS = (
    b"x-signalbox-session",
    b"thread-id",
    b"thread_id",
    b"session-id",
    b"session_id",
    b"x-claude-code-session-id",
    b"x-opencode-session",
    b"x-session-affinity",
    b"x-session-id",
    b"x-conversation-id",
    b"x-thread-id",
    b"x-litellm-session-id",
    b"helicone-session-id",
    b"x-openwebui-chat-id",
    b"x-amp-thread-id",
    b"x-grok-conv-id",
)
_HEADER_SET = frozenset(_HEADERS)
# Agents that nobody listed follow the pattern x-<agent>-session-id.
_HEADER_END = b"-session-id"
# Claude Code's sub-agents share the session of the agent that started them, but not its conversation.
_AGENT_HEADER = b"x-claude-code-agent-id"

# OpenRouter has session_id, LiteLLM litellm_session_id, Dify conversation_id, Open WebUI chat_id, Langfuse
# metadata.langfuse_session_id; LangSmith reads the first three from metadata.
_FIELDS = ("session_id", "thread_id", "conversation_id", "chat_id", "litellm_session_id", "langfuse_session_id")
_NAMING_FIELDS = frozenset({*_FIELDS, "conversation", "metadata"})
_CLAUDE_CODE = "session_"
_MAX_ID = 512
_HEADS_KEPT = 64

# The shortest prompt that OpenAI, Gemini and Anthropic (its smaller models: 2,048 or more) cache.
MIN_CACHED_TOKENS = 1_024
# How long an unused cache entry lives. Anthropic, whose entries are written for a price: 5 minutes, or 1 hour where
# the caller pays for it, both from the last use. OpenAI and others that cache by themselves: 5 to 10 minutes of
# inactivity (developers.openai.com/docs/guides/prompt-caching).
_PAID_LIFE_S = 300.0
_PAID_LONG_LIFE_S = 3_600.0
_FREE_LIFE_S = 600.0

# A gain in quality that is no noise: about the calibration error of a trained router.
MIN_GAIN = 0.02
# Below it the classifier goes to the default tier, which is no evidence of anything.
MIN_CONFIDENCE = 0.55
# A move has to save this share of what staying costs: a change of model in mid-conversation has a price that is on no
# list (style, ids of tool calls, hidden reasoning that the next model cannot read).
MIN_SAVING = 0.1
MIN_TURNS_AHEAD, MAX_TURNS_AHEAD = 1.0, 8.0
# A deployment in a slow phase is left for another one of its model when it takes so many times as long.
SLOW_FACTOR = 3.0


def session_of(headers: Mapping[bytes, bytes], body: Mapping[str, Any], key: str, name: str = "") -> bytes:
    """16 bytes that are the same for all requests of one conversation. Never raises, bounded whatever a caller sends.

    `headers` have lower-case names. `key` is the caller: two callers never share a conversation, whatever ids they
    send. `name` separates what is asked for, since an agent uses several models in one session. Without an id the
    first system and the first user message tell. 1 us with an id in a header, 4 us for a plain request, 25 us at most.
    """
    named = _in_headers(headers) if _may_name(tuple(headers)) else None
    if named is None:
        user = body.get("user")
        if not _NAMING_FIELDS.isdisjoint(body) or (isinstance(user, str) and _CLAUDE_CODE in user):
            named = _in_body(body)
    if named is not None:
        start = f"{key}\0{name}\0id\0".encode("utf-8", "surrogatepass")
        return blake2b(start + named, digest_size=16).digest()
    told = f"{key}\0{name}\0text\0{opening(body)}"
    if "prompt_cache_key" in body:
        # Some send one cache key for a whole application, so it does not stand for a conversation alone.
        cache_key = _text(body["prompt_cache_key"])
        if cache_key:
            told = f"{told}\0{cache_key}"
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@lru_cache(maxsize=_HEADS_KEPT)
def _may_name(names: tuple[bytes, ...]) -> bool:
    """Whether one of these headers may name a conversation. Requests of one client have the same ones again."""
    return any(name in _HEADER_SET or name.endswith(_HEADER_END) for name in names)


def _in_headers(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The id that the client gave in a header."""
    found = _value_in(headers)
    agent = headers.get(_AGENT_HEADER) if found is not None else None
    return found if agent is None or found is None else found + b"\0" + agent[:_MAX_ID]


def _value_in(headers: Mapping[bytes, bytes]) -> bytes | None:
    for name in _HEADERS:
        value = headers.get(name, b"").strip()
        if value:
            return value[:_MAX_ID]
    for name in headers:
        if name.endswith(_HEADER_END):
            value = headers[name].strip()
            if value:
                return value[:_MAX_ID]
    return None


def _in_body(body: Mapping[str, Any]) -> bytes | None:
    """The id that the client gave in a member of the body."""
    text = ""
    if not _NAMING_FIELDS.isdisjoint(body):
        text = _in_fields(body) or _conversation(body.get("conversation"))
        metadata = body.get("metadata")
        if not text and isinstance(metadata, dict):
            text = _in_fields(metadata) or _claude_code(metadata.get("user_id"))
    text = text or _claude_code(body.get("user"))
    return text.encode("utf-8", "surrogatepass") if text else None


def _in_fields(fields: Mapping[str, Any]) -> str:
    for name in _FIELDS:
        if name in fields:
            text = _text(fields[name])
            if text:
                return text
    return ""


def _conversation(value: object) -> str:
    """The Responses API's `conversation`: an id, or an object with one."""
    return _text(value.get("id")) if isinstance(value, dict) else _text(value)


def _claude_code(value: object) -> str:
    """Claude Code before 2.1.86 put its session into Anthropic's `metadata.user_id`, which translators make `user`:
    `user_<digest>_account_<id>_session_<uuid>`, or JSON with a `session_id`. Any other user has many conversations.
    """
    return _text(value) if isinstance(value, str) and _CLAUDE_CODE in value else ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value[:_MAX_ID].strip()
    return str(value)[:_MAX_ID] if isinstance(value, int) and not isinstance(value, bool) else ""


@dataclass(slots=True)
class Stay:
    """Where a conversation has been last, and since when. Times are seconds of the book's clock.

    `prefix_tokens` of its prompt are most likely in that deployment's prompt cache now. `turns` counts the answered
    requests of the conversation wherever they went, `moves` how often it changed places. `has_caching` is False once a
    request that should have found its prompt in the cache did not.
    """

    model: str
    deployment_id: str
    tier: str | None
    prefix_tokens: int
    turns: int
    since_s: float
    last_s: float
    moves: int = 0
    life_s: float = _FREE_LIFE_S
    has_caching: bool = True


class AffinityBook:
    """The stays of recent conversations: bounded, the ones not heard of for longest are forgotten first.

    `clock` gives monotonic seconds. A stay outlives the prompt cache (`ttl_s` against minutes): the turn that brings a
    tool's result must go on where the call was made, however long the tool took.
    """

    def __init__(self, clock: Callable[[], float], max_entries: int = 50_000, ttl_s: float = 3_600.0) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._stays: OrderedDict[bytes, Stay] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stays)

    def get(self, session: bytes) -> Stay | None:
        """Where the conversation is; None where it is new or was silent for too long."""
        stay = self._stays.get(session)
        if stay is None:
            return None
        silent_s = self._clock() - stay.last_s
        if silent_s > self._ttl_s:
            del self._stays[session]
            return None
        if silent_s > stay.life_s:
            stay.prefix_tokens = 0
        return stay

    def note(self, session: bytes, deployment: Deployment, tier: str | None, usage: Usage) -> None:
        """A request of the conversation was answered by `deployment`, with this usage."""
        now, stays = self._clock(), self._stays
        before = stays.get(session)
        if before is not None and now - before.last_s > self._ttl_s:
            before = None
        if before is not None and before.deployment_id == deployment.id:
            stay, is_cold = before, now - before.last_s > before.life_s
            stay.tier = tier
            stay.turns += 1
        else:
            turns, moves = (before.turns, before.moves + 1) if before is not None else (0, 0)
            stay, is_cold = Stay(deployment.model, deployment.id, tier, 0, turns + 1, now, now, moves), True
            stays[session] = stay
        stays.move_to_end(session)
        _note_cache(stay, deployment, usage, is_cold=is_cold)
        stay.last_s = now
        # Two at a time is enough for the book to shrink while it gains one.
        for _ in range(2):
            oldest = next(iter(stays.values()))
            if now - oldest.last_s <= self._ttl_s and len(stays) <= self._max_entries:
                return
            stays.popitem(last=False)


def _note_cache(stay: Stay, deployment: Deployment, usage: Usage, *, is_cold: bool) -> None:
    """What of the prompt the provider holds now.

    Where anything was read or written, it is the whole prompt for caches that fill themselves, and what was counted for
    those that are written for a price. Where nothing was, it is evidence against a cache: at once where writes would
    have been counted, else from the second request of an unbroken stay on.
    """
    rates = deployment.price.rates if deployment.price is not None else None
    is_paid = rates is not None and rates.cache_write_5m != rates.input
    written = usage.cache_write_5m + usage.cache_write_1h
    held = usage.cache_read + written
    if usage.cache_write_1h:
        stay.life_s = _PAID_LONG_LIFE_S
    elif is_cold or usage.cache_write_5m:
        stay.life_s = _PAID_LIFE_S if is_paid else _FREE_LIFE_S
    if held:
        stay.has_caching = True
        stay.prefix_tokens = held if is_paid or written else usage.prompt_tokens
    elif usage.is_estimated or (is_cold and not is_paid):
        tokens = usage.prompt_tokens
        stay.prefix_tokens = tokens if tokens >= MIN_CACHED_TOKENS else 0
    else:
        stay.has_caching = False
        stay.prefix_tokens = 0


@dataclass(slots=True, frozen=True)
class Option:
    """One of two places for a conversation. `quality` 0..1; costs in nano-dollars, None where nobody knows the price;
    `latency_s` seconds to the end of the answer, None without experience.

    `cost_nusd` is this request with the cache as it is now, `cost_cached_nusd` one like it with the prompt in the
    cache, which is what a later turn costs. Where only tiers are known, quality is the tier's place from 0 to 1.
    """

    deployment_id: str
    model: str
    quality: float
    cost_nusd: int | None
    cost_cached_nusd: int | None
    latency_s: float | None = None


def option_for(
    deployment: Deployment,
    quality: float,
    *,
    prompt_tokens: int,
    output_tokens: int,
    prefix_tokens: int = 0,
    has_caching: bool = True,
    latency_s: float | None = None,
) -> Option:
    """The option of taking `deployment` for a request of so many tokens, `prefix_tokens` of them in its cache.

    What is not cached is reckoned at the price of writing it there, which is that of input where writing is free.
    """
    now, later = _costs(deployment.price, prompt_tokens, output_tokens, prefix_tokens, has_caching=has_caching)
    return Option(deployment.id, deployment.model, quality, now, later, latency_s)


def _costs(
    price: Price | None, prompt_tokens: int, output_tokens: int, prefix_tokens: int, *, has_caching: bool
) -> tuple[int | None, int | None]:
    """Nano-dollars with the cache as it is, and with the prompt in the cache."""
    if price is None:
        return None, None
    held = min(prefix_tokens, prompt_tokens)
    fresh = prompt_tokens - held
    if not has_caching or prompt_tokens < MIN_CACHED_TOKENS:
        now = price.cost_nusd(Usage(input=fresh, cache_read=held, output=output_tokens))
        return now, now
    now = price.cost_nusd(Usage(cache_write_5m=fresh, cache_read=held, output=output_tokens))
    return now, min(now, price.cost_nusd(Usage(cache_read=prompt_tokens, output=output_tokens)))


def turns_ahead_of(stay: Stay) -> float:
    """Further requests to expect at one place, 1 to 8: as many as there were, on average, at each place so far.

    For a conversation that never moved this is Lindy's law: where lengths follow a power law of exponent 2, the
    expected rest is the length so far. One that went up and down before is not trusted to stay down for long.
    """
    return min(MAX_TURNS_AHEAD, max(MIN_TURNS_AHEAD, stay.turns / (stay.moves + 1)))


def stay_or_move(
    stay: Stay,
    proposed: Option,
    current: Option | None,
    *,
    is_tool_result: bool = False,
    confidence: float | None = None,
    turns_ahead: float | None = None,
) -> bool:
    """True: the conversation stays at `current`. False: it goes to `proposed`, what the strategy would choose anew.

    `current` is None where the stay's deployment is no candidate any more. `confidence` is the classifier's; None where
    the strategy predicts quality instead. `turns_ahead` defaults to what the stay tells.
    """
    if current is None:
        return False
    if is_tool_result or proposed.deployment_id == current.deployment_id:
        return True
    if proposed.model == current.model and (stay.prefix_tokens == 0 or _is_slow(current, proposed)):
        return False
    if confidence is not None and confidence < MIN_CONFIDENCE:
        return True
    if proposed.quality - current.quality >= MIN_GAIN:
        return False
    return not is_repaid(proposed, current, turns_ahead_of(stay) if turns_ahead is None else turns_ahead)


def _is_slow(current: Option, proposed: Option) -> bool:
    if current.latency_s is None or proposed.latency_s is None:
        return False
    return current.latency_s > SLOW_FACTOR * proposed.latency_s


def is_repaid(proposed: Option, current: Option, turns_ahead: float) -> bool:
    """Whether moving, which reads the prompt anew once, costs less than staying, over this and the turns ahead."""
    costs = (proposed.cost_nusd, proposed.cost_cached_nusd, current.cost_nusd, current.cost_cached_nusd)
    if None in costs:
        return False
    move_once, move_later, stay_once, stay_later = (cost or 0 for cost in costs)
    moving = move_once + turns_ahead * move_later
    staying = stay_once + turns_ahead * stay_later
    return moving < staying * (1 - MIN_SAVING)
