"""What a model takes, and which schemas its grammar holds."""

import json

import pytest

from providers._anthropic_models import traits
from providers._anthropic_schema import adapted, is_expressible

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("model", "thinking", "off", "efforts", "forced"),
    [
        ("claude-3-haiku-20240307", "none", "omit", 0, True),
        ("claude-3-7-sonnet-latest", "manual", "omit", 0, True),
        ("claude-sonnet-4-20250514", "manual", "omit", 0, True),
        ("claude-haiku-4-5-20251001", "manual", "omit", 0, True),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", "manual", "omit", 3, True),
        ("anthropic/claude-opus-4.6", "adaptive", "omit", 4, True),
        ("claude-opus-4-8", "adaptive", "omit", 5, True),
        ("claude-sonnet-5", "adaptive", "disabled", 5, True),
        ("claude-mythos-preview", "adaptive", "never", 5, False),
        ("claude-next", "adaptive", "never", 5, False),
        ("kimi-k2", "manual", "omit", 0, True),
    ],
)
def test_what_a_model_takes_is_read_from_its_name(
    model: str, thinking: str, off: str, efforts: int, forced: bool
) -> None:
    found = traits(model)
    assert (found.thinking, found.thinking_off, len(found.efforts), found.has_forced_tools) == (
        thinking,
        off,
        efforts,
        forced,
    )


def test_schemas_are_adapted_to_the_grammar() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many"},
            "d": {"type": "string", "format": "date", "maxLength": 3},
            "p": {"type": "string", "format": "phone"},
            "l": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 1, "maxItems": 4},
            "u": {"oneOf": [{"type": "string", "pattern": "a"}, {"type": "null"}]},
            "format": {"$ref": "#/$defs/X"},
        },
        "$defs": {"X": {"enum": ["a"]}},
    }
    before = json.dumps(schema)
    assert adapted(schema) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "n": {"type": "integer", "description": "How many (minimum: 1)"},
            "d": {"type": "string", "format": "date", "description": "(maxLength: 3)"},
            "p": {"type": "string", "description": '(format: "phone")'},
            "l": {
                "type": "array",
                "items": {"type": "object", "properties": {}, "additionalProperties": False},
                "minItems": 1,
                "description": "(maxItems: 4)",
            },
            "u": {"anyOf": [{"type": "string", "description": '(pattern: "a")'}, {"type": "null"}]},
            "format": {"$ref": "#/$defs/X"},
        },
        "$defs": {"X": {"enum": ["a"]}},
    }
    assert json.dumps(schema) == before
    assert adapted(SCHEMA) == SCHEMA


def test_which_schemas_a_grammar_holds() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    via = {"A": {"anyOf": [{"$ref": "#/$defs/B"}]}, "B": {"type": "array", "items": {"$ref": "#/$defs/A"}}}
    shared = {"A": {"type": "string"}, "B": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}
    assert is_expressible(SCHEMA)
    assert is_expressible({"$ref": "#/$defs/B", "$defs": shared})
    assert not is_expressible({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert not is_expressible({"$ref": "#/$defs/A", "$defs": via})
    assert not is_expressible({"type": "object", "properties": {"m": {"type": "object"}}})
    assert not is_expressible(None)
