"""Where a broken stream and the one that goes on with it become one: no repeat, no gap, one identity.

The first stream is watched for its text while it goes to the caller. Of the second only the text is new: its chunks are
written again with the identity of the first.
"""

from collections.abc import Awaitable, Mapping
from typing import Any

from gateway.attempt_run import Sink
from gateway.counted import plus
from policies.outcome import Outcome
from providers import lenient_json
from providers.base import Cause, ErrorKind, ProviderError, Usage
from providers.frames import usage_object
from providers.openai_usage import usage_of
from providers.sse import events

_DONE = b"[DONE]"
# Frames are read in blocks of this many bytes, and a longer text than this is not kept.
_BLOCK_BYTES = 64 * 1024
_LONGEST_TEXT = 1024 * 1024
# Members of a chunk that belong to it alone; the others are the same in every chunk of a stream.
_OF_ONE_CHUNK = frozenset({"choices", "usage", "obfuscation", "p"})
# Members of a delta that a text may have around it.
_THOUGHTS = frozenset({"reasoning_content", "reasoning", "reasoning_details"})
_AROUND_TEXT = _THOUGHTS | {"role", "content"}
# A repeat has to be this long: shorter ones happen in any text.
_LEAST_REPEAT = 12
_LONGEST_REPEAT = 400
# Somebody who begins with all that there is says it once more, however short it is.
_LEAST_WHOLE = 4


