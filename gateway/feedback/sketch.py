"""A request body reduced to what signals measure: the last user turn as it is classified, and the shape of the rest.

It is a body itself: features of it are those of the original, so training sees what routing saw. It holds no other
words than the classified ones. (A part of a turn that is nothing but quoted lines, beside other parts, is lost.)
"""

from collections.abc import Mapping
from typing import Any

from routing.signals.turn import Turn, last_turn

# Beyond these many messages, and characters that were clipped, the sketch is shorter than the original; only logarithms
# of both are measured.
_MAX_MESSAGES = 1_000
_MAX_BLANKS = 30_000
_PARTS: Mapping[str, str] = {"image": "image_url", "audio": "input_audio", "video": "video_url"}
_SPOKEN = {"role": "assistant"}


def sketch_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"prompt": text}` for a single plain message, else `{"messages": [...]}` with empty ones around the last turn.

    Never raises, whatever the body holds.
    """
    turn = last_turn(body)
    messages = body.get("messages")
    messages = messages if isinstance(messages, list) else []
    content = _content(turn)
    last = messages[-1] if messages else None
    has_tools = bool(body.get("tools") or body.get("functions"))
    if isinstance(content, str) and len(messages) <= 1 and not has_tools and _shape(last) is None:
        return {"prompt": content}
    after = _messages_after(messages)
    before = max(0, min(len(messages), _MAX_MESSAGES) - after - 1)
    shown: list[dict[str, Any]] = [_SPOKEN] * before
    shown.append({"role": "user", "content": content})
    shown += [_SPOKEN] * after
    shape = _shape(last)
    if shape is not None:
        shown[-1] = shape if after else shown[-1] | shape
    sketch: dict[str, Any] = {"messages": shown}
    if has_tools:
        sketch["tools"] = [{}]
    return sketch


def _content(turn: Turn) -> str | list[dict[str, str]]:
    """The classified text; where more was clipped, as many blanks, because the length counts as well."""
    text = turn.text.encode("utf-8", "replace").decode()
    blanks = min(turn.chars - len(text), _MAX_BLANKS)
    if blanks <= 0 and not turn.media:
        return text
    parts = [{"type": "text", "text": text}]
    if blanks > 0:
        parts.append({"type": "text", "text": " " * blanks})
    return parts + [{"type": _PARTS.get(kind, "file")} for kind in sorted(turn.media)]


def _messages_after(messages: list[Any]) -> int:
    """How many messages follow the last one of a user; as many as fit where there is none."""
    for after, message in enumerate(reversed(messages[-_MAX_MESSAGES:])):
        if isinstance(message, dict) and message.get("role") == "user":
            return after
    return 0


def _shape(last: object) -> dict[str, Any] | None:
    """What the last message is in a tool loop; None where it is part of none."""
    if not isinstance(last, dict):
        return None
    if last.get("role") in ("tool", "function"):
        return {"role": "tool"}
    if last.get("tool_calls") or last.get("function_call"):
        return {"tool_calls": [{}]}
    return None
