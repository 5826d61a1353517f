"""Plain data -> Config.

One wrong entry must not hide the others: what does not fit is left out, as little as possible, until the rest is valid,
so that the checks between sections still see everything that can be seen.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from config.findings import Finding, Path
from config.references import Expanded
from config.schema import Config
from config.source import Node, resolve
from config.wording import finding_of

_SCALAR_TYPES = ("float_type", "int_type", "bool_type", "int_from_float")
_MAX_ROUNDS = 20
# A file with more mistakes than anybody reads at once is not taken apart any further.
_MAX_ERRORS = 300
# For values that an entry must have, by section and key; "{}" is the entry's number, so that none equals another.
_STAND_INS: Mapping[tuple[Any, Any], str | int] = {
    ("providers", "kind"): "?",
    ("models", "model"): "?",
    ("budgets", "limit_usd"): 0,
    ("keys", "name"): "?{}",
    ("keys", "sha256"): "{:064x}",
}


@dataclass(slots=True)
class Validated:
    """`config` is what could be read of the file; with findings it is only good for further checks.

    `wrong` holds the paths in the file that did not fit; `kept` maps the path of a list from which elements were left
    out to their original positions.
    """

    config: Config
    findings: list[Finding]
    wrong: frozenset[Path] = frozenset()
    kept: dict[Path, list[int]] = field(default_factory=dict)
    _broken: set[Path] = field(init=False)

    def __post_init__(self) -> None:
        self._broken = {finding.path[:2] for finding in self.findings if finding.path}

    def original(self, path: Path) -> Path:
        """The path in the file of a path in `config`."""
        return _original(path, self.kept)

    def is_whole(self, path: Path) -> bool:
        """Whether nothing was found against the entry (`models.x`) that a path is in."""
        return path[:2] not in self._broken

    def is_whole_section(self, path: Path | None) -> bool:
        """Whether nothing was found against any entry of the section that a path is in."""
        return path is None or all(broken[:1] != path[:1] for broken in self._broken)


def validate(expanded: Expanded, root: Node) -> Validated:
    """Validate, and leave out what does not fit until the rest does."""
    data = expanded.data
    _drop_empty_sections(data)
    errors = _errors(data)
    if isinstance(errors, list) and _read_numbers(errors, data, expanded.from_environ):
        errors = _errors(data)
    if isinstance(errors, Config):
        return Validated(errors, [])
    is_hopeless = len(errors) > _MAX_ERRORS
    errors = errors[:_MAX_ERRORS]
    places = {item["loc"] for item in errors}
    above = {place[:length] for place in places for length in range(len(place))}
    nameless = {place[:-1] for place in places if place and place[-1] == "[key]"}
    findings = [
        finding_of(item, root, is_from_environ=item["loc"] in expanded.from_environ)
        for item in errors
        if item["loc"] not in expanded.unset
        and not (item["type"] == "too_short" and item["loc"] in above)
        and not (item["loc"][-1:] != ("[key]",) and _starts_with(item["loc"], nameless))
    ]
    config, kept = _what_fits(data, errors) if not is_hopeless else (Config(), {})
    return Validated(config, findings, frozenset(places), kept)


def _errors(data: Any) -> Config | list[Any]:
    try:
        # By way of JSON, because only there a strict model takes a mapping for a section.
        return Config.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return list(error.errors(include_url=False))


def _drop_empty_sections(data: dict[str, Any]) -> None:
    """A section whose entries are all commented out reads as null; it means that there are none."""
    for key in [key for key, value in data.items() if value is None]:
        del data[key]


def _read_numbers(errors: Iterable[Any], data: Any, from_environ: Mapping[Path, str]) -> bool:
    """Where a number or a switch comes from the environment it is text: read it as the file would have been read."""
    changed = False
    for item in errors:
        text = from_environ.get(item["loc"])
        if text is None or item["type"] not in _SCALAR_TYPES:
            continue
        value = resolve(text.strip())
        if not isinstance(value, str):
            _at(data, item["loc"][:-1])[item["loc"][-1]] = value
            changed = True
    return changed


def _starts_with(path: Path, places: set[Path]) -> bool:
    return any(path[:length] in places for length in range(1, len(path) + 1))


def _what_fits(data: dict[str, Any], errors: list[Any]) -> tuple[Config, dict[Path, list[int]]]:
    """The largest part of `data` that is a Config. What is missing takes away the entry it is missing from."""
    kept: dict[Path, list[int]] = {}
    stood_in: set[Path] = set()
    for _ in range(_MAX_ROUNDS):
        targets = {_target(item) for item in errors if not _stand_in(data, item["loc"], kept, stood_in)}
        for path in sorted(targets, key=lambda path: [(str(type(step)), step) for step in path], reverse=True):
            _remove(data, path, kept)
        result = _errors(data)
        if isinstance(result, Config):
            return result, kept
        errors = result
    return Config(), {}


def _stand_in(data: Any, path: Path, kept: Mapping[Path, list[int]], done: set[Path]) -> bool:
    """Put something harmless where an entry cannot be read without it; what else the entry says is checked then."""
    original = _original(path, kept)
    parent = _at(data, path[:-1])
    if original in done or not isinstance(parent, dict) or not 3 <= len(path) <= 5:
        return False
    value = _STAND_INS.get((path[0], path[-1]))
    if value is None or len(path) != (5 if path[0] == "models" else 3):
        return False
    done.add(original)
    parent[path[-1]] = value.format(original[1]) if isinstance(value, str) else value
    return True


def _target(item: Any) -> Path:
    path: Path = item["loc"]
    return path[:-1] if path and (item["type"] == "missing" or path[-1] == "[key]") else path


def _remove(data: Any, path: Path, kept: dict[Path, list[int]]) -> None:
    """Remove what a path leads to; in a list, remember which elements are still there."""
    if not path:
        data.clear()
        return
    parent = _at(data, path[:-1])
    step = path[-1]
    if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        positions = kept.setdefault(_original(path[:-1], kept), list(range(len(parent))))
        del parent[step], positions[step]
    elif isinstance(parent, dict) and step in parent:
        del parent[step]
    elif len(path) > 1:
        # The complaint is about something that is not there itself, as one name that may also be a list.
        _remove(data, path[:-1], kept)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _original(path: Path, kept: Mapping[Path, list[int]]) -> Path:
    original: Path = ()
    for step in path:
        positions = kept.get(original)
        if isinstance(step, int) and positions is not None and step < len(positions):
            original += (positions[step],)
        else:
            original += (step,)
    return original
