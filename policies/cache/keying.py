"""Under which key an answer is kept: everything that can change it, and nothing else.

The key is the SHA-256 of a canonical text, so that equal requests meet whatever the order of their fields, and nobody
can aim at the entry of another: who asked is part of what is hashed.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from policies.cache.normal import is_about_text, normal
from providers.base import Operation

# They say who asks, for what purpose or how the answer is sent, not what is asked.
_NO_MATTER = frozenset(
    {
        "metadata",
        "model",  # the name that was asked for stands in the key by itself: a header may replace it
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "session_id",
        "stream",
        "stream_options",
        "trace",
        "user",
    }
)
# What OpenAI's specification gives as the value of a field that is left out. Not `max_tokens` of completions: other
# servers go on beyond OpenAI's 16, and a longer answer would break the limit of who names it.
_DEFAULTS: Mapping[Operation, Mapping[str, Any]] = {
    "chat": {
        "frequency_penalty": 0,
        "logit_bias": {},
        "logprobs": False,
        "modalities": ["text"],
        "n": 1,
        "parallel_tool_calls": True,
        "presence_penalty": 0,
        "response_format": {"type": "text"},
        "service_tier": "auto",
        "stop": [],
        "store": False,
        "temperature": 1,
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1,
    },
    "completions": {
        "best_of": 1,
        "echo": False,
        "frequency_penalty": 0,
        "logit_bias": {},
        "n": 1,
        "presence_penalty": 0,
        "stop": [],
        "suffix": "",
        "temperature": 1,
        "top_p": 1,
    },
    "embeddings": {"encoding_format": "float"},
}
_NOTHING: Mapping[str, Any] = {}
_ALL_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LEAST, _GREATEST = -(2**63), 2**64 - 1  # between these a parsed number is the one that was written
_LONG_ROW, _MOST_DIGITS = b"0" * 19, 20
# With one of these an answer may depend on how it was asked.
_TO_THE_LETTER = ("tools", "functions", "logprobs")


def unfit(operation: Operation, body: Mapping[str, Any]) -> str | None:
    """Why no answer to this request may be kept or given again, as a word for the log; None where it may.

    Such answers have effects at the provider, depend on what it remembers, or tell of the world as it is now.
    """
    if body.get("store") or body.get("previous_response_id") or body.get("background"):
        return "stateful"
    if "web_search_options" in body or "plugins" in body:
        return "live"
    tools = body.get("tools")
    if tools and any(type(tool) is not dict or tool.get("type", "function") != "function" for tool in tools):
        return "live"  # the provider itself runs the others
    modalities = body.get("modalities")
    if operation == "chat" and type(modalities) is list and "audio" in modalities:
        return "audio"
    return None


def key_of(
    operation: Operation, name: str, body: Mapping[str, Any], partition: str, more: Mapping[str, Any] = _NOTHING
) -> bytes:
    """32 bytes. `name` is the model or route that was asked for, `partition` who may share the answer, `more` what
    stands beside the body and decides who answers.
    """
    defaults = _DEFAULTS[operation]
    matters = {
        field: value
        for field, value in body.items()
        if value is not None and field not in _NO_MATTER and (field not in defaults or value != defaults[field])
    }
    choice = matters.get("tool_choice")
    if choice == ("auto" if matters.get("tools") else "none"):
        del matters["tool_choice"]
    for field, value in matters.items():
        if type(value) is float and value.is_integer():
            matters[field] = int(value)
    return sha256(_canonical([partition, operation, name, more, matters])).digest()


def loose_key_of(
    operation: Operation, name: str, body: Mapping[str, Any], partition: str, more: Mapping[str, Any] = _NOTHING
) -> bytes | None:
    """The same for requests whose last text differs in case, politeness and punctuation only; None where the letter
    counts. All else counts as it does for `key_of`, and no key of one kind is one of the other.
    """
    if operation != "chat" or body.get("n") not in (None, 1) or any(body.get(field) for field in _TO_THE_LETTER):
        return None
    *before, last = body["messages"]
    said = last.get("content")
    if last["role"] != "user" or type(said) is not str or any(message["role"] == "tool" for message in before):
        return None
    text = normal(said)
    instructions = (str(message.get("content")) for message in before if message["role"] in ("system", "developer"))
    if text is None or any(map(is_about_text, instructions)):
        return None
    return key_of(
        operation, name, {**body, "messages": [*before, last | {"content": {"normal": text}}]}, partition, more
    )


def names_twice(raw: bytes, body: Mapping[str, Any]) -> bool:
    """Whether an object in the JSON text `raw`, which was parsed to `body`, has two members of one name.

    Each member has a colon. A text with more of them than what it was parsed to has lost some: those of a member, or of
    what it said. (Only where a colon is written as an escape one has to look.)
    """
    if b"\\u003a" in raw or b"\\u003A" in raw:
        return _loses_members(raw)
    return raw.count(b":") > _canonical(body).count(b":")


def loses_digits(raw: bytes) -> bool:
    """Whether a whole number in the JSON text `raw` is longer than 64 bits. It was parsed to the nearest of the numbers
    that a float has, as all its neighbours are: its key would be theirs, while whoever is asked may tell them apart.
    """
    # Base64 and prose have no such row of digits: only where there is one has one to look.
    if raw.translate(_ALL_ZEROS).find(_LONG_ROW) < 0:
        return False
    is_lost = False

    def note(digits: str) -> None:
        nonlocal is_lost
        is_lost |= len(digits) > _MOST_DIGITS or not _LEAST <= int(digits) <= _GREATEST

    try:
        json.loads(raw, parse_int=note)
    except (ValueError, RecursionError):
        return True
    return is_lost


def _loses_members(raw: bytes) -> bool:
    is_lost = False

    def note(pairs: list[tuple[str, Any]]) -> None:
        nonlocal is_lost
        is_lost |= len({name for name, _ in pairs}) < len(pairs)

    try:
        json.loads(raw, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return True
    return is_lost


def _canonical(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
