"""The vendor catalog: vendors that speak OpenAI's dialect and differ only in address and flags are rows of data.

`catalog.toml` beside this file holds one table per vendor; a key that is no field here is an error at load.
"""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(slots=True, frozen=True)
class Vendor:
    """One row. `source` is the vendor's documentation the row was written from.

    Request flags say what has to change on the way out, answer flags what to expect on the way back. `{name}` in
    `base_url` is filled from the provider's own options (for example an account or workspace).
    """

    kind: str
    base_url: str | None = None
    env_key: str | None = None
    source: str = ""
    is_keyless: bool = False  # answers without a key; one is sent when configured
    has_stream_options: bool = True  # takes stream_options.include_usage
    drops: tuple[str, ...] = ()  # parameters the vendor refuses: left out and reported
    renames: dict[str, str] = field(default_factory=dict)  # parameter -> the vendor's name for it
    developer_role: str | None = None  # what a `developer` message has to be called
    has_json_schema: bool = True  # takes response_format of type json_schema
    tool_id_pattern: str | None = None  # ids of tool calls that the vendor accepts
    embedding_formats: tuple[str, ...] = ("float", "base64")  # what encoding_format may say; else it is left out
    operations: tuple[str, ...] = ("chat", "completions", "embeddings")
    prices: str | None = None  # the vendor's list in genai-prices, where it is not called like the kind
    headers: dict[str, str] = field(default_factory=dict)


@cache
def vendors() -> dict[str, Vendor]:
    """Every row by its kind. Raises TypeError or ValueError when the file is wrong: it ships with the package."""
    rows = tomllib.loads((Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8"))
    return {kind: _vendor(kind, row) for kind, row in rows.items()}


def _vendor(kind: str, row: dict[str, Any]) -> Vendor:
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Vendor(kind=kind, **known)
