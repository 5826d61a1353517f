"""Mends answers that claim to be OpenAI's but are not quite, so that every vendor looks valid by the specification.

Works in place on parsed JSON and tells whether anything changed: what is valid already is forwarded as its own bytes.
Vendor members are kept. Pure; the deviations were found in recorded answers, the vendor is named at each.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_FINISH_SYNONYMS = {
    "eos": "stop",  # Together
    "eos_token": "stop",  # Hugging Face text-generation-inference
    "stop_sequence": "stop",
    "end_turn": "stop",
    "end": "stop",
    "complete": "stop",
    "done": "stop",
    "max_tokens": "length",
    "model_length": "length",  # https://docs.mistral.ai/api
    "model_context_window_exceeded": "length",  # https://docs.z.ai/api-reference/llm/chat-completion
    "insufficient_system_resource": "length",  # https://api-docs.deepseek.com/api/create-chat-completion
    "network_error": "length",  # https://docs.z.ai/api-reference/llm/chat-completion
    "abort": "length",  # https://docs.vllm.ai: a request that was stopped from outside
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "function": "function_call",
    "sensitive": "content_filter",  # https://docs.z.ai/api-reference/llm/chat-completion
    "safety": "content_filter",
    "content_filtered": "content_filter",
}
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})
# https://console.groq.com/docs/service-tiers; OpenRouter and Mistral say "standard".
_TIER_SYNONYMS = {"on_demand": "default", "standard": "default", "performance": "priority", "": None}
_ID_LETTERS = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(slots=True)
class Envelope:
    """What all chunks of an answer share, learned from the first that says it; fills what is missing in the others.

    `fallback_id` and `model` serve until then. `created` (seconds since the epoch) comes from `now` when the vendor
    gives none.
    """

    fallback_id: str
    model: str
    now: Callable[[], float]
    id: str = ""
    created: int = 0
    opened: set[int] = field(default_factory=set)  # choices whose role was sent
    tool_ids: dict[tuple[int, int], str] = field(default_factory=dict)  # (choice, index) -> id of that tool call

    def fill(self, body: dict[str, Any], object_name: str) -> bool:
        """Give `body` its id, object, created and model."""
        changed = False
        if body.get("object") != object_name:
            body["object"] = object_name  # Azure sends "", Perplexity "chat.completion.done"
            changed = True
        identity = body.get("id")
        if isinstance(identity, str) and identity:
            self.id = identity
        else:
            body["id"] = self.id = self.id or (str(identity) if identity else self.fallback_id)
            changed = True
        created = body.get("created")
        if type(created) is int and created:
            self.created = created
        else:
            self.created = int(created) if isinstance(created, float) else self.created or int(self.now())
            body["created"] = self.created
            changed = True
        model = body.get("model")
        if isinstance(model, str) and model:
            self.model = model
        else:
            body["model"] = self.model
            changed = True
        return _tier(body) or changed


def chat_reply(body: dict[str, Any], envelope: Envelope) -> bool:
    """Mend a whole chat answer. Raises ValueError when it is none (no list of choices, no message)."""
    changed = envelope.fill(body, "chat.completion")
    for position, choice in enumerate(_choices(body)):
        message = choice.get("message")
        if not isinstance(message, dict):
            if not choice.get("finish_reason"):
                raise ValueError("a choice has neither message nor finish reason")
            message = choice["message"] = {}  # Azure, where its filter left nothing to say
        changed |= _index(choice, position)
        changed |= _message(message)
        changed |= _whole_finish(choice, "tool_calls" if message.get("tool_calls") else "stop")
    return changed


def completion_reply(body: dict[str, Any], envelope: Envelope) -> bool:
    """Mend a whole legacy completion. Raises ValueError when it is none."""
    changed = envelope.fill(body, "text_completion")
    for position, choice in enumerate(_choices(body)):
        if not isinstance(choice.get("text"), str):
            raise ValueError("a choice has no text")
        changed |= _index(choice, position)
        changed |= _whole_finish(choice, "stop")
    return changed


def chat_chunk(body: dict[str, Any], envelope: Envelope) -> bool:
    """Mend one chunk of a chat stream. Raises ValueError when it is none."""
    changed = envelope.fill(body, "chat.completion.chunk")
    if not body.get("choices"):
        return _no_choices(body) or changed
    for position, choice in enumerate(_choices(body)):
        changed |= _index(choice, position) | _streamed_finish(choice)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}  # Azure's asynchronous filter results come without one
            changed = True
        elif delta:
            changed |= _delta(delta, choice["index"], envelope)
        if choice["index"] not in envelope.opened:
            envelope.opened.add(choice["index"])
            if not delta.get("role"):
                delta["role"] = "assistant"
                changed = True
    return changed


def completion_chunk(body: dict[str, Any], envelope: Envelope) -> bool:
    """Mend one chunk of a legacy completion's stream. Raises ValueError when it is none."""
    changed = envelope.fill(body, "text_completion")
    if not body.get("choices"):
        return _no_choices(body) or changed
    for position, choice in enumerate(_choices(body)):
        changed |= _index(choice, position) | _streamed_finish(choice)
        if not isinstance(choice.get("text"), str):
            choice["text"] = ""
            changed = True
    return changed


def finish_reason(reason: Any, otherwise: str) -> str:
    """The specification's word for a vendor's; `otherwise` when the vendor gave none."""
    if reason in _FINISH_REASONS:
        return str(reason)
    return _FINISH_SYNONYMS.get(str(reason).lower(), "stop") if reason else otherwise


