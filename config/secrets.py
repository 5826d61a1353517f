"""Knows which parts of a file are secrets, so that none is printed, and says when one stands in the file itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from config.findings import Finding, Path, Span, dotted
from config.references import is_reference
from config.source import Node

_SECRET_KEY = re.compile(
    r"(?:^|[_-])(?:key|token|secret|password|passwd|credentials?|auth|authorization|cookie|signature)$|api[_-]?k[a-z]{1,3}$"
    r"|access[_-]?key|secret",
    re.IGNORECASE,
)
# Shapes of keys that vendors hand out, and of words beside which a key stands where the file cannot be parsed.
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|pplx|nvapi|hf|key|sbx)[-_][A-Za-z0-9_-]{6,}|\bAIza[A-Za-z0-9_-]{10,}|\beyJ[A-Za-z0-9_.-]{16,}"
)
# A password before the host, and a key in the query.
_IN_URL = re.compile(
    r"(://[^/\s:@]*:)([^@\s\"']+)(?=@)|([?&](?:key|token|api[-_]?key|code|sig)=)([^&\s\"']+)", re.IGNORECASE
)
_LABELLED = re.compile(
    r"((?:api[_-]?k[a-z]*|[\w-]{0,30}secret[\w-]{0,30}|[\w-]{0,30}token|password|passwd|authorization|bearer|credentials?|x-api-key)"
    r"[\"']?\s*[:=]?\s*[\"']?(?:bearer\s+|basic\s+)?)([^\s\"',}\]]+)",
    re.IGNORECASE,
)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_WITHOUT_SECRETS = ("policies", "routes", "models", "limits", "budgets")
_MIN_MASKED_CHARS = 6
_MASK = "*"
_CONTEXT_CHARS = 1000


@dataclass(slots=True, frozen=True)
class Secrets:
    """Where secrets stand, and their values wherever else they may turn up."""

    spans: tuple[Span, ...]
    values: tuple[str, ...]

    def mask_line(self, number: int, line: str, *, column: int, is_parsed: bool) -> str:
        """A line of the file in which every character of a secret is replaced, so that columns stay true.

        What is far from `column` is blanked: it is not shown, and patterns take their time on long lines.
        """
        characters = list(line)
        for span in self.spans:
            if span.line <= number <= span.end_line:
                start = span.column if number == span.line else 0
                end = span.end_column if number == span.end_line else len(line)
                characters[start:end] = _MASK * len(characters[start:end])
        first, last = max(0, column - _CONTEXT_CHARS), column + _CONTEXT_CHARS
        masked = " " * first + self.mask_text("".join(characters[first:last])) + " " * len(characters[last:])
        return masked if is_parsed else _LABELLED.sub(_mask_label, masked)

    def mask_text(self, text: str) -> str:
        """A text of ours in which secrets are replaced."""
        for value in self.values:
            text = text.replace(value, _MASK * len(value))
        return _IN_URL.sub(
            lambda match: (match[1] or match[3]) + _MASK * len(match[2] or match[4]),
            _SHAPES.sub(lambda match: _MASK * len(match[0]), text),
        )


def find_secrets(root: Node | None, from_environ: Mapping[Path, str]) -> Secrets:
    """All secrets of a tree, and what came from the environment."""
    literal = [node for _, node in _secret_nodes(root, ())] if root is not None else []
    # What the environment gave to a provider is masked wherever it turns up; other values are names and numbers.
    given = {value for path, value in from_environ.items() if path[0] == "providers" and path[-1] != "kind"}
    values = {node.text for node in literal} | given
    long_enough = sorted((value for value in values if len(value) >= _MIN_MASKED_CHARS), key=len, reverse=True)
    return Secrets(tuple(node.span for node in literal), tuple(long_enough))


def check_literals(root: Node) -> Iterator[Finding]:
    """A warning for every credential that is typed into the file."""
    for path, node in _secret_nodes(root, ()):
        if path[0] != "providers" or not isinstance(node.value, str) or "$" in node.text or not node.text:
            continue
        variable = re.sub(r"\W", "_", f"{path[1]}_{path[-1]}").upper()
        message = f"The secret {dotted(path)} stands in the file itself."
        hint = f"Put it in the environment and write ${variable}."
        yield Finding("warning", "literal-secret", message, path, hint=hint)


def _secret_nodes(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    """Scalars whose key names a secret, except plain references; and digests that are none."""
    if node.entries is not None:
        for key, entry in node.entries.items():
            yield from _secret_nodes(entry.node, (*path, key))
    elif node.items is not None:
        for index, item in enumerate(node.items):
            yield from _secret_nodes(item, (*path, index))
    elif _is_secret(path, node):
        yield path, node


def _is_secret(path: Path, node: Node) -> bool:
    if not path or path[0] in _WITHOUT_SECRETS or is_reference(node.text):
        return False
    if path[0] == "rules" and "headers" not in path:
        return False
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if key == "sha256":
        return _DIGEST.fullmatch(node.text) is None
    return not isinstance(node.value, bool) and node.value is not None and _SECRET_KEY.search(key) is not None


def _mask_label(match: re.Match[str]) -> str:
    return match[1] + (match[2] if is_reference(match[2]) else _MASK * len(match[2]))
