"""What this version reads and checks but does not act on yet. A feature that arrives deletes its line here."""

from collections.abc import Callable
from dataclasses import dataclass

from config.findings import Finding, Path, dotted
from config.schema import Config

# Path of the section, and whether the file makes use of it.
_SECTIONS: tuple[tuple[Path, Callable[[Config], bool]], ...] = ()


@dataclass(slots=True, frozen=True)
class Inactive:
    """A part of the file without effect in this version, and what happens instead."""

    path: Path
    message: str


def inactive_sections(config: Config) -> list[Inactive]:
    """Every part of this configuration that is loaded but not active yet, in the order of the file's sections."""
    return [
        Inactive(path, f"'{dotted(path)}' is loaded, but not active yet.")
        for path, is_used in _SECTIONS
        if is_used(config)
    ]


def check_inactive(config: Config) -> list[Finding]:
    """The same as findings, so that start and check say it."""
    return [Finding("info", "inactive", part.message, part.path, "key") for part in inactive_sections(config)]
