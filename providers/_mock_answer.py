"""What the mock provider answers: a pure function of the request's content.

The same messages, model and seed give the same answer, whole or streamed. Text is made of stock sentences about words
taken from the prompt, one piece per token, so that a stream's chunks and the usage agree.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import cycle
from typing import Any

import orjson

from providers import tokens
from providers._mock_schema import Material, instance
from providers._mock_tools import ToolCall, calls_for, last_user_text


@dataclass(slots=True)
class Choice:
    """One answer among `n`. `pieces` join to the text, or to the refusal when `is_refusal`."""

    pieces: list[str]
    finish_reason: str = "stop"
    tool_calls: list[ToolCall] = field(default_factory=list)
    is_refusal: bool = False


@dataclass(slots=True)
class Answer:
    """A finished answer in no particular wire shape. Token counts are as in OpenAI's usage: totals include parts."""

    id: str
    model: str
    choices: list[Choice]
    prompt_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        return self.reasoning_tokens * len(self.choices) + sum(_tokens_of(choice) for choice in self.choices)


@dataclass(slots=True, frozen=True)
class Manner:
    """How a model name bends the answer. `length` fixes the number of tokens of a plain text."""

    always: str | None = None  # "tools", "json", "refuse", "blank"
    length: int | None = None


def answer(body: Mapping[str, Any], manner: Manner) -> Answer:
    """The answer to a chat or legacy completion. Raises ValueError for a request the real API would refuse."""
    model = str(body.get("model", ""))
    conversation = body.get("messages", body.get("prompt"))
    digest = blake2b(orjson.dumps([model, conversation, body.get("seed")]), digest_size=12).hexdigest()
    seed = int(digest, 16)
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    reasoning = _reasoning_tokens(body, rng)
    limit = _limit(body)
    room = None if limit is None else max(limit - reasoning, 0)
    asked = [part for part in _prompts(body) for _ in range(_count(body))]
    choices = [
        _choice(part, manner, rng if index == 0 else random.Random(seed + index), room)  # noqa: S311
        for index, part in enumerate(asked)
    ]
    prompt_tokens = tokens.estimate_prompt(body)
    return Answer(
        id=digest,
        model=model,
        choices=choices,
        prompt_tokens=prompt_tokens,
        cached_tokens=_cached_tokens(body, prompt_tokens),
        reasoning_tokens=reasoning if limit is None else min(reasoning, limit),
    )


_MAX_PROMPTS = 32


def _tokens_of(choice: Choice) -> int:
    return len(choice.pieces) + sum(8 + tokens.estimate(call.arguments) for call in choice.tool_calls)


def _prompts(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A legacy completion may ask for several prompts at once: one body for each."""
    if "messages" in body:
        return [body]
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        if len(prompt) > _MAX_PROMPTS:
            raise ValueError(f"'prompt' may hold up to {_MAX_PROMPTS} prompts.")
        return [{**body, "prompt": one} for one in prompt]
    if prompt is None:
        raise ValueError("'prompt' is missing.")
    return [body]


def _count(body: Mapping[str, Any]) -> int:
    count = body.get("n")
    if count is None:
        return 1
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 128:
        raise ValueError("'n' must be an integer from 1 to 128.")
    return count


def _limit(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if limit is not None:
            if not isinstance(limit, int) or limit < 1:
                raise ValueError(f"'{name}' must be an integer of at least 1.")
            return limit
    return None


_EFFORTS: Mapping[str, int] = {"minimal": 0, "low": 64, "medium": 256, "high": 1024, "xhigh": 2048, "max": 4096}


def _reasoning_tokens(body: Mapping[str, Any], rng: random.Random) -> int:
    """Reasoning happens only where it is asked for, in multiples of 64 as OpenAI reports it."""
    most = _EFFORTS.get(str(body.get("reasoning_effort")), 0)
    return most - 64 * rng.randrange(most // 128 + 1) if most else 0


# https://platform.openai.com/docs/guides/prompt-caching: prefixes of 1,024 tokens and more, in steps of 128.
_CACHE_LEAST, _CACHE_STEP = 1024, 128


def _cached_tokens(body: Mapping[str, Any], prompt_tokens: int) -> int:
    """What a provider would have cached: everything up to the assistant's last turn was sent before."""
    messages = body.get("messages")
    if prompt_tokens < _CACHE_LEAST or not isinstance(messages, list):
        return 0
    turns = [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    if not turns:
        return 0
    repeated = tokens.estimate_prompt({**body, "messages": messages[: turns[-1]]})
    return repeated // _CACHE_STEP * _CACHE_STEP if repeated >= _CACHE_LEAST else 0


def _choice(body: Mapping[str, Any], manner: Manner, rng: random.Random, room: int | None) -> Choice:
    messages = body.get("messages")
    if manner.always == "blank":
        return Choice([])
    if manner.always == "refuse":
        return _bounded(Choice(_split("I'm sorry, but I can't help with that request."), is_refusal=True), body, room)
    if isinstance(messages, list):
        calls = calls_for(body, rng, is_forced=manner.always == "tools")
        if calls:
            return Choice([], finish_reason="tool_calls", tool_calls=calls)
    response_format = body.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if manner.always == "json" or kind in ("json_object", "json_schema"):
        return _bounded(Choice(_split(_json_text(response_format, body, rng))), body, room)
    choice = _bounded(Choice(_text(body, rng, manner.length)), body, room)
    if body.get("echo") and isinstance(body.get("prompt"), str):
        choice.pieces = [*_split(body["prompt"]), *choice.pieces]
    return choice


def _json_text(response_format: object, body: Mapping[str, Any], rng: random.Random) -> str:
    wanted = response_format.get("json_schema") if isinstance(response_format, dict) else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    text = last_user_text(body)
    if schema is None:
        return orjson.dumps({"answer": "".join(_text(body, rng, 12)), "topic": _topic(text)}).decode()
    try:
        return orjson.dumps(instance(schema, rng, Material(strings=[_topic(text)]))).decode()
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("Invalid schema for response_format: it is not a JSON Schema.") from error


def _bounded(choice: Choice, body: Mapping[str, Any], room: int | None) -> Choice:
    """Cut at the first stop sequence and at the token limit, whichever comes first."""
    stops = body.get("stop")
    if stops:
        text = "".join(choice.pieces)
        found = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops) if stop]
        ends = [at for at in found if at >= 0]
        if ends:
            choice.pieces = _split(text[: min(ends)])
    if room is not None and len(choice.pieces) > room:
        choice.pieces = choice.pieces[:room]
        choice.finish_reason = "length"
    return choice


