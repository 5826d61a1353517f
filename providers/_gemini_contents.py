"""OpenAI's messages as Gemini's `systemInstruction` and `contents`.

Thought signatures: a call's `thoughtSignature` goes to the client as `extra_content.google.thought_signature` of the
tool call, where Google's own compatible endpoint puts it, and is taken back from there. It is not hidden in the call's
id: signatures have thousands of characters, and other providers refuse ids longer than 40 or 64, so a conversation
could never move on to them. For clients that lose `extra_content`, Google documents a placeholder.
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from providers._gemini_models import Traits
from providers.content import Media, Text, parts, text_of, tool_arguments, unsupported

# The third generation answers 400 where the first call of a turn has no signature; this one is accepted for calls
# that another model made, or whose signature a client lost.
FOREIGN_SIGNATURE = "skip_thought_signature_validator"
_GUESSED_TYPES = {"image": "image/jpeg", "file": "application/pdf", "audio": "audio/wav", "video": "video/mp4"}
_SYSTEM_ROLES = ("system", "developer")
_RESULT_ROLES = ("tool", "function")


@dataclass(slots=True)
class Draft:
    """Contents under construction. `names`: call id -> function called; `files_url`: where uploaded files live."""

    traits: Traits
    files_url: str
    contents: list[dict[str, Any]] = field(default_factory=list)
    system: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, role: str, new: list[dict[str, Any]]) -> None:
        """Turns of one role in a row become one: results of parallel calls have to come together."""
        if not new:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += new
        else:
            self.contents.append({"role": role, "parts": new})


def translate(messages: Any, traits: Traits, files_url: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(parts of the system instruction, contents). Raises ProviderError(CALLER)."""
    if not isinstance(messages, list) or not messages:
        raise unsupported("'messages' must be a list with at least one message.", "messages")
    draft = Draft(traits, files_url)
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role in _SYSTEM_ROLES:
            text = text_of(message.get("content"), f"{where}.content")
            draft.system += [{"text": text}] if text else []
        elif role == "user":
            draft.add("user", _said(message.get("content"), f"{where}.content", draft))
        elif role == "assistant":
            draft.add("model", _answered(message, where, draft))
        elif role in _RESULT_ROLES:
            draft.add("user", _result(message, where, draft))
        else:
            raise unsupported(f"'{where}.role' must be system, developer, user, assistant or tool.", f"{where}.role")
    if not draft.contents:
        # Gemini wants at least one turn; OpenAI does with instructions alone.
        draft.add("user", draft.system)
        draft.system = []
    if not draft.contents:
        raise unsupported("'messages' has no content to send.", "messages")
    return draft.system, draft.contents


def signature_of(holder: Any) -> str | None:
    """The thought signature a message, tool call or image brought back, in either spelling."""
    extra = holder.get("extra_content") if isinstance(holder, Mapping) else None
    google = extra.get("google") if isinstance(extra, Mapping) else None
    if not isinstance(google, Mapping):
        return None
    signature = google.get("thought_signature") or google.get("thoughtSignature")
    return signature if isinstance(signature, str) and signature else None


def _said(content: Any, where: str, draft: Draft) -> list[dict[str, Any]]:
    found = []
    for number, part in enumerate(parts(content, where)):
        place = f"{where}[{number}]"
        if isinstance(part, Text):
            found.append({"text": part.text})
        elif isinstance(part, Media):
            found.append(_media(part, place, draft.files_url))
        else:
            raise unsupported(f"'{place}' has the type '{part.type}', which Gemini cannot take.", f"{place}.type")
    return found


def _media(media: Media, where: str, files_url: str) -> dict[str, Any]:
    if media.data is not None:
        type_ = media.media_type or _GUESSED_TYPES[media.kind]
        return {"inlineData": {"mimeType": type_, "data": media.data}}
    uri = media.url
    if media.file_id is not None:
        # https://ai.google.dev/gemini-api/docs/files: a file is named "files/abc" and lives below the API's address.
        if not media.file_id.startswith(("files/", "https://", "gs://")):
            raise unsupported(
                f"'{where}.file.file_id' is no file of Gemini's (files/...). Send 'file_data' instead.",
                f"{where}.file.file_id",
            )
        uri = f"{files_url}/{media.file_id}" if media.file_id.startswith("files/") else media.file_id
    data: dict[str, Any] = {"fileUri": uri}
    if stated := media.media_type or _stated_type(media):
        data["mimeType"] = stated
    return {"fileData": data}


