"""Which requests are never answered by meaning, and what has to be equal of those that are.

Only the last user turn is compared. Everything else is hashed: two requests meet only where all of it is the same.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any

from policies.cache.keying import key_of
from policies.cache.normal import is_about_text
from policies.cache.semantic.settings import SemanticSettings
from policies.cache.semantic.text import MOST_CHARS, Text
from providers.base import Operation

# Answers that are about the world as it is now stay good for this long.
_TIMELY_TTL_S = 600.0
_OF_TOOLS = ("tools", "functions")
_INSTRUCTIONS = ("system", "developer")


class Unfit(StrEnum):
    """Why a request is not answered by meaning, whatever is kept; a closed set."""

    OFF = "off"  # for this model or route
    OPERATION = "operation"  # it is no chat
    TOOLS = "tools"  # offered, called or answering
    SEVERAL = "several"  # more than one answer is wanted
    LOGPROBS = "logprobs"
    MEDIA = "media"  # images, audio or files, or audio as answer
    TEMPERATURE = "temperature"
    TURNS = "turns"
    NOT_A_USER = "not_a_user"  # the last message is another's
    ABOUT_TEXT = "about_text"  # the text is what something is to be done with
    LENGTH = "length"
    LANGUAGE = "language"  # one without word lists
    TIME = "time"  # the answer depends on when it is asked
    PERSONAL = "personal"  # the answer depends on who asks, and nobody says who


def last_text(operation: Operation, body: Mapping[str, Any], settings: SemanticSettings) -> str | Unfit:
    """The text that is compared. Never raises, whatever shape the body has."""
    if operation != "chat":
        return Unfit.OPERATION
    messages = body.get("messages")
    if type(messages) is not list or not messages or any(type(one) is not dict for one in messages):
        return Unfit.NOT_A_USER
    wrong = _unfit_fields(body, settings) or _unfit_history(messages, settings)
    if wrong is not None:
        return wrong
    text = _text_of(messages[-1].get("content"))
    if messages[-1].get("role") != "user" or text is None:
        return Unfit.NOT_A_USER
    return text if 0 < len(text) <= MOST_CHARS else Unfit.LENGTH


def unfit_text(text: Text, settings: SemanticSettings, body: Mapping[str, Any]) -> Unfit | None:
    """What stands against the text itself."""
    if text.is_timely and settings.ttl_s > _TIMELY_TTL_S:
        return Unfit.TIME
    if text.is_personal and not _user_of(body):
        return Unfit.PERSONAL
    if not text.is_known_language:
        return Unfit.LANGUAGE
    return None if text.is_fit else Unfit.LENGTH


def fingerprint(
    name: str, body: Mapping[str, Any], partition: str, more: Mapping[str, Any], text: Text, embedder_id: bytes
) -> bytes:
    """32 bytes: everything but the text. `partition` and `more` as `key_of` takes them; `embedder_id` keeps vectors of
    two models apart. Questions about the own affairs of a user who is named are his alone.
    """
    *before, last = body["messages"]
    user = _user_of(body) if text.is_personal else ""
    masked = {**body, "messages": [*before, {**last, "content": {"by_meaning": user}}]}
    return sha256(embedder_id + key_of("chat", name, masked, partition, more)).digest()


def _unfit_fields(body: Mapping[str, Any], settings: SemanticSettings) -> Unfit | None:
    if any(body.get(field) for field in _OF_TOOLS):
        return Unfit.TOOLS
    if body.get("n") not in (None, 1):
        return Unfit.SEVERAL
    if body.get("logprobs") or body.get("top_logprobs"):
        return Unfit.LOGPROBS
    if body.get("audio") or body.get("modalities") not in (None, [], ["text"]):
        return Unfit.MEDIA
    temperature = body.get("temperature")
    # Who names none has no wish; some models take no other than their own.
    if temperature is not None and not (_is_number(temperature) and temperature <= settings.max_temperature):
        return Unfit.TEMPERATURE
    return None


def _unfit_history(messages: list[dict[str, Any]], settings: SemanticSettings) -> Unfit | None:
    turns = 0
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            return Unfit.TOOLS
        if message.get("audio") or (content is not None and _text_of(content) is None):
            return Unfit.MEDIA
        if role in _INSTRUCTIONS and _are_about_text(_text_of(content) or ""):
            return Unfit.ABOUT_TEXT
        turns += role == "user"
    if turns > settings.max_turns:
        return Unfit.TURNS
    last = _text_of(messages[-1].get("content")) or ""
    return Unfit.ABOUT_TEXT if is_about_text(last[:MOST_CHARS]) else None


@lru_cache(maxsize=64)
def _are_about_text(instructions: str) -> bool:
    """Few are used by all; to read through a long one takes longer than all else here."""
    return is_about_text(instructions)


def _text_of(content: Any) -> str | None:
    """Of a string, or of parts that are all text; None where something else is in it."""
    if type(content) is str:
        return content
    if type(content) is not list:
        return None
    texts = [part.get("text") for part in content if type(part) is dict and part.get("type") == "text"]
    if len(texts) != len(content) or any(type(text) is not str for text in texts):
        return None
    return "\n".join(text for text in texts if text is not None)


def _user_of(body: Mapping[str, Any]) -> str:
    """The end user, as far as the caller tells; "" where it does not."""
    user = body.get("safety_identifier") or body.get("user")
    return user if type(user) is str else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
