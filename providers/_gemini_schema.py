"""JSON Schema as Gemini takes it in `parametersJsonSchema` and `responseJsonSchema`.

Both take JSON Schema, but of its keywords only those in `_KEPT`, nothing beside `$ref`, and no alternatives by `allOf`.
What they cannot say is told to the model in words, in the description. The list stands in the reference of
GenerationConfig: https://ai.google.dev/api/generate-content#generationconfig
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

_KEPT = frozenset(
    {
        "$anchor", "$defs", "$id", "$ref", "additionalProperties", "anyOf", "default", "description", "enum", "format",
        "items", "maximum", "maxItems", "minimum", "minItems", "nullable", "oneOf", "prefixItems", "properties",
        "propertyOrdering", "required", "title", "type",
    }
)  # fmt: skip
# Constraints worth telling the model although nothing enforces them.
_TOLD = (
    "exclusiveMaximum", "exclusiveMinimum", "maxLength", "maxProperties", "minLength", "minProperties", "multipleOf",
    "not", "pattern", "uniqueItems",
)  # fmt: skip
_TYPES_OF_CONSTANTS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def adapted(schema: Any) -> Any:
    """A schema (object or boolean) in Gemini's subset; the original is not changed."""
    if not isinstance(schema, Mapping):
        return schema
    schema = _without_all_of(schema)
    if "$ref" in schema:
        return _reference(schema)
    out = {name: _KEYWORDS.get(name, _as_is)(value) for name, value in schema.items() if name in _KEPT}
    if "definitions" in schema:
        out["$defs"] = {**_by_name(schema["definitions"]), **out.get("$defs", {})}
    if "const" in schema:
        out["enum"] = [schema["const"]]
        type_ = _TYPES_OF_CONSTANTS.get(type(schema["const"]))
        if type_:
            out.setdefault("type", type_)
    told = [f"{name}: {orjson.dumps(schema[name]).decode()}" for name in _TOLD if name in schema]
    if told:
        out["description"] = _and(out.get("description"), f"Constraints: {', '.join(told)}.")
    return out


def _and(description: Any, more: str) -> str:
    return f"{description} {more}" if description else more


def _reference(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Beside `$ref` only keywords that start with `$` may stand, so the others go around it."""
    target = str(schema["$ref"]).replace("#/definitions/", "#/$defs/", 1)
    held: dict[str, Any] = {"$ref": target}
    definitions = {**_by_name(schema.get("definitions")), **_by_name(schema.get("$defs"))}
    if definitions:
        held["$defs"] = definitions
    beside = {name: schema[name] for name in ("description", "title", "default") if name in schema}
    if not beside:
        return held
    outer: dict[str, Any] = {**beside, "anyOf": [{"$ref": target}]}
    if definitions:
        outer["$defs"] = definitions
    return outer


def _without_all_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """`allOf` melted into its parent: properties and required names are joined, of other keywords the first stays."""
    branches = schema.get("allOf")
    if not isinstance(branches, list):
        return schema
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for branch in branches:
        if not isinstance(branch, Mapping):
            continue
        for name, value in _without_all_of(branch).items():
            have = merged.get(name)
            if isinstance(have, Mapping) and isinstance(value, Mapping):
                merged[name] = {**value, **have}
            elif name == "required" and isinstance(have, list) and isinstance(value, list):
                merged[name] = [*have, *(item for item in value if item not in have)]
            else:
                merged.setdefault(name, value)
    return merged


def _by_name(schemas: Any) -> dict[str, Any]:
    return {name: adapted(value) for name, value in schemas.items()} if isinstance(schemas, Mapping) else {}


def _each(schemas: Any) -> Any:
    return [adapted(item) for item in schemas] if isinstance(schemas, list) else adapted(schemas)


def _as_is(value: Any) -> Any:
    return value


_KEYWORDS: dict[str, Callable[[Any], Any]] = {
    "$defs": _by_name,
    "additionalProperties": adapted,
    "anyOf": _each,
    "items": _each,
    "oneOf": _each,
    "prefixItems": _each,
    "properties": _by_name,
}