def _stated_type(media: Media) -> str | None:
    """`format` beside an address: addresses of Gemini's own files have no ending that would tell."""
    holder = media.raw.get("file") or media.raw.get(f"{media.kind}_url")
    stated = holder.get("format") if isinstance(holder, Mapping) else None
    return stated if isinstance(stated, str) and "/" in stated else None


def _answered(message: Mapping[str, Any], where: str, draft: Draft) -> list[dict[str, Any]]:
    """An assistant's turn. Reasoning is not sent back: what Gemini needs of it is in the signatures."""
    found = _code_parts(message)
    texts = [{"text": p.text} for p in parts(message.get("content"), f"{where}.content") if isinstance(p, Text)]
    texts += [{"text": message["refusal"]}] if isinstance(message.get("refusal"), str) else []
    found += [part for part in texts if part["text"]]
    signature = signature_of(message)
    if signature:
        if found and "text" in found[-1]:
            found[-1]["thoughtSignature"] = signature
        else:
            found.append({"text": "", "thoughtSignature": signature})
    images = message.get("images")
    for number, image in enumerate(images if isinstance(images, list) else ()):
        found.append(_own_image(image, f"{where}.images[{number}]", draft))
    return found + _calls(message, where, draft)


def _code_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Code that Gemini ran itself, as `_gemini_reply` gave it to the client."""
    extra = message.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    kept = google.get("code_execution") if isinstance(google, Mapping) else None
    return [dict(part) for part in kept if isinstance(part, dict)] if isinstance(kept, list) else []


def _own_image(image: Any, where: str, draft: Draft) -> dict[str, Any]:
    """An image the model made. Editing it in a later turn needs its signature too."""
    found = _said([image], where, draft)[0]
    signature = signature_of(image)
    return {**found, "thoughtSignature": signature} if signature else found


def _calls(message: Mapping[str, Any], where: str, draft: Draft) -> list[dict[str, Any]]:
    given = message.get("tool_calls")
    if given is None and isinstance(message.get("function_call"), dict):
        given = [{"id": "", "function": message["function_call"]}]  # the form before tools
    if not isinstance(given, list | None):
        raise unsupported(f"'{where}.tool_calls' must be a list.", f"{where}.tool_calls")
    found = []
    for number, call in enumerate(given or ()):
        function = call.get("function") or call.get("custom") if isinstance(call, dict) else None
        function = function if isinstance(function, dict) else {}
        name = function.get("name")
        if not isinstance(name, str) or not name:
            place = f"{where}.tool_calls[{number}].function.name"
            raise unsupported(f"'{place}' must be the name of a function.", place)
        found.append(_call(call, name, function, draft))
    if found and draft.traits.is_strict and "thoughtSignature" not in found[0]:
        found[0]["thoughtSignature"] = FOREIGN_SIGNATURE
    return found


def _call(call: Mapping[str, Any], name: str, function: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    arguments = function["arguments"] if "arguments" in function else function.get("input")
    said: dict[str, Any] = {"name": name, "args": tool_arguments(arguments)}
    id_ = call.get("id")
    if isinstance(id_, str) and id_:
        said["id"] = id_
        draft.names[id_] = name
    part: dict[str, Any] = {"functionCall": said}
    signature = signature_of(call)
    if signature:
        part["thoughtSignature"] = signature
    return part


def _result(message: Mapping[str, Any], where: str, draft: Draft) -> list[dict[str, Any]]:
    id_ = message.get("tool_call_id")
    name = draft.names.get(id_) if isinstance(id_, str) else None
    name = name or message.get("name")
    if not isinstance(name, str) or not name:
        place = f"{where}.tool_call_id"
        raise unsupported(f"'{place}' names no tool call of an earlier assistant message.", place)
    texts, media = [], []
    for part in parts(message.get("content"), f"{where}.content"):
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Media):
            media.append(_media(part, f"{where}.content", draft.files_url))
    said: dict[str, Any] = {"name": name, "response": _response("".join(texts))}
    if isinstance(id_, str) and id_:
        said["id"] = id_
    if media and draft.traits.is_strict:
        # Since the third generation media belong inside: https://ai.google.dev/gemini-api/docs/function-calling
        said["parts"] = media
        media = []
    return [{"functionResponse": said}, *media]


def _response(text: str) -> dict[str, Any]:
    """A result must be an object; "output" is the key Google names for results that are none."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return {"output": text}
        return found if isinstance(found, dict) else {"output": found}
    return {"output": text}
