"""Finds packages that stand where ours should: our top-level names are plain, and Python takes whichever comes first.

A `config.py` in a folder of PYTHONPATH is enough to replace `config`. It must be named before anything of ours fails
with an import error that nobody understands, so this module imports none of our packages.
"""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("config", "policies", "providers", "routing")
"""Our top-level packages beside this one."""


def find(packages: Iterable[str] = PACKAGES, home: Path | None = None) -> dict[str, Path | None]:
    """The packages that do not stand beside `gateway` in `home`, with the file or folder that would be imported.

    None where there is nothing of that name at all. Nothing is imported.
    """
    home = home if home is not None else Path(__file__).resolve().parents[1]
    found = {}
    for name in packages:
        place = _place(name)
        if place is None or place.resolve() != home / name:
            found[name] = place
    return found


def describe(intruders: dict[str, Path | None]) -> str:
    """What to tell the operator about them; empty without any."""
    home = Path(__file__).resolve().parents[1]
    lines = []
    for name, place in intruders.items():
        if place is None:
            lines.append(f"the package '{name}' is missing beside {home / 'gateway'}: install signalbox-gateway again.")
        else:
            lines.append(
                f"'{name}' would be imported from {place} instead of {home / name}. "
                "Take its folder out of PYTHONPATH; where 'python -m' brought it in, set PYTHONSAFEPATH=1."
            )
    return "\n".join(lines)


def _place(name: str) -> Path | None:
    """The folder of a package or the file of a module, as an import would find it."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        folders = list(getattr(loaded, "__path__", ()))
    else:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        origin = spec.origin
        folders = list(spec.submodule_search_locations or ())
    if folders:
        return Path(folders[0])
    return Path(origin) if origin is not None else None
