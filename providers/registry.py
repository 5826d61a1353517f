"""Finds providers by their kind, so that adding one edits no list.

A dialect is a module of this package whose source has a top-level line `KIND = "..."`; beside it `ENV_KEY = "..."` (the
variable that usually holds the key) and `BASE_URL = "..."` may stand, as plain string literals. A vendor is a row of
`catalog.toml`. Listing reads sources only: a dialect is imported when something of its kind is built.
"""

import difflib
import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from providers.base import Provider, ProviderOptions
from providers.catalog import vendors

_PLACE = re.compile(r"\{(\w+)\}")
_CONSTANT = re.compile(r'^(KIND|ENV_KEY|BASE_URL)(?:\s*:[^=]+)?\s*=\s*"([^"]*)"', re.MULTILINE)
_CATALOG_MODULE = "openai_compatible"


class UnknownKind(ValueError):  # noqa: N818 - the name says the condition
    """No dialect and no catalog row has this kind."""


@dataclass(slots=True, frozen=True)
class Entry:
    """What is known of a kind without importing it. `env_key` and `base_url` are None where the dialect has none."""

    module: str
    env_key: str | None = None
    base_url: str | None = None


def kinds() -> list[str]:
    """Every kind a provider can have, sorted."""
    return sorted(_entries())


def env_keys() -> dict[str, str]:
    """Kind -> name of the environment variable that usually holds its key."""
    return {kind: entry.env_key for kind, entry in sorted(_entries().items()) if entry.env_key}


def base_urls() -> dict[str, str]:
    """Kind -> the address used when the configuration names none."""
    return {kind: entry.base_url for kind, entry in sorted(_entries().items()) if entry.base_url}


def build(options: ProviderOptions) -> Provider:
    """The provider for one row of the configuration.

    Raises UnknownKind, and ValueError when an option the kind needs is missing or wrong.
    """
    provider: Provider = _module(_entry(options)).build(options)
    return provider


def option_names(options: ProviderOptions) -> frozenset[str]:
    """What may stand in `extra` of such a provider: what its dialect names in `OPTIONS`, and what the address has in
    braces. Raises UnknownKind.
    """
    entry = _entry(options)
    address = options.base_url or entry.base_url or ""
    return frozenset((*getattr(_module(entry), "OPTIONS", ()), *_PLACE.findall(address)))


def _entry(options: ProviderOptions) -> Entry:
    entry = _entries().get(options.kind)
    if entry is None:
        near = difflib.get_close_matches(options.kind, _entries(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" Known kinds: {', '.join(kinds())}."
        raise UnknownKind(f"Provider '{options.name}': there is no kind '{options.kind}'.{hint}")
    return entry


def _module(entry: Entry) -> ModuleType:
    return importlib.import_module(f"providers.{entry.module}")


@cache
def _entries() -> dict[str, Entry]:
    found = {kind: Entry(_CATALOG_MODULE, vendor.env_key, vendor.base_url) for kind, vendor in vendors().items()}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        constants = dict(_CONSTANT.findall(path.read_text(encoding="utf-8")))
        if kind := constants.get("KIND"):
            found[kind] = Entry(path.stem, constants.get("ENV_KEY"), constants.get("BASE_URL"))
    return found
