"""Where in a tool loop the request stands."""

from enum import StrEnum

from routing.signals.view import View


class ToolStage(StrEnum):
    """A closed set."""

    NONE = "none"  # no tools
    OFFERED = "offered"  # tools, and a person spoke last
    CALLED = "called"  # the last message asks for a tool
    RESULT = "result"  # the last message is a tool's answer: the turn goes on, and so should its decision


NAMES = ("has_tools", "is_tool_loop")

# To look into an enumeration takes ten times as long as a name of the module.
_NONE, _OFFERED, _CALLED, _RESULT = ToolStage.NONE, ToolStage.OFFERED, ToolStage.CALLED, ToolStage.RESULT
AT_WORK = (_CALLED, _RESULT)


def measure(view: View) -> tuple[float, ...]:
    """Whether there are tools, and whether one is at work."""
    return _MEASURED[view.tool_stage]


def label(view: View) -> ToolStage:
    """By the last message and by what is offered. Never raises."""
    messages = view.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict):
        if last.get("role") in ("tool", "function"):
            return _RESULT
        if last.get("tool_calls") or last.get("function_call"):
            return _CALLED
    return _OFFERED if view.body.get("tools") or view.body.get("functions") else _NONE


_MEASURED: dict[str, tuple[float, float]] = {
    stage.value: (float(stage is not ToolStage.NONE), float(stage in AT_WORK)) for stage in ToolStage
}
