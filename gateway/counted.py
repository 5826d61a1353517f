"""Our own counts of what a call used, where its provider told none or was cut short.

`count_input` counts the tokens of the prompt: as well as the time allows, and money depends on it.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import orjson

from providers.base import Reply, Request, StreamDecoder, Usage
from providers.tokens import estimate

_BYTES_PER_TOKEN = 4
_ROUGH_TOKENS = 8


def usage_of_cut(decoder: StreamDecoder, count_input: Callable[[], int]) -> Usage | None:
    """The usage of a stream that broke.

    Some providers tell the prompt's size at the start and the answer's at the end only. What had arrived is counted
    where that is far more than they had said; our count is rough, so a small difference says nothing.
    """
    told, counted = decoder.usage, usage_of_stream(decoder, count_input)
    if told is None or counted is None or counted.output <= 2 * told.completion_tokens + _ROUGH_TOKENS:
        return told
    return replace(told, output=counted.output - told.reasoning, is_estimated=True)


def usage_of_whole(request: Request, reply: Reply, count_input: Callable[[], int]) -> Usage:
    """Our own count for a whole answer whose provider told no usage."""
    output = 0
    if request.operation != "embeddings":
        for choice in orjson.loads(reply.body).get("choices", ()):
            shown = choice.get("message") or choice.get("text") or ""
            output += estimate(shown if isinstance(shown, str) else orjson.dumps(shown).decode())
    return Usage(input=count_input(), output=output, is_estimated=True)


def usage_of_stream(decoder: StreamDecoder, count_input: Callable[[], int]) -> Usage | None:
    """Our own count for a stream that was cut before it told its usage; None where nothing had arrived."""
    if not decoder.has_content:
        return None
    output = -(-decoder.output_bytes // _BYTES_PER_TOKEN)
    return Usage(input=count_input(), output=output, is_estimated=True)


def plus(first: Usage | None, second: Usage | None) -> Usage | None:
    """What two calls used together; None where either is not known."""
    if first is None or second is None:
        return None
    total: dict[str, Any] = {}
    for field in fields(Usage):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.name == "is_estimated":
            total[field.name] = one or other
        elif isinstance(one, int) and isinstance(other, int):
            total[field.name] = one + other
        else:  # of what is no count, such as the tariff, only what both have in common
            total[field.name] = one if one == other else None
    return Usage(**total)
