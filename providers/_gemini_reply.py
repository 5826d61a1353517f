"""Gemini's answers in OpenAI's shape: whole ones, and the facts that streams share with them.

Where things go that OpenAI has no place for: thoughts to `reasoning_content`; images to `images` (as OpenRouter does:
`{"type": "image_url", "image_url": {"url": "data:..."}}`); grounding to `annotations`; the rest (code that Gemini ran,
raw grounding, safety ratings, signatures) to `extra_content.google` of the message.
A blocked prompt or answer is `finish_reason: content_filter`, with the reason as `refusal`: the call was answered and
counted, and clients know this sign. https://ai.google.dev/api/generate-content
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from providers import frames
from providers._gemini_calls import Calls
from providers._gemini_errors import broken, in_band
from providers._gemini_usage import searches_of, service_tier, usage_of
from providers.base import Cause, ErrorKind, ProviderError, Reply
from providers.redact import Redactor

# https://ai.google.dev/api/generate-content#FinishReason; numbers are what `enum-encoding=int` gives.
_FINISH_REASONS: dict[str | int | None, str] = {
    "STOP": "stop", 1: "stop",
    "MAX_TOKENS": "length", 2: "length",
    **dict.fromkeys(
        ("SAFETY", 3, "RECITATION", 4, "BLOCKLIST", 6, "PROHIBITED_CONTENT", 7, "SPII", 8, "MODEL_ARMOR",
         "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        "content_filter",
    ),
}  # fmt: skip
# The model failed. With nothing to show for it, that is no answer: another attempt may give one.
_FAILURES: frozenset[str | int | None] = frozenset(
    {
        "MALFORMED_FUNCTION_CALL", 9, "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE", "OTHER", 5, "IMAGE_OTHER", "NO_IMAGE",
    }
)  # fmt: skip
_VENDOR = (
    "finishMessage", "groundingMetadata", "citationMetadata", "urlContextMetadata", "safetyRatings", "avgLogprobs",
)  # fmt: skip


def finish_reason(reason: str | int | None, *, has_calls: bool) -> str:
    """OpenAI's finish_reason. Gemini says STOP for calls too."""
    found = _FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if has_calls and found == "stop" else found


def failure(reason: str | int | None, message: Any) -> ProviderError | None:
    """The error that a finish reason means where no content came with it."""
    if reason not in _FAILURES:
        return None
    text = f"The model failed to give an answer ({reason}{f': {message}' if message else ''})."
    return ProviderError(ErrorKind.BROKEN, text, cause=Cause.IN_BAND)


def answer_id(payload: Mapping[str, Any], fallback_id: str) -> str:
    """The completion's id."""
    id_ = payload.get("responseId")
    return f"chatcmpl-{id_}" if isinstance(id_, str) and id_ else f"chatcmpl-{fallback_id}"


def call_seed(id: str, index: int) -> str:
    """What generated ids of tool calls begin with: the same for the same answer, another for each choice.

    24 hexadecimal digits, because OpenAI refuses ids beyond 40 characters and others refuse punctuation.
    """
    return "call_" + hashlib.blake2s(f"{id}/{index}".encode(), digest_size=12).hexdigest()


def translate(body: bytes, created: int, model: str, fallback_id: str, redactor: Redactor) -> Reply:
    """A 2xx body. Raises ProviderError (GARBAGE, IN_BAND)."""
    try:
        answer = orjson.loads(body)
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if answer.get("error"):
            raise in_band(answer, redactor)
        return _reply(answer, created, model, fallback_id)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as problem:
        # No JSON, or a member of another type than the dialect has.
        raise broken("The provider's answer is not in Gemini's format.", Cause.GARBAGE) from problem


def _reply(answer: Mapping[str, Any], created: int, model: str, fallback_id: str) -> Reply:
    candidates = answer.get("candidates")
    if not candidates:
        refused = blocked(answer)
        if refused is None:
            raise broken("The provider's answer has no candidates.", Cause.GARBAGE)
        candidates = [refused]
    id_ = answer_id(answer, fallback_id)
    choices = [_choice(found, number, id_) for number, found in enumerate(candidates)]
    choices.sort(key=_index)
    metadata = answer.get("usageMetadata")
    usage = usage_of(metadata, searches_of(candidates))
    text = frames.completion(
        id_, str(answer.get("modelVersion") or model), created, choices, usage, service_tier=service_tier(metadata)
    )
    return Reply(text, usage, choices[0]["finish_reason"])