class KeptText:
    """A Sink that passes a stream on, and keeps what of it is text."""

    def __init__(self, sink: Sink) -> None:
        self.is_finished = False  # the answer is whole; only its end was missing
        self.is_text = True  # nothing but text has come
        self.shared: dict[str, Any] = {}  # the members that all chunks have
        self._sink = sink
        self._pieces: list[bytes] = []
        self._size = 0
        self._texts: list[str] = []
        self._length = 0

    def start(self, outcome: Outcome) -> None:
        self._sink.start(outcome)

    def write(self, data: bytes) -> Awaitable[None] | None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _BLOCK_BYTES:
            self._read()
        return self._sink.write(data)

    def end(self) -> None:
        self._sink.end()

    def text(self) -> str:
        """What the caller has; "" where it is something else than text, too long, or torn inside of a character."""
        self._read()
        # Halves of a surrogate pair from two chunks are one character.
        text = "".join(self._texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text if self.is_text and "\ufffd" not in text else ""

    def _read(self) -> None:
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self.is_text and not self.is_finished:
            try:
                for event in events(block):
                    self._note(event.data)
            except (ValueError, TypeError, AttributeError, KeyError):
                self.is_text = False  # no chunks as we know them

    def _note(self, data: bytes) -> None:
        if data == _DONE:
            self.is_finished = True
            return
        chunk = lenient_json.loads(data)
        if not self.shared:
            self.shared = {name: value for name, value in chunk.items() if name not in _OF_ONE_CHUNK}
        for choice in chunk["choices"]:
            delta = choice["delta"]
            self.is_finished |= choice["finish_reason"] is not None
            text = delta.get("content") or ""
            if not isinstance(text, str):
                raise TypeError("content in parts")
            self._texts.append(text)
            self._length += len(text)
            is_plain = not any(value for name, value in delta.items() if name not in _AROUND_TEXT)
            self.is_text &= choice["index"] == 0 and is_plain and self._length <= _LONGEST_TEXT


class Repeat:
    """Takes from the beginning of a continuation what the caller has already.

    Some models say their last words once more, some vendors send the whole prefill back, and the white space at the
    end of the text was no part of the prefill. A repeat is only what equals the end of the text to the letter, begins
    with a word, is not short, and stands nowhere else in it: who wrote a line twice may mean to write it a third time.
    """

    def __init__(self, sent: str) -> None:
        stem = prefill_text(sent)
        self._gap = sent[len(stem) :]
        self._stem = stem
        lengths = range(_LEAST_REPEAT, min(len(stem) - 1, _LONGEST_REPEAT) + 1)
        self._lengths = [size for size in lengths if _begins_word(stem, len(stem) - size)]
        if len(stem) >= _LEAST_WHOLE:
            self._lengths.append(len(stem))
        self._held = ""
        self._is_past_repeat = self._is_over = False

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held back, is new; "" while that is not known."""
        if self._is_over:
            return text
        self._held += text
        return self._decide(is_end=False)

    def flush(self) -> str:
        """What is held back, when nothing more comes."""
        return "" if self._is_over else self._decide(is_end=True)

    def _decide(self, *, is_end: bool) -> str:
        if not self._is_past_repeat:
            begun = self._held.lstrip()
            if not is_end and self._may_become_repeat(begun):
                return ""
            size = self._repeated(begun)
            if size:
                self._held = begun[size:]
            self._is_past_repeat = True
        space = self._held[: len(self._held) - len(self._held.lstrip())]
        if not is_end and space == self._held and len(space) < len(self._gap) and self._gap.startswith(space):
            return ""
        self._is_over = True
        return self._held[_shared(space, self._gap) :]

    def _may_become_repeat(self, begun: str) -> bool:
        stem, size = self._stem, len(self._stem)
        return any(len(begun) < length and stem.startswith(begun, size - length) for length in self._lengths)

    def _repeated(self, begun: str) -> int:
        stem = self._stem
        length = next((length for length in reversed(self._lengths) if begun.startswith(stem[-length:])), 0)
        if length:
            whole, end = stem.lower(), stem[-length:].lower()
            if whole.find(end) != whole.rfind(end):
                return 0
        return length


class Continued:
    """A Sink for the stream that goes on with another one. `shared` are the members of the first one's chunks,
    `usage` is what the first one used. `write` raises ProviderError for a stream that does not go on.
    """

    def __init__(
        self, sink: Sink, sent: str, shared: Mapping[str, Any], usage: Usage | None, *, include_usage: bool
    ) -> None:
        self._sink = sink
        self._repeat = Repeat(sent)
        self._shared = shared
        self._usage = usage
        self._has_text = False
        self._always = {"usage": None} if include_usage else {}

    def start(self, outcome: Outcome) -> None:
        """The caller has had a head."""

    def write(self, data: bytes) -> Awaitable[None] | None:
        joined = b"".join([self._event(event.data) for event in events(data)])
        return self._sink.write(joined) if joined else None

    def end(self) -> None:
        self._sink.end()

    def _event(self, data: bytes) -> bytes:
        if data == _DONE:
            return self._said(self._repeat.flush()) + b"data: [DONE]\n\n"
        chunk = lenient_json.loads(data)
        if not chunk.get("choices"):
            return self._usage_frame(chunk)
        choice = chunk["choices"][0]
        delta, reason = choice.get("delta") or {}, choice.get("finish_reason")
        text = delta.get("content") or ""
        if not text and not self._has_text and any(delta.get(name) for name in _THOUGHTS):
            # It answers anew, or a server takes for thoughts what is the rest of the answer.
            raise ProviderError(ErrorKind.LOCAL, "The model began to think instead of going on.", cause=Cause.GARBAGE)
        self._has_text |= bool(text)
        sent = self._said(self._repeat.feed(text))
        # What else it brings comes behind the text.
        more = {name: value for name, value in delta.items() if value and name not in _AROUND_TEXT}
        if more or reason is not None:
            sent += self._said(self._repeat.flush()) + self._frame(more, reason)
        return sent

    def _said(self, text: str) -> bytes:
        return self._frame({"content": text}, None) if text else b""

    def _frame(self, delta: Mapping[str, Any], reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return b"data: %b\n\n" % lenient_json.dumps({**self._shared, "choices": [choice], **self._always})

    def _usage_frame(self, chunk: Mapping[str, Any]) -> bytes:
        total = plus(self._usage, usage_of(chunk.get("usage")))
        if total is None:
            return b""
        return b"data: %b\n\n" % lenient_json.dumps({**self._shared, "choices": [], "usage": usage_object(total)})


def prefill_text(sent: str) -> str:
    """The text as models take it for a beginning: none of them goes on well behind white space, and some refuse it."""
    return sent.rstrip()


def _shared(one: str, other: str) -> int:
    """How many characters the beginnings of both have in common."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _begins_word(text: str, at: int) -> bool:
    return not text[at].isspace() and not (text[at].isalnum() and text[at - 1].isalnum())
