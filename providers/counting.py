"""Our own count of a call whose provider told no usage: a stream that was cut, an answer without a report.

Counted with tiktoken and marked as estimated. Not for the request path: a body and an answer of 64 KiB together take up
to 8 ms, longer ones belong into a thread (`providers.tokens.is_inline`).
"""

from collections.abc import Mapping
from typing import Any

import orjson

from providers.base import Usage
from providers.tokens import count, count_prompt


def count_answer(request_body: Mapping[str, Any], model: str, output: str | bytes) -> Usage:
    """The usage of a call by its request (OpenAI's shape) and what was generated; never raises.

    `model` chooses the encoding, which is an approximation for models that are not OpenAI's. `output` is the generated
    text, arguments of calls included, or a whole answer of OpenAI's shape as JSON bytes, or any other bytes of UTF-8.
    Reasoning that was never shown cannot be counted.
    """
    text = output if isinstance(output, str) else _generated(output)
    return Usage(input=count_prompt(request_body, model), output=count(text, model) if text else 0, is_estimated=True)


def _generated(output: bytes) -> str:
    """What the model wrote in a whole answer; the bytes as they are where they are no answer."""
    try:
        answer = orjson.loads(output)
    except orjson.JSONDecodeError:
        return output.decode("utf-8", "replace")
    if not isinstance(answer, dict):
        return output.decode("utf-8", "replace")
    if "data" in answer and "choices" not in answer:
        return ""  # embeddings: the output is not made of tokens
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return output.decode("utf-8", "replace")
    return "\n".join(_said(choice) for choice in choices if isinstance(choice, dict))


def _said(choice: Mapping[str, Any]) -> str:
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    message = choice.get("message")
    if not isinstance(message, dict):
        return ""
    pieces = [message.get(name) for name in ("content", "refusal", "reasoning_content", "reasoning")]
    said = [piece if isinstance(piece, str) else orjson.dumps(piece).decode() for piece in pieces if piece]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            said.append(f"{function.get('name')}{function.get('arguments')}")
    return "\n".join(said)
