"""Anthropic's whole answers in OpenAI's shape, and the facts that streams share with them: usage, stop reasons.

https://platform.claude.com/docs/en/api/messages
"""

from collections.abc import Mapping
from typing import Any

import orjson

from providers import frames
from providers._anthropic_errors import broken, in_band
from providers.base import Cause, Reply, Usage
from providers.redact import Redactor

# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SERVICE_TIERS = {"standard": "default", "priority": "priority"}


def finish_reason(stop_reason: Any, *, has_calls: bool) -> str:
    """OpenAI's finish_reason. `has_calls` is False where the only call was the answer itself (see `json_tool`)."""
    if stop_reason == "tool_use" and not has_calls:
        return "stop"
    return _FINISH_REASONS.get(str(stop_reason), "stop")


def usage_of(reported: Mapping[str, Any]) -> Usage:
    """Anthropic's classes are disjoint already: `input_tokens` holds neither cache reads nor cache writes.

    `output_tokens` includes thinking, which newer models tell apart. Searches are paid by the piece, fetches are not:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool#usage-and-pricing
    """
    created = _count(reported, "cache_creation_input_tokens")
    split = reported.get("cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens") if isinstance(split, dict) else 0
    created = max(created, hour)
    output = _count(reported, "output_tokens")
    details = reported.get("output_tokens_details")
    thinking = min(output, _count(details, "thinking_tokens")) if isinstance(details, dict) else 0
    ran = reported.get("server_tool_use")
    return Usage(
        input=_count(reported, "input_tokens"),
        cache_read=_count(reported, "cache_read_input_tokens"),
        cache_write_5m=created - hour,
        cache_write_1h=hour,
        output=output - thinking,
        reasoning=thinking,
        searches=_count(ran, "web_search_requests") if isinstance(ran, dict) else 0,
        service_tier=_tariff(reported),
    )


def _tariff(reported: Mapping[str, Any]) -> str | None:
    """The name of what sets the price: batch or fast mode, and inference in the United States only.

    https://platform.claude.com/docs/en/about-claude/pricing. The priority tier is paid for in advance; it has no price
    of its own.
    """
    tier = reported.get("service_tier")
    name = "fast" if reported.get("speed") == "fast" else "batch" if tier == "batch" else None
    if reported.get("inference_geo") == "us":
        return f"{name}+us" if name else "us"
    return name or service_tier(reported)


def service_tier(reported: Mapping[str, Any]) -> str | None:
    """OpenAI's name of the tier that served the request, None where it has none."""
    return _SERVICE_TIERS.get(str(reported.get("service_tier")))


def url_citations(citations: Any, start: int, end: int) -> list[dict[str, Any]]:
    """Web citations of a piece of text as annotations of its place in the answer, in characters.

    Citations of documents have no counterpart at OpenAI.
    """
    found = []
    for citation in citations if isinstance(citations, list) else ():
        if isinstance(citation, dict) and isinstance(citation.get("url"), str):
            place = {"start_index": start, "end_index": end}
            said = {"url": citation["url"], "title": citation.get("title") or ""}
            found.append({"type": "url_citation", "url_citation": {**place, **said}})
    return found


def refusal_text(details: Any) -> str | None:
    """Why the model refused, where it says so."""
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else None


def translate(body: bytes, created: int, json_tool: str | None, fallback_id: str, redactor: Redactor) -> Reply:
    """A 2xx body. `json_tool` names the tool whose input is the answer. Raises ProviderError (GARBAGE, IN_BAND)."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise broken("The provider's answer is not JSON.", Cause.GARBAGE) from problem
    if isinstance(answer, dict) and (answer.get("type") == "error" or isinstance(answer.get("error"), dict)):
        raise in_band(answer, redactor)
    if not isinstance(answer, dict) or not isinstance(answer.get("content"), list):
        raise broken("The provider's answer is not a message: it has no list of content.", Cause.GARBAGE)
    pieces = Pieces(json_tool)
    for block in answer["content"]:
        if isinstance(block, dict):
            pieces.add(block)
    reason = finish_reason(answer.get("stop_reason"), has_calls=bool(pieces.calls))
    reported = answer.get("usage")
    reported = reported if isinstance(reported, dict) else None
    usage = usage_of(reported) if reported is not None else None
    text = frames.completion(
        str(answer.get("id") or fallback_id),
        str(answer.get("model") or ""),
        created,
        [frames.choice(pieces.message(refusal_text(answer.get("stop_details"))), reason)],
        usage,
        service_tier=service_tier(reported) if reported is not None else None,
    )
    return Reply(text, usage, reason)


class Pieces:
    """Sorts the blocks of an answer into the members of an OpenAI message."""

    __slots__ = ("_json_tool", "annotations", "calls", "length", "place", "texts", "thinking")

    def __init__(self, json_tool: str | None) -> None:
        self._json_tool = json_tool
        self.texts: list[str] = []
        self.length = 0  # characters of text so far
        self.calls: list[dict[str, Any]] = []
        self.thinking: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.place = 0  # how many blocks came before this one, counting those that a client can send back

    def add(self, block: Mapping[str, Any]) -> None:
        kind = block.get("type")
        if kind == "text":
            self._add_text(str(block.get("text") or ""), block.get("citations"))
        elif kind == "tool_use":
            self._add_call(block)
        elif kind in ("thinking", "redacted_thinking"):
            # The place goes along, because thinking must come back in the order it was given; see `_with_thinking`.
            self.thinking.append({**block, "index": self.place})
        else:
            return  # the provider's own tools: it ran them itself, and their outcome is in the text
        self.place += 1

    def _add_text(self, text: str, citations: Any) -> None:
        end = self.length + len(text)
        self.annotations += url_citations(citations, self.length, end)
        self.texts.append(text)
        self.length = end

    def _add_call(self, block: Mapping[str, Any]) -> None:
        arguments = orjson.dumps(block.get("input") or {}).decode()
        if block.get("name") == self._json_tool:
            self._add_text(arguments, None)
        else:
            self.calls.append(frames.tool_call(str(block.get("id")), str(block.get("name")), arguments))

    def message(self, refusal: str | None) -> dict[str, Any]:
        text = "".join(self.texts)
        reasoning = "".join(str(block.get("thinking") or "") for block in self.thinking)
        return frames.message(
            text if text or not self.calls else None,
            refusal=refusal,
            tool_calls=self.calls,
            annotations=self.annotations,
            reasoning_content=reasoning,
            thinking_blocks=self.thinking,
        )


def _count(reported: Mapping[str, Any], name: str) -> int:
    value = reported.get(name)
    return value if isinstance(value, int) and value > 0 else 0
