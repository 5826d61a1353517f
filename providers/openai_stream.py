"""Event streams in OpenAI's dialect, forwarded as the bytes they are wherever they are valid already.

A frame is parsed until the first content has come, and later only when its bytes are not of a known shape. What is
mended: missing members (`normalise`), a usage report that nobody asked for or that stands in the wrong chunk, a missing
finish reason or `[DONE]` at the proper end.
"""

from collections.abc import Callable
from typing import Any

from providers import errors, lenient_json, normalise
from providers.base import Cause, ErrorKind, ProviderError, Request, Usage
from providers.frame_shape import FrameShape, learn
from providers.normalise import Envelope
from providers.openai_usage import usage_of
from providers.redact import Redactor
from providers.sse import MAX_EVENT_BYTES, Event, Framer, events

DONE = b"data: [DONE]\n\n"

Mend = Callable[[dict[str, Any], Envelope], bool]
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_SHARED = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


class OpenAIDecoder:
    """A StreamDecoder for chat and legacy completions. `redactor` cleans errors that come inside the stream."""

    __slots__ = (
        "_envelope", "_finished", "_framer", "_has_tools", "_held", "_include_usage", "_is_done", "_is_reported",
        "_mend", "_redactor", "_seen", "_shape", "_usage_frame", "_wanted", "error", "finish_reason", "has_content",
        "is_finished", "output_bytes", "usage",
    )  # fmt: skip

    def __init__(self, request: Request, envelope: Envelope, redactor: Redactor) -> None:
        self.usage: Usage | None = None
        self.error: ProviderError | None = None
        self.finish_reason: str | None = None
        self.has_content = False
        self.is_finished = False
        self.output_bytes = 0
        self._mend: Mend = normalise.chat_chunk if request.operation == "chat" else normalise.completion_chunk
        self._include_usage = request.include_usage
        wanted = request.body.get("n")
        self._wanted = wanted if type(wanted) is int else 1
        self._envelope = envelope
        self._redactor = redactor
        self._framer = Framer()
        self._shape: FrameShape | None = None
        self._seen: set[int] = set()  # choices that appeared
        self._finished: set[int] = set()
        self._has_tools = False
        self._held: dict[str, Any] = {}  # members of an opening chunk without identity, for the first real one
        self._usage_frame = b""  # the report to send last, if the caller asked for it
        self._is_reported = False
        self._is_done = False

    def feed(self, data: bytes) -> bytes:
        block = self._framer.feed(data)
        shape = self._shape
        if shape is not None and block:
            sent = shape.translate(block)
            if sent is not None:
                self.output_bytes += shape.output_bytes
                return sent
        if self._is_done or self.error is not None:
            return b""
        sent = self._decode(block) if block else b""
        if self._framer.is_too_large and self.error is None:
            self._fail(Cause.TOO_LARGE, f"The provider sent an event of more than {MAX_EVENT_BYTES} bytes.")
        return sent

    def close(self) -> bytes:
        if self._is_done or self.error is not None:
            return b""
        if self._seen and self._finished >= self._seen:
            return self._end()
        self._fail(Cause.CUT, "The provider's stream ended before the answer was complete.")
        return b""

    def _decode(self, block: bytes) -> bytes:
        sent = []
        for event in events(block):
            try:
                sent.append(self._event(event))
            except (ValueError, TypeError, AttributeError):
                # TypeError and AttributeError: a member of another type than any dialect has, met while mending.
                self._fail(Cause.GARBAGE, "The provider sent a stream event that is not in OpenAI's format.")
            if self._is_done or self.error is not None:
                self._shape = None
                break
        return b"".join(sent)

    def _event(self, event: Event) -> bytes:
        data = event.data.strip()
        if data == b"[DONE]":
            return self._end()
        chunk = lenient_json.loads(data)
        if not isinstance(chunk, dict):
            raise ValueError("a stream event is not an object")
        if errors.is_error(chunk) or event.type == b"error":
            self.error = errors.in_band(chunk, self._redactor)
            return b""
        if "choices" not in chunk and "id" not in chunk and "usage" not in chunk:
            return b""  # a vendor's own event: nothing a reader of this dialect could use
        if not chunk.get("choices") and not chunk.get("id") and not chunk.get("usage"):
            # Azure opens with such a chunk; its filter results go out with the first one that has an identity.
            self._held.update({name: value for name, value in chunk.items() if name not in (*_SHARED, "choices")})
            return b""
        return self._chunk(event, chunk)

    def _chunk(self, event: Event, chunk: dict[str, Any]) -> bytes:
        changed = self._mend(chunk, self._envelope)
        if self._held:
            chunk.update(self._held)
            self._held = {}
            changed = True
        had_content = self.has_content
        choices = chunk["choices"]
        for choice in choices:
            changed |= self._note(choice)
        reported = _reported(chunk)
        if reported is not None:
            self.usage = usage_of(reported, chunk.get("service_tier"))
            if not choices and "usage" in chunk:
                return self._report(lenient_json.dumps(chunk) if changed or b"\n" in event.data else event.data)
            self._usage_frame = _usage_frame(chunk, reported)
            if not choices or (self.is_finished and not _says_anything(choices)):
                return b""
            changed |= self._without_usage(chunk)
        frame = b"data: %b\n\n" % event.data
        sent = b"data: %b\n\n" % lenient_json.dumps(chunk) if changed or event.type or b"\n" in event.data else frame
        is_plain = had_content and len(choices) == 1 and choices[0]["finish_reason"] is None and not chunk.get("usage")
        self._shape = learn(frame, sent, choices[0]) if is_plain else None
        return sent

    def _note(self, choice: dict[str, Any]) -> bool:
        """Count what a choice brings; true when that changed it."""
        index = choice["index"]
        self._seen.add(index)
        size = _content_bytes(choice)
        if size:
            self.has_content = True
            self.output_bytes += size
        if (choice.get("delta") or choice).get("tool_calls"):
            self._has_tools = True
        reason = choice["finish_reason"]
        if reason is None:
            return False
        if index in self._finished:
            choice["finish_reason"] = None  # it is said once for each choice
            return True
        self._finished.add(index)
        if self.finish_reason is None or index == 0:
            self.finish_reason = reason
        self.is_finished = self._finished >= self._seen and len(self._finished) >= self._wanted
        return False

    def _report(self, chunk: bytes) -> bytes:
        """A usage report in a chunk of its own: sent in its place after the answer, or kept for the end."""
        frame = b"data: %b\n\n" % chunk
        if not self.is_finished or self._is_reported or not self._include_usage:
            self._usage_frame = frame
            return b""
        self._is_reported = True
        return frame

    def _without_usage(self, chunk: dict[str, Any]) -> bool:
        """Take a report out of a chunk that has choices; null is how the specification has it for all but the last."""
        if "usage" not in chunk:
            return False
        if self._include_usage:
            chunk["usage"] = None
        else:
            del chunk["usage"]
        return True

    def _end(self) -> bytes:
        """The proper end: what the stream still owes its reader, once."""
        self._is_done = True
        self._shape = None
        if not self._seen:
            self._fail(Cause.CUT, "The provider's stream ended without an answer.")
            return b""
        owed = b"".join(self._finish(index) for index in sorted(self._seen - self._finished))
        self.is_finished = True
        usage = self._usage_frame if self._include_usage and not self._is_reported else b""
        return b"%b%b%b" % (owed, usage, DONE)

    def _finish(self, index: int) -> bytes:
        """A finish reason for a choice that ended without one, though the stream ended properly (Snowflake)."""
        reason = "tool_calls" if self._has_tools else "stop"
        self._finished.add(index)
        self.finish_reason = self.finish_reason or reason
        choice: dict[str, Any] = {"index": index, "finish_reason": reason}
        if self._mend is normalise.chat_chunk:
            choice["delta"] = {}
        else:
            choice.update(text="", logprobs=None)
        chunk: dict[str, Any] = {"choices": [choice]}
        self._mend(chunk, self._envelope)
        return b"data: %b\n\n" % lenient_json.dumps(chunk)

    def _fail(self, cause: Cause, message: str) -> None:
        self.error = ProviderError(ErrorKind.BROKEN, message, cause=cause)


