"""How a conversation opened: a text of bounded length that all its turns have in common."""

from collections.abc import Mapping
from typing import Any

# How much of the opening is read. The end of the first user message counts too: coding agents put the same project
# notes in front of every question.
_SYSTEM_CHARS = 4_096
_CLIP_HEAD, _CLIP_TAIL = 3_072, 1_024
_OPENING_MESSAGES = 32
_OPENING_PARTS = 16
_MEDIA_TAIL = 64


def opening(body: Mapping[str, Any]) -> str:
    """The first system and the first user message, clipped; of chat, messages, responses or completions bodies.

    Never raises. The same opening in another shape (parts, roles, fields) is the same text.
    """
    system = body.get("system") or body.get("instructions")
    messages = body.get("messages")
    user = body.get("input", body.get("prompt")) if messages is None else messages
    if isinstance(user, list):
        system, user = _first_two(user, system)
    system = system if isinstance(system, str) else _read(system)
    user = user if isinstance(user, str) else _read(user)
    return f"{system[:_SYSTEM_CHARS]}\0{user if len(user) <= _CLIP_HEAD + _CLIP_TAIL else _clip(user)}"


def _first_two(messages: list[Any], system: object) -> tuple[object, object]:
    for message in messages[:_OPENING_MESSAGES]:
        if not isinstance(message, dict):
            continue
        role = message.get("role")
        if role == "user":
            return system, message.get("content")
        if not system and role in ("system", "developer"):
            system = message.get("content")
    return system, None


def _read(content: object) -> str:
    """The text of a message that is no string. Of pictures and files it takes the length and the end, which differ
    where they do.
    """
    if not isinstance(content, list):
        return ""
    pieces = []
    for part in content[:_OPENING_PARTS]:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            if len(content) == 1:
                return text
            pieces.append(_clip(text))
        elif isinstance(part, dict):
            pieces.extend(_media(part))
    return "\n".join(pieces)


def _clip(text: str) -> str:
    """Head, length and tail."""
    if len(text) <= _CLIP_HEAD + _CLIP_TAIL:
        return text
    return f"{text[:_CLIP_HEAD]}\0{len(text)}\0{text[-_CLIP_TAIL:]}"


def _media(part: Mapping[str, Any]) -> list[str]:
    inner = part.get("image_url") or part.get("source") or part.get("input_audio") or part.get("file")
    values = list(inner.values())[:_OPENING_PARTS] if isinstance(inner, dict) else [inner]
    return [f"{len(value)}:{value[-_MEDIA_TAIL:]}" for value in values if isinstance(value, str)]
