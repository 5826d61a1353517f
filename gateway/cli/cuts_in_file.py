"""Setting one key of a route in a configuration file that a person wrote: everything else stays, comments included."""

from collections.abc import Callable
from pathlib import Path

from config.source import LINE_BREAK, Entry, Node, node_at, read


class NotSafeError(Exception):
    """The file is written in a way that this does not change; the text says which."""


def with_cuts(data: bytes, route: str, cuts: str) -> bytes:
    """The file with `cuts` (as YAML) for the route. Raises NotSafeError."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotSafeError("it is not UTF-8") from None
    root, _ = read(text)
    node = node_at(root, ("routes", route)) if root is not None else None
    if node is None or not node.entries:
        raise NotSafeError(f"it has no route '{route}' of its own")
    starts = [0, *(found.end() for found in LINE_BREAK.finditer(text))]

    def at(line: int, column: int) -> int:
        return starts[line] + column

    present = node.entries.get("cuts")
    if present is not None:
        span = present.node.span
        return _spliced(text, at(span.line, span.column), at(span.end_line, span.end_column), cuts)
    place, piece = _new_key(text, node, at, f"cuts: {cuts}")
    return _spliced(text, place, place, piece)


def replaced(path: Path, data: bytes, is_as_meant: Callable[[Path], bool]) -> None:
    """Replace the file in one step after looking at the new one. Raises NotSafeError, OSError."""
    target = path.resolve()  # a link stays one
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(data)
        if not is_as_meant(part):
            raise NotSafeError("the change would have changed something else")
        part.chmod(target.stat().st_mode & 0o7777)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _new_key(text: str, node: Node, at: Callable[[int, int], int], key: str) -> tuple[int, str]:
    """Where a key is put, and with what around it: the first in its mapping."""
    start = at(node.span.line, node.span.column)
    if text[start : start + 1] == "{":
        return start + 1, f"{key}, "
    first: Entry = next(iter((node.entries or {}).values()))
    place = at(first.span.line, first.span.column)
    indent = text[at(first.span.line, 0) : place]
    if indent.strip(" "):
        raise NotSafeError("its first key does not stand on a line of its own")
    newline = "\r\n" if "\r\n" in text else "\n"
    return place, f"{key}{newline}{indent}"


def _spliced(text: str, start: int, end: int, piece: str) -> bytes:
    return (text[:start] + piece + text[end:]).encode()
