"""Findings -> diagnostics: which line it is, and a look at that line with the place underlined and secrets masked."""

from collections.abc import Iterable, Iterator, Mapping

from config.diagnostics import Diagnostic, display_width
from config.findings import Finding, Path, Span
from config.secrets import Secrets, find_secrets
from config.source import Node, lines_of

_MAX_EXCERPT_CHARS = 110
_MAX_DIAGNOSTICS = 200
_MAX_MESSAGE_CHARS = 500


def place(
    findings: Iterable[Finding], file: str, text: str, root: Node | None, from_environ: Mapping[Path, str]
) -> Iterator[Diagnostic]:
    """Diagnostics of one file. `root` is None where the text could not be parsed."""
    rank = {"error": 0, "warning": 1, "info": 2}
    findings = sorted(findings, key=lambda finding: rank[finding.severity])
    if not findings:
        return
    lines = lines_of(text) if text else []
    secrets = find_secrets(root, from_environ)
    for finding in findings[:_MAX_DIAGNOSTICS]:
        yield _diagnostic(finding, file, lines, root, secrets)
    if len(findings) > _MAX_DIAGNOSTICS:
        severity = "error" if any(f.severity == "error" for f in findings[_MAX_DIAGNOSTICS:]) else "info"
        message = "There are more problems, which are not shown."
        yield Diagnostic(severity, "more", message, file)  # type: ignore[arg-type]


def _diagnostic(finding: Finding, file: str, lines: list[str], root: Node | None, secrets: Secrets) -> Diagnostic:
    message = _sentence(finding.message, secrets)
    hint = _sentence(finding.hint, secrets) if finding.hint else None
    span = finding.span
    if span is None and finding.path and root is not None:
        span = _span_of(root, finding.path, finding.at)
    if span is None:
        return Diagnostic(finding.severity, finding.code, message, file, hint=hint)
    end = max(span.end_column if span.end_line == span.line else 0, span.column + 1)
    line = lines[span.line] if span.line < len(lines) else None
    if line is None:
        return Diagnostic(
            finding.severity, finding.code, message, file, span.line + 1, span.column + 1, end + 1, hint=hint
        )
    if span.end_line > span.line:
        end = max(len(line.rstrip()), span.column + 1)
    shown = secrets.mask_line(span.line, line, column=span.column, is_parsed=root is not None)
    excerpt, underline = _window(shown, span.column, end)
    return Diagnostic(
        finding.severity, finding.code, message, file, span.line + 1, span.column + 1, end + 1, excerpt, underline, hint
    )


def _window(line: str, start: int, end: int) -> tuple[str, str]:
    """The part of a line around a place that fits on a screen, and the underline for it."""
    first = max(0, start - _MAX_EXCERPT_CHARS // 2) if len(line) > _MAX_EXCERPT_CHARS else 0
    last = first + _MAX_EXCERPT_CHARS
    head, tail = ("…" if first else ""), ("…" if last < len(line) else "")
    excerpt = head + _printable(line[first:last]).rstrip() + tail
    before = head + _printable(line[first:start]).ljust(start - first)
    marked = _printable(line[start : min(end, last)])
    return excerpt, " " * display_width(before) + "^" * max(1, display_width(marked))


def _sentence(text: str, secrets: Secrets) -> str:
    masked = _printable(secrets.mask_text(text[: 2 * _MAX_MESSAGE_CHARS]))
    return masked if len(masked) <= _MAX_MESSAGE_CHARS else masked[:_MAX_MESSAGE_CHARS] + "…"


def _printable(text: str) -> str:
    """Names and lines come from a file: nothing in them may move the cursor or end the line."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _span_of(root: Node, path: Path, at: str) -> Span | None:
    """The place of a value, or of its key where it is asked for, is empty, or fills more than one line."""
    node, key = root, None
    for step in path:
        if isinstance(step, int) and node.items is not None and step < len(node.items):
            node, key = node.items[step], None
        elif isinstance(step, str) and node.entries is not None and step in node.entries:
            entry = node.entries[step]
            node, key = entry.node, entry.span
        else:
            break
    if node is root:
        return None
    is_empty = (node.span.line, node.span.column) == (node.span.end_line, node.span.end_column)
    is_long = node.span.end_line > node.span.line
    return key if key is not None and (at == "key" or is_empty or is_long) else node.span
