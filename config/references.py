"""Replaces `$NAME` and `${NAME}` by the environment; `$$` is a dollar sign.

An unset variable inside a provider disables that provider, because one key that is missing on a laptop must not stop
the start; anywhere else it is an error. A lone `$` stays as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config.findings import Finding, Path
from config.source import Node

_REFERENCE = re.compile(r"\$(?:(?P<escape>\$)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")
_WHOLE = re.compile(r"\$(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)")
# Patterns and words that are looked for in a user's text may well have a dollar sign.
_LITERAL = ("regex", "keywords_any", "keywords_all")


@dataclass(slots=True)
class Expanded:
    """The file as plain data. `from_environ` maps paths to values that had references, `unset` holds paths left out."""

    data: Any = None
    findings: list[Finding] = field(default_factory=list)
    disabled: dict[str, str] = field(default_factory=dict)
    from_environ: dict[Path, str] = field(default_factory=dict)
    unset: set[Path] = field(default_factory=set)


class _Missing(Exception):  # noqa: N818 - only travels within this file
    """A value refers to variables that are not set."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


def is_reference(text: str) -> bool:
    """Whether the text is nothing but one reference, so that it holds no secret itself."""
    return _WHOLE.fullmatch(text) is not None


def expand(root: Node, environ: Mapping[str, str]) -> Expanded:
    """The tree as plain data with references replaced."""
    result = Expanded()
    result.data = _value(root, (), environ, result)
    return result


def _value(node: Node, path: Path, environ: Mapping[str, str], result: Expanded) -> Any:
    """The plain value at `path`; _UNSET where a variable is missing."""
    if node.entries is not None:
        pairs = ((key, _value(e.node, (*path, key), environ, result)) for key, e in node.entries.items())
        return {key: value for key, value in pairs if value is not _UNSET}
    if node.items is not None:
        values = [_value(item, (*path, index), environ, result) for index, item in enumerate(node.items)]
        # An element keeps its place, so that paths stay true: what is wrong with it was said already.
        return [item.plain() if value is _UNSET else value for item, value in zip(node.items, values, strict=True)]
    if not isinstance(node.value, str) or "$" not in node.value or _is_literal(path):
        return node.value
    try:
        text = _replaced(node.value, environ)
    except _Missing as missing:
        _note_unset(path, missing.names, result)
        return _UNSET
    if text != node.value:
        result.from_environ[path] = text
    return text


_UNSET = object()


def _is_literal(path: Path) -> bool:
    return path[:1] == ("rules",) and any(step in _LITERAL for step in path)


def _replaced(text: str, environ: Mapping[str, str]) -> str:
    missing: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        if match["escape"]:
            return "$"
        name = match["braced"] or match["bare"]
        # Empty counts as unset: that is what compose files and CI hand over for a secret nobody defined.
        value = environ.get(name, "")
        if not value:
            missing.append(name)
        return value.encode("utf-8", "replace").decode("utf-8")

    replaced = _REFERENCE.sub(value_of, text)
    if missing:
        raise _Missing(missing)
    return replaced


def _note_unset(path: Path, names: list[str], result: Expanded) -> None:
    result.unset.add(path)
    what = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not set"
    if len(path) > 2 and path[0] == "providers" and path[2] != "kind":
        provider = str(path[1])
        message = f"Provider '{provider}' is disabled: {what}."
        reasons = result.disabled.get(provider)
        result.disabled[provider] = what if reasons is None else f"{reasons}; {what}"
        hint = f"Set {names[0]}, or remove the provider."
        result.findings.append(Finding("warning", "unset-variable", message, path, hint=hint))
        return
    hint = f"Set {names[0]}; write '$$' for a dollar sign."
    result.findings.append(Finding("error", "unset-variable", f"{what[0].upper()}{what[1:]}.", path, hint=hint))
