"""How far the conversation has gone."""

from math import log1p

from routing.signals.view import View

NAMES = ("log_depth",)


def measure(view: View) -> tuple[float, ...]:
    """The logarithm of the messages before the last one, plus 1."""
    return (log1p(max(0, messages(view) - 1)),)


def messages(view: View) -> int:
    """Messages in the conversation; 1 for a body that has none."""
    found = view.body.get("messages")
    return len(found) if isinstance(found, list) and found else 1
