"""Embedding answers in the encoding the caller asked for, whatever the vendor sent.

OpenAI's own clients ask for base64 (little-endian float32) unless told otherwise; many vendors ignore that and send
lists of numbers. https://platform.openai.com/docs/api-reference/embeddings/create
"""

import base64
import sys
from array import array
from typing import Any


def mend(body: dict[str, Any], wants_base64: bool, model: str) -> bool:
    """Bring a parsed answer into the specification's form, in place; tells whether anything changed.

    Raises ValueError or TypeError when `body` is no list of embeddings.
    """
    rows = body.get("data")
    if not isinstance(rows, list):
        raise ValueError("there is no list of embeddings")
    changed = False
    for position, row in enumerate(rows):
        changed |= _row(row, position, wants_base64)
    if any(row["index"] != position for position, row in enumerate(rows)):
        rows.sort(key=_index)
        changed = True
    if body.get("object") != "list":
        body["object"] = "list"
        changed = True
    if not isinstance(body.get("model"), str):
        body["model"] = model
        changed = True
    return _usage(body) or changed


def _row(row: dict[str, Any], position: int, wants_base64: bool) -> bool:
    changed = False
    vector = row.get("embedding")
    if isinstance(vector, list):
        if wants_base64:
            row["embedding"] = encode(vector)
            changed = True
    elif isinstance(vector, str):
        if not wants_base64:
            row["embedding"] = decode(vector)
            changed = True
    else:
        raise ValueError("an embedding is neither numbers nor base64")
    if type(row.get("index")) is not int:
        row["index"] = position
        changed = True
    if row.get("object") != "embedding":
        row["object"] = "embedding"
        changed = True
    return changed


def encode(vector: list[float]) -> str:
    """Numbers as base64 of little-endian float32."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


def decode(text: str) -> list[float]:
    """The numbers in base64 of little-endian float32. Raises ValueError where it is none."""
    packed = array("f")
    packed.frombytes(base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()


def _usage(body: dict[str, Any]) -> bool:
    """Voyage and others report only the total: in embeddings that is the prompt."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return False
    missing = {"prompt_tokens", "total_tokens"} - usage.keys()
    if len(missing) != 1:
        return False
    usage[missing.pop()] = usage.get("total_tokens", usage.get("prompt_tokens"))
    return True


def _index(row: dict[str, Any]) -> int:
    index: int = row["index"]
    return index
