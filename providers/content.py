"""What OpenAI messages carry, taken apart for dialects that say it differently: text, media, tool arguments.

Pure functions over parsed JSON. Where a message cannot be understood they raise ProviderError(CALLER) whose `param`
says where. Shapes: https://platform.openai.com/docs/api-reference/chat/create
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

import orjson

from providers.base import Cause, ErrorKind, ProviderError, error_object

MediaKind = Literal["image", "file", "audio", "video"]

INVALID_ARGUMENTS_KEY = "invalid_arguments"

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)
_REMOTE_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# The formats OpenAI's input_audio names, as media types.
_AUDIO_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm16": "audio/pcm", "m4a": "audio/mp4"}

_TYPES_BY_ENDING = {
    "bmp": "image/bmp",
    "gif": "image/gif",
    "heic": "image/heic",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "xml": "application/xml",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


@dataclass(slots=True, frozen=True)
class Text:
    """A piece of text. `raw` is the part it came from (markers such as `cache_control` stay readable there)."""

    text: str
    raw: Mapping[str, Any]
    is_refusal: bool = False


@dataclass(slots=True, frozen=True)
class Media:
    """An image, document, sound or film: exactly one of `data` (base64 text), `url` and `file_id` is set.

    `media_type` is None where nothing tells it. `detail` is OpenAI's image detail.
    """

    kind: MediaKind
    raw: Mapping[str, Any]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    detail: str | None = None


@dataclass(slots=True, frozen=True)
class Other:
    """A part that is not OpenAI's: another dialect's block, or something new. Each dialect decides for itself."""

    type: str
    raw: Mapping[str, Any]


Part = Text | Media | Other


def unsupported(message: str, param: str | None, code: str | None = None) -> ProviderError:
    """The caller's request cannot be said, or makes no sense; `param` is the path of the culprit."""
    error = error_object(message, "invalid_request_error", param, code)
    return ProviderError(ErrorKind.CALLER, message, cause=Cause.UNSUPPORTED, error=error)


def parts(content: Any, where: str) -> list[Part]:
    """The parts of a message's `content` (None, a string, or a list); `where` is its path: `messages[2].content`."""
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content, {})]
    if not isinstance(content, list):
        raise unsupported(f"'{where}' must be a string or a list of parts.", where)
    return [part(item, f"{where}[{number}]") for number, item in enumerate(content)]


def part(item: Any, where: str) -> Part:
    """One content part."""
    if isinstance(item, str):
        return Text(item, {})
    type_ = item.get("type") if isinstance(item, dict) else None
    if not isinstance(type_, str):
        raise unsupported(f"'{where}' must be an object with a 'type'.", where)
    if type_ in ("text", "input_text", "output_text"):
        return Text(_string(item, "text", where), item)
    if type_ == "refusal":
        return Text(_string(item, "refusal", where), item, is_refusal=True)
    reader = _MEDIA.get(type_)
    return reader(item, where) if reader else Other(type_, item)


def text_of(content: Any, where: str) -> str:
    """All text of a message's `content`, joined; media and other parts are refused."""
    pieces = []
    for number, found in enumerate(parts(content, where)):
        if not isinstance(found, Text):
            raise unsupported(
                f"'{where}[{number}]' must be text: this message can carry nothing else.", f"{where}[{number}]"
            )
        pieces.append(found.text)
    return "".join(pieces)


def tool_arguments(arguments: Any) -> dict[str, Any]:
    """A tool call's `arguments` (JSON text) as the object other dialects want.

    Empty text means no arguments. Text that is no JSON object is wrapped under INVALID_ARGUMENTS_KEY, not refused:
    OpenAI takes any text here, and a conversation in which a model once wrote broken JSON must not fail for good
    after a fallback to another dialect.
    """
    if isinstance(arguments, dict):
        return arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {INVALID_ARGUMENTS_KEY: arguments}
    if found is None:
        return {}
    return found if isinstance(found, dict) else {INVALID_ARGUMENTS_KEY: arguments}


