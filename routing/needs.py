"""What a request asks of a model, in the words of `capabilities` in the configuration. Never raises on any body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.base import Operation


@dataclass(slots=True, frozen=True)
class Needs:
    """`capabilities` are words of the configuration, `images` is the number of images in the conversation."""

    capabilities: frozenset[str]
    images: int = 0


# Members of a body that may ask for more than text.
_TELLING = frozenset(
    {"audio", "functions", "modalities", "reasoning", "reasoning_effort", "response_format", "thinking", "tools"}
)
_PART_NEEDS = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "audio": "audio",
    "file": "pdf",
    "input_file": "pdf",
    "document": "pdf",
}
_MEDIA_NEEDS = {"image": "vision", "audio": "audio", "text": None}
_TEXT = frozenset({"text"})
_PLAIN = {
    "chat": (Needs(_TEXT), Needs(_TEXT | {"streaming"})),
    "completions": (Needs(_TEXT), Needs(_TEXT | {"streaming"})),
    "embeddings": (Needs(frozenset({"embeddings"})), Needs(frozenset({"embeddings"}))),
}


def needs_of(operation: Operation, body: Mapping[str, Any], *, is_stream: bool) -> Needs:
    """What a model has to be capable of; under 1 us for a short conversation of plain text.

    Tools count as soon as they are offered, also with `tool_choice` "none": the model is shown them. `json_object` is
    no schema. Any effort but "none" is reasoning, because models without it refuse the very parameter
    (https://platform.openai.com/docs/guides/reasoning). A file counts as PDF unless it says that it is something else.
    """
    plain = _PLAIN[operation][is_stream]
    if operation == "embeddings":
        return plain
    found: set[str] = set()
    if not _TELLING.isdisjoint(body):
        _add_asked(body, found)
    images = 0
    messages = body.get("messages")
    if type(messages) is list:
        for message in messages:
            if type(message) is dict and type(message.get("content")) is list:
                images += _add_parts(message["content"], found)
    return Needs(plain.capabilities | found, images) if found else plain


def _add_asked(body: Mapping[str, Any], found: set[str]) -> None:
    """What the members beside the conversation ask for."""
    if _is_filled_list(body.get("tools")) or _is_filled_list(body.get("functions")):
        found.add("tools")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
        found.add("json_schema")
    modalities = body.get("modalities")
    if (isinstance(modalities, list) and "audio" in modalities) or isinstance(body.get("audio"), dict):
        found.add("audio")
    if _asks_reasoning(body):
        found.add("reasoning")


def _is_filled_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _asks_reasoning(body: Mapping[str, Any]) -> bool:
    """OpenAI's `reasoning_effort`, Anthropic's `thinking`, or OpenRouter's `reasoning`: effort or max_tokens, unless it
    is switched off. https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    if _is_effort(body.get("reasoning_effort")):
        return True
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"):
        return True
    reasoning = body.get("reasoning")
    if not isinstance(reasoning, dict) or reasoning.get("enabled") is False:
        return False
    return reasoning.get("enabled") is True or _is_effort(reasoning.get("effort")) or bool(reasoning.get("max_tokens"))


def _is_effort(effort: object) -> bool:
    return isinstance(effort, str) and effort not in ("", "none")


def _add_parts(parts: list[Any], found: set[str]) -> int:
    """What these parts of a message ask for, and the number of images among them."""
    images = 0
    for part in parts:
        kind = part.get("type") if type(part) is dict else None
        need = _PART_NEEDS.get(kind) if type(kind) is str else None
        if need == "pdf":
            need = _file_need(part)
        if need is not None:
            found.add(need)
            images += need == "vision"
    return images


def _file_need(part: dict[str, Any]) -> str | None:
    """By the media type that a data URL states; what states none is a PDF, as in OpenAI's own API."""
    inner = part.get("file", part)
    data = inner.get("file_data") if isinstance(inner, dict) else None
    if not isinstance(data, str) or not data.startswith("data:"):
        return "pdf"
    return _MEDIA_NEEDS.get(data[5:64].partition("/")[0].lower(), "pdf")
