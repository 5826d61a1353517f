"""Upper bounds of what a request can use, from its body alone: what a budget holds before the call is made.

Text is bounded by its bytes. Every token of a byte-level vocabulary (OpenAI, Anthropic, Llama 3, Qwen, Mistral), or of
a SentencePiece one that falls back to bytes and does not normalise (Llama 2, Gemma, Gemini), stands for at least one
byte of UTF-8, so there are never more tokens than bytes. A vocabulary that first expands characters (NFKC, as T5 does)
is not covered. English has four to five bytes per token: the bound is that much above the count
(`providers.tokens.count_prompt`), and costs a hundredth of it.

What is not text is bounded by what providers document per piece, and where they document nothing by an assumption that
is stated here. A provider refuses more than the model's context window: where that is known it is a bound as well.
What a provider's own tools read while it answers (pages that a search found) is in no body and has no bound; each
search is taken at `_SEARCHED_TOKENS`.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

# The most that one image costs, anywhere: 2,833 + 5,667 for each of eight tiles of 512 pixels, gpt-4o-mini at high
# detail (https://developers.openai.com/api/docs/guides/images-vision).
MAX_IMAGE_TOKENS = 48_169
# The same page: GPT-5.6 and GPT-6 take up to 30,000 patches of 32 pixels, GPT-5.4 and 5.5 up to 10,000, others 1,536 at
# up to 2.46 tokens each, or eight tiles of 170 after 85. Anthropic: 4,784
# (https://platform.claude.com/docs/en/build-with-claude/vision). Gemini: 2,240
# (https://ai.google.dev/gemini-api/docs/media-resolution), 258 per tile before Gemini 3.
_IMAGE_TOKENS: tuple[tuple[str, int], ...] = (
    ("gpt-4o-mini", MAX_IMAGE_TOKENS),
    ("claude", 4_784),
    ("gemini", 4_784),
    ("gpt-5.4", 10_000),
    ("gpt-5.5", 10_000),
    ("gpt-5.", 30_000),
    ("gpt-5", 3_779),
    ("gpt-6", 30_000),
    ("gpt-4", 3_779),
    ("o1", 3_779),
    ("o3", 3_779),
    ("o4", 3_779),
)
# At low detail the same page has at most 2,833; Anthropic and Gemini know no detail.
_LOW_DETAIL = 4_784

# 32 tokens a second at Gemini (https://ai.google.dev/gemini-api/docs/audio), 10 at OpenAI. Nothing that is understood
# takes less than 512 bytes a second (four kilobits).
_AUDIO_BYTES_PER_TOKEN = 16
# Anthropic reads a page as text, "typically 1,500-3,000 tokens", and as an image
# (https://platform.claude.com/docs/en/build-with-claude/pdf-support). Assumed: a page takes at least this many bytes.
_PAGE_TOKENS = 3_000 + 4_784
_PAGE_BYTES = 1_024
# Files, films and pages that the body only names: more than any context window that is sold.
_UNKNOWN = 2_000_000

# What providers put around a request: their own instructions (longest with tools: 264 to 804 tokens at Anthropic,
# https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing, and up to 735 more for each of its
# tools), dates, roles. The JSON around each message has more bytes than any template has tokens there.
_FRAMING = 512
_TOOLS_FRAMING = 1_024
_PER_TOOL = 32
_PER_SERVER_TOOL = 1_024
# Templates may write tools with indentation: https://huggingface.co/docs/transformers/chat_extras
_TOOLS_TIMES = 3

# A search without `max_uses`: Anthropic's own loop ends after ten rounds
# (https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools), others name no limit.
MAX_SEARCHES = 10
_SEARCHED_TOKENS = 10_000
_BEYOND_TEXT = ("tools", "functions", "web_search_options", "plugins", "audio", "prediction")
SEARCHING = frozenset(("web_search_options", "tools", "plugins"))
"""Without any of these in its body a request lets nobody search."""
LIMITING = frozenset(("max_completion_tokens", "max_tokens", "max_output_tokens"))
"""Without any of these it allows an answer of any length."""
CHOOSING = frozenset(("n", "best_of", "prompt"))
"""Without any of these it asks for one answer."""
TIERED = frozenset(("speed", "service_tier"))
"""Without any of these it asks for no service tier."""
# What costs more than its bytes, beside parts of messages.
_BEYOND_MESSAGES = frozenset(
    ("input", "tools", "functions", "response_format", "text", "web_search_options", "plugins")
)
_SEARCH_TOOLS = ("web_search", "google_search", "googleSearch", "x_search", "openrouter:web_search")


def bound_prompt(body: Mapping[str, Any], *, image_tokens: int = MAX_IMAGE_TOKENS) -> int:
    """At least the input tokens of any chat, completion, embedding, Messages or Responses body; never raises.

    `image_tokens` is the most that one image costs at whoever may answer (`most_image_tokens`). About a microsecond for
    a kilobyte. See the module for what the bound rests on; with the provider's own tools it is only an estimate.
    """
    total = _FRAMING + _size(body)
    if _BEYOND_MESSAGES.isdisjoint(body) and _has_texts_only(body.get("messages")):
        return total
    for name in ("messages", "input"):
        entries = body.get(name)
        for message in entries if isinstance(entries, list) else ():
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, list):
                total += sum(_beyond_text(part, image_tokens) for part in content)
            elif isinstance(message, dict) and "role" not in message:
                total += _beyond_text(message, image_tokens)
    tools = _entries(body, "tools") + _entries(body, "functions") if "tools" in body or "functions" in body else []
    if tools or body.get("response_format") is not None or body.get("text") is not None:
        rendered = _size([tools, body.get("response_format"), body.get("text")])
        total += _TOOLS_FRAMING + (_TOOLS_TIMES - 1) * rendered
        total += sum(_PER_TOOL if _is_function(tool) else _PER_SERVER_TOOL for tool in tools)
    searches = 0 if body.keys().isdisjoint(SEARCHING) else max_searches(body)
    return total + searches * _SEARCHED_TOKENS if searches else total


def _has_texts_only(messages: object) -> bool:
    """Whether no message has parts; False where that would take a closer look."""
    if type(messages) is not list:
        return messages is None
    for message in messages:
        if type(message) is not dict or "role" not in message or type(message.get("content")) is list:
            return False
    return True


def is_plain_text(body: Mapping[str, Any]) -> bool:
    """Whether a request is text alone: no images, sounds, files, tools, schemas or searches."""
    if any(body.get(name) for name in _BEYOND_TEXT):
        return False
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return False
    for message in _entries(body, "messages"):
        if not isinstance(message, dict) or message.get("tool_calls") or message.get("audio"):
            return False
        content = message.get("content")
        if isinstance(content, list) and not all(_is_text(part) for part in content):
            return False
    return True


def most_image_tokens(model: str) -> int:
    """The most that one image costs with a model, by its name; the most anywhere where the name says nothing."""
    name = model.rsplit("/", 1)[-1].lower()
    return next((tokens for start, tokens in _IMAGE_TOKENS if name.startswith(start)), MAX_IMAGE_TOKENS)


def max_output_of(body: Mapping[str, Any]) -> int | None:
    """The most output tokens that the caller allows, over all choices; None without a limit of the caller's.

    Of several limits the largest: which one is honoured depends on the provider. Reasoning counts towards them at
    OpenAI, Anthropic and Gemini; a vendor where it does not may exceed this. Embeddings have no output at all.
    """
    most = max_answer_of(body)
    return None if most is None else most * choices_of(body)


def max_answer_of(body: Mapping[str, Any]) -> int | None:
    """The same for one choice."""
    most = 0
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        limit = body.get(name)
        if type(limit) is int and limit > most:
            most = limit
    return most or None


def choices_of(body: Mapping[str, Any]) -> int:
    """How many answers a request asks for: `n` or `best_of`, for each of its prompts."""
    choices = 1
    for name in ("n", "best_of"):
        wanted = body.get(name)
        if type(wanted) is int and wanted > choices:
            choices = wanted
    prompts = body.get("prompt")
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        choices *= len(prompts)
    return choices


def asked_tier(body: Mapping[str, Any]) -> str | None:
    """The service tier that a request asks for, as `Price` has it; Anthropic's fast mode is one."""
    if body.get("speed") == "fast":
        return "fast"
    tier = body.get("service_tier")
    return tier if isinstance(tier, str) else None


