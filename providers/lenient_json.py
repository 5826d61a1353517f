"""JSON from providers: as strict as orjson, except for halves of surrogate pairs.

A stream may cut a character beyond U+FFFF between two chunks, each as an escape each: half a character is no
valid text, but the reader who joins the chunks gets it whole, so such a frame must not end the answer.
"""

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """Raises ValueError (orjson.JSONDecodeError is one) where `data` is no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
    return json.loads(data)


def dumps(value: Any) -> bytes:
    """Compact JSON; in ASCII where a half character is inside."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError):
        return json.dumps(value, separators=(",", ":")).encode()
