"""The operator's own price files: read, checked, and kept as they are for whoever makes prices of them.

A file is a JSON object: a name of a model -> an entry. An entry is either one of LiteLLM's list
(`model_prices_and_context_window.json` as it is published) or has the keys of `price:`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from config.diagnostics import Diagnostic
from config.findings import Finding, suggestion
from config.schema_prices import PriceConfig

MAX_PRICE_FILE_BYTES = 32 * 1024 * 1024
_MAX_PROBLEMS = 20
_MOST_BLANKS = 64  # between a key and its colon
_EXAMPLE = "sample_spec"  # how LiteLLM's list explains itself
# The members of LiteLLM's entries that make a price of tokens; the rest says other things.
_PRICES = (
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "input_cost_per_audio_token",
    "input_cost_per_image_token",
    "input_cost_per_request",
    "output_cost_per_reasoning_token",
    "output_cost_per_audio_token",
    "output_cost_per_image_token",
)
_SEARCHES = "search_context_cost_per_query"
_BY_RANGE = "tiered_pricing"
_OWN = frozenset(PriceConfig.model_fields)
# Inode, size and time of a change; None for a file that is not there.
_Stamp = tuple[int, int, int] | None


@dataclass(slots=True, frozen=True)
class PriceFile:
    """One file as it was read: entries by model. Amounts are Decimal or int, exactly as they are written."""

    path: Path
    stamp: _Stamp
    entries: Mapping[str, Mapping[str, Any]]

    def has_changed(self) -> bool:
        """Whether the file is another one by now."""
        return _stamp(self.path) != self.stamp


def read_price_files(
    names: Sequence[str], folder: Path
) -> tuple[tuple[PriceFile, ...], list[Finding], list[Diagnostic]]:
    """The files, in their order; findings about the configuration that names them; diagnostics about their content.

    Relative names start from `folder`. A file with problems has no entries.
    """
    files, findings, diagnostics = [], [], []
    for number, name in enumerate(names):
        path = folder / name
        stamp = _stamp(path)  # from before: what is written while it is read counts as changed
        entries: Mapping[str, Mapping[str, Any]] = {}
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_PRICE_FILE_BYTES + 1)
        except OSError as error:
            message = f"Cannot read the price file '{name}': {error.strerror or error}."
            hint = "Relative names start from the folder of this file."
            findings.append(Finding("error", "unreadable-price-file", message, ("price_files", number), hint=hint))
        else:
            found = list(_problems(data, str(path)))
            diagnostics += found
            entries = {} if found else _entries(json.loads(data, parse_float=Decimal))
        files.append(PriceFile(path, stamp, entries))
    return tuple(files), findings, diagnostics


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _entries(content: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {model: entry for model, entry in content.items() if model != _EXAMPLE}


def _problems(data: bytes, file: str) -> Iterator[Diagnostic]:
    if len(data) > MAX_PRICE_FILE_BYTES:
        message = f"The price file is larger than {MAX_PRICE_FILE_BYTES // (1024 * 1024)} MiB."
        yield Diagnostic("error", "price-file", message, file)
        return
    try:
        text = data.decode("utf-8-sig")
        content = json.loads(text, parse_float=Decimal)
    except UnicodeDecodeError:
        yield Diagnostic("error", "price-file", "The price file is not UTF-8.", file, hint="Save it as UTF-8.")
        return
    except json.JSONDecodeError as error:
        message = f"The price file is not JSON: {error.msg}."
        yield Diagnostic("error", "price-file", message, file, error.lineno, error.colno)
        return
    except RecursionError:
        yield Diagnostic("error", "price-file", "The price file is nested too deep.", file)
        return
    if not isinstance(content, dict):
        hint = 'Write {"name of the model": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 4.0}}.'
        yield Diagnostic("error", "price-file", "The price file must be an object of models.", file, 1, 1, hint=hint)
        return
    said = 0
    for model, entry in _entries(content).items():
        for key, wrong, advice in _of_entry(entry):
            line, column = _place(text, model, key)
            yield Diagnostic("error", "price-file", f"Model '{model}': {wrong}", file, line, column, hint=advice)
            said += 1
            if said == _MAX_PROBLEMS:
                yield Diagnostic("error", "more", "There are more problems; these come first.", file)
                return


def _place(text: str, model: str, key: str | None) -> tuple[int, int]:
    """Line and column, from 1, of a model's entry or of a key in it."""
    at = max(0, _key_at(text, model, 0))
    if key is not None:
        at = max(at, _key_at(text, key, at + len(model)))
    line = text.count("\n", 0, at) + 1
    return line, at - text.rfind("\n", 0, at)


def _key_at(text: str, key: str, start: int) -> int:
    """Where a key stands: the first of its texts that a colon follows."""
    for written in (json.dumps(key, ensure_ascii=False), json.dumps(key)):
        at = text.find(written, start)
        while at >= 0:
            after = at + len(written)
            if text[after : after + _MOST_BLANKS].lstrip()[:1] == ":":
                return at
            at = text.find(written, at + 1)
    return -1


# (the key it is about or None, what is wrong, what to do)
_Problem = tuple[str | None, str, str | None]


def _of_entry(entry: object) -> Iterator[_Problem]:
    if not isinstance(entry, dict):
        yield None, "the entry must be an object.", None
        return
    if not _OWN.isdisjoint(entry):
        yield from _of_own(entry)
        return
    prices = [key for key in entry if key.startswith(_PRICES)]
    if not prices and _BY_RANGE not in entry and "litellm_provider" not in entry and "mode" not in entry:
        near = next((key for key in entry if "usd" in key.lower() or "cost" in key.lower()), None)
        if near is not None:
            yield near, f"unknown key '{near}'.", suggestion(near, {*_OWN, *_PRICES})
    for key in prices:
        yield from _of_amount(key, entry[key])
    searches = entry.get(_SEARCHES)
    for key, value in searches.items() if isinstance(searches, dict) else ():
        yield from _of_amount(key, value)
    steps = entry.get(_BY_RANGE)
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and "range" in step:
            yield from _of_range(step)


def _of_own(entry: Mapping[str, Any]) -> Iterator[_Problem]:
    for key, value in entry.items():
        if key not in _OWN:
            yield key, f"unknown key '{key}'.", suggestion(key, _OWN)
        else:
            yield from _of_amount(key, value)
    for key in ("input_usd_per_mtok", "output_usd_per_mtok"):
        if entry.get(key) is None:
            yield None, f"the entry needs '{key}' (0 if it costs nothing).", None


def _of_range(step: Mapping[str, Any]) -> Iterator[_Problem]:
    ends = step["range"]
    if not isinstance(ends, list) or len(ends) != 2 or not all(_is_amount(end) for end in ends):
        yield "range", "'range' must be two numbers of tokens.", None
    for key, value in step.items():
        if key.startswith(_PRICES):
            yield from _of_amount(key, value)


def _of_amount(key: str, value: object) -> Iterator[_Problem]:
    if value is None or _is_amount(value):
        return
    hint = "Write the number without quotes." if isinstance(value, str) and _reads_as_amount(value) else None
    shown = json.dumps(value, default=str)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
    yield key, f"'{key}' must be zero or a positive amount in US dollars, not {shown}.", hint


def _is_amount(value: object) -> bool:
    """`json` also reads NaN and Infinity, as floats."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value >= 0


def _reads_as_amount(text: str) -> bool:
    try:
        return _is_amount(Decimal(text))
    except InvalidOperation:
        return False