def max_searches(body: Mapping[str, Any]) -> int:
    """How many searches a request lets the provider run: what its tools say, else `MAX_SEARCHES` for each of them."""
    found = MAX_SEARCHES if isinstance(body.get("web_search_options"), dict) else 0
    for name in ("tools", "plugins"):
        for tool in _entries(body, name) if name in body else ():
            if isinstance(tool, dict) and _searches(tool):
                found += _positive(tool.get("max_uses")) or MAX_SEARCHES
    if not found:
        return 0
    allowed = _positive(body.get("max_tool_calls"))
    return found if allowed is None else min(found, allowed)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in ("text", "refusal")


def _searches(tool: Mapping[str, Any]) -> bool:
    type_ = tool.get("type")
    if isinstance(type_, str):
        return type_.startswith(_SEARCH_TOOLS)
    return tool.get("id") == "web" or any(name in tool for name in _SEARCH_TOOLS)


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type", "function") in ("function", "custom")


def _beyond_text(part: object, image_tokens: int) -> int:
    """What a part costs beyond the bytes of its JSON, which are counted already; less than nothing for base64."""
    if not isinstance(part, dict):
        return 0
    type_ = part.get("type")
    if type_ in ("text", "input_text", "output_text", "refusal", "thinking", "reasoning", "tool_use", "function_call"):
        return 0
    if type_ == "tool_result":
        content = part.get("content")
        return sum(_beyond_text(inner, image_tokens) for inner in content) if isinstance(content, list) else 0
    name = type_ if isinstance(type_, str) else ""
    if "image" in name:
        is_low = _detail(part) == "low"
        return (min(image_tokens, _LOW_DETAIL) if is_low else image_tokens) - _data_size(part)
    if "audio" in name:
        data = _data_size(part)
        return (data // _AUDIO_BYTES_PER_TOKEN if data else _UNKNOWN) - data
    if "file" in name or "document" in name:
        data = _data_size(part)
        return (max(data, (data // _PAGE_BYTES + 1) * _PAGE_TOKENS) if data else _UNKNOWN) - data
    if "video" in name:
        return 0 if _data_size(part) else _UNKNOWN
    return image_tokens


def _detail(part: Mapping[str, Any]) -> object:
    image = part.get("image_url")
    return image.get("detail") if isinstance(image, dict) else part.get("detail")


def _data_size(part: Mapping[str, Any]) -> int:
    """Characters of base64 in a part; 0 where it only names what it means (an address, an id)."""
    found = 0
    for name, value in part.items():
        for key, text in value.items() if isinstance(value, dict) else ((name, value),):
            if isinstance(text, str) and (key in ("data", "file_data") or text.startswith("data:")):
                found += len(text)
    return found


def _entries(body: Mapping[str, Any], name: str) -> list[Any]:
    found = body.get(name)
    return found if isinstance(found, list) else []


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _size(value: object) -> int:
    """Bytes of a value as JSON, which are at least the bytes of all texts in it."""
    try:
        return len(orjson.dumps(value))
    except TypeError:  # half a surrogate pair, an integer beyond 64 bits, or nested too deep
        try:
            return len(json.dumps(value, default=str))
        except (TypeError, ValueError, RecursionError):
            return _UNKNOWN
