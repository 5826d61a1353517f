"""Validators from the published OpenAI specification, in the tolerant reading that real OpenAI answers pass."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

# Members OpenAI itself leaves out or sends as null although the specification says otherwise.
_OFTEN_ABSENT = {"logprobs", "refusal", "cache_write_tokens"}


@cache
def _schemas() -> dict[str, Any]:
    here = Path(__file__).resolve().parents[2]
    file = Path(os.environ.get("SIGNALBOX_SHARED", here.parent / "shared")) / "openai-openapi" / "openapi.json"
    if not file.is_file():
        pytest.skip("no OpenAI specification beside this checkout (SIGNALBOX_SHARED)")
    schemas: dict[str, Any] = _converted(json.loads(file.read_bytes())["components"]["schemas"])
    return schemas


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        {"components": {"schemas": _schemas()}, "$ref": f"#/components/schemas/{name}"}
    )


def deviations(name: str, answer: Any) -> list[str]:
    """What the specification objects to, one line each; explicit nulls are not counted."""
    return [
        f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:100]}"
        for error in validator(name).iter_errors(_without_nulls(answer))
    ]


def _without_nulls(value: Any) -> Any:
    """Nulls taken out where absence is fine anyway; the ones a schema requires stay."""
    if isinstance(value, dict):
        required = {"content", "finish_reason"}
        return {k: _without_nulls(v) for k, v in value.items() if v is not None or k in required}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _converted(node: Any) -> Any:
    """`nullable` and `oneOf` in the words of JSON Schema, and the often absent members optional."""
    if isinstance(node, list):
        return [_converted(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _converted(value) for key, value in node.items() if key not in ("nullable", "discriminator")}
    if isinstance(result.get("oneOf"), list):
        result["anyOf"] = result.get("anyOf", []) + result.pop("oneOf")
    if isinstance(result.get("required"), list):
        result["required"] = [name for name in result["required"] if name not in _OFTEN_ABSENT]
    if node.get("nullable") is True:
        result = {"anyOf": [result, {"type": "null"}]}
    return result
