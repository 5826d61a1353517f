"""What the fake provider says, whichever dialect it is asked in: the same conversation gets the same answer.

Because the three dialects render one `Answer`, a test can expect one result from all of them.
"""

import json
from dataclasses import dataclass, field
from typing import Any

# Disjoint by class: 12 fresh, 8 cached; 8 visible, 2 reasoning. OpenAI's totals are 20, 10 and 30.
FRESH_INPUT, CACHED_INPUT, VISIBLE_OUTPUT, REASONING = 12, 8, 8, 2
PROMPT_TOKENS = FRESH_INPUT + CACHED_INPUT
COMPLETION_TOKENS = VISIBLE_OUTPUT + REASONING

CITIES = ("Paris", "Rome")
COUNTING = "one two three END four"


@dataclass(slots=True)
class Tool:
    name: str
    schema: dict[str, Any]


@dataclass(slots=True)
class Wanted:
    """What a request asks for. `images` are (media type, size in bytes) or (url, -1)."""

    model: str
    text: str = ""
    images: list[tuple[str, int]] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    forced_tool: str | None = None
    tool_results: list[str] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    stop: list[str] = field(default_factory=list)
    max_tokens: int | None = None
    stream: bool = False
    prefill: str = ""  # what the answer has to begin with, and is not said again


@dataclass(slots=True)
class Answer:
    """`finish` is OpenAI's word; dialects translate it. `calls` are (id, name, arguments)."""

    text: str = ""
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    finish: str = "stop"
    stopped_by: str | None = None

    def pieces(self) -> list[str]:
        """The text as it is streamed: a few characters at a time, borders anywhere."""
        return [self.text[i : i + 7] for i in range(0, len(self.text), 7)]


def respond(wanted: Wanted) -> Answer:
    """The answer to a conversation; it depends on nothing but its content."""
    whole = _respond(wanted)
    whole.text = whole.text.removeprefix(wanted.prefill)
    return whole


def _respond(wanted: Wanted) -> Answer:
    if wanted.tool_results:
        return Answer("The tools said: " + "; ".join(wanted.tool_results))
    if wanted.schema is not None:
        return Answer(json.dumps(sample(wanted.schema), ensure_ascii=False))
    if wanted.tools and "no tool" not in wanted.text:
        return _calls(wanted)
    if wanted.images:
        return Answer("I see " + ", ".join(f"{kind} ({size})" for kind, size in wanted.images))
    if wanted.max_tokens is not None and wanted.max_tokens < 3:
        return Answer("You", finish="length")
    if "count" in wanted.text:
        for word in wanted.stop:
            if word in COUNTING:
                return Answer(COUNTING.partition(word)[0], stopped_by=word)
        return Answer(COUNTING)
    return Answer(f"You said: {wanted.text}")


def sample(schema: dict[str, Any]) -> Any:
    """A value that a JSON schema (a modest one) allows."""
    kind = schema.get("type", "object")
    kind = (kind[0] if isinstance(kind, list) else kind).lower()
    if "enum" in schema:
        return schema["enum"][0]
    match kind:
        case "object":
            return {name: sample(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema.get("items", {"type": "string"}))]
        case "integer":
            return 7
        case "number":
            return 1.5
        case "boolean":
            return True
        case _:
            return "Paris"


def _calls(wanted: Wanted) -> Answer:
    tool = next((t for t in wanted.tools if t.name == wanted.forced_tool), wanted.tools[0])
    count = 2 if "both" in wanted.text else 1
    calls = []
    for number in range(count):
        arguments = sample(tool.schema)
        if "city" in arguments:
            arguments["city"] = CITIES[number]
        calls.append((f"call_{number}abc", tool.name, arguments))
    return Answer("", calls, finish="tool_calls")
