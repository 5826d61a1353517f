"""Instances the mock makes are valid against the schemas they were made from."""

import random
import re
import warnings

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._mock_pattern import matching
from providers._mock_schema import Material, instance

FORMATS = ["date-time", "date", "time", "email", "hostname", "ipv4", "ipv6", "uuid", "duration"]


@st.composite
def bounded(draw: st.DrawFn, kind: str) -> dict:
    low = draw(st.integers(-50, 50))
    schema: dict = {"type": kind}
    lower = draw(st.sampled_from([None, "minimum", "exclusiveMinimum"]))
    upper = draw(st.sampled_from([None, "maximum", "exclusiveMaximum"]))
    if lower:
        schema[lower] = low
    if upper:
        schema[upper] = low + draw(st.integers(4, 60))  # between open bounds, room for a multiple of 3
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 3]) if kind == "integer" else st.just(1))
    return schema


@st.composite
def strings(draw: st.DrawFn) -> dict:
    if draw(st.booleans()):
        return {"type": "string", "format": draw(st.sampled_from(FORMATS))}
    least = draw(st.integers(0, 40))
    return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 20))}


leaves = st.one_of(
    strings(),
    bounded("integer"),
    bounded("number"),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"$ref": "#/$defs/point"}),
    st.just({"$ref": "#/$defs/node"}),
    st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    (st.integers() | st.text(max_size=5) | st.none()).map(lambda value: {"const": value}),
    st.just({}),
)


def containers(inner: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    arrays = st.builds(
        lambda items, least, extra: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + extra,
        },
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    names = st.sampled_from(["name", "city", "count", "tags", "a/b", "ü"])
    objects = st.dictionaries(names, inner, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda required, closed: {
                "type": "object",
                "properties": properties,
                "required": sorted(required),
                "additionalProperties": not closed,
            },
            st.sets(st.sampled_from(sorted(properties))) if properties else st.just(set()),
            st.booleans(),
        )
    )
    maps = inner.map(lambda values: {"type": "object", "additionalProperties": values})
    choices = st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    return arrays | objects | maps | choices


schemas = st.recursive(leaves, containers, max_leaves=12)
DEFS = {
    "point": {
        "type": "object",
        "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
        "required": ["x", "y"],
        "additionalProperties": False,
    },
    "node": {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
        },
        "required": ["value", "next", "children"],
        "additionalProperties": False,
    },
}


@given(schemas, st.integers(0, 2**32), st.lists(st.integers(-100, 100), max_size=3))
def test_instances_are_valid(schema: dict, seed: int, numbers: list[int]) -> None:
    root = {**schema, "$defs": DEFS}
    made = instance(root, random.Random(seed), Material(["Paris"], numbers))
    jsonschema.Draft202012Validator(root).validate(made)


@given(schemas, st.integers(0, 2**32))
def test_instances_are_reproducible(schema: dict, seed: int) -> None:
    root = {**schema, "$defs": DEFS}
    assert instance(root, random.Random(seed)) == instance(root, random.Random(seed))


def test_material_from_the_prompt_is_used() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 14}}}
    assert instance(schema, random.Random(1), Material(["Oslo"], [99, 3])) == {"city": "Oslo", "days": 3}


def test_all_of_adds_up() -> None:
    schema = {
        "$defs": {"named": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"age": {"type": "integer"}}, "required": ["age"]}],
    }
    assert set(instance(schema, random.Random(1))) == {"name", "age"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#/nowhere"},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {
            "type": "object",
            "properties": {f"p{n}": {"$ref": "#"} for n in range(60)},
            "required": [],
        },
        {"type": "nonsense"},
        {"type": "array", "items": {"enum": [1]}, "uniqueItems": True, "minItems": 5},
    ],
)
def test_hostile_schemas_end_soon(schema: dict) -> None:
    made = instance(schema, random.Random(1))
    assert len(repr(made)) < 1_000_000


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{5}$",
        r"^[A-Z]{2,3}-\d{4}$",
        r"^(foo|bar)_[a-f0-9]{8}$",
        r"^\+?[1-9]\d{1,14}$",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^(?:\d{3}-)?\w+\.?$",
        r"^v\d+\.\d+\.\d+$",
        "abc",
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_patterns_are_matched(pattern: str, seed: int) -> None:
    text = matching(pattern, random.Random(seed))
    assert text is not None
    assert re.search(pattern, text)
    assert re.search(pattern, instance({"type": "string", "pattern": pattern}, random.Random(seed)))


@pytest.mark.parametrize("pattern", ["(?=x)y", "a{100000}", "[", "(", "\\", "*", "(?P<n>x)"])
def test_unknown_pattern_syntax_is_declined(pattern: str) -> None:
    assert matching(pattern, random.Random(1)) is None


@given(st.text(alphabet=r"ab01\dws.[]{}()|?*+^$-,", max_size=20))
def test_any_pattern_matches_or_is_declined(pattern: str) -> None:
    text = matching(pattern, random.Random(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = re.compile(pattern)
        except re.error:
            return
    assert text is None or compiled.search(text)
