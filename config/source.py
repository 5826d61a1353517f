"""Strict YAML: text -> a tree of nodes that know where they stand.

YAML 1.2's core schema instead of 1.1's, so `on`, `yes` and `no` are words, and a date is text. Refused: a key given
twice, tags, more than one document, merge keys, aliases that grow beyond the limits. Only the event parser of PyYAML is
used: nothing of its object construction can be reached from a file.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from config.findings import Finding, Path, Span

MAX_DEPTH = 64
MAX_SIZE = 500_000  # in nodes after aliases are followed, so a small file cannot become a large configuration
_CHARS_PER_UNIT = 50  # long text counts as several nodes
# The parser written in C is 30 times faster; its messages are poorer, so the other one explains small broken files.
_MAX_EXPLAINED_CHARS = 256 * 1024
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# https://yaml.org/spec/1.2.2/#103-core-schema
_QUOTES = ("'", '"', "|", ">")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_NUMBER_CHARS = 40
# What YAML counts as a line break; positions of nodes follow it.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """One value. Exactly one of `entries` (a mapping), `items` (a list) and neither (a scalar) is set.

    `text` is a scalar as written, `value` what it means; `is_plain` tells that it stands without quotes. `size` counts
    what is below and the node itself with aliases followed (long text counts several times), `height` the levels.
    """

    span: Span
    entries: "dict[str, Entry] | None" = None
    items: "list[Node] | None" = None
    text: str = ""
    value: Scalar = None
    is_plain: bool = False
    size: int = 1
    height: int = 1

    def plain(self) -> Any:
        """The value as dicts, lists and scalars."""
        if self.entries is not None:
            return {key: entry.node.plain() for key, entry in self.entries.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.value


@dataclass(slots=True, frozen=True)
class Entry:
    """A key with its place, and its value."""

    span: Span
    node: Node


class Unreadable(Exception):  # noqa: N818 - the name says the condition
    """The text cannot be read any further."""

    def __init__(self, problem: Finding) -> None:
        super().__init__(problem.message)
        self.problem = problem


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if len(text) > _MAX_NUMBER_CHARS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text) or _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "") if text[-1] in "fFnN" else text)
    return text


def read(text: str) -> tuple[Node | None, list[Finding]]:
    """The tree of a document, and what is wrong with it. None for an empty document or one that cannot be read."""
    problems: list[Finding] = []
    try:
        return _Builder(text, problems).build(_FAST_LOADER), problems
    except Unreadable as stop:
        return None, [*problems, stop.problem]
    except yaml.YAMLError as error:
        return None, [*problems, _explained(text, error)]


def node_at(root: Node, path: Path) -> Node:
    """The node a path leads to, or the deepest one on the way there."""
    node = root
    for step in path:
        if isinstance(step, int) and node.items is not None and step < len(node.items):
            node = node.items[step]
        elif isinstance(step, str) and node.entries is not None and step in node.entries:
            node = node.entries[step].node
        else:
            break
    return node


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet. `key` is the one that waits for its value."""

    node: Node
    anchor: str | None
    key: "tuple[str, Span] | None" = None