_PIECE = re.compile(r"\s*(?:\w{1,12}|[^\w\s]{1,3})|\s+")


def _split(text: str) -> list[str]:
    return _PIECE.findall(text)


# `{}` stands for what the prompt is about.
_SENTENCES = (
    "You asked about {}, and the short answer is that it depends on what you want to achieve.",
    "The main point about {} is to start from what you can measure.",
    "Three things matter for {}: what it costs, how long it takes and how often it goes wrong.",
    "A good first step with {} is to write down the simplest case and make that work.",
    "Most people who work with {} find that the second attempt teaches more than the first.",
    "There is a trade-off here, because what makes {} faster usually makes it harder to change.",
    "If you only remember one thing about {}, remember to check the result against an example.",
    "In practice {} behaves well as long as the input stays within the expected range.",
    "It helps to compare {} with something you already know.",
    "For a longer answer about {}, tell me which part you would like to look at more closely.",
)
_OPENERS = (
    "Sure.",
    "Good question.",
    "Happy to help.",
    "Here is a short overview.",
    "Let us look at this step by step.",
)
_ENDINGS = ("I hope that helps.", "Let me know if you need more detail.", "That covers the essentials.")
_SPLIT_SENTENCES = tuple(
    (tuple(_PIECE.findall(before)), tuple(_PIECE.findall(after)))
    for before, after in (f" {sentence}".split(" {}") for sentence in _SENTENCES)
)
_SPLIT_OPENERS = tuple(tuple(_PIECE.findall(opener)) for opener in _OPENERS)
_SPLIT_ENDINGS = tuple(tuple(_PIECE.findall(f" {ending}")) for ending in _ENDINGS)


def _text(body: Mapping[str, Any], rng: random.Random, length: int | None) -> list[str]:
    results = _tool_results(body)
    if results:
        return _split(results)
    topic = _split(f" {_topic(last_user_text(body))}")
    pieces = list(rng.choice(_SPLIT_OPENERS))
    if _has_image(body):
        pieces += _split(" In the image I can see what you are referring to.")
    sentences = rng.sample(_SPLIT_SENTENCES, rng.randint(1, 4))
    for before, after in _endless(sentences, length):
        pieces += (*before, *topic, *after)
        if length is not None and len(pieces) >= length:
            return pieces[:length]
    pieces += rng.choice(_SPLIT_ENDINGS)
    return pieces if length is None else pieces[:length]


def _endless(
    sentences: list[tuple[tuple[str, ...], tuple[str, ...]]], length: int | None
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    return iter(sentences) if length is None else cycle(sentences)


_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
_COMMON_WORDS = (
    "about after again also another because been before being below between both could does doing down each explain "
    "few from give have having here hello into just like make more most much must need only other over please same "
    "should show some such tell than that their them then there these they this those through under until very want "
    "were what what's when where which while will with word words would write your"
)
_STOP_WORDS = frozenset(_COMMON_WORDS.split())


def _topic(text: str) -> str:
    """The first two words of the prompt that look as if they carried its meaning."""
    words = [word for word in _WORD.findall(text[:600]) if word.lower() not in _STOP_WORDS]
    return " and ".join(dict.fromkeys(words[:2])) or "your message"


def _tool_results(body: Mapping[str, Any]) -> str | None:
    """A sentence on the results, when the conversation ends with answers from tools."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or messages[-1].get("role") != "tool":
        return None
    names: dict[str, str] = {}
    results: list[str] = []
    for message in messages:
        for call in message.get("tool_calls") or ():
            names[str(call.get("id"))] = str((call.get("function") or {}).get("name"))
        if message.get("role") == "tool":
            name = names.get(str(message.get("tool_call_id")), "the tool")
            results.append(f"{name} says {_plain(message.get('content'))[:200]}")
        elif message.get("role") == "user":
            results.clear()
    return f"Here is what I found: {'; '.join(results)}."


def _plain(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "nothing")


def _has_image(body: Mapping[str, Any]) -> bool:
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "image_url" for p in content):
            return True
    return False
