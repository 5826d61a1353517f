"""JSON schemas as Anthropic's structured outputs take them.

They are compiled to a grammar: every object is closed, and numeric, length and pattern limits answer 400. A limit that
cannot be enforced moves into the description, where the model can still read it; the caller's own validation stays the
judge. https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from typing import Any

import orjson

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_KEPT = frozenset({"type", "title", "description", "enum", "const", "$ref", "required", "default"})
_NAMED = frozenset({"properties", "$defs", "definitions"})
# Members that hold schemas -> what they are called at Anthropic, which has no oneOf.
_NESTED = {name: name for name in ("items", "anyOf", "allOf", *_NAMED)} | {"oneOf": "anyOf"}
_SILENT = frozenset({"additionalProperties", "$schema", "$id", "strict"})


def adapted(schema: Any) -> Any:
    """`schema` without what the API refuses. The input is not changed; what already fits comes back equal."""
    if not isinstance(schema, dict):
        return schema
    built: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _SILENT:
            continue
        if name in _NESTED:
            built[_NESTED[name]] = _adapted_inside(value, is_named=name in _NAMED)
        elif name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            built[name] = value
        else:
            limits[name] = value
    if "properties" in schema or schema.get("type") == "object":
        built["additionalProperties"] = False
    if limits:
        said = ", ".join(f"{name}: {orjson.dumps(value, default=str).decode()}" for name, value in limits.items())
        built["description"] = f"{built['description']} ({said})" if built.get("description") else f"({said})"
    return built


def _adapted_inside(value: Any, *, is_named: bool) -> Any:
    if isinstance(value, list):
        return [adapted(item) for item in value]
    if is_named and isinstance(value, dict):
        return {key: adapted(item) for key, item in value.items()}
    return adapted(value)


def is_expressible(schema: Any) -> bool:
    """False for schemas a grammar cannot hold: open objects (maps), and definitions that contain themselves."""
    if not isinstance(schema, dict):
        return False
    definitions = {}
    for name in ("$defs", "definitions"):
        if isinstance(schema.get(name), dict):
            definitions.update(schema[name])
    return not _has_open_object(schema) and not any(
        _reaches(name, definition, definitions, set()) for name, definition in definitions.items()
    )


def _has_open_object(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(_has_open_object(item) for item in schema)
    if not isinstance(schema, dict):
        return False
    if (
        schema.get("type") == "object"
        and not schema.get("properties")
        and schema.get("additionalProperties") is not False
    ):
        return True
    if isinstance(schema.get("additionalProperties"), dict):
        return True
    return any(
        _has_open_object(list(value.values()) if name in _NAMED and isinstance(value, dict) else value)
        for name, value in schema.items()
        if name in _NESTED
    )


def _reaches(target: str, schema: Any, definitions: dict[str, Any], seen: set[str]) -> bool:
    """Whether `schema` refers to the definition `target`, directly or through others."""
    if isinstance(schema, list):
        return any(_reaches(target, item, definitions, seen) for item in schema)
    if not isinstance(schema, dict):
        return False
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if name == target or reference == "#":
            return True
        if name not in seen:
            seen.add(name)
            if _reaches(target, definitions.get(name), definitions, seen):
                return True
    return any(_reaches(target, value, definitions, seen) for name, value in schema.items() if name != "$ref")