@dataclass(slots=True)
class _Builder:
    """Builds the tree from events without recursion, so that depth is a limit of ours and not of the stack."""

    text: str
    problems: list[Finding]
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)  # None while the anchored node is still open
    root: Node | None = None
    documents: int = 0

    def build(self, loader: Any) -> Node | None:
        for event in yaml.parse(self.text, Loader=loader):
            self._take(event)
        return self.root

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise Unreadable(
                    _problem(
                        "second-document",
                        "The file has a second document.",
                        _span(event),
                        "Remove '---' and what follows it.",
                    )
                )
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _scalar(self, event: Any) -> None:
        span = _span(event)
        self._check_tag(event, span)
        text = self._checked_text(event.value, span)
        if self._wants_key():
            self._key(text, span)
            return
        is_plain = event.style not in _QUOTES
        value = resolve(text) if is_plain else text
        node = Node(span, text=text, value=value, is_plain=is_plain, size=1 + len(text) // _CHARS_PER_UNIT)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._place(node)

    def _open(self, event: Any) -> None:
        span = _span(event)
        self._check_tag(event, span)
        if self._wants_key():
            raise Unreadable(
                _problem(
                    "complex-key",
                    "A key must be a word, not a list or mapping.",
                    span,
                    "Quote text that starts with '{' or '['.",
                )
            )
        if len(self.stack) >= MAX_DEPTH:
            raise Unreadable(_too_deep(span))
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        node = Node(span, entries={} if is_mapping else None, items=None if is_mapping else [])
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(node, event.anchor))

    def _close(self, event: Any) -> None:
        opened = self.stack.pop()
        node = opened.node
        node.span = Span(node.span.line, node.span.column, event.end_mark.line, event.end_mark.column)
        if opened.anchor:
            self.anchors[opened.anchor] = node
        self._place(node)

    def _alias(self, event: Any) -> None:
        span = _span(event)
        if self._wants_key():
            raise Unreadable(_problem("complex-key", "A key must be a word, not an alias.", span))
        if event.anchor not in self.anchors:
            raise Unreadable(
                _problem("unknown-alias", f"There is no anchor '&{event.anchor}' before this alias.", span)
            )
        node = self.anchors[event.anchor]
        if node is None:
            raise Unreadable(
                _problem("endless-alias", f"The alias '*{event.anchor}' stands inside its own anchor.", span)
            )
        if len(self.stack) + node.height > MAX_DEPTH:
            raise Unreadable(_too_deep(span))
        self._place(node)

    def _wants_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].node.entries is not None and self.stack[-1].key is None

    def _key(self, key: str, span: Span) -> None:
        if key == "<<":
            raise Unreadable(
                _problem(
                    "merge-key",
                    "Merge keys ('<<') are not part of YAML 1.2.",
                    span,
                    "Write the keys out, or use an alias for the whole value.",
                )
            )
        opened = self.stack[-1]
        entries = opened.node.entries
        assert entries is not None
        if key in entries:
            first = entries[key].span.line + 1
            self.problems.append(
                _problem(
                    "duplicate-key",
                    f"The key '{key}' is given twice; the first one is on line {first}.",
                    span,
                    "Keep one of them.",
                )
            )
        opened.key = (key, span)

    def _place(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.node.items is not None:
            parent.node.items.append(node)
        elif parent.key is not None and parent.node.entries is not None:
            key, span = parent.key
            parent.node.entries.setdefault(key, Entry(span, node))
            parent.node.size += len(key) // _CHARS_PER_UNIT
            parent.key = None
        parent.node.size += node.size
        parent.node.height = max(parent.node.height, node.height + 1)
        # Checked while the parent is still open: a long list of aliases has to stop early.
        if parent.node.size > MAX_SIZE:
            message = "The file is too large once its aliases are followed."
            raise Unreadable(_problem("too-large", message, node.span, "Write fewer or smaller aliased values."))

    def _checked_text(self, text: str, span: Span) -> str:
        r"""Escapes like "\ud800" name half a character, which is in no UTF-8 text."""
        if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
            return text
        self.problems.append(
            _problem("character", "The text has half of a surrogate pair.", span, "Write the character itself.")
        )
        return text.encode("utf-8", "replace").decode("utf-8")

    def _check_tag(self, event: Any, span: Span) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            hint = "Remove the tag; put text that looks like a number in quotes."
            self.problems.append(_problem("tag", f"Tags are not allowed here: '{tag}'.", span, hint))


def _problem(code: str, message: str, span: Span | None, hint: str | None = None) -> Finding:
    return Finding("error", code, message, span=span, hint=hint)


def _too_deep(span: Span) -> Finding:
    return _problem("too-deep", f"Values are nested more than {MAX_DEPTH} levels deep.", span)


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line, start.column, end.line, end.column)


def _explained(text: str, error: yaml.YAMLError) -> Finding:
    """The problem behind an exception of the parser, in the words of the parser that has the better ones."""
    if len(text) <= _MAX_EXPLAINED_CHARS and _FAST_LOADER is not yaml.SafeLoader:
        try:
            for _ in yaml.parse(text, Loader=yaml.SafeLoader):
                pass
        except yaml.YAMLError as better:
            error = better
    if isinstance(error, yaml.reader.ReaderError):
        return _bad_character(text, error)
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    context = getattr(error, "context", None)
    span = Span(mark.line, mark.column, mark.line, mark.column + 1) if mark is not None else None
    message = f"This is not YAML: {problem}" + (f" ({context})." if context else ".")
    return _problem("syntax", message, span, _syntax_hint(text, span, problem))


def _bad_character(text: str, error: yaml.reader.ReaderError) -> Finding:
    before = text[: error.position] if isinstance(error.position, int) else ""
    breaks = list(LINE_BREAK.finditer(before))
    line, column = len(breaks), len(before) - (breaks[-1].end() if breaks else 0)
    code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "?")
    return _problem(
        "character",
        f"The character U+{code:04X} is not allowed in YAML.",
        Span(line, column, line, column + 1),
        "Remove it.",
    )


def _syntax_hint(text: str, span: Span | None, problem: str) -> str | None:
    if span is None:
        return None
    line = lines_of(text)[span.line]
    if "${" in line:
        return "Put a value with '${...}' in quotes."
    if "\t" in line[: span.column + 1]:
        return "Indent with spaces; YAML has no tabs there."
    if problem.startswith("mapping values are not allowed"):
        return "Check the indentation of this line and the one above; put a value that has ': ' in it in quotes."
    if "could not find expected ':'" in problem:
        return "Put ': ' behind the key."
    if "cannot start any token" in problem:
        return "Put the value in quotes."
    if "<block end>" in problem:
        return "Keys of one mapping must stand in the same column."
    if "expected ',' or" in problem:
        return "Put a comma between two entries, and close every bracket."
    return None


def lines_of(text: str) -> list[str]:
    """The lines of a text without their breaks, split where YAML splits them."""
    return LINE_BREAK.split(text)
