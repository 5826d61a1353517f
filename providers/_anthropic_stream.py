"""Anthropic's event stream as OpenAI's.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from providers._anthropic_errors import broken, in_band
from providers._anthropic_reply import finish_reason, refusal_text, url_citations, usage_of
from providers.base import Cause, ProviderError, Usage
from providers.frames import DONE, Frames
from providers.redact import Redactor
from providers.sse import Framer, events


class _Block:
    """One open content block. `number` is the tool call's index at OpenAI, `place` that of the block in a message."""

    __slots__ = (
        "citations",
        "data",
        "input",
        "is_json_answer",
        "kind",
        "number",
        "place",
        "signature",
        "start",
        "text",
    )

    def __init__(self, kind: str, place: int) -> None:
        self.kind = kind
        self.place = place
        self.number = 0
        self.input: Any = None  # what the start event already said
        self.is_json_answer = False
        self.start = 0  # characters of text before this block
        self.text: list[str] = []
        self.signature = ""
        self.data: Any = None
        self.citations: list[Any] = []


_KINDS = frozenset({"text", "tool_use", "thinking", "redacted_thinking"})
_KIND_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}


class Decoder:
    """See StreamDecoder. Tolerates streams of other vendors: missing starts and stops, and events that are new."""

    __slots__ = (
        "_blocks", "_created", "_fallback_id", "_framer", "_frames", "_handlers", "_include_usage", "_is_done",
        "_json_tool", "_length", "_model", "_place", "_redactor", "_reported", "_stop_reason", "_tools", "error",
        "finish_reason", "has_content", "is_finished", "output_bytes", "usage",
    )  # fmt: skip

    def __init__(
        self,
        *,
        created: int,
        model: str,
        fallback_id: str,
        include_usage: bool,
        json_tool: str | None,
        redactor: Redactor,
    ) -> None:
        self.usage: Usage | None = None
        self.error: ProviderError | None = None
        self.finish_reason: str | None = None
        self.has_content = False
        self.is_finished = False
        self.output_bytes = 0
        self._created = created
        self._model = model
        self._fallback_id = fallback_id
        self._include_usage = include_usage
        self._json_tool = json_tool
        self._redactor = redactor
        self._framer = Framer()
        self._frames: Frames | None = None
        self._blocks: dict[Any, _Block] = {}
        self._reported: dict[str, Any] = {}
        self._tools = 0
        self._place = 0
        self._stop_reason: Any = None
        self._length = 0
        self._is_done = False
        self._handlers: dict[str, Callable[[dict[str, Any]], bytes]] = {
            "content_block_delta": self._on_delta,
            "content_block_start": self._on_start,
            "content_block_stop": self._on_stop,
            "message_start": self._on_message_start,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
            "error": self._on_error,
        }

    def feed(self, data: bytes) -> bytes:
        if self.error is not None or self._is_done:
            return b""
        block = self._framer.feed(data)
        sent = []
        if block:
            for event in events(block):
                sent.append(self._on_event(event.data))
                if self._has_failed():
                    return b"".join(sent)
        if self._framer.is_too_large:
            self.error = broken("The provider sent an event that is too large.", Cause.TOO_LARGE)
        return b"".join(sent)

    def _has_failed(self) -> bool:
        return self.error is not None

    def close(self) -> bytes:
        if self.error is None and not self._is_done:
            self.error = broken("The provider's stream ended before the answer was complete.", Cause.CUT)
        return b""

    def _on_event(self, data: bytes) -> bytes:
        try:
            event = orjson.loads(data)
            handler = self._handlers.get(event["type"])
            return handler(event) if handler is not None else b""
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            self.error = broken("The provider sent an event that cannot be understood.", Cause.GARBAGE)
            return b""

    def _on_message_start(self, event: dict[str, Any]) -> bytes:
        message = event["message"]
        if self.has_content:
            # What the client has cannot be taken back, and two answers in one would look like a whole one.
            self.error = broken("The provider began a second answer inside the first.", Cause.CUT)
            return b""
        self._model = message.get("model") or self._model
        self._fallback_id = message.get("id") or self._fallback_id
        self._report(message.get("usage"))
        self._stop_reason = message.get("stop_reason")
        sent = b"" if self._frames is not None else self._open()
        self._blocks.clear()
        for number, block in enumerate(message.get("content") or ()):  # an answer that was whole from the start
            whole = {"index": f"whole {number}", "content_block": block}
            sent += self._on_start(whole) + self._on_stop(whole)
        return sent

    def _open(self) -> bytes:
        """The role comes first, also where the stream forgot to start."""
        self._frames = Frames(self._fallback_id, self._model, self._created, include_usage=self._include_usage)
        return self._frames.role()

    def _on_start(self, event: dict[str, Any]) -> bytes:
        said = event["content_block"]
        opening = b"" if self._frames is not None else self._open()
        block = self._new_block(event.get("index"), said.get("type"))
        if block.kind == "tool_use":
            return opening + self._start_tool(block, said)
        block.data = said.get("data")
        block.signature = said.get("signature") or ""
        block.citations += said.get("citations") or ()
        for text in (said.get("text"), said.get("thinking")):
            if text:
                opening += self._text(block, text)
        return opening

    def _new_block(self, index: Any, kind: Any) -> _Block:
        block = self._blocks[index] = _Block(str(kind), self._place)
        block.start = self._length
        if block.kind in _KINDS:
            self._place += 1
        return block

    def _start_tool(self, block: _Block, said: Mapping[str, Any]) -> bytes:
        block.input = said.get("input")
        if said["name"] == self._json_tool:
            block.is_json_answer = True
            return b""
        block.number = self._tools
        self._tools += 1
        self.has_content = True
        assert self._frames is not None
        return self._frames.tool_start(block.number, str(said["id"]), said["name"])

    def _on_delta(self, event: dict[str, Any]) -> bytes:
        delta = event["delta"]
        kind = delta["type"]
        block = self._blocks.get(event.get("index"))
        opening = b""
        if block is None:
            if kind not in _KIND_OF_DELTA:
                return b""  # arguments of a call that never began belong to nobody
            opening = b"" if self._frames is not None else self._open()
            block = self._new_block(event.get("index"), _KIND_OF_DELTA[kind])
        if kind == "text_delta":
            return opening + self._text(block, delta["text"])
        if kind == "input_json_delta":
            return self._arguments(block, delta["partial_json"])
        if kind == "thinking_delta":
            return opening + self._text(block, delta["thinking"])
        if kind == "signature_delta":
            block.signature += delta["signature"]
        elif kind == "citations_delta":
            block.citations.append(delta["citation"])
        return opening

    def _text(self, block: _Block, text: str) -> bytes:
        if not text:
            return b""
        assert self._frames is not None
        self.has_content = True
        self.output_bytes += len(text.encode())
        if block.kind == "thinking":
            block.text.append(text)
            return self._frames.reasoning(text)
        self._length += len(text)
        return self._frames.text(text)

    def _arguments(self, block: _Block, piece: str) -> bytes:
        if not piece or block.kind != "tool_use":
            return b""
        block.input = None
        if block.is_json_answer:
            return self._text(block, piece)
        assert self._frames is not None
        self.output_bytes += len(piece.encode())
        return self._frames.tool_arguments(block.number, piece)

    def _on_stop(self, event: dict[str, Any]) -> bytes:
        block = self._blocks.pop(event.get("index"), None)
        return self._close_block(block) if block is not None else b""

    def _close_block(self, block: _Block) -> bytes:
        assert self._frames is not None
        if block.kind == "tool_use" and block.input is not None:
            # No piece of arguments came: a call without any, or a vendor who says them all at the start.
            return self._arguments(block, orjson.dumps(block.input).decode())
        if block.kind == "thinking" and block.signature:
            return self._thinking_block(
                {"type": "thinking", "thinking": "".join(block.text), "signature": block.signature}, block.place
            )
        if block.kind == "redacted_thinking":
            return self._thinking_block({"type": "redacted_thinking", "data": block.data}, block.place)
        found = url_citations(block.citations, block.start, self._length)
        return self._frames.delta({"annotations": found}) if found else b""

    def _thinking_block(self, block: dict[str, Any], place: int) -> bytes:
        """The signed whole, for the client to send back. SDKs that add deltas up need the `index` in list entries."""
        assert self._frames is not None
        return self._frames.delta({"thinking_blocks": [{**block, "index": place}]})

    def _on_message_delta(self, event: dict[str, Any]) -> bytes:
        self._report(event.get("usage"))
        delta = event.get("delta") or {}
        reason = delta.get("stop_reason")
        return self._finish(reason, delta.get("stop_details")) if reason is not None else b""

    def _finish(self, stop_reason: Any, details: Any = None) -> bytes:
        if self.is_finished:
            return b""
        sent = b"" if self._frames is not None else self._open()
        assert self._frames is not None
        for block in self._blocks.values():  # whose stop never came
            sent += self._close_block(block)
        self._blocks.clear()
        if refusal := refusal_text(details):
            self.has_content = True
            sent += self._frames.refusal(refusal)
        self.finish_reason = finish_reason(stop_reason, has_calls=self._tools > 0)
        self.is_finished = True
        return sent + self._frames.finish(self.finish_reason)

    def _on_message_stop(self, _event: dict[str, Any]) -> bytes:
        sent = self._finish(self._stop_reason or ("tool_use" if self._tools else "end_turn"))
        self._is_done = True
        assert self._frames is not None
        return sent + self._frames.usage(self.usage) + DONE

    def _on_error(self, event: dict[str, Any]) -> bytes:
        self.error = in_band(event, self._redactor)
        return b""

    def _report(self, reported: Any) -> None:
        """Counts are cumulative, and some vendors send zeros at one end of the stream: the larger one is right."""
        if not isinstance(reported, dict):
            return
        for name, value in reported.items():
            known = self._reported.get(name)
            if value is not None and not (isinstance(known, int) and isinstance(value, int) and known > value):
                self._reported[name] = value
        self.usage = usage_of(self._reported)
