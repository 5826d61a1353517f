"""What the schema says against a file, in words an operator can act on."""

import re
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from config.findings import Finding, Path, dotted, suggestion
from config.schema_shape import fields_at, homes_of
from config.source import Node, node_at, resolve

_RANGES = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "tuple_type": "a list",
    "list_type": "a list",
}


def finding_of(item: Any, root: Node, *, is_from_environ: bool) -> Finding:
    """One error of the schema (an entry of pydantic's list) as a finding; `root` is the tree it is about."""
    path: Path = item["loc"]
    kind: str = item["type"]
    if path and path[-1] == "[key]":
        return _bad_name(path[:-1])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        where = dotted(path[:-1]) or "The file"
        return Finding("error", "missing-key", f"{where} needs '{path[-1]}'.", path[:-1], "key", hint=_meaning(path))
    node = node_at(root, path)
    if kind in _EXPECTED:
        return _wrong_type(kind, path, node, is_from_environ=is_from_environ)
    if kind in _RANGES:
        key, words = _RANGES[kind]
        return Finding("error", "out-of-range", f"{dotted(path)} must be {words} {item['ctx'][key]:g}.", path)
    if kind in ("literal_error", "enum"):
        return _unknown_value(item, path, node, is_from_environ=is_from_environ)
    return _other(item, path)


def _bad_name(path: Path) -> Finding:
    is_provider = path[0] == "providers"
    message = "This is no name for a provider." if is_provider else "This is no name."
    hint = f"A name has 1 to 200 characters, {'no blanks and no slash' if is_provider else 'and no blanks'}."
    if "{" in str(path[-1]):
        hint = "Put ': ' behind the name."
    return Finding("error", "bad-name", message, path, "key", hint=hint)


def _unknown_key(path: Path) -> Finding:
    key = str(path[-1])
    where = dotted(path[:-1])
    message = f"{where} has no key '{key}'." if where else f"There is no section '{key}'."
    hint = suggestion(key, list(fields_at(path[:-1])))
    homes = homes_of(key)
    if homes and (hint is None or not hint.startswith("Did you mean")):
        hint = f"'{key}' belongs under {' or '.join(homes)}."
    return Finding("error", "unknown-key", message, path, "key", hint=hint)


def _meaning(path: Path) -> str | None:
    info = fields_at(path[:-1]).get(str(path[-1]))
    return f"'{path[-1]}' means: {info.description}" if info is not None and info.description else None


def _wrong_type(kind: str, path: Path, node: Node, *, is_from_environ: bool) -> Finding:
    expected = _EXPECTED[kind]
    found = "what the variable holds" if is_from_environ else _found(node)
    message = f"{dotted(path) or 'The file'} must be {expected}, not {found}."
    hint = None if is_from_environ else _type_hint(kind, path, node)
    return Finding("error", "wrong-type", message, path, hint=hint)


def _found(node: Node) -> str:
    if node.entries is not None:
        return "keys and values"
    if node.items is not None:
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the switch {node.text}"
    if isinstance(node.value, int | float):
        return f"the number {node.text}"
    return f"the text '{_short(node.text)}'"


def _type_hint(kind: str, path: Path, node: Node) -> str | None:
    if node.entries is not None or node.items is not None:
        return None
    if node.value is None:
        return "Give a value, or remove the line."
    text = node.text
    if kind == "string_type":
        return f'Put it in quotes: "{_short(text)}".' if _would_fit(text, path) else _meaning(path)
    if kind == "bool_type":
        word = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower())
        return f"Write {word}." if word else "Write true or false, without quotes."
    if kind in ("tuple_type", "list_type"):
        return f"Write a list: [{_short(text)}]."
    if kind in ("int_type", "float_type", "int_from_float"):
        return _number_hint(text, path)
    return None


def _would_fit(text: str, path: Path) -> bool:
    """Whether quotes are all that is missing."""
    info = fields_at(path[:-1]).get(str(path[-1]))
    if info is None:
        return True
    try:
        # A type and its constraints, put together the way a field does it.
        kind = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(kind)  # type: ignore[arg-type]
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


def _number_hint(text: str, path: Path) -> str | None:
    if isinstance(resolve(text), int | float) and not isinstance(resolve(text), bool):
        return None if "." in text or "e" in text.lower() else "Remove the quotes."
    match = re.fullmatch(r"([0-9.]+)\s*(ms|s|m|h|%)", text)
    if match and str(path[-1]).endswith("_s"):
        factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}.get(match[2])
        return f"Give seconds as a plain number: {float(match[1]) * factor:g}." if factor else None
    if match and match[2] == "%":
        return f"Give a share from 0 to 1: {float(match[1]) / 100:g}."
    bare = text.replace("_", "").replace(",", "")
    return f"Write {bare}." if bare.isascii() and bare.isdigit() else None


def _unknown_value(item: Any, path: Path, node: Node, *, is_from_environ: bool) -> Finding:
    choices = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
    hint = suggestion(node.text, choices) if not is_from_environ else None
    hint = hint or f"Known are: {', '.join(choices)}."
    if hint.startswith("Did you mean"):
        hint += f" Known are: {', '.join(choices)}."
    shown = "What the variable holds" if is_from_environ else f"'{_short(node.text)}'"
    return Finding("error", "unknown-value", f"{shown} is no value of {dotted(path)}.", path, hint=hint)


def _other(item: Any, path: Path) -> Finding:
    """What is left: patterns, lengths, and the words of our own validators."""
    kind: str = item["type"]
    where = dotted(path)
    meaning = _meaning(path)
    if kind == "value_error":
        return Finding("error", "invalid-value", f"{where}: {item['ctx']['error']}.", path, hint=meaning)
    if kind in ("too_short", "string_too_short"):
        return Finding("error", "empty-value", f"{where} must not be empty.", path, hint=meaning)
    if kind == "string_pattern_mismatch":
        return Finding("error", "invalid-value", f"{where} does not have the form it needs.", path, hint=meaning)
    return Finding("error", "invalid-value", f"{where}: {item['msg']}.", path, hint=meaning)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