def blocked(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """A candidate that says that the prompt was blocked, which Gemini says beside no candidates; None if it was not."""
    feedback = answer.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(feedback, dict) or not reason:
        return None
    message = feedback.get("blockReasonMessage") or f"The provider blocked the prompt: {reason}."
    kept = {"safetyRatings": feedback["safetyRatings"]} if feedback.get("safetyRatings") else {}
    return {"finishReason": "PROHIBITED_CONTENT", "finishMessage": message, **kept}


def parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = candidate.get("content")
    found = content.get("parts") if isinstance(content, dict) else None
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


class Pieces:
    """Sorts the parts of one candidate into the members of an OpenAI message."""

    __slots__ = ("audio", "calls", "code", "finish", "images", "logprobs", "signature", "texts", "thoughts", "vendor")

    def __init__(self, seed: str) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.images: list[dict[str, Any]] = []
        self.audio: dict[str, Any] | None = None
        self.calls = Calls(seed)
        self.code: list[dict[str, Any]] = []
        self.signature: str | None = None
        self.vendor: dict[str, Any] = {}
        self.logprobs: list[dict[str, Any]] = []
        self.finish: str | int | None = None

    @property
    def is_empty(self) -> bool:
        return not (any(self.texts) or self.thoughts or self.images or self.audio or self.code or self.calls.count)

    def add(self, part: dict[str, Any]) -> None:
        """One part of a whole answer."""
        if "functionCall" in part:
            self.calls.add(part)
        elif isinstance(part.get("text"), str):
            (self.thoughts if part.get("thought") else self.texts).append(part["text"])
            self.signature = part.get("thoughtSignature") or self.signature
        elif "inlineData" in part:
            self.add_media(part)
        elif "executableCode" in part or "codeExecutionResult" in part:
            self.code.append(part)

    def add_media(self, part: dict[str, Any]) -> dict[str, Any]:
        """An image, or sound; returns the delta that tells of it."""
        data = part["inlineData"]
        type_ = str(data.get("mimeType") or "image/png")
        if type_.startswith("audio/"):
            before = self.audio["data"] if self.audio else ""
            self.audio = {"data": before + str(data.get("data") or ""), "transcript": "", "format": type_}
            return {"audio": {"data": data.get("data") or "", "format": type_}}
        image: dict[str, Any] = {
            "type": "image_url",
            "image_url": {"url": f"data:{type_};base64,{data.get('data') or ''}"},
            "index": len(self.images),
        }
        if part.get("thoughtSignature"):
            image["extra_content"] = _google(thought_signature=part["thoughtSignature"])
        self.images.append(image)
        return {"images": [image]}

    def note(self, candidate: Mapping[str, Any]) -> None:
        """What a candidate says beside its parts; of a stream's events the last one counts."""
        for name in _VENDOR:
            if candidate.get(name) is not None:
                self.vendor[name] = candidate[name]
        reason = candidate.get("finishReason")
        if reason:
            self.finish = reason if isinstance(reason, int) else str(reason)
        self.logprobs += _logprobs(candidate.get("logprobsResult"))

    def refusal(self) -> str | None:
        """Why there is no content, where a filter is the reason."""
        if not self.is_empty or finish_reason(self.finish, has_calls=False) != "content_filter":
            return None
        return str(self.vendor.get("finishMessage") or f"The provider withheld the answer: {self.finish}.")

    def annotations(self) -> list[dict[str, Any]]:
        """Web citations. Gemini counts bytes of UTF-8, OpenAI counts characters."""
        grounding = self.vendor.get("groundingMetadata")
        if not isinstance(grounding, dict):
            return []
        chunks, text = grounding.get("groundingChunks") or [], "".join(self.texts).encode()
        found = []
        for support in grounding.get("groundingSupports") or ():
            segment = support.get("segment") or {}
            place = {
                "start_index": len(text[: segment.get("startIndex") or 0].decode(errors="ignore")),
                "end_index": len(text[: segment.get("endIndex") or 0].decode(errors="ignore")),
            }
            for number in support.get("groundingChunkIndices") or ():
                web = chunks[number].get("web") if 0 <= number < len(chunks) else None
                if isinstance(web, dict) and web.get("uri"):
                    said = {"url": web["uri"], "title": web.get("title") or ""}
                    found.append({"type": "url_citation", "url_citation": {**place, **said}})
        return found

    def extra(self) -> dict[str, Any]:
        """`extra_content`, empty when there is nothing to say."""
        kept = dict(self.vendor)
        if self.code:
            kept["code_execution"] = self.code
        if self.signature:
            kept["thought_signature"] = self.signature
        return _google(**kept) if kept else {}

    def logprobs_object(self) -> dict[str, Any] | None:
        return {"content": self.logprobs, "refusal": None} if self.logprobs else None


def _google(**said: Any) -> dict[str, Any]:
    return {"google": said}


def _choice(candidate: Mapping[str, Any], number: int, id_: str) -> dict[str, Any]:
    index = candidate.get("index", number)
    index = index if isinstance(index, int) else number
    pieces = Pieces(call_seed(id_, index))
    for part in parts_of(candidate):
        pieces.add(part)
    pieces.note(candidate)
    pieces.calls.end()
    calls = [call.as_message() for call in pieces.calls.done]
    if pieces.is_empty and (error := failure(pieces.finish, pieces.vendor.get("finishMessage"))):
        raise error
    text = "".join(pieces.texts)
    audio = {"id": f"audio_{id_}", "expires_at": 0, **pieces.audio} if pieces.audio else None
    refusal = pieces.refusal()
    message = frames.message(
        text if text or not (calls or refusal) else None,
        refusal=refusal,
        tool_calls=calls,
        reasoning_content="".join(pieces.thoughts),
        images=pieces.images,
        audio=audio,
        annotations=pieces.annotations(),
        extra_content=pieces.extra(),
    )
    reason = finish_reason(pieces.finish, has_calls=bool(calls))
    return frames.choice(message, reason, index, pieces.logprobs_object())


def _index(choice: Mapping[str, Any]) -> int:
    index: int = choice["index"]
    return index


def _logprobs(result: Any) -> list[dict[str, Any]]:
    """https://ai.google.dev/api/generate-content#LogprobsResult"""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list):
        return []
    tops: Sequence[Any] = result.get("topCandidates") or ()
    found = []
    for number, token in enumerate(chosen):
        top = tops[number].get("candidates") or () if number < len(tops) else ()
        found.append({**_token(token), "top_logprobs": [_token(other) for other in top]})
    return found


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    text = str(token.get("token") or "")
    return {"token": text, "logprob": token.get("logProbability") or 0.0, "bytes": list(text.encode())}
