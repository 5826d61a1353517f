"""Checks of virtual keys and admin keys: their references, and that no name or secret is there twice."""

from collections.abc import Iterable, Iterator

from config.crosscheck_money import find_budget, find_limits, find_models, find_team
from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config


def check_keys(config: Config, names: Names) -> Iterator[Finding]:
    """Findings about keys."""
    yield from _duplicates("keys", ((key.name, index) for index, key in enumerate(config.keys)), "name")
    digests = [(key.sha256, ("keys", index)) for index, key in enumerate(config.keys)]
    digests += [(key.sha256, ("admin_keys", index)) for index, key in enumerate(config.admin_keys)]
    yield from _same_secrets(digests)
    yield from _duplicates("admin_keys", ((key.name, index) for index, key in enumerate(config.admin_keys)), "name")
    for index, key in enumerate(config.keys):
        path: Path = ("keys", index)
        yield from find_budget(key.budget, names, (*path, "budget"))
        yield from find_limits(key.limits, names, (*path, "limits"))
        yield from find_team(key.team, names, (*path, "team"))
        yield from find_models(key.models, names, (*path, "models"))
        default = key.default_model
        if default is not None and not names.can_be_asked(default):
            message = f"There is no model or route '{default}'."
            hint = suggestion(default, names.callable, "models")
            yield Finding("error", "unknown-model", message, (*path, "default_model"), hint=hint)


def _duplicates(section: str, values: Iterable[tuple[str, int]], what: str) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for value, index in values:
        first = seen.setdefault(value, index)
        if first != index:
            message = f"Two keys have the same {what}; the first one is {section}[{first}]."
            path: Path = (section, index, what)
            yield Finding("error", "duplicate-key-entry", message, path, hint=f"Give each key its own {what}.")


def _same_secrets(digests: Iterable[tuple[str, tuple[str, int]]]) -> Iterator[Finding]:
    seen: dict[str, tuple[str, int]] = {}
    for digest, path in digests:
        section, index = seen.setdefault(digest, path)
        if (section, index) != path:
            message = f"Two keys have the same secret; the first one is {section}[{index}]."
            yield Finding(
                "error", "duplicate-key-entry", message, (*path, "sha256"), hint="Give each key its own secret."
            )
