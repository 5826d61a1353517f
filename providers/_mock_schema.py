"""A plausible instance of a JSON Schema, for the mock provider's structured outputs and tool arguments.

Covers what model providers accept in schemas: types, enum, const, $ref, allOf, anyOf, oneOf, nested objects and arrays,
formats, patterns and bounds. `not`, `if` and dependencies are ignored. Recursive schemas end after three levels, and
sizes a schema demands are capped: the mock shares its process with the gateway.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, cycle
from typing import Any

from providers._mock_pattern import matching

_DEEP = 3
_DEEPEST = 12
_MAX_VALUES = 2_000
_MAX_LENGTH = 4_096
_MAX_ITEMS = 256
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kelp", "lagoon")

_FORMATS: Mapping[str, str] = {
    "date-time": "2026-03-14T09:26:53Z",
    "date": "2026-03-14",
    "time": "09:26:53Z",
    "duration": "P3DT4H",
    "email": "ada@example.com",
    "hostname": "host.example.com",
    "ipv4": "192.0.2.17",
    "ipv6": "2001:db8::17",
    "uri": "https://example.com/item",
    "url": "https://example.com/item",
}


@dataclass(slots=True)
class Material:
    """What the caller's message offers: free strings and numbers are taken from here first, then made up."""

    strings: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def instance(schema: object, rng: random.Random, material: Material | None = None) -> Any:
    """A value that is valid against `schema`, the same for the same schema, generator state and material."""
    return _Maker(schema, rng, material or Material()).value(schema, 0)