def _reported(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The usage object of a chunk; Groq has one in `x_groq` too (https://console.groq.com/docs/api-reference)."""
    usage = chunk.get("usage")
    if usage is None and "x_groq" in chunk and isinstance(chunk["x_groq"], dict):
        usage = chunk["x_groq"].get("usage")
    return usage if isinstance(usage, dict) else None


def _usage_frame(chunk: dict[str, Any], usage: dict[str, Any]) -> bytes:
    """A report in the form of the specification, for vendors that put theirs into a chunk with choices."""
    shared = {name: chunk[name] for name in _SHARED if name in chunk}
    return b"data: %b\n\n" % lenient_json.dumps({**shared, "choices": [], "usage": usage})


def _content_bytes(choice: dict[str, Any]) -> int:
    """Bytes of generated content in a choice of a chunk: text, reasoning, refusal, tool calls, audio."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return len(str(choice.get("text") or "").encode())
    size = 0
    for name in _TEXTS:
        text = delta.get(name)
        if isinstance(text, str) and text:
            size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        # The opening of a tool call is content even before its arguments.
        size += len(function.get("name") or "") + len(function.get("arguments") or function.get("input") or "")
    for name in ("audio", "function_call", "reasoning_details", "images"):
        if delta.get(name):
            size += len(lenient_json.dumps(delta[name]))
    return size


def _says_anything(choices: list[dict[str, Any]]) -> bool:
    return any(choice["finish_reason"] or _content_bytes(choice) for choice in choices)