_OBJECTS = frozenset((dict,))


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    if not isinstance(choices, list) or not _OBJECTS.issuperset(map(type, choices)):
        raise ValueError("there is no list of choices")
    return choices


def _no_choices(body: dict[str, Any]) -> bool:
    if isinstance(body.get("choices"), list):
        return False
    if body.get("choices") is not None:
        raise ValueError("choices is not a list")
    body["choices"] = []
    return True


def _index(choice: dict[str, Any], position: int) -> bool:
    if type(choice.get("index")) is int:
        return False
    choice["index"] = position
    return True


def _whole_finish(choice: dict[str, Any], otherwise: str) -> bool:
    reason = choice.get("finish_reason")
    if reason in _FINISH_REASONS:
        return False
    choice["finish_reason"] = finish_reason(reason, otherwise)
    return True


def _streamed_finish(choice: dict[str, Any]) -> bool:
    """In a stream the member is always there and null until the end; xAI, Z.ai and Perplexity leave it out."""
    reason = choice.get("finish_reason")
    if reason in _FINISH_REASONS or (reason is None and "finish_reason" in choice):
        return False
    choice["finish_reason"] = finish_reason(reason, "") or None
    return True


def _tier(body: dict[str, Any]) -> bool:
    tier = body.get("service_tier")
    if tier is None or tier in _TIERS or tier not in _TIER_SYNONYMS:
        return False
    body["service_tier"] = _TIER_SYNONYMS[tier]
    return True


def _message(message: dict[str, Any]) -> bool:
    changed = _content(message)
    if "content" not in message:
        message["content"] = None  # Groq leaves it out beside tool calls
        changed = True
    if message.get("role") != "assistant":
        message["role"] = "assistant"
        changed = True
    for position, call in enumerate(message.get("tool_calls") or ()):
        changed |= _whole_call(call, position)
    return changed


def _delta(delta: dict[str, Any], choice: int, envelope: Envelope) -> bool:
    changed = _content(delta)
    if delta.get("role") == "":
        del delta["role"]
        changed = True
    if "tool_calls" not in delta:
        return changed
    calls = delta["tool_calls"]
    if not isinstance(calls, list):
        del delta["tool_calls"]  # Snowflake sends null in every chunk
        return True
    for call in calls:
        changed |= _call_part(call, choice, envelope)
    return changed


def _content(message: dict[str, Any]) -> bool:
    """Content as a list of parts (Mistral's reasoning models) becomes text; thinking goes where others put it.

    https://docs.mistral.ai/capabilities/reasoning: {"type": "thinking", "thinking": [{"type": "text", "text": ...}]}
    """
    content = message.get("content")
    if not isinstance(content, list):
        return False
    text, thinking = [], []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            thought = part.get("thinking")
            if thought is not None:
                thinking.append(_text_of(thought))
            elif isinstance(part.get("text"), str):
                text.append(part["text"])
    message["content"] = "".join(text) if text else None
    if thinking:
        message["reasoning_content"] = (message.get("reasoning_content") or "") + "".join(thinking)
    return True


def _text_of(thought: Any) -> str:
    if isinstance(thought, str):
        return thought
    if isinstance(thought, list):
        return "".join(part["text"] for part in thought if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _whole_call(call: Any, position: int) -> bool:
    """A tool call of a whole answer: id, type and arguments as text."""
    if not isinstance(call, dict):
        raise ValueError("a tool call is not an object")
    changed = _arguments(call, otherwise="{}")
    if not call.get("id"):
        name = call.get("function", {}).get("name", "")
        call["id"] = f"call_{position}_{_ID_LETTERS.sub('_', str(name))}"
        changed = True
    return _type(call) or changed


def _call_part(call: Any, choice: int, envelope: Envelope) -> bool:
    """A tool call of a chunk: the index says which call goes on; the first part of a call has id and type."""
    if not isinstance(call, dict):
        raise ValueError("a tool call is not an object")
    changed = _arguments(call, otherwise="")
    identity = call.get("id")
    index = call.get("index")
    known = envelope.tool_ids
    if type(index) is not int:
        index = _index_for(identity, choice, known)  # Mistral leaves it out
        changed = True
    elif identity and known.get((choice, index), identity) != identity and (call.get("function") or {}).get("name"):
        index = _index_for(identity, choice, known)  # every call on index 0: Gemini's compatible endpoint, old vLLM
        changed = True
    if changed:
        call["index"] = index
    if (choice, index) in known:
        return changed
    if not identity:
        identity = call["id"] = f"call_{choice}_{index}"
        changed = True
    known[choice, index] = identity
    return _type(call) or changed


def _index_for(identity: Any, choice: int, known: dict[tuple[int, int], str]) -> int:
    mine = {index: name for (number, index), name in known.items() if number == choice}
    if not identity:
        return max(mine, default=0)
    return next((index for index, name in mine.items() if name == identity), len(mine))


def _arguments(call: dict[str, Any], *, otherwise: str) -> bool:
    function = call.get("function")
    if not isinstance(function, dict):
        return False
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return False
    if arguments is None and "arguments" not in function and not otherwise:
        return False
    function["arguments"] = otherwise if arguments is None else orjson.dumps(arguments).decode()
    return True


def _type(call: dict[str, Any]) -> bool:
    if isinstance(call.get("type"), str) and call["type"]:
        return False
    call["type"] = "function"  # Mistral leaves it out or null
    return True