class _Maker:
    """One walk over one schema. Methods take the subschema and how many references deep it stands."""

    def __init__(self, root: object, rng: random.Random, material: Material) -> None:
        self.root = root
        self.rng = rng
        words = list(_WORDS)
        rng.shuffle(words)
        self.strings: Iterator[str] = chain(material.strings, cycle(words))
        self.numbers = list(material.numbers)
        self.values = 0

    def value(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, dict) or not schema:
            return next(self.strings)
        self.values += 1
        schema, depth = self._flat(schema, depth if self.values < _MAX_VALUES else _DEEP)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self.rng.choice(schema["enum"])
        maker = self._makers.get(self._type(schema, depth))
        return maker(self, schema, depth) if maker is not None else None

    def _flat(self, schema: dict[str, Any], depth: int) -> tuple[dict[str, Any], int]:
        """Follow references and pick branches until only keywords of one value are left."""
        for _ in range(32):  # a reference may lead to itself
            if "$ref" in schema:
                target = self._resolve(str(schema["$ref"]))
                schema = _merged(target, {key: value for key, value in schema.items() if key != "$ref"})
                depth += 1
            elif "allOf" in schema:
                branches = schema["allOf"]
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for branch in branches if depth < _DEEPEST else ():
                    if isinstance(branch, dict):
                        schema = _merged(schema, self._flat(branch, depth + 1)[0])
            elif "anyOf" in schema or "oneOf" in schema:
                key = "anyOf" if "anyOf" in schema else "oneOf"
                rest = {name: value for name, value in schema.items() if name != key}
                schema = _merged(rest, self._branch(schema[key], depth))
            else:
                break
        return schema, depth

    def _branch(self, branches: object, depth: int) -> dict[str, Any]:
        usable = [branch for branch in branches if isinstance(branch, dict)] if isinstance(branches, list) else []
        if not usable:
            return {}
        if depth >= _DEEP:
            flat = [
                branch for branch in usable if "$ref" not in branch and branch.get("type") not in ("object", "array")
            ]
            return (flat or usable)[-1]
        return next((branch for branch in usable if branch.get("type") != "null"), usable[0])

    def _resolve(self, ref: str) -> dict[str, Any]:
        node: Any = self.root
        for part in ref.removeprefix("#").strip("/").split("/"):
            if part:
                name = part.replace("~1", "/").replace("~0", "~")
                node = node.get(name) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else {}

    def _type(self, schema: dict[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            if depth >= _DEEP and "null" in kind:
                return "null"
            return str(next((name for name in kind if name != "null"), "null"))
        if isinstance(kind, str):
            return kind
        for name, keywords in _IMPLIED.items():
            if any(keyword in schema for keyword in keywords):
                return name
        return "string"

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = [name for name in schema.get("required", ()) if isinstance(name, str)]
        names = [name for name in properties if depth < _DEEP or name in required]
        made = {name: self.value(properties[name], depth) for name in names}
        additional = schema.get("additionalProperties", True)
        for name in required:
            if name not in made:
                made[name] = self.value(additional, depth)
        wanted = max(int(schema.get("minProperties", 0)), 2 if isinstance(additional, dict) and not properties else 0)
        wanted = min(wanted, int(schema.get("maxProperties", wanted)), _MAX_ITEMS)
        while len(made) < wanted:
            made[f"{next(self.strings)}_{len(made)}"] = self.value(additional, depth)
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least = min(int(schema.get("minItems", 0)), _MAX_ITEMS)
        most = int(schema.get("maxItems", max(least, 3)))
        size = least if depth >= _DEEP else min(max(least, self.rng.randint(1, 3)), most)
        prefix = schema.get("prefixItems")
        made = [self.value(item, depth) for item in prefix[:most]] if isinstance(prefix, list) else []
        items = schema.get("items", True)
        if items is False:
            return made
        is_unique = bool(schema.get("uniqueItems"))
        for _ in range(64 if is_unique else size):
            if len(made) >= size:
                break
            item = self.value(items, depth)
            if not is_unique or item not in made:
                made.append(item)
        return made

    def _string(self, schema: dict[str, Any], depth: int) -> str:  # noqa: ARG002 - makers share one signature
        if isinstance(schema.get("pattern"), str):
            text = matching(schema["pattern"], self.rng)
            if text is not None:
                return text
        name = schema.get("format")
        if name == "uuid":
            return f"{self.rng.getrandbits(32):08x}-4a1e-4c0d-8f2b-{self.rng.getrandbits(48):012x}"
        if name in _FORMATS:
            return _FORMATS[str(name)]
        text = next(self.strings)
        least, most = min(int(schema.get("minLength", 0)), _MAX_LENGTH), schema.get("maxLength")
        while len(text) < least:
            text = f"{text} {next(self.strings)}"
        return text[: int(most)] if most is not None else text

    def _integer(self, schema: dict[str, Any], depth: int) -> int:
        least, most = _bounds(schema, 1)
        step = schema.get("multipleOf", 1)
        if not isinstance(step, int):
            return int(self._number(schema, depth))
        low = -(-least // step) if least is not None else None
        high = most // step if most is not None else None
        for number in self.numbers:
            if number % step == 0 and (low is None or number >= low * step) and (high is None or number <= high * step):
                self.numbers.remove(number)
                return number
        if low is None:
            low = 1 if high is None else min(1, high)
        if high is None or high > low + 100:
            high = low + 100
        return int(self.rng.randint(int(low), max(int(low), int(high))) * step)

    def _number(self, schema: dict[str, Any], depth: int) -> float:  # noqa: ARG002
        least, most = _bounds(schema, 0)
        step = schema.get("multipleOf")
        if isinstance(step, int | float) and step > 0:
            return _multiple(schema, step, least, most)
        if least is None and most is None:
            return self.numbers.pop(0) if self.numbers else round(self.rng.uniform(0, 100), 2)
        low = least if least is not None else most - 100
        high = most if most is not None else low + 100
        exact = low + (high - low) * self.rng.uniform(0.25, 0.75)
        rounded = round(exact, 2)
        return float(rounded if low < rounded < high else exact)

    def _boolean(self, schema: dict[str, Any], depth: int) -> bool:  # noqa: ARG002
        return self.rng.random() < 0.5

    _makers: Mapping[str, Callable[["_Maker", dict[str, Any], int], Any]] = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
    }


_IMPLIED: Mapping[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both schemas at once: properties and required names add up, other keywords of the second win."""
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _multiple(schema: dict[str, Any], step: float, least: Any, most: Any) -> float:
    """The multiple of `step` next to a bound, or to zero."""
    if least is not None:
        factor = -(-least // step)
        return float(factor + (factor * step <= schema.get("exclusiveMinimum", -math.inf))) * step
    if most is not None:
        factor = most // step
        return float(factor - (factor * step >= schema.get("exclusiveMaximum", math.inf))) * step
    return step


def _bounds(schema: dict[str, Any], step: int) -> tuple[Any, Any]:
    """Lowest and highest allowed value; exclusive bounds move by `step` for integers."""
    least, most = schema.get("minimum"), schema.get("maximum")
    below, above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if below is not None:
        least = below + step if least is None else max(least, below + step)
    if above is not None:
        most = above - step if most is None else min(most, above - step)
    if step:
        least = None if least is None else int(-(-least // 1))
        most = None if most is None else int(most // 1)
    return least, most
