"""Gemini's function calls as OpenAI's tool calls, whether they come whole or in pieces.

Pieces exist on Vertex AI for those who ask for them (`streamFunctionCallArguments`): a start with a name and
`willContinue`, then `partialArgs`, at last an empty call.
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from providers import frames

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\[['"]([^'"]+)['"]\]""")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


@dataclass(slots=True)
class ToolCall:
    """A finished call; `number` is its index in the answer."""

    number: int
    id: str
    name: str
    arguments: str
    signature: str | None

    def as_message(self) -> dict[str, Any]:
        """An entry of a message's `tool_calls`."""
        call = frames.tool_call(self.id, self.name, self.arguments)
        if self.signature:
            call["extra_content"] = {"google": {"thought_signature": self.signature}}
        return call

    def as_delta(self) -> dict[str, Any]:
        """The delta that brings the whole call."""
        return {"tool_calls": [{"index": self.number, **self.as_message()}]}


class Calls:
    """Collects the calls of one candidate. `seed` begins the ids of calls that Gemini gave none."""

    __slots__ = ("_args", "_open", "_seed", "_signature", "done")

    def __init__(self, seed: str) -> None:
        self.done: list[ToolCall] = []
        self._seed = seed
        self._open: Mapping[str, Any] | None = None
        self._args: dict[str, Any] = {}
        self._signature: str | None = None

    @property
    def count(self) -> int:
        return len(self.done)

    def add(self, part: Mapping[str, Any]) -> None:
        """A part with a `functionCall`; whole calls are in `done` afterwards."""
        call = part["functionCall"]
        call = call if isinstance(call, dict) else {}
        if call.get("name"):
            self.end()
            self._open = call
            self._args = dict(call["args"]) if isinstance(call.get("args"), dict) else {}
        self._signature = part.get("thoughtSignature") or self._signature
        for piece in call.get("partialArgs") or ():
            if isinstance(piece, dict):
                _put(self._args, piece)
        if not call.get("willContinue"):
            self.end()

    def end(self) -> None:
        """Nothing more comes of the open call."""
        if self._open is None:
            return
        number = len(self.done)
        given = self._open.get("id")
        id_ = given if isinstance(given, str) and given else f"{self._seed}{number:02d}"
        arguments = orjson.dumps(self._args).decode()
        self.done.append(ToolCall(number, id_, str(self._open["name"]), arguments, self._signature))
        self._open, self._args, self._signature = None, {}, None


def _put(args: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Write one piece at its path; texts are appended to what is there."""
    path: list[str | int] = [
        int(number) if number else name or quoted for name, number, quoted in _STEP.findall(str(piece.get("jsonPath")))
    ]
    kind = next((name for name in _VALUES if name in piece), None)
    if not path or kind is None:
        return
    value = None if kind == "nullValue" else piece[kind]
    holder: Any = args
    for step, after in pairwise(path):
        holder = _child(holder, step, [] if isinstance(after, int) else {})
    before = _child(holder, path[-1], None)
    if isinstance(before, str) and isinstance(value, str):
        value = before + value
    if isinstance(holder, dict | list):
        holder[path[-1]] = value  # type: ignore[index]  # _child made room for the step, whichever kind it is


def _child(holder: Any, step: str | int, empty: Any) -> Any:
    """What lies at a step, made where nothing is."""
    if isinstance(holder, list) and isinstance(step, int):
        while len(holder) <= step:
            holder.append(None)
        if holder[step] is None:
            holder[step] = empty
        return holder[step]
    return holder.setdefault(str(step), empty) if isinstance(holder, dict) else None
