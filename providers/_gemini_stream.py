"""Gemini's event stream as OpenAI's: every event is a whole answer that holds the next piece.

There is no terminal event: the stream is complete when every candidate was given a `finishReason`. Models up to 1.5
gave one in every event, so the end is told to the client only when the upstream's body has ended.
https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from typing import Any

import orjson

from providers._gemini_errors import broken, in_band
from providers._gemini_reply import Pieces, answer_id, blocked, call_seed, failure, finish_reason, parts_of
from providers._gemini_usage import searches_of, usage_of
from providers.base import Cause, ProviderError, Usage
from providers.frames import DONE, Frames
from providers.redact import Redactor
from providers.sse import MAX_EVENT_BYTES, Framer, events

# Images come as one event of several megabytes.
_EVENT_LIMIT = 32 * MAX_EVENT_BYTES
# No JSON, or a member of another type than the dialect has.
_MISFITS = (ValueError, TypeError, KeyError, IndexError, AttributeError)
_MISFIT = "The provider sent an event that cannot be understood."


class Decoder:
    """See StreamDecoder."""

    __slots__ = (
        "_candidates", "_created", "_fallback_id", "_framer", "_frames", "_id", "_include_usage", "_is_closed",
        "_model", "_redactor", "_searches", "error", "finish_reason", "has_content", "is_finished", "output_bytes",
        "usage",
    )  # fmt: skip

    def __init__(self, *, created: int, model: str, fallback_id: str, include_usage: bool, redactor: Redactor) -> None:
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
        self._redactor = redactor
        self._framer = Framer(_EVENT_LIMIT)
        self._frames: Frames | None = None
        self._id = ""
        self._candidates: dict[int, Pieces] = {}
        self._is_closed = False
        self._searches = 0

    def feed(self, data: bytes) -> bytes:
        if self.error is not None:
            return b""
        block = self._framer.feed(data)
        sent = []
        for event in events(block) if block else ():
            try:
                sent.append(self._on_event(event.data))
            except _MISFITS:
                self.error = broken(_MISFIT, Cause.GARBAGE)
            if self.error is not None:
                return b"".join(sent)
        if self._framer.is_too_large:
            self.error = broken("The provider sent an event that is too large.", Cause.TOO_LARGE)
        return b"".join(sent)

    def close(self) -> bytes:
        if self.error is not None or self._is_closed:
            return b""
        self._is_closed = True
        if not self.is_finished or self._frames is None:
            self.error = broken("The provider's stream ended before the answer was complete.", Cause.CUT)
            return b""
        for pieces in self._candidates.values():
            if pieces.is_empty and (error := failure(pieces.finish, pieces.vendor.get("finishMessage"))):
                self.error = error
                return b""
        try:
            sent = [self._finish(index, pieces) for index, pieces in sorted(self._candidates.items())]
        except _MISFITS:
            self.error = broken(_MISFIT, Cause.GARBAGE)
            return b""
        self.finish_reason = self._reason(self._candidates[min(self._candidates)])
        return b"".join(sent) + self._frames.usage(self.usage) + DONE

    def _on_event(self, data: bytes) -> bytes:
        answer = orjson.loads(data)
        if answer.get("error"):
            self.error = in_band(answer, self._redactor)
            return b""
        found = answer.get("candidates") or ()
        self._searches = max(self._searches, searches_of(found))
        self.usage = usage_of(answer.get("usageMetadata"), self._searches) or self.usage
        if not found and (refused := blocked(answer)):
            found = (refused,)
        sent = [self._on_candidate(candidate, answer) for candidate in found]
        if sent:
            finishes = [pieces.finish for pieces in self._candidates.values()]
            self.is_finished = all(finishes)
        return b"".join(sent)

    def _on_candidate(self, candidate: dict[str, Any], answer: dict[str, Any]) -> bytes:
        if self._frames is None:
            self._id = answer_id(answer, self._fallback_id)
            model = str(answer.get("modelVersion") or self._model)
            self._frames = Frames(self._id, model, self._created, include_usage=self._include_usage)
        index = int(candidate.get("index") or 0)
        pieces = self._candidates.get(index)
        sent = []
        if pieces is None:
            pieces = self._candidates[index] = Pieces(call_seed(self._id, index))
            sent.append(self._frames.role(index))
        sent += [self._on_part(part, index, pieces) for part in parts_of(candidate)]
        pieces.note(candidate)
        return b"".join(sent)

    def _on_part(self, part: dict[str, Any], index: int, pieces: Pieces) -> bytes:
        assert self._frames is not None
        if "functionCall" in part:
            before = pieces.calls.count
            pieces.calls.add(part)
            self.has_content = True
            return self._new_calls(before, index, pieces)
        text = part.get("text")
        if isinstance(text, str):
            return self._text(part, text, index, pieces)
        if "inlineData" in part:
            self.has_content = True
            delta = pieces.add_media(part)
            self.output_bytes += len(part["inlineData"].get("data") or "")
            return self._frames.delta(delta, index)
        pieces.add(part)
        return b""

    def _text(self, part: dict[str, Any], text: str, index: int, pieces: Pieces) -> bytes:
        pieces.add(part)
        if not text:
            return b""
        assert self._frames is not None
        self.has_content = True
        self.output_bytes += len(text.encode())
        return self._frames.reasoning(text, index) if part.get("thought") else self._frames.text(text, index)

    def _new_calls(self, before: int, index: int, pieces: Pieces) -> bytes:
        assert self._frames is not None
        sent = []
        for call in pieces.calls.done[before:]:
            self.output_bytes += len(call.name) + len(call.arguments.encode())
            sent.append(self._frames.delta(call.as_delta(), index))
        return b"".join(sent)

    def _finish(self, index: int, pieces: Pieces) -> bytes:
        """What is known only at the end, and the end."""
        assert self._frames is not None
        before = pieces.calls.count
        pieces.calls.end()
        sent = self._new_calls(before, index, pieces)
        if refusal := pieces.refusal():
            self.has_content = True
            sent += self._frames.refusal(refusal, index)
        said = {"annotations": pieces.annotations(), "extra_content": pieces.extra()}
        late = {name: value for name, value in said.items() if value}
        if late:
            sent += self._frames.delta(late, index)
        return sent + self._frames.finish(self._reason(pieces), index, pieces.logprobs_object())

    def _reason(self, pieces: Pieces) -> str:
        return finish_reason(pieces.finish, has_calls=pieces.calls.count > 0)
