"""From the bytes of a request body to a Request: strict about what the gateway relies on, silent about the rest.

Fields it does not know are not looked at: newer SDKs send more than any published schema has.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.wire import refusals
from providers.base import Operation, Request

_MAX_DEPTH = 64
_LONG_BYTES = 8 * 1024
_MAX_MODEL_CHARS = 256
_DEFAULT = "default"
_NUMBER = (int, float)
_NULL = type(None)

# Types of the fields that the gateway or a translation reads. None is accepted everywhere: SDKs send explicit nulls.
_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "stream": (bool, _NULL),
    "stream_options": (dict, _NULL),
    "temperature": (*_NUMBER, _NULL),
    "top_p": (*_NUMBER, _NULL),
    "n": (int, _NULL),
    "max_tokens": (int, _NULL),
    "max_completion_tokens": (int, _NULL),
    "max_output_tokens": (int, _NULL),
    "best_of": (int, _NULL),
    "service_tier": (str, _NULL),
    "stop": (str, list, _NULL),
    "seed": (int, _NULL),
    "presence_penalty": (*_NUMBER, _NULL),
    "frequency_penalty": (*_NUMBER, _NULL),
    "logit_bias": (dict, _NULL),
    "user": (str, _NULL),
    "tools": (list, _NULL),
    "tool_choice": (str, dict, _NULL),
    "parallel_tool_calls": (bool, _NULL),
    "response_format": (dict, _NULL),
    "reasoning_effort": (str, _NULL),
    "metadata": (dict, _NULL),
    "dimensions": (int, _NULL),
    "encoding_format": (str, _NULL),
}
_REQUIRED: dict[Operation, tuple[str, tuple[type, ...]]] = {
    "chat": ("messages", (list,)),
    "completions": ("prompt", (str, list)),
    "embeddings": ("input", (str, list)),
}
_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    dict: "an object",
    list: "an array",
    _NULL: "null",
}


def parse_request(operation: Operation, raw: bytes, request_id: str, default_model: str | None = None) -> Request:
    """`default_model` is asked for where the body names no model, or `default`. Raises RefusedError (400) that names
    the field.
    """
    body = _load(raw)
    for key, value in body.items():
        types = _TYPES.get(key)
        if types is None or type(value) not in types:
            _check_unusual(key, value)
    model = body["model"] if "model" in body else _first_model(body.get("models"))
    if default_model is not None and (not model or model == _DEFAULT):
        model = default_model
    if not model or len(model) > _MAX_MODEL_CHARS:
        raise _bad_model(model)
    required, types = _REQUIRED[operation]
    value = body.get(required)
    if type(value) not in types or not (value or operation == "completions"):
        raise _bad_required(required, types, value)
    if operation == "chat":
        for index, message in enumerate(value or ()):
            if type(message) is not dict or type(message.get("role")) is not str:
                raise _bad_message(index, message)
    stream = body.get("stream") is True
    if stream and operation == "embeddings":
        raise refusals.invalid_field("stream", "Embeddings cannot be streamed.")
    options = body.get("stream_options")
    include_usage = options is not None and options.get("include_usage") is True
    return Request(operation, body, raw, model, stream, include_usage, request_id)


def _first_model(models: object) -> str | None:
    """OpenRouter's SDKs may send a list of models, and then leave out `model`."""
    first = models[0] if type(models) is list and models else None
    return first if type(first) is str else None


def decompress(raw: bytes, encoding: str, limit: int) -> bytes:
    """A request body with Content-Encoding. Raises RefusedError: 413 over `limit` bytes, 415 for other encodings."""
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise refusals.wrong_content_encoding(encoding)
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(raw, limit + 1)
    except zlib.error as error:
        raise refusals.bad_json("its gzip encoding is broken") from error
    if len(data) > limit:
        raise refusals.body_too_large(limit)
    if not inflater.eof:
        raise refusals.bad_json("its gzip encoding is cut off")
    return data


def _load(raw: bytes) -> dict[str, Any]:
    if not raw:
        raise refusals.bad_json("it is empty")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusals.bad_json(str(error)) from None
    if type(body) is not dict:
        raise refusals.bad_json(f"it is {_NAMES.get(type(body), 'something else')}")
    # A short document cannot be deeper than it has opening brackets. Counting those of a long one costs more than
    # walking through what it was parsed to.
    is_suspect = len(raw) > _LONG_BYTES or raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH
    if is_suspect and _is_deeper(body, _MAX_DEPTH):
        raise refusals.bad_json(f"it is nested deeper than {_MAX_DEPTH} levels")
    return body


def _is_deeper(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[object] = []
        for item in level:
            if type(item) is dict:
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
        if not below:
            return False
        level = below
    return any(type(item) in (dict, list) for item in level)


def _type_names(types: tuple[type, ...]) -> str:
    return " or ".join(_NAMES[t] for t in types if not (t is int and float in types))


def _wrong_type(param: str, types: tuple[type, ...], value: object) -> refusals.RefusedError:
    got = _NAMES.get(type(value), "something else")
    return refusals.invalid_field(param, f"'{param}' has to be {_type_names(types)}, but it is {got}.")


def _check_unusual(key: str, value: object) -> None:
    """A field of another type than is known, or one that is not known here and may go on as it is."""
    types = _TYPES.get(key)
    if types is not None:
        raise _wrong_type(key, types, value)
    if not (key.isascii() and key.islower()) and key.casefold() in _TYPES:
        # Servers written in Go read such a name as the one it resembles: https://pkg.go.dev/encoding/json#Unmarshal
        # What is looked at here and what is believed there must not be two things.
        raise refusals.invalid_field(key[:64], f"'{key[:64]}' has to be written '{key.casefold()[:64]}'.")


def _bad_model(model: str | None) -> refusals.RefusedError:
    if not model:
        return refusals.invalid_field("model", "'model' is missing: name a model or a route.", missing=True)
    return refusals.invalid_field("model", f"'model' is longer than {_MAX_MODEL_CHARS} characters.")


def _bad_required(param: str, types: tuple[type, ...], value: object) -> refusals.RefusedError:
    if value is None:
        return refusals.invalid_field(param, f"'{param}' is missing.", missing=True)
    if not value and type(value) in types:
        return refusals.invalid_field(param, f"'{param}' is empty.")
    return _wrong_type(param, types, value)


def _bad_message(index: int, message: Mapping[str, Any] | object) -> refusals.RefusedError:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        return refusals.invalid_field(where, f"'{where}' has to be an object with 'role' and 'content'.")
    if "role" not in message:
        return refusals.invalid_field(f"{where}.role", f"'{where}.role' is missing.", missing=True)
    return refusals.invalid_field(f"{where}.role", f"'{where}.role' has to be a string.")
