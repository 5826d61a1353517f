"""The configuration file as JSON Schema (draft 2020-12), with descriptions and defaults."""

from collections.abc import Collection
from typing import Any

from config.schema import Config


def json_schema(known_kinds: Collection[str]) -> dict[str, Any]:
    """The schema. `known_kinds` are offered for a provider's `kind`."""
    schema = Config.model_json_schema()
    schema["$defs"]["ProviderConfig"]["properties"]["kind"] |= {"enum": sorted(known_kinds)}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Signalbox configuration"}
    return {**head, **{key: value for key, value in schema.items() if key not in head}}
