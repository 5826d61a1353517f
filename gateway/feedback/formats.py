"""Whether an answer has the format that the request asked for: a hint at its quality that costs nothing.

Of JSON Schema only what says something without looking elsewhere is checked: type, enum, const, required, properties,
additionalProperties, items. Everything else is taken as met, so a valid answer is never called wrong.
"""

from collections.abc import Mapping
from typing import Any

import orjson

_MAX_DEPTH = 20
_MAX_ITEMS = 100
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def keeps_format(body: Mapping[str, Any], reply: bytes) -> bool | None:
    """Whether the first choice of `reply` (OpenAI's shape) is the JSON that `response_format` asks for.

    None where no JSON was asked for, or the answer is none that could be judged: cut short, refused, a tool call.
    """
    asked = body.get("response_format")
    kind = asked.get("type") if isinstance(asked, dict) else None
    if kind not in ("json_object", "json_schema"):
        return None
    text = _answer(reply)
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if kind == "json_object":
        return isinstance(value, dict)
    wrapped = asked.get("json_schema") if isinstance(asked, dict) else None
    return fits(value, wrapped.get("schema") if isinstance(wrapped, dict) else None)


def fits(value: Any, schema: Any, depth: int = 0) -> bool:
    """Whether `value` meets the keywords of `schema` that are checked here."""
    if schema is False:
        return False
    if not isinstance(schema, dict) or depth > _MAX_DEPTH or "$ref" in schema:
        return True
    if not _has_type(value, schema.get("type")) or not _is_listed(value, schema):
        return False
    if isinstance(value, dict):
        return _fits_object(value, schema, depth)
    if isinstance(value, list):
        items = schema.get("items")
        # Beside prefixItems, items is for what comes after those.
        return "prefixItems" in schema or all(fits(item, items, depth + 1) for item in value[:_MAX_ITEMS])
    return True


def _answer(reply: bytes) -> str | None:
    try:
        choice = orjson.loads(reply)["choices"][0]
        is_whole = choice.get("finish_reason") == "stop"
        text = choice["message"]["content"] if is_whole else None
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return None
    return text if isinstance(text, str) and text else None


def _has_type(value: Any, names: Any) -> bool:
    if isinstance(names, list):
        return any(_has_type(value, name) for name in names)
    types = _TYPES.get(names) if isinstance(names, str) else None
    if types is None:
        return True
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (names == "integer" and isinstance(value, float) and value.is_integer())


def _is_listed(value: Any, schema: Mapping[str, Any]) -> bool:
    """By enum and const. JSON knows no difference between 1 and 1.0, but one between 1 and true."""
    listed = schema.get("enum")
    if isinstance(listed, list) and not any(_is_same(value, one) for one in listed):
        return False
    return "const" not in schema or _is_same(value, schema["const"])


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _fits_object(value: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and any(isinstance(name, str) and name not in value for name in required):
        return False
    properties = properties if isinstance(properties, dict) else {}
    is_closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    if is_closed and not value.keys() <= properties.keys():
        return False
    return all(fits(value[name], part, depth + 1) for name, part in properties.items() if name in value)