def _string(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise unsupported(f"'{where}.{name}' must be a string.", f"{where}.{name}")
    return value


def _image(item: Mapping[str, Any], where: str) -> Media:
    found = item.get("image_url")
    detail = found.get("detail") if isinstance(found, dict) else None
    return _from_url("image", item, found, f"{where}.image_url", detail=detail)


def _video(item: Mapping[str, Any], where: str) -> Media:
    return _from_url("video", item, item.get("video_url"), f"{where}.video_url")


def _from_url(kind: MediaKind, item: Mapping[str, Any], found: Any, where: str, detail: str | None = None) -> Media:
    """`found` is `{"url": ...}`, or the bare URL that some clients send."""
    url = found.get("url") if isinstance(found, dict) else found
    if not isinstance(url, str) or not url:
        raise unsupported(f"'{where}.url' must be a data URL or the address of a file.", f"{where}.url")
    media_type, data = _data_url(url, f"{where}.url")
    if data is not None:
        return Media(kind, item, media_type, data=data, detail=detail)
    return Media(kind, item, _guessed(url.partition("?")[0]), url=url, detail=detail)


def _audio(item: Mapping[str, Any], where: str) -> Media:
    audio = item.get("input_audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise unsupported(f"'{where}.input_audio' must have base64 'data' and a 'format'.", f"{where}.input_audio")
    media_type, data = _data_url(audio["data"], f"{where}.input_audio.data")
    format_ = str(audio.get("format") or "wav")
    return Media("audio", item, media_type or _AUDIO_TYPES.get(format_, f"audio/{format_}"), data=data or audio["data"])


def _file(item: Mapping[str, Any], where: str) -> Media:
    """OpenAI's `file` part: a data URL or an uploaded file's id; bare base64 and URLs are common and understood too."""
    file = item.get("file")
    where = f"{where}.file"
    if not isinstance(file, dict):
        raise unsupported(f"'{where}' must be an object with 'file_data' or 'file_id'.", where)
    filename = file.get("filename") if isinstance(file.get("filename"), str) else None
    if isinstance(file.get("file_id"), str):
        return Media("file", item, _guessed(filename), file_id=file["file_id"], filename=filename)
    source = file.get("file_data") or file.get("file_url")
    if not isinstance(source, str):
        raise unsupported(f"'{where}' must have 'file_data' (a base64 data URL) or 'file_id'.", where)
    media_type, data = _data_url(source, f"{where}.file_data")
    if data is None and _REMOTE_URL.match(source):
        return Media("file", item, _guessed(filename or source.partition("?")[0]), url=source, filename=filename)
    stated = file.get("format") if isinstance(file.get("format"), str) else None
    return Media("file", item, media_type or stated or _guessed(filename), data=data or source, filename=filename)


_MEDIA = {"image_url": _image, "video_url": _video, "input_audio": _audio, "file": _file}


def _data_url(url: str, where: str) -> tuple[str | None, str | None]:
    """(media type, base64 text) of a data URL; (None, None) for any other text. RFC 2397 also allows plain text."""
    found = _DATA_URL.match(url)
    if found is None:
        return None, None
    media_type = found["type"].strip().lower() or "text/plain"
    body = url[found.end() :]
    if ";base64" not in found["parameters"].lower():
        return media_type, base64.b64encode(unquote_to_bytes(body)).decode("ascii")
    if not body or body.startswith(("http:", "https:")):
        raise unsupported(f"'{where}' is a data URL without base64 data.", where)
    return media_type, body


def decoded_text(data: str, where: str) -> str:
    """Base64 of a text file as text, for dialects that take documents as plain text."""
    try:
        return base64.b64decode(data, validate=False).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as problem:
        raise unsupported(f"'{where}' is not base64 of UTF-8 text.", where) from problem


def _guessed(name: str | None) -> str | None:
    """The media type a file name's ending tells. A table of our own: the `mimetypes` module reads system files."""
    return _TYPES_BY_ENDING.get(name.rpartition(".")[2].lower()) if name else None
