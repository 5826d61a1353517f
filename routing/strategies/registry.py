"""Finds strategies by their KIND: one file in this package is one strategy, and there is no list to edit."""

import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from random import Random

import routing.strategies
from routing.decision import Deployment

Rank = Callable[[Sequence[Sequence[Deployment]], Random], tuple[Deployment, ...]]


def strategies() -> dict[str, Rank]:
    """Every strategy this installation has: kind -> ranking function."""
    found: dict[str, Rank] = {}
    for module_info in pkgutil.iter_modules(routing.strategies.__path__):
        module = import_module(f"{routing.strategies.__name__}.{module_info.name}")
        kind = getattr(module, "KIND", None)
        if kind is not None:
            found[kind] = module.rank
    return found
