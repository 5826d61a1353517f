"""Each parameter of a chat request in Gemini's words, and what is listed as dropped."""

from typing import Any

import pytest

from providers._gemini_schema import adapted
from providers.base import ErrorKind, ProviderError
from tests.providers.gemini_wire import FLASH, THIRD, config, dropped, said


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"maxOutputTokens": 7}),
        (
            {"temperature": 0, "top_p": 0.5, "top_k": 4, "seed": 9007199254740993},
            {"temperature": 0, "topP": 0.5, "topK": 4, "seed": 9007199254740993},
        ),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {"presencePenalty": 1, "frequencyPenalty": -1}),
        ({"stop": "x"}, {"stopSequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stopSequences": ["x", "y"]}),
        ({"n": 3}, {"candidateCount": 3}),
        ({"n": 1, "stop": None, "logprobs": False, "modalities": ["text"], "temperature": None}, {}),
        ({"logprobs": True, "top_logprobs": 2}, {"responseLogprobs": True, "logprobs": 2}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
        ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
        ({"modalities": ["text", "audio"]}, {"responseModalities": ["AUDIO"]}),
    ],
)
def test_a_parameter_in_gemini_words(members: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config(**members) == expected
    assert dropped(**members) == ()


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"logit_bias": {"1": 1}, "user": "u", "store": True}, ("logit_bias", "store", "user")),
        ({"logit_bias": {}, "store": False, "metadata": {}}, ()),
        ({"stop": list("abcdef")}, ("stop",)),
        ({"modalities": ["text", "smell"]}, ("modalities",)),
        ({"audio": {"voice": "alloy"}, "prediction": {}, "verbosity": "low"}, ("audio", "prediction", "verbosity")),
        ({"service_tier": "scale"}, ("service_tier",)),
        ({"invented_tomorrow": 1, "forgotten": None}, ("invented_tomorrow",)),
        ({"safety_settings": [], "cachedContent": "c", "google": {}, "stream_options": {}}, ()),
    ],
)
def test_what_cannot_be_said_is_listed(members: dict[str, Any], names: tuple[str, ...]) -> None:
    assert dropped(**members) == names


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"modalities": "text"}, "modalities"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_refused(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ProviderError) as caught:
        config(**members)
    assert caught.value.kind is ErrorKind.CALLER
    assert caught.value.error["param"] == param


@pytest.mark.parametrize(
    ("model", "effort", "expected", "is_exact"),
    [
        (FLASH, "none", {"thinkingBudget": 0}, True),
        (FLASH, "minimal", {"thinkingBudget": 1024}, True),
        (FLASH, "low", {"thinkingBudget": 1024}, True),
        (FLASH, "medium", {"thinkingBudget": 8192}, True),
        (FLASH, "high", {"thinkingBudget": 24576}, True),
        (FLASH, "xhigh", {"thinkingBudget": 24576}, False),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, False),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32768}, True),
        (THIRD, "minimal", {"thinkingLevel": "minimal"}, True),
        (THIRD, "none", {"thinkingLevel": "minimal"}, False),
        (THIRD, "medium", {"thinkingLevel": "medium"}, True),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "low"}, False),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "minimal"}, True),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}, False),
        ("models/gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium"}, True),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}, False),
        ("gemini-flash-latest", "high", {"thinkingLevel": "high"}, True),
    ],
)
def test_effort(model: str, effort: str, expected: dict[str, Any], is_exact: bool) -> None:
    shown = {} if effort == "none" else {"includeThoughts": True}
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": {**expected, **shown}}
    assert dropped(model, reasoning_effort=effort) == (() if is_exact else ("reasoning_effort",))


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemma-3-27b-it", "gemini-1.5-pro-002"])
def test_models_that_cannot_think_are_not_told_to(model: str) -> None:
    assert config(model, reasoning_effort="high") == {}
    assert dropped(model, reasoning_effort="high") == ("reasoning_effort",)
    assert dropped(model, reasoning_effort="none") == ()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"reasoning": {"max_tokens": 99}}, {"thinkingBudget": 99, "includeThoughts": True}),
        ({"reasoning": {"effort": "low", "exclude": True}}, {"thinkingBudget": 1024}),
        ({"reasoning": {"enabled": False}}, {"thinkingBudget": 0}),
        ({"thinking": {"type": "enabled", "budget_tokens": 7}}, {"thinkingBudget": 7, "includeThoughts": True}),
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ({"extra_body": {"google": {"thinking_config": {"thinking_budget": 5}}}}, {"thinkingBudget": 5}),
        ({"google": {"thinking_config": {"include_thoughts": True}}}, {"includeThoughts": True}),
    ],
)
def test_other_ways_to_say_thinking(members: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config(**members) == {"thinkingConfig": expected}


def test_gemini_own_members_pass() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = said(
        safety_settings=safety,
        cachedContent="cachedContents/1",
        labels={"a": "b"},
        service_tier="flex",
        generation_config={"temperature": 2},
        temperature=1,
    )
    assert (body["safetySettings"], body["cachedContent"], body["labels"]) == (safety, "cachedContents/1", {"a": "b"})
    assert body["serviceTier"] == "flex"
    assert body["generationConfig"] == {"temperature": 2}


# Schemas


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$schema": "x", "type": "object", "properties": {}}, {"type": "object", "properties": {}}),
        ({"const": "a"}, {"enum": ["a"], "type": "string"}),
        ({"const": True}, {"enum": [True], "type": "boolean"}),
        (
            {"type": "string", "pattern": "^a", "description": "d."},
            {"type": "string", "description": 'd. Constraints: pattern: "^a".'},
        ),
        (
            {"type": "integer", "exclusiveMinimum": 0},
            {"type": "integer", "description": "Constraints: exclusiveMinimum: 0."},
        ),
        (
            {"properties": {"pattern": {"type": "string"}, "const": {"const": 1}}},
            {"properties": {"pattern": {"type": "string"}, "const": {"enum": [1], "type": "integer"}}},
        ),
        (
            {"$ref": "#/definitions/A", "definitions": {"A": {"type": "null"}}},
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "null"}}},
        ),
        (
            {"$ref": "#/$defs/A", "description": "d"},
            {"description": "d", "anyOf": [{"$ref": "#/$defs/A"}]},
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b", "a"]}]},
            {"properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
        ),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"additionalProperties": {"const": "x"}}, {"additionalProperties": {"enum": ["x"], "type": "string"}}),
        ({"anyOf": [{"const": 1.5}], "items": [True]}, {"anyOf": [{"enum": [1.5], "type": "number"}], "items": [True]}),
        (
            {"$defs": {"A": {"$comment": "x"}}, "properties": {"a": True}},
            {"$defs": {"A": {}}, "properties": {"a": True}},
        ),
        (True, True),
    ],
)
def test_schemas(schema: Any, expected: Any) -> None:
    assert adapted(schema) == expected
